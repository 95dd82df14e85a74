"""This library: a handler, as in the tutorial. A broadcast is prepared once and goes through every mailbox."""

from __future__ import annotations

from functools import partial
from typing import Any

import trio

from trio_websock import (
    Connection,
    Handler,
    Ok,
    Prepared,
    Push,
    Reason,
    Result,
    Server,
    broadcast,
    current_connection,
    prepare,
    serve,
)
from trio_websock.protocol import COMPILED

from .startup import TICK, Settings, announce, delays, parse_settings

members: set[Connection] = set()


def tell_members(message: str | bytes) -> None:
    broadcast(members, prepare(message))  # who does not keep up misses some


class Echo(Handler[None, str]):
    async def init(self, args: object) -> Result[None]:
        return Ok(None)

    async def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        return Push(message, state)


class AwaitingEcho(Echo):
    async def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        return await super().handle_in(message, state)


class Member(Handler[None, Prepared]):
    async def init(self, args: object) -> Result[None]:
        members.add(current_connection())
        return Ok(None)

    async def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        tell_members(message)
        return Ok(state)

    async def handle_info(self, info: Prepared, state: None) -> Result[None]:
        return Push(info, state)

    async def terminate(self, reason: Reason, state: None) -> None:
        members.discard(current_connection())


class AwaitingMember(Member):
    async def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        return await super().handle_in(message, state)

    async def handle_info(self, info: Prepared, state: None) -> Result[None]:
        return await super().handle_info(info, state)


async def tick(mailbox: trio.MemorySendChannel[str]) -> None:
    for delay in delays():
        await trio.sleep(delay)
        await mailbox.send(TICK)


class Ticker(Echo):
    async def init(self, args: object) -> Result[None]:
        connection = current_connection()
        connection.nursery.start_soon(tick, connection.mailbox)
        return Ok(None)

    async def handle_info(self, info: str, state: None) -> Result[None]:
        return Push(info, state)


class AwaitingTicker(Ticker):
    async def handle_info(self, info: str, state: None) -> Result[None]:
        return await super().handle_info(info, state)


def handler_for(settings: Settings) -> type:
    handlers = {"echo": (Echo, AwaitingEcho), "fan": (Member, AwaitingMember), "ticks": (Ticker, AwaitingTicker)}
    return handlers[settings.mode][settings.awaits]


async def main() -> None:
    settings = parse_settings()
    options: dict[str, Any] = {"compress": settings.deflate, "ssl_context": settings.ssl_context()}
    if settings.write_timeout is not None:
        options["write_timeout"] = settings.write_timeout
    start = partial(serve, handler_for(settings), port=0, **options)
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(start)
        announce(server.port, "trio", "httptools", codec="compiled" if COMPILED else "pure")


if __name__ == "__main__":
    trio.run(main)
