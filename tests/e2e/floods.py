"""A server in a process of its own, under attack: what it is flooded with, and what its memory does meanwhile."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import trio

import trio_websock
from trio_websock.testing.scripted_peer import ScriptedPeer, text

MIB = 1024 * 1024
PATIENCE = 60  # seconds until a test gives up; a fail-safe, never part of a verdict
SETTLED = 10  # looks in a row at a server that takes nothing more, each of which gives it a turn

Flood = Callable[[ScriptedPeer], Awaitable[object]]


class Flooded:
    """A server under attack, and the attackers."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, inspected: int, stack: AsyncExitStack) -> None:
        self.port = port
        self._inspected = inspected
        self._status = Path(f"/proc/{process.pid}/status")
        self._stack = stack
        self._inspector: ScriptedPeer
        self._before = 0

    async def connect(self) -> ScriptedPeer:
        """A client that stays until the end of the test; with small buffers, as the kernel's are not our memory."""
        return await self._connect(self.port)

    async def _connect(self, port: int) -> ScriptedPeer:
        peer = await ScriptedPeer.connect(port, receive_buffer_size=16 * 1024)
        return await self._stack.enter_async_context(peer)

    async def open(self, target: str, *headers: str) -> ScriptedPeer:
        peer = await self.connect()
        await peer.open(*headers, target=target)
        return peer

    async def warm_up(self) -> None:
        """What a first connection loads is no attack."""
        self._inspector = await self._connect(self._inspected)
        async with await self.open("/sink", "Sec-WebSocket-Extensions: permessage-deflate") as peer:
            await peer.send(text("warm"))
            await peer.receive_frame()
        await self.wait(lambda facts: facts["connections"] == 0)
        self._before = self._peak()

    def _peak(self) -> int:
        found = re.search(r"VmHWM:\s+(\d+) kB", self._status.read_text())
        assert found
        return int(found[1]) * 1024

    def growth(self) -> float:
        """MiB by which the process has grown at its largest."""
        growth = (self._peak() - self._before) / MIB
        print(f"grew by {growth:.1f} MiB")
        return growth

    async def snapshot(self) -> dict[str, Any]:
        await self._inspector.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        facts: dict[str, Any] = json.loads((await self._inspector.receive_answer()).body)
        return facts

    async def wait(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while not condition(facts := await self.snapshot()):
            pass
        return facts

    async def settle(self) -> dict[str, Any]:
        """Look until nothing changes any more."""
        looks = [await self.snapshot()]
        while len(looks) < SETTLED:
            facts = await self.snapshot()
            looks = [*looks, facts] if facts == looks[-1] else [facts]
        return looks[-1]

    @asynccontextmanager
    async def flooding(self, count: int, flood: Flood, target: str, *headers: str) -> AsyncIterator[None]:
        """``count`` WebSockets that each flood the server, as far as it lets them, while the block runs."""
        peers = [await self.open(target, *headers) for _ in range(count)]
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(flood, peer)
            yield
            nursery.cancel_scope.cancel()


@contextmanager
def server_process(options: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": str(Path(trio_websock.__file__).parents[1])}
    command = [sys.executable, str(Path(__file__).with_name("limits_server.py")), json.dumps(options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


@asynccontextmanager
async def open_server(**options: Any) -> AsyncIterator[Flooded]:
    """A fresh process, warmed up; everything is over when the block ends, one way or the other."""
    with server_process(options) as process, trio.fail_after(PATIENCE):
        assert process.stdout is not None
        port, inspected = map(int, (await trio.to_thread.run_sync(process.stdout.readline)).split())
        async with AsyncExitStack() as stack:
            server = Flooded(process, port, inspected, stack)
            await server.warm_up()
            yield server


def send(data: bytes, times: int = 1) -> Flood:
    """A flood of one thing; that the server puts an end to it is no fault of the flood."""

    async def flood(peer: ScriptedPeer) -> None:
        with suppress(trio.BrokenResourceError):
            for _ in range(times):
                await peer.send(data)

    return flood


async def flood_to_the_end(flood: Flood, peers: list[ScriptedPeer]) -> list[bytes]:
    """Have them flood until they are thrown out; the last bytes each of them was sent."""
    endings: list[bytes] = []

    async def attack(peer: ScriptedPeer) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood, peer)
            endings.append(await ending(peer))
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as attackers:
        for peer in peers:
            attackers.start_soon(attack, peer)
    return endings


async def ending(peer: ScriptedPeer) -> bytes:
    data = b""
    with suppress(trio.BrokenResourceError):
        while piece := await peer.stream.receive_some():
            data = (data + piece)[-100:]
    return data
