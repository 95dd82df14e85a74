"""The server of test_limits.py, in a process of its own so that its memory can be measured.

It takes options of ``serve`` as JSON and prints two ports: its own, and that of a server without those options, which
tells what has arrived and how connections ended. The path of a request says what its handler does with what it gets.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from functools import partial
from typing import Any

import trio

from trio_websock import (
    Error,
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

counts: Counter[str] = Counter()
endings: Counter[str] = Counter()


class Echo(Handler[None, None]):
    def init(self, args: object) -> Result[None]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        return Push(message, state)

    def terminate(self, reason: Reason, state: None) -> None:
        endings[type(reason.cause if isinstance(reason, Error) else reason).__name__] += 1


class Sink(Echo):
    """Takes everything and says how much it was."""

    def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        return Push(str(len(message)), state)


class Busy(Echo):
    """Never comes back from its first callback."""

    async def handle_in(self, message: str | bytes, state: None) -> Result[None]:  # type: ignore[override]
        counts["busy"] += 1
        await trio.sleep_forever()
        raise AssertionError("not reached")


class Generous(Echo):
    """Sends as many bytes as it is asked for, fresh ones."""

    def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        counts["pushed"] += int(message)
        return Push(bytes(int(message)), state)


class Letterbox(Busy):
    """Has a task that sends letters of a kilobyte to it, and does not get beyond the first."""

    def init(self, args: object) -> Result[None]:
        current_connection().nursery.start_soon(self._flood, current_connection().mailbox)
        return Ok(None)

    async def _flood(self, mailbox: trio.MemorySendChannel[bytes]) -> None:
        for number in range(10**6):
            await mailbox.send(b"%1024d" % number)
            counts["letters"] += 1

    async def handle_info(self, info: bytes, state: None) -> Result[None]:
        return await self.handle_in(info, state)


HANDLERS = {"/echo": Echo, "/sink": Sink, "/busy": Busy, "/generous": Generous, "/letterbox": Letterbox}


def app(request: Request) -> Upgrade:
    return upgrade(HANDLERS[request.path])


def snapshot(server: Server) -> dict[str, object]:
    facts = server.snapshot()
    return {
        "clients": facts.open_clients,
        "connections": facts.open_connections,
        "refusals": facts.refusals,
        "failures": facts.handshake_failures,
        "received": sum(connection.bytes_received for connection in server.connections),
        "messages": sum(connection.messages_received for connection in server.connections),
        "endings": endings,
        **counts,
    }


async def main(options: dict[str, Any]) -> None:
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(partial(serve, app, port=0, **options))
        inspected = partial(serve, lambda request: Response(200, json.dumps(snapshot(server))), port=0)
        inspector: Server = await nursery.start(inspected)
        print(server.port, inspector.port, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR, format="%(name)s %(message)s")
    trio.run(main, json.loads(sys.argv[1]))
