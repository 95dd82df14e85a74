"""One connection's life up to a moment: a server on a pair of sockets, a handler that waits there, and the peer.

Tests say how it then ends; see ``test_endings.py``.
"""

from __future__ import annotations

import importlib
import os
import socket

import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock import NORMAL, Ok, Push, Stop, serve, upgrade
from trio_websock.hosts.wire import SocketWire

ways = importlib.import_module("ways")

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

    def __init__(self, moment, way=ways.awaiting):
        self.moment = moment
        self.way = way  # a callback comes to run
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
        return upgrade(self.way(self), None)

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


def watch_any_socket():
    """Have what all sockets of a Trio run share been opened: it stays as long as the run."""
    ours, theirs = socket.socketpair()
    SocketWire(ours).abort()
    theirs.close()


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
