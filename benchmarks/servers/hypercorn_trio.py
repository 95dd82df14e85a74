"""Hypercorn on Trio: an ASGI application, WebSocket by wsproto."""

from __future__ import annotations

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from .asgi import make_application
from .startup import announce, open_socket, parse_settings


async def main() -> None:
    settings = parse_settings()
    config = Config()
    listening = open_socket()
    config.bind = [f"fd://{listening.fileno()}"]
    config.certfile = config.keyfile = settings.certificate
    announce(listening.getsockname()[1], "hypercorn", "wsproto", "trio")
    await serve(make_application(settings.mode, trio.sleep, trio.BrokenResourceError), config, mode="asgi")


if __name__ == "__main__":
    trio.run(main)
