"""A server under a mixed load for as long as you like, and what it has kept in the end.

::

    python benchmarks/soak.py --minutes 20

A server in a process of its own serves on the loopback while clients of every kind come and go: some echo, some
broadcast through mailboxes, some connect for one message; others reset, send half a frame, send garbage, never read,
are slow to ask, or hit a handler that fails. Every few seconds memory, file descriptors and tasks of the server are
noted. A tenth of the time goes into warming up. In the end, when everyone has left, there must be as many descriptors,
tasks and blocks of Python's memory as after the warming up, no growth of resident memory between the second and the
last quarter of the run, and the counters must add up. The exit status says so. In a run of less than ten minutes,
resident memory is shown and not judged: the allocator has not settled yet.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import random
import re
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

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
from trio_websock.messages import Incoming, encode_message
from trio_websock.protocol.deflate import PerMessageDeflate, accept_deflate, offer_deflate
from trio_websock.protocol.machine import Limits, Machine, Role

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
KIB = 1024
SPARE_BLOCKS = 2000  # that may come and go: caches of the interpreter, what the last questions left behind
WARM = 600  # seconds of a run from which on memory is judged
UNLIMITED = Limits(max_message_size=None, max_frame_size=None, max_empty_fragments=1024, validate_utf8=True)
HANDSHAKE = (
    b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n"
)
PLAIN = HANDSHAKE % (b"/echo", b"")

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

# The server.

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


# Clients.


class Client:
    """A WebSocket client in the fewest words: our own machine in the client's role over a socket."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._machine = Machine(Role.CLIENT, UNLIMITED)
        self._arrived: list[Incoming] = []

    async def shake_hands(self, path: str, *, compress: bool = False) -> None:
        offer = f"Sec-WebSocket-Extensions: {offer_deflate(DEFLATE)}\r\n" if compress else ""
        await self._stream.send_all(HANDSHAKE % (path.encode(), offer.encode()))
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = await self._stream.receive_some()
            if not data:
                raise trio.BrokenResourceError("no answer")
            answer += data
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        if compress:
            parameters = accept_deflate(re.findall(r"Sec-WebSocket-Extensions: (.*)", head.decode()), DEFLATE)
            assert parameters is not None, head
            self._machine = Machine(Role.CLIENT, UNLIMITED, PerMessageDeflate(parameters, Role.CLIENT))
        self._machine.receive_data(rest)

    async def send(self, message: str | bytes) -> None:
        self._machine.send_message(*encode_message(message))
        await self._flush()

    async def receive(self) -> Incoming | None:
        """The next message; ``None`` when the server has closed."""
        while not self._arrived:
            self._arrived += self._machine.next_batch(64)
            if self._arrived or self._machine.peer_close is not None:
                break
            assert self._machine.failure is None, self._machine.failure
            data = await self._stream.receive_some()
            if not data:
                break
            self._machine.receive_data(data)
        return self._arrived.pop(0) if self._arrived else None

    async def close(self) -> None:
        self._machine.send_close(1000)
        await self._flush()
        while await self.receive() is not None:
            pass

    async def _flush(self) -> None:
        await self._stream.send_all(b"".join(self._machine.data_to_send()))


@asynccontextmanager
async def open_client(port: int, path: str, *, compress: bool = False) -> AsyncIterator[Client]:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        client = Client(stream)
        await client.shake_hands(path, compress=compress)
        yield client


def some_message(rng: random.Random) -> str | bytes:
    size = rng.choice((0, 5, 32, 125, 126, 1000, 20_000, 100_000))
    return rng.choice(("x" * size, bytes(size)))


# What clients do, each as often as it can until the end. Those that misbehave may be cut off at any moment.


async def echo(port: int, rng: random.Random) -> int:
    async with open_client(port, "/echo", compress=rng.random() < 0.3) as client:
        for number in range(50):
            message = some_message(rng)
            await client.send(message)
            assert await client.receive() == message, f"echo {number}"
        await client.close()
    return 50


async def churn(port: int, rng: random.Random) -> int:
    async with open_client(port, "/echo") as client:
        await client.send("once")
        assert await client.receive() == "once"
        await client.close()
    return 1


