"""A connection as the application sees it from inside: facts about it, its mailbox and its nursery.

In: what the host knows, and the options. Out: the public :class:`Connection`, found by :func:`current_connection`.
It has no way to send: what callbacks return is all that drives the socket.
"""

from __future__ import annotations

import itertools
import sys
from contextvars import ContextVar
from typing import Any, final

import trio

from .behaviour.reasons import Reason, Shutdown
from .errors import StateError
from .inbox import Inbox
from .lifetime import Lifetime
from .mailbox import Mailbox
from .options import Options
from .request import Request
from .transport import Transport

__all__ = ["Connection", "current_connection"]

_ids = itertools.count(1)


@final
class Connection:
    """One WebSocket connection. Hosts make it; applications get it from :func:`current_connection`.

    Args:
        transport: the open WebSocket, owned from now on.
        options: of this connection.
        request: the HTTP request that became this connection; ``None`` where there was none.
    """

    __slots__ = (
        "_closing",
        "_ended",
        "_inbox",
        "_is_nursery_lent",
        "_lifetime",
        "_mailbox",
        "_nursery",
        "_options",
        "_transport",
        "_unhandled",
        "handler",
        "id",
        "is_closing",
        "latency",
        "messages_sent",
        "reason",
        "request",
    )

    def __init__(self, transport: Transport, options: Options, request: Request | None = None) -> None:
        self._transport = transport
        self._options = options
        # More than fits into any list is as good as no limit, and nothing that C could count.
        read_ahead_messages = min(options.read_ahead_messages, sys.maxsize)
        self._inbox = Inbox(read_ahead_messages, options.read_ahead_size, options.mailbox_size)
        self._mailbox = Mailbox(options.mailbox_size, self._inbox)
        self._lifetime = Lifetime()
        self._nursery: trio.Nursery | None = None
        self._is_nursery_lent = False  # to somebody else than the runtime
        self._closing: trio.Event | None = None
        self._ended: trio.Event | None = None
        self._unhandled: list[object] = []
        #: Number of this connection, unique in the process.
        self.id: int = next(_ids)
        #: Name of the handler, for people; empty before it runs.
        self.handler: str = ""
        #: The HTTP request that became this connection.
        self.request: Request | None = request
        #: Seconds the last keepalive ping took to be answered; ``None`` before that, or without ``ping_interval``.
        self.latency: float | None = None
        #: Whether the connection is ending, from either side.
        self.is_closing: bool = False
        #: Why it ended, as ``terminate`` was told; ``None`` until then.
        self.reason: Reason | None = None
        #: Messages and control frames that callbacks have sent.
        self.messages_sent: int = 0

    @property
    def mailbox(self) -> trio.MemorySendChannel[Any]:
        """The way in for other tasks: what is sent here is given to ``handle_info``.

        Clone it, hand it to anyone. A full mailbox makes ``send`` wait and ``send_nowait`` raise
        ``trio.WouldBlock``; once the connection has ended both raise ``trio.BrokenResourceError``. From another
        thread: ``trio.from_thread.run(mailbox.send, item)``.
        """
        return self._mailbox.sender

    @property
    def nursery(self) -> trio.Nursery:
        """Tasks that live and die with the connection.

        A task here that fails ends the connection as an exception in a callback would. Tasks report by sending to
        the mailbox.

        Raises:
            StateError: the connection is not running.
        """
        if self._nursery is None:
            raise StateError("a connection has a nursery only while its callbacks run, and not in terminate")
        self._is_nursery_lent = True
        return self._nursery

    @property
    def closing(self) -> trio.Event:
        """Set as soon as the connection is known to be ending, even while a callback is running."""
        if self._closing is None:
            self._closing = trio.Event()
            if self.is_closing:
                self._closing.set()
        return self._closing

    async def wait_ended(self) -> Reason:
        """Wait, in any task, until the connection is over: ``terminate`` has run and the socket is closed.

        Returns:
            What ``terminate`` was told, or would have been had ``init`` succeeded.

        Checkpoint: always. Cancelled: only the waiting ends.
        Source: ``Process.monitor/1`` and its ``:DOWN`` message.
        """
        if self._ended is None:
            self._ended = trio.Event()
            if self.reason is not None:
                self._ended.set()
        await self._ended.wait()
        assert self.reason is not None
        return self.reason

    @property
    def unhandled(self) -> tuple[object, ...]:
        """What was sent into the mailbox and never given to ``handle_info``; complete once the connection has ended."""
        return tuple(self._unhandled)

    @property
    def options(self) -> Options:
        """The options in force."""
        return self._options

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol agreed on."""
        return self._transport.subprotocol

    @property
    def peer(self) -> str:
        """The peer's address as text."""
        return self._transport.peer

    @property
    def messages_received(self) -> int:
        """Messages and control frames that have arrived."""
        return self._inbox.received

    @property
    def bytes_received(self) -> int:
        """Bytes that have arrived since the handshake."""
        return self._transport.received_size

    def shutdown_nowait(self, *, restart: bool = False, deadline: float) -> None:
        """End gracefully: after the running callback a close with 1001, or 1012 with ``restart``.

        For hosts. May be called again with an earlier deadline.

        Args:
            restart: say that the server will be back.
            deadline: on Trio's clock; what is not over by then is cancelled, and the peer dropped.
        """
        self._lifetime.shorten(deadline)
        self._inbox.interrupt(Shutdown(restart))
        self.mark_closing()

    def mark_closing(self) -> None:
        """Tell whoever waits for ``closing``. For the runtime."""
        self.is_closing = True
        if self._closing is not None:
            self._closing.set()

    def mark_ended(self, reason: Reason) -> None:
        """Tell whoever waits for the end; the first reason counts. For the runtime."""
        if self.reason is None:
            self.reason = reason
            if self._ended is not None:
                self._ended.set()

    def __repr__(self) -> str:
        return f"<Connection {self.id} of {self.handler or 'no handler yet'} with {self.peer}>"


_current: ContextVar[Connection] = ContextVar("trio_websock.connection")


def current_connection() -> Connection:
    """The connection of the callback, or of the nursery's task, that asks.

    Raises:
        StateError: asked from anywhere else.
    """
    try:
        return _current.get()
    except LookupError:
        raise StateError("current_connection() is for callbacks and for tasks of a connection's nursery") from None
