"""A handler on a connection without a socket: for an application's tests, in virtual time.

In: a handler and the options of its connection. Out: a :class:`TestConnection` that plays the peer, in whole
messages. The handler runs in the real runtime; only the wire is missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, TypeVar, Unpack, final, overload

import trio
import trio.testing

from ..behaviour.handler import BoundHandler, Handler, bind_handler, is_handler
from ..behaviour.reasons import Error, Reason
from ..connection import Connection
from ..errors import ConnectionLost, FrameError, RemoteError, StateError, WriteTimeout, describe
from ..messages import Incoming, Message
from ..nursery import run_connection
from ..option_checks import check_seconds
from ..options import ConnectionKeywords, Options
from ..request import Headers, Request
from ..trio_run import check_trio
from .memory_transport import MemoryTransport, arrivals_of, close_of, fault_of, incoming_of, is_message
from .rooms import open_room
from .witness import WatchedHandler

__all__ = ["TestConnection", "open_test_connection"]

State = TypeVar("State")
Info = TypeVar("Info")

SHUTDOWN_GRACE = 15.0  # seconds, as the server's own


@final
class TestConnection(Generic[State, Info]):
    """The peer's side of a connection under test, and a look at the handler's; generic as the handler is.

    What waits here returns when the handler has nothing more to do: when every task of the program is blocked, on
    something else than the clock's next tick. If the handler has failed by then it raises the handler's exception,
    once, unless ``raise_handler_errors=False`` was given. What the peer does is a checkpoint, always, and has been done
    even if that is cancelled.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    def __init__(
        self, connection: Connection, transport: MemoryTransport, handler: WatchedHandler, *, raises: bool
    ) -> None:
        #: The connection as the handler sees it: its mailbox, its nursery.
        self.connection: Connection = connection
        #: What the runtime believes to be the wire, for what this class has no word for.
        self.transport: MemoryTransport = transport
        #: What the handler has failed by: the exception of a callback or of a task of its nursery, or ``ResultError``.
        self.error: BaseException | None = None
        #: Further headers of the 101, where an application function has given some.
        self.headers: Headers = Headers()
        self._handler = handler
        self._raises = raises
        self._seen = 0
        self._scope = trio.CancelScope()

    @property
    def state(self) -> State:
        """The handler's state: what its last successful callback returned.

        Raises:
            StateError: ``init`` has not succeeded.
        """
        state: State = self._handler.state
        return state

    @property
    def reason(self) -> Reason | None:
        """What ``terminate`` was told, or would have been; ``None`` until the connection has ended."""
        return self.connection.reason

    @property
    def close_sent(self) -> tuple[int | None, str] | None:
        """Code and text of the close frame the peer has got; ``None`` if there is none."""
        close = self.transport.close
        return None if close is None or close not in self.transport.taken else (close[0], close[1].decode())

    @property
    def is_reset(self) -> bool:
        """Whether the connection was dropped rather than closed."""
        return self.transport.is_aborted

    # What the peer does

    async def send(self, *messages: Message) -> None:
        """Have messages arrive together, control frames too; once the connection has ended they reach nobody.

        Raises:
            MessageError: no peer could send this.
        """
        self.transport.put(*arrivals_of(messages, validate_utf8=self.connection.options.validate_utf8))
        await self.settle()

    async def send_part(self) -> None:
        """Have some bytes of a message arrive that is not complete yet: the idle timeout starts anew."""
        self.transport.touch()
        await self.settle()

    async def close(self, code: int | None = 1000, text: str = "") -> None:
        """Have the peer's close frame arrive.

        Args:
            code: ``None`` for an empty one.
            text: after the code.

        Raises:
            MessageError: no peer may send this; see ``break_protocol`` for one that does.
        """
        self.transport.put(close_of(code, text))
        await self.settle()

    async def drop(self) -> None:
        """Have the stream end without a close frame, perhaps in the middle of a message."""
        self.transport.put(Error(ConnectionLost("dropped by the test")))
        await self.settle()

    async def reset(self) -> None:
        """Have the connection break: what is sent from now on reaches nobody."""
        self.transport.break_off(ConnectionLost("reset by the test"))
        await self.settle()

    async def break_protocol(self, error: RemoteError | None = None) -> None:
        """Have something arrive that RFC 6455 forbids.

        Args:
            error: what the peer has done wrong; by default a ``FrameError``, which closes with 1002.

        Raises:
            TypeError: it is no ``RemoteError``.
        """
        self.transport.put(fault_of(error or FrameError("broken by the test", "RFC 6455 §5.2")))
        await self.settle()

    def stop_reading(self, after: int = 0) -> None:
        """Take only so many more messages: a slow reader, that ends by ``write_timeout``.

        Raises:
            ValueError: that is no number of messages.
        """
        self.transport.take(after)

    async def resume_reading(self) -> None:
        """Take everything again. Checkpoint: always. Cancelled: it is taken all the same."""
        self.transport.take()
        await self.settle()

    # What the handler has sent

    def received(self) -> list[Incoming]:
        """What the handler has sent since the last look, in order."""
        entries, self._seen = self.transport.taken[self._seen :], len(self.transport.taken)
        return [incoming_of(*entry) for entry in entries if is_message(entry)]

    async def receive(self) -> Incoming:
        """Wait for the next message of the handler.

        Raises:
            trio.EndOfChannel: the connection has ended, or its close frame came instead.

        Checkpoint: always. Cancelled: nothing is lost.
        """
        await trio.lowlevel.checkpoint()
        while self._seen == len(self.transport.taken) and self.reason is None:
            await self.transport.wait_changed()
        self.raise_failure()
        if self._seen == len(self.transport.taken) or not is_message(entry := self.transport.taken[self._seen]):
            raise trio.EndOfChannel(f"nothing more can be received: {self._end()}")
        self._seen += 1
        return incoming_of(*entry)

    # What happens on the handler's side

    async def post(self, *items: Info) -> None:
        """Send items into the mailbox.

        Raises:
            trio.BrokenResourceError: the connection has ended.

        Checkpoint: always. Cancelled: as ``mailbox.send``.
        """
        try:
            for item in items:
                await self.connection.mailbox.send(item)
        except trio.BrokenResourceError as exc:
            raise trio.BrokenResourceError(f"nothing can be posted: {self._end()}") from exc
        await self.settle()

    async def shutdown(self, *, restart: bool = False, grace: float = SHUTDOWN_GRACE) -> None:
        """Have the server shut down.

        Args:
            restart: whether it says that it will be back.
            grace: seconds until what still runs is cancelled and the peer dropped.

        Raises:
            OptionError: a grace that is no number of seconds.

        Checkpoint: always. Cancelled: the shutdown goes on.
        """
        check_seconds("grace", grace, allow_zero=True)
        self.connection.shutdown_nowait(restart=restart, deadline=trio.current_time() + grace)
        await self.settle()

    async def cancel(self) -> None:
        """Cancel the task that runs the connection, as an embedding program may.

        Checkpoint: always. Cancelled: it is cancelled all the same.
        """
        self._scope.cancel()
        await self.settle()

    async def advance(self, seconds: float) -> None:
        """Let time pass, at once.

        Raises:
            StateError: the clock is not virtual; use pytest-trio's ``autojump_clock``, or ``trio.testing.MockClock``.

        Checkpoint: always. Cancelled: the handler may not have seen that time has passed.
        """
        clock = trio.lowlevel.current_clock()
        if not isinstance(clock, trio.testing.MockClock):
            raise StateError("advance() needs virtual time: the autojump_clock fixture, or trio.testing.MockClock")
        threshold, clock.autojump_threshold = clock.autojump_threshold, 0
        try:  # from deadline to deadline, as time goes: in one jump every timeout would seem to expire late
            await trio.sleep(seconds)
        finally:
            clock.autojump_threshold = threshold
        await self.settle()

    async def settle(self) -> None:
        """Wait until the handler has nothing more to do.

        Checkpoint: always. Cancelled: only the waiting ends.
        """
        await trio.testing.wait_all_tasks_blocked()
        self.raise_failure()

    async def wait_ended(self) -> Reason:
        """Wait until the connection is over; what ``terminate`` was told.

        Checkpoint: always. Cancelled: only the waiting ends.
        """
        reason = await self.connection.wait_ended()
        await self.settle()
        return reason

    def __repr__(self) -> str:
        life = self._end() if self.connection.is_closing else "the connection is open"
        unread = [incoming_of(*entry) for entry in self.transport.taken[self._seen :] if is_message(entry)]
        return f"<TestConnection of {self.connection.handler}: {life}; not received yet: {describe(unread)}>"

    def _end(self) -> str:
        words = (
            "the connection is ending" if self.reason is None else f"the connection ended by {describe(self.reason)}"
        )
        if self.close_sent is None:
            return words
        code, text = self.close_sent
        return f"{words}, with close frame {'without a code' if code is None else f'{code} {text!r}'}"

    def raise_failure(self) -> None:
        """Raise what the handler has failed by, unless that has been done or is not wanted."""
        self._note_failure()
        if self.error is None or not self._raises:
            return
        self._raises = False  # it is the test's from here on
        if isinstance(self.error, Exception):
            raise self.error
        # A Cancelled that nobody asked for would go through the test, and through pytest, without a word.
        raise RuntimeError("the handler let something escape that is no Exception") from self.error

    def _note_failure(self) -> None:
        reason = self._handler.told or self.reason
        self.error = self.error or self._handler.failure
        if self.error is not None or not isinstance(reason, Error) or not isinstance(reason.cause, BaseException):
            return
        is_peers = self.transport.has_ended_by(reason.cause) or isinstance(reason.cause, WriteTimeout)
        if not is_peers and not self._handler.is_own_end(reason):
            self.error = reason.cause  # a task of the nursery

    async def _run(self, args: object) -> None:
        with self._scope:
            await run_connection(self.connection, bind_handler(self._handler), args)