async def broadcast(port: int, rng: random.Random) -> int:
    async with open_client(port, "/members") as client:
        for number in range(20):
            await client.send(f"news {number}")
            for _ in range(rng.randrange(8)):
                assert isinstance(await client.receive(), str)
        await client.close()
    return 20


async def fail(port: int, rng: random.Random) -> int:
    async with open_client(port, "/fail") as client:
        await client.send("fail")
        with trio.move_on_after(rng.random()):
            await client.receive()
    return 0


async def reset(port: int, rng: random.Random) -> int:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await Client(stream).shake_hands(rng.choice(("/echo", "/members")))
        await stream.send_all(b"\x82\xfe\xff\xff\0\0\0\0" + bytes(rng.randrange(70_000)))
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return 0


async def send_half(port: int, rng: random.Random) -> int:
    """Half a handshake, or half a frame; then nothing, until one of us has had enough."""
    whole = PLAIN + b"\x81\x85\0\0\0\0hello" * 3
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(whole[: rng.randrange(1, len(whole))])
        with trio.move_on_after(rng.random() * 4):
            async for _ in stream:
                pass
    return 0


async def send_garbage(port: int, rng: random.Random) -> int:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        if rng.random() < 0.7:
            await Client(stream).shake_hands("/echo")
        await stream.send_all(rng.randbytes(rng.randrange(1, 500)))
        await stream.send_eof()
        async for _ in stream:
            pass
    return 0


async def never_read(port: int, rng: random.Random) -> int:
    """Have much echoed and read nothing of it: the server has to give up on us."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await Client(stream).shake_hands("/echo")
        with trio.move_on_after(10):
            for _ in range(1000):
                await stream.send_all(b"\x82\xfe\xff\xff\0\0\0\0" + bytes(65535))
    return 0


async def ask_slowly(port: int, rng: random.Random) -> int:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for byte in PLAIN:
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.05)
    return 0


async def stay_silent(port: int, rng: random.Random) -> int:
    async with open_client(port, "/echo") as client:
        while await client.receive() is not None:
            pass
    return 0


LOAD: dict[Callable[[int, random.Random], Awaitable[int]], int] = {
    echo: 8,
    churn: 4,
    broadcast: 10,
    fail: 4,
    reset: 2,
    send_half: 6,
    send_garbage: 3,
    never_read: 2,
    ask_slowly: 3,
    stay_silent: 3,
}
WELL_BEHAVED = {echo, churn, broadcast, stay_silent}
REST = {churn: 0.01, reset: 0.02, send_garbage: 0.02, fail: 0.01}  # seconds; or they would crowd out all others


async def repeat(act: Callable[[int, random.Random], Awaitable[int]], port: int, seed: int, done: Counter[str]) -> None:
    rng = random.Random(seed)
    while True:
        try:
            messages = await act(port, rng)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            assert act not in WELL_BEHAVED, f"{act.__name__} was cut off"
        else:
            done["messages"] += messages
        done[act.__name__] += 1
        await trio.sleep(REST.get(act, 0))


# Watching.


class Sample(NamedTuple):
    """The server at one moment."""

    seconds: float
    memory: int  # KiB resident
    descriptors: int
    tasks: int
    open_clients: int
    snapshot: Counter[str]


class Inspector:
    """Asks the server and the kernel about the server, each time on a connection of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self._port = port
        self._start = time.monotonic()

    async def sample(self) -> Sample:
        async with self._ask() as snapshot:
            directory = Path("/proc", str(self._process.pid))
            memory = int((directory / "statm").read_text().split()[1]) * PAGE_SIZE // KIB
            descriptors = len(os.listdir(directory / "fd"))
        now = time.monotonic() - self._start
        return Sample(now, memory, descriptors, snapshot["tasks"], snapshot["open_clients"], snapshot)

    @asynccontextmanager
    async def _ask(self) -> AsyncIterator[Counter[str]]:
        async with await trio.open_tcp_stream("127.0.0.1", self._port) as stream:
            await stream.send_all(b"GET /snapshot HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                data = await stream.receive_some()
                assert data, f"no answer behind {answer!r}"
                answer += data
            yield Counter(json.loads(answer.partition(b"\r\n\r\n")[2]))

    async def wait_alone(self) -> Sample:
        """Wait until nobody is left but us."""
        with trio.fail_after(60):
            while (sample := await self.sample()).open_clients > 1:  # noqa: ASYNC110  # it is in another process
                await trio.sleep(0.2)
        return sample


async def soak(port: int, process: subprocess.Popen[str], seconds: float) -> bool:
    done: Counter[str] = Counter()
    samples: list[Sample] = []
    inspector = Inspector(process, port)
    with trio.move_on_after(seconds / 10):  # what is kept once, however long it goes on
        await bear_down(port, done)
    before = await inspector.wait_alone()
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bear_down, port, done)
            while True:
                await trio.sleep(min(5, seconds / 20))
                samples.append(await inspector.sample())
                if len(samples) % 12 == 0:
                    print(_line(samples[-1]), flush=True)
    after = await inspector.wait_alone()
    return report(before, samples, after, done)


