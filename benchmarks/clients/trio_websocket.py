"""trio-websocket: a coroutine per connection."""

from __future__ import annotations

import trio
from trio_websocket import open_websocket_url

from .tally import Tally


async def drive(tally: Tally) -> None:
    async with open_websocket_url(tally.url, max_message_size=tally.max_size) as websocket:
        for _ in range(tally.depth):
            await websocket.send_message(tally.message)
        while True:
            tally.check(await websocket.get_message())
            tally.echoes += 1
            await websocket.send_message(tally.message)


async def main() -> None:
    tally = Tally()
    async with trio.open_nursery() as nursery:
        for _ in range(tally.connections):
            nursery.start_soon(drive, tally)
        await trio.sleep(tally.warmup)
        tally.begin()
        await trio.sleep(tally.seconds)
        tally.end("trio-websocket", "wsproto", "trio")
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
