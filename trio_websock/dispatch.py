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
from .behaviour.results import Ok, Push, Reply, Stop
from .codes import CloseCode
from .connection import Connection
from .errors import RemoteError, TransportError
from .idle import IdleClock
from .inbox import Info
from .messages import Ping, Pong
from .transport import Transport
from .writer import Writer

__all__ = ["Dispatcher"]

logger = logging.getLogger("trio_websock.connection")

MAX_UNSENT_SIZE = 64 * 1024  # bytes queued by one batch of callbacks before they have to wait for the peer

_RESULTS = (Ok, Push, Reply, Stop)
_CANCELLED = object()


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
        "_connection",
        "_enforcer",
        "_idle",
        "_inbox",
        "_running",
        "_transport",
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
        self._running: trio.CancelScope | None = None
        self.state: Any = None
        #: Whether ``init`` has succeeded, so that ``terminate`` is owed.
        self.has_state = False
        #: Set when the loop has come to its end.
        self.ending: Ending | None = None

    async def run(self, args: object) -> None:
        """Run ``init``, then a callback for each item, until something ends the connection.

        Checkpoint: not for certain. Cancelled: a running callback is; ``ending`` stays unset.
        """
        try:
            self.has_state = await self._run_callback("init", self._callbacks.init, args)
            while self.ending is None:
                if self._inbox:
                    await self._run_next()
                else:
                    await self._flush()
                    self._idle.resume()
                    await self._inbox.wait_item()
        except Exception as exc:
            self.fail(exc, self._callback)
        except trio.Cancelled as exc:
            # From a scope the handler opened and let escape: nobody above us asked for it.
            if trio.current_effective_deadline() == -math.inf:
                raise
            self.fail(exc, self._callback)

    def fail(self, exc: BaseException, where: str) -> None:
        """End with 1011 because of an exception of the application, and log it."""
        logger.error("%s.%s failed, peer %s", self._connection.handler, where, self._connection.peer, exc_info=exc)
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

    async def _run_next(self) -> None:
        if self._inbox.interruption is not None:
            self.end(self._inbox.interruption)
            return
        item = self._inbox.pop()
        kind = type(item)
        if kind is str or kind is bytes:
            await self._run_callback("handle_in", self._callbacks.handle_in, item, self.state)
        elif kind is Info:
            await self._run_callback("handle_info", self._callbacks.handle_info, item.item, self.state)  # type: ignore[union-attr]  # narrowed by identity
        elif kind is Ping or kind is Pong:
            if self._callbacks.handle_control is not None:
                await self._run_callback("handle_control", self._callbacks.handle_control, item, self.state)
        else:
            self.end(item)  # type: ignore[arg-type]  # only reasons are left
            return
        if self._transport.unsent_size > MAX_UNSENT_SIZE:
            await self._flush()

    async def _run_callback(self, name: str, callback: Callable[..., Any], *args: object) -> bool:
        """Whether it ran to its end; only a disconnect makes that ``False``."""
        self._callback = name
        result = callback(*args)
        if type(result) not in _RESULTS and isinstance(result, Awaitable):
            result = await self._await_result(result)
            if result is _CANCELLED:
                return False
        messages, ending = self._enforcer.check(name, result)
        self.state = result.state
        for message in messages:
            self._transport.send_nowait(message)
        self._connection.messages_sent += len(messages)
        if ending is not None:
            self.ending = ending
        return True

    async def _await_result(self, awaitable: Awaitable[object]) -> object:
        running = awaitable if isinstance(awaitable, CoroutineType) else _as_coroutine(awaitable)
        if not self._connection.options.cancel_on_disconnect:
            return await _drive(running, self._suspended)
        with trio.CancelScope() as self._running:
            return await _drive(running, self._suspended)
        return _CANCELLED

    def _suspended(self) -> None:
        self._idle.pause()
        self._writer.flush(self._connection.nursery)

    async def _flush(self) -> None:
        if not self._writer.flush(self._connection.nursery):
            self._idle.pause()
            await self._writer.wait_flushed()


async def _as_coroutine(awaitable: Awaitable[object]) -> object:
    return await awaitable


@coroutine
def _drive(running: Coroutine[Any, Any, object], on_suspend: Callable[[], None]) -> Generator[Any, Any, object]:
    """``await running``, but call ``on_suspend`` before it is suspended for the first time."""
    try:
        trap = running.send(None)
    except StopIteration as stop:
        return stop.value
    on_suspend()
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
