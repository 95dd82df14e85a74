"""Cancellation at every step of a connection: the peer gets whole frames, then a close frame or the end of the stream.

A connection is struck when one of its tasks has just been woken, or has just been suspended. Each claim is asked for
every such moment there is, until the connection gets through without being struck.
"""

from __future__ import annotations

import importlib
import logging
import math
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair

from trio_websock import NORMAL, Ok, Options, Push, Stop, current_connection, serve
from trio_websock.behaviour.handler import bind_handler
from trio_websock.connection import Connection
from trio_websock.hosts.stream import StreamTransport
from trio_websock.hosts.stream_wire import StreamWire
from trio_websock.hosts.tls import TlsWire
from trio_websock.hosts.wire import SocketWire
from trio_websock.nursery import run_connection
from trio_websock.protocol.machine import Limits, Machine, Role
from trio_websock.testing import each_checkpoint

certificates = importlib.import_module("certificates")
ways = importlib.import_module("ways")

LIMITS = Limits(max_message_size=2**20, max_frame_size=None, max_empty_fragments=10, validate_utf8=True)
KEY = b"\0\0\0\0"  # masks nothing, so that the bytes below can be read
CLOSE = b"\x88\x82" + KEY + b"\x03\xe8"
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SCRIPT = b"".join(b"\x81" + bytes([0x80 | len(word)]) + KEY + word for word in (b"first", b"second", b"stop"))

# What is pushed by the first callback; the buffers are so small that it takes several writes.
MANY_SMALL = [bytes([number]) * 100 for number in range(150)]
SECOND = [b"second", b"third"]


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Thousands of connections fail here, and each would be logged with its traceback."""
    monkeypatch.setattr(logging.getLogger("trio_websock.connection"), "disabled", True)


class Boom(Exception):
    pass


# An independent reader of frames


def parse_frames(data):
    """The whole frames of a server as (opcode, payload), and what is left; any doubt is an error."""
    frames = []
    position = 0
    while len(data) - position >= 2:
        first, size = data[position], data[position + 1]
        assert first in (0x82, 0x88), f"no head of a frame that was sent: {data[position : position + 10]!r}"
        start = position + 2
        if size >= 126:
            start += 2 if size == 126 else 8
            size = int.from_bytes(data[position + 2 : start])
            assert size > 125, "not the shortest length"
        if start + size > len(data):
            break
        frames.append((first & 0xF, bytes(data[start : start + size])))
        position = start + size
    return frames, data[position:]


def serialize_message(payload):
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7f" + size.to_bytes(8)
    return b"\x82" + length + payload


async def pause(steps):
    """Let everybody else go on for a while, without a clock."""
    for _ in range(steps):
        await trio.lowlevel.checkpoint()


# The connection that is struck


@dataclass
class Struck:
    """One connection, its handler, and what is needed to strike it."""

    pushed: list[bytes]
    way: Callable[[object], object] = ways.awaiting
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)  # of the handler's own
    outer: trio.CancelScope = field(default_factory=trio.CancelScope)  # of the whole connection
    failing: trio.Event = field(default_factory=trio.Event)
    nursery: trio.Nursery | None = None
    connection: Connection | None = None
    is_reading: bool = True
    resumed: trio.Event = field(default_factory=trio.Event)
    has_state: bool = False
    has_terminated: bool = False
    told: list[object] = field(default_factory=list)

    async def init(self, args):
        self.nursery = current_connection().nursery
        self.nursery.start_soon(self.fail_when_struck)
        await trio.lowlevel.checkpoint()
        self.has_state = True
        return Ok(None)

    async def fail_when_struck(self):
        await self.failing.wait()
        raise Boom

    async def handle_in(self, message, state):
        if message == "first":
            return Push(self.pushed, state)
        if message == "stop":
            return Stop(NORMAL, state)
        with self.scope:
            await pause(15)
        return Push(SECOND, state)

    async def terminate(self, reason, state):
        self.told.append(reason)
        await pause(3)
        self.has_terminated = True


# The ways to strike, the close codes they may end with, and whether they drop the peer


@dataclass
class Strike:
    name: str
    act: object
    code: int
    drops: bool = False

    def __str__(self):
        return self.name


def cancel_nursery(struck):
    if struck.nursery is not None:
        struck.nursery.cancel_scope.cancel()


def stop_reading(struck):
    struck.is_reading = False


STRIKES = [
    Strike("cancel the handler's own scope", lambda struck: struck.scope.cancel(), 1000),
    Strike("fail a task of the nursery", lambda struck: struck.failing.set(), 1011),
    Strike("cancel the nursery", cancel_nursery, 1001),
    Strike("cancel the connection", lambda struck: struck.outer.cancel(), 1001),
    Strike("shut down", lambda struck: struck.connection.shutdown_nowait(deadline=trio.current_time() + 1000), 1001),
    Strike("shut down at once", lambda struck: struck.connection.shutdown_nowait(deadline=-math.inf), 1001, drops=True),
    Strike("stop reading until the write timeout", stop_reading, 1000, drops=True),
]


# The wires


class Unix:
    """A pair of sockets with small buffers."""

    @staticmethod
    async def open(size):
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        return SocketWire(ours), trio.SocketStream(trio.socket.from_stdlib_socket(theirs))


class Tcp:
    """TCP over the loopback with small buffers."""

    @staticmethod
    async def open(size):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        return SocketWire(ours), trio.SocketStream(trio.socket.from_stdlib_socket(theirs))


class Tls:
    """TLS over such a pair."""

    server, client = certificates.localhost_contexts()

    @classmethod
    async def open(cls, size):
        wire, stream = await Unix.open(size)
        wire = TlsWire(wire, cls.server, server_side=True)
        stream = trio.SSLStream(stream, cls.client, server_hostname="localhost", https_compatible=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.handshake)
            nursery.start_soon(stream.do_handshake)
        return wire, stream


class Memory:
    """A stream of Trio's that passes on nothing before it is asked for."""

    @staticmethod
    async def open(size):
        ours, theirs = lockstep_stream_pair()
        return StreamWire(ours), theirs


