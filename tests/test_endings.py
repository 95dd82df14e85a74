"""Every way a connection can end, at every moment of its life: one ``terminate``, and nothing left behind.

A real server on real sockets: a pair of them and virtual time, or TCP where a reset is the point.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import struct
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_websock import (
    NORMAL,
    ConnectionLost,
    Error,
    FrameError,
    Normal,
    Ok,
    Push,
    Remote,
    Shutdown,
    Stop,
    Timeout,
    WriteTimeout,
    serve,
    upgrade,
)

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
KEY = b"\0\0\0\0"  # masks nothing, so that the bytes below can be read
CLOSE = b"\x88\x82" + KEY + b"\x03\xe8"
RESERVED_OPCODE = b"\x83\x80" + KEY
STUCK = "s" * 60_000  # more than a socket's buffer here, less than what makes the loop wait for the peer
HUGE = "h" * 1_000_000
BUFFER_SIZE = 4096


def text(payload):
    return b"\x81" + bytes([0x80 | len(payload)]) + KEY + payload.encode()


class Boom(Exception):
    pass


class Listener(trio.abc.Listener):
    """Hands a server the sockets a test has made."""

    def __init__(self):
        self._send, self._receive = trio.open_memory_channel(1)

    def connect(self, ours):
        self._send.send_nowait(trio.SocketStream(trio.socket.from_stdlib_socket(ours)))

    async def accept(self):
        return await self._receive.receive()

    async def aclose(self):
        self._receive.close()
        await trio.lowlevel.checkpoint()


def open_unix_pair():
    return socket.socketpair()


def open_tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.socket()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_SIZE)
        theirs.connect(listener.getsockname())
        ours, _ = listener.accept()
    return ours, theirs


class Life:
    """One connection's life up to a moment: the handler, the server and the peer of one test."""

    def __init__(self, moment):
        self.moment = moment
        self.reached = trio.Event()  # the moment
        self.gate = trio.Event()  # what is running at the moment goes on
        self.outcome = lambda: Ok(None)  # how it then ends
        self.calls = []
        self.listener = Listener()
        self.scope = trio.CancelScope()
        self.connection = None

    # The application

    async def application(self, request):
        await self.pause("before init")
        return upgrade(self, None)

    async def pause(self, moment):
        if moment == self.moment:
            self.reached.set()
            await self.gate.wait()
            return self.outcome()
        return Ok(None)

    async def init(self, args):
        self.calls.append("init")
        [self.connection] = self.server.connections
        return await self.pause("in init")

    async def handle_in(self, message, state):
        self.calls.append("handle_in")
        match message:
            case "stop":
                return Stop(NORMAL, None, close=4000)
            case "stuck":
                return Push(STUCK, state)
            case "huge":
                return Push(HUGE, state)
            case "last words":
                return Stop(NORMAL, state, messages=HUGE)
        return await self.pause(message)

    async def handle_info(self, info, state):
        self.calls.append("handle_info")
        return await self.pause("in handle_info")

    async def terminate(self, reason, state):
        self.calls.append(reason)
        await self.pause("in terminate")

    # The server and the peer

    async def serve(self, *, task_status):
        with self.scope:
            await serve(self.application, listeners=[self.listener], task_status=task_status)

    async def begin(self, nursery, open_pair):
        self.server = await nursery.start(self.serve)
        await wait_all_tasks_blocked()
        self.resources = count_resources()
        ours, theirs = open_pair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_SIZE)
        self.listener.connect(ours)
        self.stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        await self.stream.send_all(HANDSHAKE)
        if self.moment != "before init":
            assert (await self.stream.receive_some(1000)).endswith(b"\r\n\r\n")
        await BEGINNINGS[self.moment](self)

    async def read_to_the_end(self):
        """Everything the peer gets; its close frame is answered, as far as it can be told while reading."""
        received = bytearray()
        try:
            while data := await self.stream.receive_some(50_000):
                received += data
                if b"\x88" in data:
                    await self.stream.send_all(CLOSE)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # a reset, or a peer that has already said its last word
        return bytes(received)


def count_resources():
    return trio.lowlevel.current_statistics().tasks_living, len(os.listdir("/proc/self/fd"))


# The moments


async def wait_reached(life):
    await life.reached.wait()


async def wait_init(life):
    while life.connection is None:
        await trio.lowlevel.checkpoint()


async def begin_handle_in(life):
    await life.stream.send_all(text("in handle_in"))
    await wait_reached(life)


async def begin_handle_info(life):
    await wait_init(life)
    await life.connection.mailbox.send("x")
    await wait_reached(life)


async def begin_terminate(life):
    await life.stream.send_all(text("stop"))
    await wait_reached(life)


async def begin_writing(life):
    await life.stream.send_all(text("stuck") + text("while writing"))
    await wait_reached(life)


async def begin_waiting(life):
    await life.stream.send_all(text("huge"))
    await wait_all_tasks_blocked()


