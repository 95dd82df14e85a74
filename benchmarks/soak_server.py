"""The server of the soak, in a process of its own: prints its port; ``/snapshot`` tells what it has seen and kept."""

from __future__ import annotations

import gc
import json
import random
import sys
from collections import Counter
from functools import partial
from typing import Any

import trio

from trio_websock import (
    Deflate,
    Handler,
    Ok,
    Push,
    Reason,
    Request,
    Response,
    Result,
    Server,
    Upgrade,
    current_connection,
    serve,
    upgrade,
)

__all__ = ["run_server"]

# What the server is told, so that even slow peers come to their end many times in a run.
DEFLATE = Deflate()
OPTIONS: dict[str, Any] = {
    "timeout": 5,
    "write_timeout": 2,
    "close_timeout": 2,
    "handshake_timeout": 2,
    "terminate_timeout": 2,
    "mailbox_size": 64,
    "compress": DEFLATE,
}

counts: Counter[str] = Counter()
members: set[trio.MemorySendChannel[str]] = set()


class Counting(Handler[int, str]):
    """Counts its beginnings and ends."""

    def init(self, args: object) -> Result[int]:
        counts["begun"] += 1
        return Ok(0)

    def handle_in(self, message: str | bytes, count: int) -> Result[int]:
        return Push(message, count + 1)

    def terminate(self, reason: Reason, count: int) -> None:
        counts["ended"] += 1
        counts[f"ended: {type(reason).__name__}"] += 1


class Member(Counting):
    """Passes what it is told to every member's mailbox; who has no room misses it."""

    def init(self, args: object) -> Result[int]:
        members.add(current_connection().mailbox)
        return super().init(args)

    def handle_in(self, message: str | bytes, count: int) -> Result[int]:
        for mailbox in members:
            try:
                mailbox.send_nowait(str(message))
            except (trio.WouldBlock, trio.BrokenResourceError):
                counts["missed"] += 1
        return Ok(count + 1)

    def handle_info(self, info: str, count: int) -> Result[int]:
        return Push(info, count)

    def terminate(self, reason: Reason, count: int) -> None:
        members.discard(current_connection().mailbox)
        super().terminate(reason, count)


class Failing(Counting):
    """Fails at a random place."""

    def init(self, args: object) -> Result[int]:
        place = random.randrange(4)
        if place == 0:
            counts["failed inits"] += 1
            raise RuntimeError("init")
        if place == 1:
            current_connection().nursery.start_soon(self._fail)
        super().init(args)
        return Ok(place)

    async def _fail(self) -> None:
        await trio.sleep(random.random() / 10)
        raise RuntimeError("task")

    async def handle_in(self, message: str | bytes, count: int) -> Result[int]:
        await trio.lowlevel.checkpoint()
        if count == 2:
            raise RuntimeError("handle_in")
        return Ok(count)

    async def terminate(self, reason: Reason, count: int) -> None:
        super().terminate(reason, count)
        if count == 3:
            await trio.sleep(random.random() * 3)  # sometimes too long
        raise RuntimeError("terminate")


HANDLERS = {"/echo": Counting, "/members": Member, "/fail": Failing}


async def answer(servers: list[Server], request: Request) -> Response | Upgrade:
    if request.path == "/snapshot":
        snapshot = servers[0].snapshot()
        facts = {name: getattr(snapshot, name) for name in snapshot.__slots__}
        gc.collect()
        facts["blocks"] = sys.getallocatedblocks()
        facts["tasks"] = trio.lowlevel.current_statistics().tasks_living
        return Response(200, json.dumps({**facts, **counts, "members": len(members)}))
    return upgrade(HANDLERS[request.path])


async def run_server() -> None:
    servers: list[Server] = []
    async with trio.open_nursery() as nursery:
        servers.append(await nursery.start(partial(serve, partial(answer, servers), port=0, **OPTIONS)))
        print(servers[0].port, flush=True)


if __name__ == "__main__":
    trio.run(run_server)
