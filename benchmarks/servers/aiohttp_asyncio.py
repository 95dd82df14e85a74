"""aiohttp on asyncio: a coroutine per connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import WSMessage, WSMsgType, web

from .startup import TICK, announce, delays, open_socket, parse_settings

members: set[web.WebSocketResponse] = set()


async def answer(websocket: web.WebSocketResponse, message: WSMessage) -> None:
    if message.type is WSMsgType.TEXT:
        await websocket.send_str(message.data)
    elif message.type is WSMsgType.BINARY:
        await websocket.send_bytes(message.data)


async def echo(websocket: web.WebSocketResponse) -> None:
    async for message in websocket:
        await answer(websocket, message)


async def fan(websocket: web.WebSocketResponse) -> None:
    members.add(websocket)
    try:
        async for message in websocket:
            for member in list(members):
                await answer(member, message)
    finally:
        members.discard(websocket)


async def tick(websocket: web.WebSocketResponse) -> None:
    for delay in delays():
        await asyncio.sleep(delay)
        await websocket.send_str(TICK)


async def serve_client(
    serve_connection: Callable[[web.WebSocketResponse], Awaitable[None]], deflate: bool, request: web.Request
) -> web.WebSocketResponse:
    websocket = web.WebSocketResponse(compress=deflate)
    await websocket.prepare(request)
    try:
        await serve_connection(websocket)
    except ConnectionError:
        pass
    return websocket


async def main() -> None:
    settings = parse_settings()
    serve_connection = {"echo": echo, "fan": fan, "ticks": tick}[settings.mode]
    application = web.Application()
    application.router.add_get("/", partial(serve_client, serve_connection, settings.deflate))
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    listening = open_socket()
    await web.SockSite(runner, listening, ssl_context=settings.ssl_context()).start()
    announce(listening.getsockname()[1], "aiohttp")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
