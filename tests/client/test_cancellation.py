"""Cancellation at every step of a client: the server gets whole frames, then a close frame or the end of the stream.

An instrument counts the steps that Trio gives to the tasks of a client, and strikes before one of them. Each claim is
asked for every step there is, until the client gets through without being struck. The server is ours to write: it is
slow, its buffers are small, and its reader of frames is independent.
"""

from __future__ import annotations

import gc
import importlib
import itertools
import socket
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair

from trio_websock import open_websocket
from trio_websock.protocol.upgrade import accept_key

certificates = importlib.import_module("certificates")

SMALL = [bytes([number]) * 100 for number in range(60)]
LARGE = [b"L" * (512 * 1024), b"behind it"]
GREETINGS = [f"greeting {number}" for number in range(20)]
PATIENCE = 1000  # seconds of virtual time: whoever needs them hangs

is_client: ContextVar[bool] = ContextVar("is_client", default=False)


# An independent reader of frames


def parse_frames(data):
    """The whole frames of a client as (opcode, payload), and what is left; any doubt is an error."""
    frames, position = [], 0
    while len(data) - position >= 2:
        first, second = data[position], data[position + 1]
        assert first in (0x82, 0x88, 0x8A), f"no head of a frame that was sent: {data[position : position + 10]!r}"
        assert second & 0x80, "not masked"
        size, start = second & 0x7F, position + 2
        if size >= 126:
            start += 2 if size == 126 else 8
            size = int.from_bytes(data[position + 2 : start])
        if start + 4 + size > len(data):
            break
        key = int.from_bytes((data[start : start + 4] * (size // 4 + 1))[:size])
        frames.append((first & 0xF, (int.from_bytes(data[start + 4 : start + 4 + size]) ^ key).to_bytes(size)))
        position = start + 4 + size
    return frames, data[position:]


# The server


async def pause(steps):
    """Let everybody else go on for a while, without a clock."""
    for _ in range(steps):
        await trio.lowlevel.checkpoint()


async def serve_slowly(stream, received, size):
    """Shake hands, greet, and read to the end; a close frame is answered."""
    try:
        head = bytearray()
        while b"\r\n\r\n" not in head:
            data = await stream.receive_some(size)
            if not data:
                return
            head += data
        key = head.partition(b"Sec-WebSocket-Key: ")[2][:24].decode()
        answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        await stream.send_all(f"{answer}Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n".encode())
        for greeting in GREETINGS:
            await stream.send_all(b"\x81" + bytes([len(greeting)]) + greeting.encode())
            await pause(2)
        while data := await stream.receive_some(size):
            received += data
            await pause(3)
            if b"\x88\x82" in data[-10:] and any(opcode == 8 for opcode, _ in parse_frames(received)[0]):
                await stream.send_all(b"\x88\x00")
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the client has left: as good an end as any


# The streams in between


class Unix:
    """A pair of sockets with small buffers."""

    url = "ws://localhost/"
    context = None

    @staticmethod
    def open(size):
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        return [trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in (ours, theirs)]


class Tls(Unix):
    """TLS over such a pair."""

    url = "wss://localhost/"
    server, context = certificates.localhost_contexts()

    @classmethod
    def open(cls, size):
        ours, theirs = Unix.open(size)
        return [ours, trio.SSLStream(theirs, cls.server, server_side=True, https_compatible=True)]


class Memory(Unix):
    """A stream of Trio's that passes on nothing before it is asked for."""

    @staticmethod
    def open(size):
        return lockstep_stream_pair()


# The strike


@dataclass(eq=False)
class Striker(trio.abc.Instrument):
    """Cancels a scope, once, before one step of the client's tasks."""

    step: int
    scope: trio.CancelScope | None = None
    steps: itertools.count = field(default_factory=itertools.count)
    has_struck: bool = False

    def before_task_step(self, task):
        if self.scope is not None and task.context.get(is_client) and next(self.steps) == self.step:
            self.has_struck = True
            self.scope.cancel()


async def run_struck(body, kind, size, striker):
    """What the server got of a client whose ``body(open_client, striker)`` was struck."""
    ours, theirs = kind.open(size)
    received = bytearray()

    async def run():
        is_client.set(True)
        await body(partial(open_websocket, kind.url, stream=ours, ssl_context=kind.context), striker)
        striker.scope = None

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery, theirs:
            nursery.start_soon(run)
            await serve_slowly(theirs, received, max(size, 1000))
    return received


def sweep(body, check, kind, size):
    """Strike before every step there is; how many there were."""
    for step in itertools.count():
        trio._core._run._r.seed(step)  # Trio shuffles what is due in one turn, and has no public way to say how
        striker = Striker(step)
        clock = MockClock(autojump_threshold=0)
        received = trio.run(run_struck, body, kind, size, striker, clock=clock, instruments=[striker])
        frames, rest = parse_frames(received)
        check(frames, rest)
        gc.collect() if step % 50 == 0 else None  # a socket that is left open is a ResourceWarning, which is an error
        if not striker.has_struck:
            return step


def split(frames):
    """The messages, and the codes of the close frames behind them; pongs are nobody's concern here."""
    messages = [payload for opcode, payload in frames if opcode == 2]
    closes = [int.from_bytes(payload) for opcode, payload in frames if opcode == 8]
    assert [opcode for opcode, _ in frames] == [2] * len(messages) + [8] * len(closes)
    return messages, closes


every_kind = pytest.mark.parametrize("kind", [Unix, Tls, Memory])
every_load = pytest.mark.parametrize(("messages", "size"), [(SMALL, 2048), (LARGE, 2**14)], ids=["small", "large"])


@every_load
@every_kind
def test_a_client_that_is_cancelled_anywhere_leaves_whole_frames_or_a_dead_connection(kind, messages, size):
    async def body(open_client, striker):
        start = trio.current_time()
        with trio.CancelScope() as striker.scope:
            async with open_client() as websocket:
                for message in messages:
                    await websocket.send(message)
                assert await websocket.receive() == GREETINGS[0]
        assert trio.current_time() == start, "it waited for somebody"

    def check(frames, rest):
        sent, closes = split(frames)
        assert sent == messages[: len(sent)]
        assert closes in ([], [1000], [1001])
        if closes:
            assert not rest
        if closes == [1000]:
            assert sent == messages

    assert sweep(body, check, kind, size) > 15


@every_load
@pytest.mark.parametrize("kind", [Unix, Tls])
def test_a_send_that_is_cancelled_anywhere_goes_out_whole_or_not_at_all(kind, messages, size):
    async def body(open_client, striker):
        async with open_client() as websocket:
            with trio.CancelScope() as striker.scope:
                for message in messages:
                    await websocket.send(message)
            striker.scope = None
            await websocket.send(b"last")

    def check(frames, rest):
        sent, closes = split(frames)
        assert sent == [*messages[: len(sent) - 1], b"last"]
        assert (closes, bytes(rest)) == ([1000], b"")

    assert sweep(body, check, kind, size) > 5


@every_kind
def test_a_receive_that_is_cancelled_anywhere_loses_no_message(kind):
    async def body(open_client, striker):
        received = []
        async with open_client() as websocket:
            while len(received) < len(GREETINGS):
                with trio.CancelScope() as striker.scope:
                    while len(received) < len(GREETINGS):
                        received.append(await websocket.receive())
            striker.scope = None
        assert received == GREETINGS

    def check(frames, rest):
        assert (split(frames), bytes(rest)) == (([], [1000]), b"")

    assert sweep(body, check, kind, 2048) > 5


@every_kind
def test_a_close_that_is_cancelled_anywhere_is_a_close(kind):
    async def body(open_client, striker):
        async with open_client() as websocket:
            await websocket.send(b"before")
            with trio.CancelScope() as striker.scope:
                await websocket.close(3000)
            assert websocket.closed.code == 3000

    def check(frames, rest):
        assert (split(frames), bytes(rest)) == (([b"before"], [3000]), b"")

    assert sweep(body, check, kind, 2048) > 2
