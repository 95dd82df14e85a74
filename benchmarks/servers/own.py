"""This library: a handler, as in the tutorial. A broadcast goes through every connection's mailbox."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

import trio

from trio_websock import Handler, Ok, Push, Reason, Result, Server, current_connection, serve
from trio_websock.protocol import COMPILED

from .startup import TICK, announce, delays, parse_settings

members: set[trio.MemorySendChannel[str]] = set()


class Echo(Handler[None, str]):
    async def init(self, args: object) -> Result[None]:
        return Ok(None)

    async def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        return Push(message, state)


class PlainEcho(Handler[None, str]):
    def init(self, args: object) -> Result[None]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        return Push(message, state)


class Member(Handler[None, str]):
    async def init(self, args: object) -> Result[None]:
        members.add(current_connection().mailbox)
        return Ok(None)

    async def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        for mailbox in members:
            with suppress(trio.WouldBlock):  # who does not keep up misses some
                mailbox.send_nowait(str(message))
        return Ok(state)

    async def handle_info(self, info: str, state: None) -> Result[None]:
        return Push(info, state)

    async def terminate(self, reason: Reason, state: None) -> None:
        members.discard(current_connection().mailbox)


class Ticker(Echo):
    async def init(self, args: object) -> Result[None]:
        connection = current_connection()
        connection.nursery.start_soon(self.tick, connection.mailbox)
        return Ok(None)

    async def tick(self, mailbox: trio.MemorySendChannel[str]) -> None:
        for delay in delays():
            await trio.sleep(delay)
            await mailbox.send(TICK)

    async def handle_info(self, info: str, state: None) -> Result[None]:
        return Push(info, state)


async def main() -> None:
    settings = parse_settings()
    handler = {"echo": PlainEcho if settings.plain else Echo, "fan": Member, "ticks": Ticker}[settings.mode]
    options: dict[str, Any] = {"compress": settings.deflate, "ssl_context": settings.ssl_context()}
    if settings.write_timeout is not None:
        options["write_timeout"] = settings.write_timeout
    start = partial(serve, handler, port=0, **options)
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(start)
        announce(server.port, "trio", "httptools", codec="compiled" if COMPILED else "pure")


if __name__ == "__main__":
    trio.run(main)
