"""uvicorn on uvloop: an ASGI application, WebSocket by the I/O-free part of websockets."""

from __future__ import annotations

import asyncio

import uvicorn

from .asgi import make_application
from .startup import announce, open_socket, parse_settings


def main() -> None:
    settings = parse_settings()
    listening = open_socket()
    config = uvicorn.Config(
        make_application(settings.mode, asyncio.sleep, OSError),
        loop="uvloop",
        ws="websockets-sansio",
        lifespan="off",
        log_level="error",
        access_log=False,
        ws_per_message_deflate=settings.deflate,
        ssl_certfile=settings.certificate,
    )
    announce(listening.getsockname()[1], "uvicorn", "uvloop", "websockets", "httptools")
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
