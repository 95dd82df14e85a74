"""websockets on asyncio: a coroutine per connection, and its own broadcast."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from .startup import HOST, TICK, announce, delays, parse_settings

members: set[ServerConnection] = set()


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


async def fan(websocket: ServerConnection) -> None:
    members.add(websocket)
    try:
        async for message in websocket:
            broadcast(members, message)
    finally:
        members.discard(websocket)


async def tick(websocket: ServerConnection) -> None:
    for delay in delays():
        await asyncio.sleep(delay)
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
    handler = partial(serve_client, serve_connection)
    compression = "deflate" if settings.deflate else None
    async with serve(handler, HOST, 0, ssl=settings.ssl_context(), compression=compression) as server:
        announce(server.sockets[0].getsockname()[1], "websockets")
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