BEGINNINGS = {
    "before init": wait_reached,
    "in init": wait_reached,
    "idle": wait_init,
    "in handle_in": begin_handle_in,
    "in handle_info": begin_handle_info,
    "in terminate": begin_terminate,
    "while writing": begin_writing,  # behind a callback that is running
    "while the loop waits for the peer": begin_waiting,
}


WRITTEN = {"while writing": STUCK, "while the loop waits for the peer": HUGE}


# The endings


async def peer_closes(life):
    await life.stream.send_all(CLOSE)


async def peer_ends_the_stream(life):
    await life.stream.send_eof()


async def peer_resets(life):
    life.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    life.stream.socket.close()
    if life.connection is not None and life.moment not in ("before init", "in terminate"):
        await life.connection.closing.wait()


async def peer_breaks_the_protocol(life):
    await life.stream.send_all(RESERVED_OPCODE)


async def handler_stops(life):
    life.outcome = lambda: Stop(NORMAL, None)


async def callback_raises(life):
    life.outcome = raise_boom


def raise_boom():
    raise Boom


async def task_raises(life):
    async def fail():
        raise_boom()

    life.connection.nursery.start_soon(fail)


async def handler_cancels_its_nursery(life):
    life.connection.nursery.cancel_scope.cancel()


async def peer_is_silent(life):
    await trio.sleep(70)


async def peer_takes_nothing(life):
    await trio.sleep(40)


async def server_shuts_down(life):
    life.nursery.start_soon(life.server.shutdown)


async def server_aborts(life):
    life.nursery.start_soon(partial(life.server.shutdown, grace=0))


async def serve_is_cancelled(life):
    life.scope.cancel()


async def both_close(life):
    if life.moment == "idle":
        life.nursery.start_soon(life.server.shutdown)
    elif life.moment == "while the loop waits for the peer":
        await life.stream.send_all(text("stop"))
    life.outcome = lambda: Stop(NORMAL, None, close=4000)
    await life.stream.send_all(CLOSE)


LOST, BROKEN, RAISED = ConnectionLost, FrameError, Boom

# What terminate is told (of an Error: the class of its cause) and the code of the close frame, if there is one.
RULED = {
    peer_closes: (Remote(1000), 1000),
    peer_ends_the_stream: (LOST, None),
    peer_resets: (LOST, None),
    peer_breaks_the_protocol: (BROKEN, 1002),
    handler_stops: (Normal(), 1000),
    callback_raises: (RAISED, 1011),
    task_raises: (RAISED, 1011),
    handler_cancels_its_nursery: (Shutdown(), 1001),
    peer_is_silent: (Timeout(), 1001),
    peer_takes_nothing: (WriteTimeout, None),
    server_shuts_down: (Shutdown(), 1001),
    server_aborts: (Shutdown(), 1001),
    serve_is_cancelled: (Shutdown(), 1001),
    both_close: (Normal(), 4000),
}

NO_CALLBACK = "no callback runs then that could do it"
NO_NURSERY = "the nursery is not open then"
CLOCK_STANDS = "the idle clock stands still while we are busy, and does not run before and after"
NOTHING_WRITTEN = "nothing waits for the peer then"
NOT_OURS = "we have no close to send yet"

ALL = frozenset(BEGINNINGS)
IMPOSSIBLE = {
    handler_stops: {"before init": NO_CALLBACK, "idle": NO_CALLBACK, "while the loop waits for the peer": NO_CALLBACK},
    callback_raises: {
        "before init": "the application function answers 500 then",
        "idle": NO_CALLBACK,
        "while the loop waits for the peer": NO_CALLBACK,
    },
    task_raises: dict.fromkeys(["before init", "in terminate"], NO_NURSERY),
    handler_cancels_its_nursery: dict.fromkeys(["before init", "in terminate"], NO_NURSERY),
    peer_is_silent: dict.fromkeys(ALL - {"idle"}, CLOCK_STANDS),
    peer_takes_nothing: dict.fromkeys(ALL - {"while writing", "while the loop waits for the peer"}, NOTHING_WRITTEN),
    both_close: {"before init": NOT_OURS},
}

# Where init has not succeeded, nothing is terminated.
FAILS_INIT = {callback_raises, task_raises, handler_cancels_its_nursery, server_aborts}
REFUSED = {server_shuts_down, server_aborts, serve_is_cancelled}


def ruled(ending, moment):
    """What ``terminate`` is told and the close code; ``...`` in place of the first if it is not called."""
    reason, code = RULED[ending]
    if moment == "before init" and ending in REFUSED:
        return ..., None
    if moment == "in init" and ending in FAILS_INIT:
        return ..., code
    if moment == "in terminate":
        return Normal(), 4000
    if moment == "idle" and ending is both_close:
        return Shutdown(), 1001
    return reason, code


