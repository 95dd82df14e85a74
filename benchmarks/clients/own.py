"""This library: a coroutine per connection."""

from __future__ import annotations

import trio

from trio_websock import open_websocket
from trio_websock.protocol import COMPILED

from .tally import Tally


async def drive(tally: Tally) -> None:
    async with open_websocket(tally.url, max_message_size=tally.max_size) as websocket:
        for _ in range(tally.depth):
            await websocket.send(tally.message)
        async for message in websocket:
            tally.check(message)
            tally.echoes += 1
            await websocket.send(tally.message)


async def main() -> None:
    tally = Tally()
    async with trio.open_nursery() as nursery:
        for _ in range(tally.connections):
            nursery.start_soon(drive, tally)
        await trio.sleep(tally.warmup)
        tally.begin()
        await trio.sleep(tally.seconds)
        tally.end("trio", "httptools", codec="compiled" if COMPILED else "pure")
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