async def bear_down(port: int, done: Counter[str]) -> None:
    async with trio.open_nursery() as nursery:
        for act, number in LOAD.items():
            for seed in range(number):
                nursery.start_soon(repeat, act, port, seed, done)


def _line(sample: Sample) -> str:
    return (
        f"{sample.seconds:6.0f} s: {sample.memory} KiB, {sample.descriptors} descriptors, {sample.tasks} tasks,"
        f" {sample.open_clients} clients, {sample.snapshot['connections']} connections so far"
    )


def report(before: Sample, samples: list[Sample], after: Sample, done: Counter[str]) -> bool:
    snapshot = after.snapshot
    quarter = math.ceil(len(samples) / 4)
    early = median(sample.memory for sample in samples[quarter : 2 * quarter])
    late = median(sample.memory for sample in samples[-quarter:])
    print(f"{after.seconds:.0f} seconds, {len(samples)} samples")
    print(f"clients: {dict(sorted(done.items()))}")
    print(f"server: {dict(sorted(snapshot.items()))}")
    print(f"most at once: {max(s.open_clients for s in samples)} clients, {max(s.tasks for s in samples)} tasks")
    print(f"memory in KiB: {before.memory} before, {early:.0f} early, {late:.0f} late, {after.memory} after")
    # Plain requests are ours, and the last one was not answered yet when the server counted.
    unasked = snapshot["clients"] - snapshot["connections"] - snapshot["handshake_failures"] - snapshot["requests"] - 1
    blocks = snapshot["blocks"] - before.snapshot["blocks"]
    connections = snapshot["connections"] - before.snapshot["connections"]
    verdicts = {
        f"file descriptors: {before.descriptors} before, {after.descriptors} after": (
            before.descriptors == after.descriptors
        ),
        f"tasks: {before.tasks} before, {after.tasks} after": before.tasks == after.tasks,
        f"memory late is at most 3 % and 1 MiB above early: {late - early:+.0f} KiB": (
            late <= early * 1.03 + KIB or after.seconds < WARM
        ),
        f"blocks of Python's memory: {blocks:+} in {connections} connections, at most {SPARE_BLOCKS}": (
            blocks <= SPARE_BLOCKS
        ),
        "every init that succeeded was told its end": snapshot["begun"] == snapshot["ended"] > 0,
        "every connection succeeded in init or failed in it": (
            snapshot["connections"] == snapshot["begun"] + snapshot["failed inits"]
        ),
        f"every client upgraded, failed to, or was cut off by the end of the load: {unasked} of these": (
            0 <= unasked <= 2 * sum(LOAD.values())
        ),
        "no connection is open, no mailbox kept": snapshot["open_connections"] == snapshot["members"] == 0,
        "the application function never failed": snapshot["application_errors"] == 0,
    }
    for words, holds in verdicts.items():
        print(f"{'ok    ' if holds else 'FAILED'}  {words}")
    return all(verdicts.values())


def main() -> None:
    parser = argparse.ArgumentParser(description="Soak a server in a mixed load.")
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        trio.run(run_server)
        return
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            sys.exit(not trio.run(soak, port, process, arguments.minutes * 60))
        finally:
            process.kill()


if __name__ == "__main__":
    main()
