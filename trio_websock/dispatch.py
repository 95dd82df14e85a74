"""The loop: one item of the inbox, one callback, one checked result, then the next.

In: the inbox. Out: messages to the writer, and at the end an :class:`~trio_websock.behaviour.enforce.Ending`.

1. Callbacks run in the connection's own task, so no two of them overlap and all share what Trio ties to a task.
2. A callback's messages are queued as soon as its result has passed the check; the queue is handed over when the inbox
   is empty, when it has grown large, or at the moment a callback suspends: output never waits behind a callback, and
   a batch still costs one system call.
3. A callback that never suspends costs no scheduling: its coroutine is driven by hand, and only what it yields to
   Trio is passed on.
4. While output waits for the peer no further callback runs. The idle clock stands still whenever this task is
   suspended, except when it is parked with nothing to do.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import CoroutineType, coroutine
from typing import Any, final

import trio

from .behaviour.enforce import Ending, Enforcer
from .behaviour.handler import Callbacks
from .behaviour.reasons import Close, Error, Reason, close_for
from .behaviour.results import RESULT_TYPES
from .codes import CloseCode
from .connection import Connection
from .errors import RemoteError, TransportError
from .idle import IdleClock
from .inbox import Info, Item
from .messages import Ping, Pong
from .transport import Transport
from .writer import Writer

__all__ = ["Dispatcher"]

logger: logging.Logger = logging.getLogger("trio_websock.connection")

MAX_UNSENT_SIZE = 64 * 1024  # bytes queued by one batch of callbacks before they have to wait for the peer

_NO_RESULT = object()  # there was no callback to call, or the peer's end has cancelled it


@final
class Dispatcher:
    """Runs the callbacks of one connection; see the module.

    Args:
        connection: whose inbox to empty.
        callbacks: what to run.
        transport: where messages go.
        writer: hands them over.
        idle: to be told when the loop is busy.
    """

    __slots__ = (
        "_callback",
        "_callbacks",
        "_cancels_on_disconnect",
        "_connection",
        "_enforcer",
        "_idle",
        "_inbox",
        "_running",
        "_transport",
        "_unsent_size",
        "_writer",
        "ending",
        "has_state",
        "state",
    )

    def __init__(
        self, connection: Connection, callbacks: Callbacks, transport: Transport, writer: Writer, idle: IdleClock
    ) -> None:
        self._connection = connection
        self._callbacks = callbacks
        self._transport = transport
        self._writer = writer
        self._idle = idle
        self._inbox = connection._inbox
        self._enforcer = Enforcer(connection.handler, connection.options.validate_utf8)
        self._callback = "init"
        self._cancels_on_disconnect = connection.options.cancel_on_disconnect
        self._running: trio.CancelScope | None = None
        self._unsent_size = 0
        self.state: Any = None
        #: Whether ``init`` has succeeded, so that ``terminate`` is owed.
        self.has_state: bool = False
        #: Set when the loop has come to its end.
        self.ending: Ending | None = None

    async def run(self, args: object) -> None:
        """Run ``init``, then a callback for each item, until something ends the connection.

        Checkpoint: not for certain. Cancelled: a running callback is; ``ending`` stays unset.
        """
        try:
            self.has_state = await self._conclude(self._callbacks.init(args))
            while self.ending is None:
                if not self._inbox:
                    await self._flush()
                    self._idle.resume()
                    await self._inbox.wait_item()
                elif self._inbox.interruption is not None:
                    self.end(self._inbox.interruption)
                else:
                    await self._conclude(self._start_callback(self._inbox.pop()))
        except Exception as exc:
            self.fail(exc, f"{self._connection.handler}.{self._callback}")
        except trio.Cancelled as exc:
            # From a scope the handler opened and let escape: nobody above us asked for it.
            if trio.current_effective_deadline() == -math.inf:
                raise
            self.fail(exc, f"{self._connection.handler}.{self._callback}")

    def fail(self, exc: BaseException, where: str) -> None:
        """End with 1011 because of an exception of the application, and log it."""
        logger.error("%s failed, peer %s", where, self._connection.peer, exc_info=exc)
        # Not by the table: a RemoteError or ConnectionLost raised here is about another connection than this one.
        self.ending = Ending(Error(exc), Close(CloseCode.INTERNAL_ERROR))

    def end(self, reason: Reason) -> Ending:
        """End for ``reason`` with the close frame that belongs to it, if there is a peer to get one."""
        cause = reason.cause if isinstance(reason, Error) else None
        if isinstance(cause, RemoteError):
            logger.info("closing the connection with %s: %s", self._connection.peer, cause)
        self.ending = Ending(reason, None if isinstance(cause, TransportError) else close_for(reason))
        return self.ending

    def disconnect(self, reason: Reason) -> None:
        """The peer is gone and the application wants no more work done for it: cancel a running callback, then end."""
        self._inbox.interrupt(reason)
        if self._running is not None:
            self._running.cancel()

    def _start_callback(self, item: Item) -> object:
        """Call the callback ``item`` is for; what it returned, or ``_NO_RESULT``."""
        kind = type(item)
        if kind is str or kind is bytes:
            self._callback = "handle_in"
            return self._callbacks.handle_in(item, self.state)  # type: ignore[arg-type]  # narrowed by identity
        if kind is Info:
            self._callback = "handle_info"
            return self._callbacks.handle_info(item.item, self.state)  # type: ignore[union-attr]  # as above
        if kind is Ping or kind is Pong:
            if self._callbacks.handle_control is None:
                return _NO_RESULT
            self._callback = "handle_control"
            return self._callbacks.handle_control(item, self.state)  # type: ignore[arg-type]  # as above
        self.end(item)  # type: ignore[arg-type]  # only reasons are left
        return _NO_RESULT

    async def _conclude(self, result: object) -> bool:
        """Await ``result`` if need be, check it, and do what it says; whether there was one."""
        kind = type(result)
        if kind is CoroutineType and not self._cancels_on_disconnect:  # the most frequent way, a call shorter
            result = await self._drive(result)  # type: ignore[arg-type]  # narrowed by identity
        elif kind not in RESULT_TYPES:
            result = await self._await_result(result)
        if result is _NO_RESULT:
            return False
        messages, ending = self._enforcer.check(self._callback, result)
        self.state = result.state  # type: ignore[attr-defined]  # it has been checked
        for message in messages:
            self._transport.send_nowait(message)
            self._unsent_size += len(message[1])
        self._connection.messages_sent += len(messages)
        if ending is not None:
            self.ending = ending
        elif self._unsent_size > MAX_UNSENT_SIZE:
            await self._flush()
        return True

    async def _await_result(self, result: object) -> object:
        running = result if isinstance(result, CoroutineType) else _as_coroutine(result)
        if self._cancels_on_disconnect:
            with trio.CancelScope() as self._running:
                return await self._drive(running)
            return _NO_RESULT
        return await self._drive(running)

    async def _drive(self, running: Coroutine[Any, Any, object]) -> object:
        """``await running``, but hand over what waits before it is suspended for the first time."""
        try:
            trap = running.send(None)
        except StopIteration as stop:
            return stop.value
        self._idle.pause()
        self._writer.flush(self._connection.nursery)
        return await _go_on(running, trap)

    async def _flush(self) -> None:
        self._unsent_size = 0
        if not self._writer.flush(self._connection.nursery):
            self._idle.pause()
            await self._writer.wait_flushed()


async def _as_coroutine(result: object) -> object:
    return await result if isinstance(result, Awaitable) else result


@coroutine
def _go_on(running: Coroutine[Any, Any, object], trap: Any) -> Generator[Any, Any, object]:
    """``await`` a coroutine that has been started: pass on what it yields to Trio, ``trap`` first."""
    while True:
        try:
            value = yield trap
        except BaseException as exc:
            resume: Callable[[Any], Any] = running.throw
            argument: object = exc
        else:
            resume, argument = running.send, value
        try:
            trap = resume(argument)
        except StopIteration as stop:
            return stop.value