def possible(endings):
    return [
        pytest.param(ending, moment, id=f"{ending.__name__.replace('_', ' ')}, {moment}")
        for ending in endings
        for moment in BEGINNINGS
        if moment not in IMPOSSIBLE.get(ending, {})
    ]


def parse_frames(data):
    """The frames of a server, strictly: the opcodes and payloads of the whole ones, and what is left."""
    frames = []
    while len(data) >= 2:
        opcode, size, at = data[0] & 0xF, data[1], 2
        assert data[0] & 0xF0 == 0x80, "not one whole message"
        assert opcode in (1, 8)
        if size >= 126:
            at += 2 if size == 126 else 8
            size = int.from_bytes(data[2:at])
        assert size < 2**21, "no length we sent"
        if len(data) < at + size:
            break
        frames.append((opcode, data[at : at + size]))
        data = data[at + size :]
    return frames, data


# The test


async def live_and_end(ending, moment, open_pair):
    """The life that has been led, and what the peer got."""
    life = Life(moment)
    before = count_resources()
    with trio.fail_after(10_000):
        async with trio.open_nursery() as life.nursery:
            await life.begin(life.nursery, open_pair)
            await ending(life)
            if open_pair is open_unix_pair:
                await wait_all_tasks_blocked()
            life.gate.set()
            received = b"" if ending is peer_resets else await life.read_to_the_end()
            await wait_all_tasks_blocked()
            if life.connection is not None:
                life.reason = await life.connection.wait_ended()
            await life.stream.aclose()
            if ending not in REFUSED and not (ending is both_close and moment == "idle"):
                await wait_all_tasks_blocked()
                assert count_resources() == life.resources
            life.scope.cancel()
    assert count_resources() == before
    return life, received


def check_terminated(life, expected):
    reasons = [call for call in life.calls if not isinstance(call, str)]
    if expected is ...:
        assert reasons == []
        return
    [reason] = reasons
    assert life.calls[-1] is reason
    assert life.reason == reason
    if isinstance(expected, type):
        assert isinstance(reason, Error)
        assert isinstance(reason.cause, expected)
    else:
        assert reason == expected


def check_received(received, message, code, *, may_be_cut):
    if received.startswith(b"HTTP/1.1 503"):
        assert code is None
        return
    frames, rest = parse_frames(received.rpartition(b"\r\n\r\n")[2])
    expected = [(1, message.encode())] if message else []
    if code is not None:
        expected.append((8, code.to_bytes(2)))
    if may_be_cut:
        expected = expected[: len(frames)]
    assert [(opcode, payload[:2] if opcode == 8 else payload) for opcode, payload in frames] == expected
    assert may_be_cut or not rest


def check_logged(caplog, ending, moment):
    """An exception of the application is logged once; nothing else is an error of ours."""
    is_cut_off = ending is server_aborts and moment == "in terminate"
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == (RULED[ending][0] is RAISED or is_cut_off)


@pytest.mark.parametrize(("ending", "moment"), possible(ending for ending in RULED if ending is not peer_resets))
def test_end_is_told_once_and_leaves_nothing_behind(ending, moment, caplog):
    clock = MockClock(autojump_threshold=0)
    life, received = trio.run(live_and_end, ending, moment, open_unix_pair, clock=clock)
    reason, code = ruled(ending, moment)
    check_terminated(life, reason)
    check_received(received, WRITTEN.get(moment), code, may_be_cut=ending in (server_aborts, peer_takes_nothing))
    check_logged(caplog, ending, moment)
    gc.collect()


@pytest.mark.parametrize(("ending", "moment"), possible([peer_resets]))
def test_reset_is_told_once_and_leaves_nothing_behind(ending, moment, caplog):
    life, _ = trio.run(live_and_end, ending, moment, open_tcp_pair)
    check_terminated(life, ruled(ending, moment)[0])
    check_logged(caplog, ending, moment)
    gc.collect()


# A peer that is busy sending


async def stop_with_output(life):
    await life.stream.send_all(text("last words"))


async def speak_then_listen(end, moment):
    """What a peer gets that reads nothing before all it has to say has been taken, and how long that lasts."""
    life = Life(moment)
    async with trio.open_nursery() as life.nursery:
        await life.begin(life.nursery, open_unix_pair)
        await end(life)
        await life.stream.send_all(text("x") * 50_000)
        received = await life.read_to_the_end()
        await life.stream.aclose()
        life.scope.cancel()
    return received, trio.current_time()


@pytest.mark.parametrize(
    ("end", "moment", "message", "code"),
    [(stop_with_output, "idle", HUGE, 1000), (task_raises, "while writing", STUCK, 1011)],
    ids=["stop with output", "failure behind output"],
)
def test_peer_that_is_busy_sending_gets_to_read_what_it_is_owed(end, moment, message, code, caplog):
    clock = MockClock(autojump_threshold=0)
    received, seconds = trio.run(speak_then_listen, end, moment, clock=clock)
    check_received(received, message, code, may_be_cut=False)
    assert seconds < 1
