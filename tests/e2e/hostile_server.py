"""The server of test_hostile_streams.py, in a process of its own so that its file descriptors can be counted.

It prints its port. ``/echo`` echoes, ``/fail/CALLBACK`` raises in that callback, ``/snapshot`` tells how many
connections are open and how often ``terminate`` was called beside how often ``init`` succeeded.
"""

from __future__ import annotations

import json
import logging
from collections import Counter

import trio

from trio_websock import (
    Handler,
    Ok,
    Ping,
    Pong,
    Push,
    Reason,
    Request,
    Response,
    Result,
    Server,
    Upgrade,
    current_connection,
    upgrade,
)  # fmt: skip
from trio_websock.server.running import run_announced

counts: Counter[str] = Counter()
servers: list[Server] = []


class Echo(Handler[int, None]):
    """Counts its inits and terminates: every stream that got this far must be told its end."""

    def init(self, args: object) -> Result[int]:
        counts["begun"] += 1
        return Ok(0)

    async def handle_in(self, message: str | bytes, count: int) -> Result[int]:
        await trio.lowlevel.checkpoint()
        return Push(message, count + 1)

    def handle_control(self, frame: Ping | Pong, count: int) -> Result[int]:
        return Ok(count)

    def terminate(self, reason: Reason, count: int) -> None:
        counts["ended"] += 1


class Failing(Handler[str, None]):
    """Raises in the callback it is told, in the middle of whatever goes on around it."""

    def init(self, args: str) -> Result[str]:
        if args == "task":
            current_connection().nursery.start_soon(self._fail)
        current_connection().mailbox.send_nowait(None)
        return self._pass(args, "init")

    async def _fail(self) -> None:
        raise RuntimeError("task")

    def _pass(self, victim: str, callback: str) -> Result[str]:
        if victim == callback:
            raise RuntimeError(callback)
        return Push(callback, victim)

    def handle_in(self, message: str | bytes, victim: str) -> Result[str]:
        return self._pass(victim, "handle_in")

    def handle_control(self, frame: Ping | Pong, victim: str) -> Result[str]:
        return self._pass(victim, "handle_control")

    def handle_info(self, info: None, victim: str) -> Result[str]:
        return self._pass(victim, "handle_info")

    def terminate(self, reason: Reason, victim: str) -> None:
        counts["failing ended"] += 1
        self._pass(victim, "terminate")


def app(request: Request) -> Response | Upgrade:
    match request.path.split("/"):
        case ["", "snapshot"]:
            return Response(200, json.dumps({"open": len(servers[0].connections), **counts}))
        case ["", "fail", victim]:
            return upgrade(Failing, victim)
        case ["", "compressed"]:
            return upgrade(Echo, compress=True)
        case ["", "echo"]:
            return upgrade(Echo)
    raise LookupError(request.path)


def announce(server: Server) -> None:
    servers.append(server)
    print(server.port, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR, format="%(name)s %(message)s")
    run_announced(app, announce, {"port": 0, "close_timeout": 1})
