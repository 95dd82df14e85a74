"""This library hosted by others: the handlers of :mod:`benchmarks.servers.own` behind their frames and sockets.

``OWN_HOST`` says whose: ``hypercorn`` (its Trio worker), ``uvicorn`` (asyncio with uvloop, a Trio loop beside it) or
``trio-websocket``.
"""

from __future__ import annotations

import os
import socket
from functools import partial

import trio

from .own import handler_for
from .startup import HOST, Settings, announce, open_socket, parse_settings


async def serve_hypercorn(settings: Settings) -> None:
    from hypercorn.config import Config
    from hypercorn.trio import serve

    from trio_websock.hosts.asgi import AsgiApp

    config = Config()
    listening = open_socket()
    config.bind = [f"fd://{listening.fileno()}"]
    config.certfile = config.keyfile = settings.certificate
    announce(listening.getsockname()[1], "hypercorn", "wsproto", "trio")
    await serve(AsgiApp(handler_for(settings)), config, mode="asgi")


def run_uvicorn(settings: Settings) -> None:
    import uvicorn

    from trio_websock.hosts.asgi import AsgiApp

    config = uvicorn.Config(
        AsgiApp(handler_for(settings)),
        loop="uvloop",
        ws="websockets-sansio",
        log_level="error",
        access_log=False,
        ws_per_message_deflate=False,
        ssl_certfile=settings.certificate,
    )
    listening: socket.socket = open_socket()
    announce(listening.getsockname()[1], "uvicorn", "uvloop", "websockets", "trio")
    uvicorn.Server(config).run(sockets=[listening])


async def serve_trio_websocket(settings: Settings) -> None:
    import trio_websocket

    from trio_websock.hosts.trio_websocket import upgrade_request

    serve_client = partial(upgrade_request, handler=handler_for(settings))
    start = partial(trio_websocket.serve_websocket, serve_client, HOST, 0, settings.ssl_context())
    async with trio.open_nursery() as nursery:
        server = await nursery.start(start)
        announce(server.port, "trio-websocket", "wsproto", "trio")


def main() -> None:
    settings, host = parse_settings(), os.environ["OWN_HOST"]
    if host == "uvicorn":
        run_uvicorn(settings)
    else:
        trio.run({"hypercorn": serve_hypercorn, "trio-websocket": serve_trio_websocket}[host], settings)


if __name__ == "__main__":
    main()