@overload
def open_test_connection(
    handler: type[Handler[State, Info]] | Handler[State, Info],
    args: object = ...,
    *,
    request: Request | None = ...,
    subprotocol: str | None = ...,
    first: Iterable[Message] = ...,
    answers_close: bool = ...,
    answers_pings: bool = ...,
    raise_handler_errors: bool = ...,
    **options: Unpack[ConnectionKeywords],
) -> AbstractAsyncContextManager[TestConnection[State, Info]]: ...
@overload
def open_test_connection(
    handler: object,
    args: object = ...,
    *,
    request: Request | None = ...,
    subprotocol: str | None = ...,
    first: Iterable[Message] = ...,
    answers_close: bool = ...,
    answers_pings: bool = ...,
    raise_handler_errors: bool = ...,
    **options: Unpack[ConnectionKeywords],
) -> AbstractAsyncContextManager[TestConnection[Any, Any]]: ...
def open_test_connection(
    handler: object,
    args: object = None,
    *,
    request: Request | None = None,
    subprotocol: str | None = None,
    first: Iterable[Message] = (),
    answers_close: bool = True,
    answers_pings: bool = True,
    raise_handler_errors: bool = True,
    **options: Unpack[ConnectionKeywords],
) -> AbstractAsyncContextManager[TestConnection[Any, Any]]:
    """Run ``handler`` on a connection whose other end is in the test's hands.

    ::

        async with open_test_connection(Echo) as peer:
            await peer.send("hello")
            assert peer.received() == ["hello"]

    Use it with pytest-trio's ``autojump_clock``: timeouts then pass at once. At the end of the block the connection is
    cancelled, if it is still running, and ``terminate`` has run. An exception of the block comes out as it is, with a
    note if the handler had failed as well.

    Args:
        handler: class, instance or module.
        args: for ``init``.
        request: what ``current_connection().request`` is.
        subprotocol: what ``current_connection().subprotocol`` is.
        first: messages that came in one packet with the handshake.
        answers_close: whether the peer answers a close frame at once, as every client does; without, the connection
            waits for ``close`` for ``close_timeout`` seconds.
        answers_pings: whether the peer answers pings at once, as every client does; without, those of ``ping_interval``
            end the connection.
        raise_handler_errors: whether a failure of the handler is raised in the test: by what waits for it, or at the
            end of the block. Either way it is logged, ends the connection, and stands in ``error``.
        options: as for ``upgrade``.

    Raises:
        TypeError: the handler is not complete, or an option does not exist.
        OptionError: an option with a value that is not allowed.

    Cancelled: the connection is too; ``terminate`` runs.
    """
    if callable(handler) and not is_handler(handler):
        raise TypeError(f"{describe(handler)} is not a handler: an application function is for TestApplication")
    checked = Options().merged(options)
    transport = MemoryTransport(subprotocol=subprotocol, answers_close=answers_close, answers_pings=answers_pings)
    return open_prepared(
        bind_handler(handler), args, Connection(transport, checked, request), transport, first, raise_handler_errors
    )


@asynccontextmanager
async def open_prepared(
    handler: BoundHandler,
    args: object,
    connection: Connection,
    transport: MemoryTransport,
    first: Iterable[Message] = (),
    raises: bool = True,
) -> AsyncIterator[TestConnection[Any, Any]]:
    """:func:`open_test_connection`, with everything made and checked. For this room only."""
    check_trio("open_test_connection()")
    test = TestConnection[Any, Any](connection, transport, WatchedHandler(handler, connection.options), raises=raises)
    transport.put(*arrivals_of(first, validate_utf8=connection.options.validate_utf8))
    try:
        async with open_room() as nursery:
            nursery.start_soon(test._run, args)
            await test.settle()
            yield test
    except BaseException as exc:
        test._note_failure()
        if test._raises and test.error not in (None, exc) and not isinstance(exc, trio.Cancelled):
            exc.add_note(f"The handler had failed: {test.error!r}")
        raise
    test.raise_failure()
