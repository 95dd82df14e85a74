"""websockets on Trio: a coroutine per connection."""

from __future__ import annotations

import trio
from websockets.trio.client import connect

from .tally import Tally


async def drive(tally: Tally) -> None:
    async with connect(tally.url, compression=None, max_size=tally.max_size) as websocket:
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
        tally.end("websockets", "trio")
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
