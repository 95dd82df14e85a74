"""websockets on Trio: a coroutine per connection, and its own broadcast."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.connection import broadcast
from websockets.trio.server import ServerConnection, serve

from .startup import HOST, TICK, announce, delays, parse_settings

members: set[ServerConnection] = set()


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


async def fan(websocket: ServerConnection) -> None:
    members.add(websocket)
    try:
        async for message in websocket:
            await broadcast(list(members), message)
    finally:
        members.discard(websocket)


async def tick(websocket: ServerConnection) -> None:
    for delay in delays():
        await trio.sleep(delay)
        await websocket.send(TICK)


async def serve_client(
    serve_connection: Callable[[ServerConnection], Awaitable[None]], websocket: ServerConnection
) -> None:
    try:
        await serve_connection(websocket)
    except ConnectionClosed:
        pass


async def main() -> None:
    settings = parse_settings()
    serve_connection = {"echo": echo, "fan": fan, "ticks": tick}[settings.mode]
    compression = "deflate" if settings.deflate else None
    start = partial(
        serve,
        partial(serve_client, serve_connection),
        0,
        host=HOST,
        ssl=settings.ssl_context(),
        compression=compression,
    )
    async with trio.open_nursery() as nursery:
        server = await nursery.start(start)
        announce(server.listeners[0].socket.getsockname()[1], "websockets", "trio")


if __name__ == "__main__":
    trio.run(main)
