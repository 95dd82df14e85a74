"""Ten thousand streams of garbage, mutilated handshakes and broken frames, and a healthy client among them.

The server runs in a process of its own. Every stream is made from a seed of its own, so that one that does harm can
be thrown again alone: its number is its seed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from trio_websocket import WebSocketConnection, open_websocket

import trio_websock
from trio_websock.testing import ScriptedPeer

STREAMS = int(os.environ.get("TRIO_WEBSOCK_HOSTILE_STREAMS", "10000"))
FIRST_SEED = int(os.environ.get("TRIO_WEBSOCK_HOSTILE_SEED", "0"))
AT_ONCE = 100
PATIENCE = 120  # seconds until a test gives up; a fail-safe

CALLBACKS = ["init", "handle_in", "handle_control", "handle_info", "terminate", "task"]
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


@dataclass
class ServerProcess:
    process: subprocess.Popen[bytes]
    port: int

    def count_descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    environment = {**os.environ, "PYTHONPATH": str(Path(trio_websock.__file__).parents[1])}
    command = [sys.executable, str(Path(__file__).with_name("hostile_server.py"))]
    with (
        open(tmp_path / "log", "wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment) as process,
    ):
        try:
            assert process.stdout is not None
            yield ServerProcess(process, int(process.stdout.readline()))
        finally:
            process.kill()


# What is thrown: handshakes and frames, whole and mutilated.


def handshake(path: str) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1".encode(),
        b"Host: 127.0.0.1",
        b"Connection: keep-alive, Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: " + KEY,
        b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def frame(rng: random.Random) -> bytes:
    """A masked frame, most often one that is allowed."""
    opcode = rng.choice([1, 1, 1, 2, 2, 0, 8, 9, 10, rng.randrange(16)])
    size = rng.choice([0, 1, 5, 124, 125, 126, 127, 1000, rng.choice([4000, 65535, 65536])])
    payload = rng.choice([b"a" * size, rng.randbytes(size), "é".encode() * (size // 2)])
    first = rng.choice([0x80, 0x80, 0x80, 0x00, rng.randrange(256) & 0xF0]) | opcode
    key = rng.randbytes(4)
    mask = int.from_bytes((key * (len(payload) // 4 + 1))[: len(payload)])
    masked_payload = (int.from_bytes(payload) ^ mask).to_bytes(len(payload))
    return bytes([first]) + length(len(payload)) + key + masked_payload


def length(size: int) -> bytes:
    if size < 126:
        return bytes([0x80 | size])
    return b"\xfe" + struct.pack("!H", size) if size < 65536 else b"\xff" + struct.pack("!Q", size)


def mutated(rng: random.Random, data: bytes) -> bytes:
    """A few bytes flipped, cut out, doubled or put in."""
    broken = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(broken) + 1)
        match rng.randrange(5):
            case 0:
                broken[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del broken[at : at + rng.randint(1, 8)]
            case 2:
                broken[at:at] = broken[at : at + rng.randint(1, 8)]
            case 3:
                broken[at:at] = rng.choice([b"\r\n", b"\x00", b":", b" ", b"\xff\xff\xff\xff", b"\r\n\r\n"])
            case 4:
                broken[at : at + 1] = bytes([broken[at] ^ 1 << rng.randrange(8)]) if at < len(broken) else b""
    return bytes(broken)


def some_path(rng: random.Random) -> str:
    return rng.choice(["/echo", "/echo", "/compressed", "/nowhere", f"/fail/{rng.choice(CALLBACKS)}"])


def garbage(rng: random.Random) -> list[bytes]:
    return [rng.randbytes(rng.choice([0, 1, 10, 100, 5000]))]


def broken_handshake(rng: random.Random) -> list[bytes]:
    return [mutated(rng, handshake(some_path(rng))), frame(rng)]


def valid_frames(rng: random.Random) -> list[bytes]:
    return [handshake(some_path(rng)), *(frame(rng) for _ in range(rng.randint(0, 6)))]


def broken_frames(rng: random.Random) -> list[bytes]:
    return [handshake(some_path(rng)), *(mutated(rng, frame(rng)) for _ in range(rng.randint(1, 6)))]


def garbage_behind_handshake(rng: random.Random) -> list[bytes]:
    return [handshake(some_path(rng)), rng.randbytes(rng.randint(1, 300))]


def half_a_stream(rng: random.Random) -> list[bytes]:
    whole = b"".join(valid_frames(rng))
    return [whole[: rng.randrange(len(whole))]]


STREAM_KINDS = [garbage, broken_handshake, valid_frames, broken_frames, garbage_behind_handshake, half_a_stream]


# How it is thrown, and how it ends.


async def drop(stream: trio.SocketStream) -> None:
    """Leave without reading: the kernel resets if something had come."""


async def reset(stream: trio.SocketStream) -> None:
    await ScriptedPeer(stream).abort()


async def read_some(stream: trio.SocketStream) -> None:
    await stream.send_eof()
    await stream.receive_some(1000)


async def read_all(stream: trio.SocketStream) -> None:
    await stream.send_eof()
    async for _ in stream:
        pass


ENDINGS: list[Callable[[trio.SocketStream], Awaitable[None]]] = [drop, reset, read_some, read_all]


async def throw(port: int, seed: int) -> None:
    """Throw one stream; whatever the server makes of it is right, as long as it goes on."""
    rng = random.Random(seed)
    chunks, end = rng.choice(STREAM_KINDS)(rng), rng.choice(ENDINGS)
    if rng.random() < 0.3:
        chunks = [b"".join(chunks)]
    with suppress(trio.BrokenResourceError):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            for chunk in chunks:
                await stream.send_all(chunk)
            await end(stream)


async def throw_batch(port: int, seeds: range, healthy: WebSocketConnection) -> None:
    """Throw a batch at once, while the healthy client echoes on."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo_on, healthy, seeds)
        for seed in seeds:
            nursery.start_soon(throw, port, seed)


