"""trio-websocket: a coroutine per connection. It does not compress."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

from .startup import HOST, TICK, announce, delays, parse_settings

members: set[WebSocketConnection] = set()


async def echo(websocket: WebSocketConnection) -> None:
    while True:
        await websocket.send_message(await websocket.get_message())


async def fan(websocket: WebSocketConnection) -> None:
    members.add(websocket)
    try:
        while True:
            message = await websocket.get_message()
            for member in list(members):
                await member.send_message(message)
    finally:
        members.discard(websocket)


async def tick(websocket: WebSocketConnection) -> None:
    for delay in delays():
        await trio.sleep(delay)
        await websocket.send_message(TICK)


async def serve_client(
    serve_connection: Callable[[WebSocketConnection], Awaitable[None]], request: WebSocketRequest
) -> None:
    try:
        await serve_connection(await request.accept())
    except ConnectionClosed:
        pass


async def main() -> None:
    settings = parse_settings()
    serve_connection = {"echo": echo, "fan": fan, "ticks": tick}[settings.mode]
    start = partial(serve_websocket, partial(serve_client, serve_connection), HOST, 0, settings.ssl_context())
    async with trio.open_nursery() as nursery:
        server = await nursery.start(start)
        announce(server.port, "trio-websocket", "wsproto", "trio")


if __name__ == "__main__":
    trio.run(main)
