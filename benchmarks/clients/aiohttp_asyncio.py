"""aiohttp on asyncio: a coroutine per connection."""

from __future__ import annotations

import asyncio

from aiohttp import ClientSession

from .tally import Tally


async def drive(tally: Tally, session: ClientSession) -> None:
    async with session.ws_connect(tally.url, max_msg_size=tally.max_size + 1) as websocket:
        is_text = isinstance(tally.message, str)
        send = websocket.send_str if is_text else websocket.send_bytes
        for _ in range(tally.depth):
            await send(tally.message)  # type: ignore[arg-type]  # narrowed above
        async for message in websocket:
            tally.check(message.data)
            tally.echoes += 1
            await send(tally.message)  # type: ignore[arg-type]


async def main() -> None:
    tally = Tally()
    async with ClientSession() as session:
        tasks = [asyncio.create_task(drive(tally, session)) for _ in range(tally.connections)]
        await asyncio.sleep(tally.warmup)
        tally.begin()
        await asyncio.sleep(tally.seconds)
        tally.end("aiohttp")
        for task in tasks:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