async def read_slowly(struck, stream, size):
    """All that comes until the end; a close frame is answered."""
    received = bytearray()
    try:
        while data := await stream.receive_some(size):
            received += data
            if not struck.is_reading:
                await struck.resumed.wait()
            if b"\x88" in data[-20:]:
                await say(stream, CLOSE)
            await pause(3)
    except trio.BrokenResourceError:
        pass  # dropped: as good an end as any
    return received


async def say(stream, data):
    """Send, to a server that may long have stopped to listen."""
    try:
        await stream.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
        pass


async def run_struck(wire_kind, size, interruption, struck):
    """What the peer got of a connection that was struck."""
    wire, stream = await wire_kind.open(size)
    transport = StreamTransport(wire, Machine(Role.SERVER, LIMITS), None)
    struck.connection = Connection(transport, Options(write_timeout=30))

    async def run():
        with struck.outer:
            await run_connection(struck.connection, bind_handler(struck.way(struck)), None)
        struck.resumed.set()

    with interruption:
        async with trio.open_nursery() as nursery, stream:
            nursery.start_soon(say, stream, SCRIPT)
            nursery.start_soon(run)
            received = await read_slowly(struck, stream, max(size, 1000))
            await struck.connection.wait_ended()
    return received


def check_output(struck, received, strike, pushed, *, has_struck):
    frames, rest = parse_frames(received)
    closes = [int.from_bytes(payload[:2]) for opcode, payload in frames if opcode == 8]
    messages = [payload for opcode, payload in frames if opcode == 2]
    everything = [*pushed, *SECOND]
    assert messages == everything[: len(messages)]
    assert [opcode for opcode, _ in frames] == [2] * len(messages) + [8] * len(closes)
    assert len(struck.told) == struck.has_state
    assert struck.has_terminated == struck.has_state or (has_struck and strike.drops)
    if closes == [1000]:
        assert messages == everything
        assert not rest
    elif not (has_struck and strike.drops):
        assert closes == [strike.code]
        assert not rest
    if rest:  # of a frame that was cut off: nothing in it but its own
        following = [*map(serialize_message, everything), b"\x88\x02"][len(messages)]
        assert not closes
        assert following.startswith(rest) or rest[:1] == b"\x88"


def sweep(run, strike, pushed, clock=None, way=ways.awaiting):
    """Strike at every moment there is; how many there were."""

    def act(connection):
        strike.act(struck)

    for count, interruption in enumerate(each_checkpoint(act)):
        trio._core._run._r.seed(count)  # Trio shuffles what is due in one turn, and has no public way to say how
        struck = Struck(pushed, way)
        received = trio.run(run, interruption, struck, clock=clock and clock())
        check_output(struck, received, strike, pushed, has_struck=interruption.has_struck)
    return count


virtual_time = partial(MockClock, autojump_threshold=0)
every_strike = pytest.mark.parametrize("strike", STRIKES, ids=str)


@every_strike
@ways.EACH_WAY
@pytest.mark.parametrize("wire_kind", [Unix, Tls, Memory])
def test_small_messages_come_whole_whatever_step_is_struck(wire_kind, way, strike):
    assert sweep(partial(run_struck, wire_kind, 2048), strike, MANY_SMALL, virtual_time, way) > 40


@every_strike
@pytest.mark.parametrize(("wire_kind", "size"), [(Unix, 2), (Tls, 2), (Memory, 1)])
def test_large_message_comes_whole_or_its_connection_is_dead_whatever_step_is_struck(wire_kind, size, strike):
    assert sweep(partial(run_struck, wire_kind, 2**18), strike, [b"L" * (size * 2**20)], virtual_time) > 40


@pytest.mark.parametrize("strike", [strike for strike in STRIKES if strike.act is not stop_reading], ids=str)
def test_frames_come_whole_over_tcp_whatever_step_is_struck(strike):
    assert sweep(partial(run_struck, Tcp, 2048), strike, MANY_SMALL) > 40


# The same through a whole server


class Listener(trio.abc.Listener):
    """Hands a server the one socket a test has made."""

    def __init__(self, stream):
        self.stream = stream

    async def accept(self):
        while self.stream is None:
            await trio.sleep_forever()
        stream, self.stream = self.stream, None
        return stream

    async def aclose(self):
        await trio.lowlevel.checkpoint()


async def run_served(grace, interruption, struck):
    """What the peer got of a connection whose server was struck."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
    listener = Listener(trio.SocketStream(trio.socket.from_stdlib_socket(ours)))

    async def run():
        with struck.outer:
            await serve(struck.way(struck), listeners=[listener], grace=grace)

    stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
    with interruption:
        async with trio.open_nursery() as nursery, stream:
            nursery.start_soon(run)
            await say(stream, HANDSHAKE + SCRIPT)
            received = await read_slowly(struck, stream, 1000)
            struck.outer.cancel()
    head, _, frames = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    return frames


@ways.EACH_WAY
@pytest.mark.parametrize(("grace", "drops"), [(15, False), (0, True)], ids=["with grace", "without grace"])
def test_frames_come_whole_whatever_step_serve_is_cancelled_at(grace, drops, way):
    strike = Strike("cancel serve", lambda struck: struck.outer.cancel(), 1001, drops)
    assert sweep(partial(run_served, grace), strike, MANY_SMALL, virtual_time, way) > 40