async def hold_half_open(port: int, streams: AsyncExitStack) -> None:
    """Stop in the middle of a handshake or a frame, and stay: neither a word more nor an end."""
    for seed in range(AT_ONCE // 2):
        stream = await streams.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
        [half] = half_a_stream(random.Random(seed))
        await stream.send_all(half[:1000])


async def echo_on(healthy: WebSocketConnection, seeds: range) -> None:
    for seed in seeds[:: len(seeds) // 5]:
        for message in (f"echo {seed}", f"echo {seed}".encode()):
            await healthy.send_message(message)
            assert await healthy.get_message() == message


def open_healthy(server: ServerProcess) -> AbstractAsyncContextManager[WebSocketConnection]:
    return open_websocket("127.0.0.1", server.port, "/echo", use_ssl=False)


@asynccontextmanager
async def open_inspector(server: ServerProcess) -> AsyncIterator[Inspector]:
    async with await ScriptedPeer.connect(server.port) as peer:
        yield Inspector(peer, server)


class Inspector:
    """A plain HTTP connection that asks until the answer is as expected; each question gives the server a turn."""

    def __init__(self, peer: ScriptedPeer, server: ServerProcess) -> None:
        self.peer = peer
        self.server = server

    async def snapshot(self) -> dict[str, int]:
        await self.peer.send(b"GET /snapshot HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        found_counts: dict[str, int] = json.loads((await self.peer.receive_answer()).body)
        return found_counts

    async def wait_idle(self) -> dict[str, int]:
        """Ask until no connection is open any more."""
        while (counts := await self.snapshot())["open"]:
            pass
        return counts

    async def wait_descriptors(self, expected: int) -> None:
        """Ask until the server has ``expected`` file descriptors, ours among them."""
        while self.server.count_descriptors() != expected:
            await self.snapshot()


async def test_ten_thousand_hostile_streams_leave_nothing_behind(server: ServerProcess) -> None:
    with trio.fail_after(PATIENCE):
        async with open_inspector(server) as inspector:
            await inspector.snapshot()
            descriptors = server.count_descriptors()
        async with open_healthy(server) as healthy, AsyncExitStack() as half_open:
            await hold_half_open(server.port, half_open)
            for first in range(FIRST_SEED, FIRST_SEED + STREAMS, AT_ONCE):
                await throw_batch(server.port, range(first, first + AT_ONCE), healthy)
        async with open_inspector(server) as inspector:
            counts = await inspector.wait_idle()
            await inspector.wait_descriptors(descriptors)
    assert counts["begun"] == counts["ended"] > STREAMS / 10
    assert server.process.poll() is None


def masked(opcode: int, payload: bytes) -> bytes:
    """A whole frame under the mask of zeros."""
    return bytes([0x80 | opcode]) + length(len(payload)) + bytes(4) + payload


# What makes each callback run; the others need no more than the handshake.
PROVOCATIONS = {
    "handle_in": masked(1, b"text"),
    "handle_control": masked(9, b"ping"),
    "terminate": masked(8, b"\x03\xe8"),
}


@pytest.mark.parametrize("callback", CALLBACKS)
async def test_a_callback_that_raises_ends_its_own_connection_only(server: ServerProcess, callback: str) -> None:
    provocation = handshake(f"/fail/{callback}") + PROVOCATIONS.get(callback, b"")
    ends = []

    async def provoke() -> None:
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(provocation)
            ends.append(b"".join([data async for data in stream])[-4:])

    with trio.fail_after(PATIENCE):
        async with open_healthy(server) as healthy, trio.open_nursery() as nursery:
            nursery.start_soon(echo_on, healthy, range(AT_ONCE))
            for _ in range(20):
                nursery.start_soon(provoke)
        async with open_inspector(server) as inspector:
            counts = await inspector.wait_idle()
    close = b"\x88\x02\x03\xe8" if callback == "terminate" else b"\x88\x02\x03\xf3"  # 1000 or 1011
    assert ends == [close] * 20
    assert counts.get("failing ended", 0) == (0 if callback == "init" else 20)


async def test_a_server_still_ends_in_good_order_after_hostile_streams(server: ServerProcess) -> None:
    with trio.fail_after(PATIENCE):
        async with open_healthy(server) as healthy:
            await throw_batch(server.port, range(AT_ONCE), healthy)
        server.process.send_signal(signal.SIGINT)
        assert await trio.to_thread.run_sync(server.process.wait) == 0
