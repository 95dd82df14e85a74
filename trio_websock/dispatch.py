"""The loop: one item of the inbox, one callback, one checked result, then the next.

In: the inbox. Out: messages to the writer, and at the end an :class:`~trio_websock.behaviour.enforce.Ending`.

1. Callbacks run in the connection's own task, so no two of them overlap and all share what Trio ties to a task. Only
   one without an ``await`` may run in another: where something arrives while the loop is parked, see ``_stand_in``.
2. A callback's messages are queued as soon as its result has passed the check; the queue is handed over when the inbox
   is empty, when it has grown large, or at the moment a callback suspends: output never waits behind a callback, and
   a batch still costs one system call.
3. The loop's coroutine is driven by hand, so that the moment of suspension is known; a callback that never suspends
   costs neither scheduling nor a look at the socket.
4. While output waits for the peer no further callback runs. The idle clock stands still whenever this task is
   suspended, except when it is parked with nothing to do.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from types import CoroutineType, coroutine
from typing import Any, NoReturn, final

import trio

from .behaviour.awaitless import finish
from .behaviour.enforce import Ending, enforcer_for
from .behaviour.handler import Callbacks
from .behaviour.reasons import Close, Error, Reason, close_for
from .behaviour.results import RESULT_TYPES
from .codes import CloseCode
from .connection import Connection
from .errors import RemoteError, TransportError, only_exception
from .faults import split_fault
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
        "_is_parked",
        "_is_resting",
        "_left",
        "_nursery",
        "_running",
        "_transport",
        "_unsent_size",
        "_was_disconnected",
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
        self._enforcer = enforcer_for(connection.handler, connection.options.validate_utf8)
        self._callback = callbacks.first
        self._cancels_on_disconnect = connection.options.cancel_on_disconnect
        self._running: trio.CancelScope | None = None
        self._was_disconnected = False
        self._nursery: trio.Nursery  # while it runs
        self._is_parked = False
        self._is_resting = False
        self._left: object = _NO_RESULT  # what a callback returned that ran while the loop was parked
        self._unsent_size = 0
        self.state: Any = None
        #: Whether ``init`` has succeeded, so that ``terminate`` is owed.
        self.has_state: bool = False
        #: Set when the loop has come to its end.
        self.ending: Ending | None = None

    def run(self, args: object, nursery: trio.Nursery) -> Awaitable[None]:
        """Run ``init``, then a callback for each item, until something ends the connection.

        Args:
            args: for ``init``.
            nursery: for the drain of output that the peer does not take at once.

        Checkpoint: not for certain. Cancelled: a running callback is; ``ending`` stays unset.
        """
        self._nursery = nursery
        return _tell_suspensions(self._run(args), self._notice_suspension)

    async def _run(self, args: object) -> None:
        inbox = self._inbox
        try:
            await self._run_init(args)
            while self.ending is None:
                if inbox.interruption is not None:
                    self.end(inbox.interruption)
                elif self._unsent_size > MAX_UNSENT_SIZE or not inbox:
                    await self._rest()
                else:
                    await self._run_callbacks(inbox.take())
        except BaseException as exc:
            fault, rest = split_fault(exc)
            try:
                if fault is not None:
                    self.fail(only_exception(fault), f"{self._connection.handler}.{self._callback}")
                if rest is not None:
                    raise rest
            finally:
                del fault, rest  # their tracebacks lead back to us

    async def _run_init(self, args: object) -> None:
        result = await self._await_result(self._callbacks.init(args))
        if result is not _NO_RESULT:
            self._apply(result)
            self.has_state = True
        if self._callbacks.is_prompt:
            self._inbox.stand_in = self._stand_in

    async def _run_callbacks(self, items: Iterator[Item]) -> None:
        """Run those that are due, until there is much to be handed over.

        While the loop is parked this stands in for it, and is never suspended: a callback that may be is left to it.
        """
        inbox, callbacks = self._inbox, self._callbacks
        awaitless = callbacks.awaitless
        for item in items:
            kind = type(item)
            if kind is str or kind is bytes:
                self._callback = "handle_in"
                result = callbacks.handle_in(item, self.state)  # type: ignore[arg-type]  # narrowed by identity
            else:
                result = self._start_other_callback(item)
            kind = type(result)
            if kind is CoroutineType and result.cr_code in awaitless:
                result = await result
            elif kind not in RESULT_TYPES:
                if self._is_parked and result is not _NO_RESULT:
                    self._left = result
                    return
                result = await self._await_result(result)
            self._apply(result)
            if self.ending is not None or inbox.interruption is not None or self._unsent_size > MAX_UNSENT_SIZE:
                return

    async def _rest(self) -> None:
        """Hand over what waits, and then wait for the peer to take it, or for something to do."""
        self._unsent_size = 0
        self._is_resting = True
        if not self._writer.flush(self._nursery):
            self._idle.pause()
            await self._writer.wait_flushed()
        if not self._inbox:
            self._idle.resume()
            self._is_parked = True
            try:
                await self._inbox.loop.park()
            except trio.Cancelled:
                if self._left is _NO_RESULT:
                    raise
                # Cancelled by what a callback did in our place, which has more to say; a checkpoint cancels again.
            finally:
                self._is_parked = False
            if self._left is not _NO_RESULT:
                result, self._left = self._left, _NO_RESULT
                self._is_resting = False
                self._apply(await self._await_result(result))
        self._is_resting = False

    def _stand_in(self, items: Iterator[Item]) -> None:
        """Do the work of the parked loop without waking it, as far as that takes no waiting. In any task.

        A callback without an ``await``, run in the loop's context, notices the difference only if it asks which task it
        is in; it costs a turn of the scheduler less.
        """
        loop = self._inbox.loop
        if loop.task is None:
            return
        try:
            may_stay_parked = loop.task.context.run(self._run_promptly, items)
        except BaseException as exc:  # for the loop, whoever it was that noticed the message
            self._left, may_stay_parked = _raise(exc), False
        if not may_stay_parked:
            loop.wake()

    @trio.lowlevel.disable_ki_protection  # whoever noticed the message may be protected; a callback never is
    def _run_promptly(self, items: Iterator[Item]) -> bool:
        """Run the callbacks that are due; whether the loop may stay parked."""
        finish(self._run_callbacks(items))
        if self._left is not _NO_RESULT or self.ending is not None:
            return False
        if not self._writer.flush(self._nursery):
            return False
        self._unsent_size = 0
        self._idle.resume()
        return True

    def _notice_suspension(self) -> None:
        """The loop is about to be suspended; if that is a callback's doing, what waits is handed over now."""
        if not self._is_resting:
            self._idle.pause()
            self._writer.flush(self._nursery)

    def fail(self, exc: BaseException, where: str) -> None:
        """End with 1011 because of an exception of the application, and log it; it may be the second one."""
        logger.error("%s failed, peer %s", where, self._connection.peer, exc_info=exc)
        first = self.ending.reason if self.ending is not None else None
        if isinstance(first, Error) and isinstance(first.cause, BaseException):
            exc = BaseExceptionGroup("in a callback and in a task of the nursery", [first.cause, exc])
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
        """The peer is gone and the application wants no more work done for it: cancel a running callback, then end.

        Where none is running the end waits its turn behind what has arrived before it.
        """
        if not self._is_resting:
            self._inbox.interrupt(reason)
        self._was_disconnected = True
        if self._running is not None:
            self._running.cancel()

    def _start_other_callback(self, item: Item) -> object:
        """Call the callback that ``item``, no message, is for; what it returned, or ``_NO_RESULT``."""
        kind = type(item)
        if kind is Info:
            self._callback = "handle_info"
            return self._callbacks.handle_info(item.item, self.state)  # type: ignore[union-attr]  # narrowed by identity
        if kind is Ping or kind is Pong:
            handle_control = self._callbacks.handle_control
            if handle_control is None:
                return _NO_RESULT
            self._callback = "handle_control"
            return handle_control(item, self.state)  # type: ignore[arg-type]  # as above
        self.end(item)  # type: ignore[arg-type]  # only reasons are left
        return _NO_RESULT

    async def _await_result(self, result: object) -> object:
        """What a callback returned, or what that turns out to be once awaited."""
        is_awaitable = type(result) is CoroutineType or isinstance(result, Awaitable)
        if self._cancels_on_disconnect:
            with trio.CancelScope() as self._running:
                if self._was_disconnected:  # before the callback, called already, could begin to wait
                    self._running.cancel()
                return await result if is_awaitable else result  # type: ignore[misc]  # narrowed
            return _NO_RESULT
        return await result if is_awaitable else result  # type: ignore[misc]  # narrowed

    def _apply(self, result: object) -> None:
        """Check ``result`` and do what it says."""
        if result is _NO_RESULT:
            return
        messages, ending = self._enforcer.check(self._callback, result)
        self.state = result.state  # type: ignore[attr-defined]  # it has been checked
        if messages:
            for message in messages:
                self._transport.send_nowait(message)
                self._unsent_size += len(message[1])
            self._connection.messages_sent += len(messages)
        if ending is not None:
            self.ending = ending


async def _raise(exc: BaseException) -> NoReturn:
    raise exc


@coroutine
def _tell_suspensions(running: Coroutine[Any, Any, None], notice: Callable[[], None]) -> Generator[Any, Any, None]:
    """``await running``, but call ``notice`` each time before it is suspended."""
    send: Callable[[Any], Any] = running.send
    resume, argument = send, None
    while True:
        try:
            trap = resume(argument)
        except StopIteration:
            return
        notice()
        try:
            argument = yield trap
            resume = send
        except BaseException as exc:
            argument, resume = exc, running.throw
