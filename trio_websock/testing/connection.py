"""A handler on a connection without a socket: for an application's tests, in virtual time.

In: a handler and the options of its connection. Out: a :class:`TestConnection` that plays the peer, in whole
messages. The handler runs in the real runtime; only the wire is missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Unpack, final

import trio
import trio.testing

from ..behaviour.handler import BoundHandler, bind_handler
from ..behaviour.reasons import Error, Reason, Remote
from ..codes import Opcode
from ..connection import Connection
from ..errors import ConnectionLost
from ..messages import Incoming, Message, Ping, Pong, encode_message
from ..nursery import run_connection
from ..options import ConnectionKeywords, Options
from .memory_transport import MemoryTransport

if TYPE_CHECKING:
    from ..request import Request

__all__ = ["TestConnection", "open_test_connection"]


@final
class TestConnection:
    """The peer's side of a connection under test."""

    __test__ = False  # not a test case, whatever pytest makes of the name

    def __init__(self, connection: Connection, transport: MemoryTransport) -> None:
        #: The connection as the handler sees it: its mailbox, its nursery.
        self.connection = connection
        #: What the runtime believes to be the wire, for what this class has no word for.
        self.transport = transport
        #: What ``terminate`` was told, or would have been; ``None`` until the connection has ended.
        self.reason: Reason | None = None
        self._ended = trio.Event()
        self._seen = 0

    async def send(self, *messages: Message) -> None:
        """Have messages arrive together, and wait until the handler has nothing more to do."""
        self.transport.put(*[_arrival_of(message) for message in messages])
        await trio.testing.wait_all_tasks_blocked()

    async def post(self, *items: Any) -> None:
        """Send items into the mailbox, and wait until the handler has nothing more to do."""
        for item in items:
            await self.connection.mailbox.send(item)
        await trio.testing.wait_all_tasks_blocked()

    async def close(self, code: int | None = 1000, text: str = "") -> None:
        """Have the peer's close frame arrive."""
        self.transport.put(Remote(code, text))
        await trio.testing.wait_all_tasks_blocked()

    async def drop(self) -> None:
        """Have the stream end without a close frame."""
        self.transport.put(Error(ConnectionLost("dropped by the test")))
        await trio.testing.wait_all_tasks_blocked()

    def received(self) -> list[Incoming]:
        """What the handler has sent since the last look, in order."""
        messages = [entry for entry in self.transport.taken[self._seen :] if entry != self.transport.close]
        self._seen = len(self.transport.taken)
        return [_incoming_of(Opcode(opcode), payload) for opcode, payload in messages if opcode is not None]

    @property
    def close_sent(self) -> tuple[int | None, str] | None:
        """Code and text of the close frame the peer has got; ``None`` if there is none."""
        close = self.transport.close
        return None if close is None or close not in self.transport.taken else (close[0], close[1].decode())

    async def wait_ended(self) -> Reason | None:
        """Wait until the connection is over; what ``terminate`` was told."""
        await self._ended.wait()
        return self.reason

    async def _run(self, handler: BoundHandler, args: object) -> None:
        try:
            self.reason = await run_connection(self.connection, handler, args)
        finally:
            self._ended.set()


@asynccontextmanager
async def open_test_connection(
    handler: object,
    args: object = None,
    *,
    request: Request | None = None,
    first: Iterable[Message] = (),
    **options: Unpack[ConnectionKeywords],
) -> AsyncIterator[TestConnection]:
    """Run ``handler`` on a connection whose other end is in the test's hands.

    Use it with pytest-trio's ``autojump_clock``: timeouts then pass at once. The connection is cancelled at the end
    of the block, if it is still running.

    Args:
        handler: class, instance or module.
        args: for ``init``.
        request: what ``current_connection().request`` is.
        first: messages that came in one packet with the handshake.
        options: as for ``upgrade``.
    """
    transport = MemoryTransport()
    transport.put(*[_arrival_of(message) for message in first])
    connection = Connection(transport, Options(**options), request)
    test = TestConnection(connection, transport)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(test._run, bind_handler(handler), args)
        await trio.testing.wait_all_tasks_blocked()
        yield test
        nursery.cancel_scope.cancel()


def _arrival_of(message: Message) -> Incoming:
    if isinstance(message, str | bytes | Ping | Pong):
        return message
    opcode, payload = encode_message(message)
    return payload.decode() if opcode is Opcode.TEXT else payload


def _incoming_of(opcode: Opcode, payload: bytes) -> Incoming:
    if opcode is Opcode.TEXT:
        return payload.decode()
    if opcode is Opcode.BINARY:
        return payload
    return Ping(payload) if opcode is Opcode.PING else Pong(payload)
