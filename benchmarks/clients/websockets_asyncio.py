"""websockets on asyncio: a coroutine per connection."""

from __future__ import annotations

import asyncio

from websockets.asyncio.client import connect

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
    tasks = [asyncio.create_task(drive(tally)) for _ in range(tally.connections)]
    await asyncio.sleep(tally.warmup)
    tally.begin()
    await asyncio.sleep(tally.seconds)
    tally.end("websockets")
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
