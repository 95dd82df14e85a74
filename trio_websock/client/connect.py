"""``connect``: a client that runs a handler, and the ``Client`` it stands for while it runs.

In: a URL, a handler, and options. Out: why it is over. The runtime of a connection is the server's, whole.

::

    connect's own task    dial ─▶ run_connection ─▶ an outage: decide, wait ─▶ dial …
                                  └─ nursery of the connection: its sources, and what the client's mailbox forwards

1. One connection at a time, all in one task: nothing of a connection outlives it but the client's mailbox.
2. Without ``reconnect`` the first outage is the end. With it the policy decides, and the application over that.
3. An attempt that led to no connection ends ``connect`` with its error, a connection that was there with its reason.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable
from typing import Any, TypeAlias, Unpack, cast, final

import trio

from ..behaviour.handler import BoundHandler, bind_handler
from ..behaviour.reasons import Reason, Shutdown
from ..connection import Connection
from ..errors import OptionError, StateError, describe, only_exception
from ..lifetime import CANCEL_TIMEOUT, OVERDUE_CAUSES, OVERDUE_TIMEOUT
from ..nursery import run_connection
from ..option_checks import check_seconds
from ..trio_run import check_trio
from .address import parse_url
from .answer import HandshakeResponse
from .dialing import Opened, open_transport
from .failures import ConnectFailed, HandshakeError
from .forwarding import Forwarding
from .options import HandlerKeywords, split_client_keywords
from .reconnect import SAME, Again, Outage, Reconnect
from .tenancy import Tenancy

__all__ = ["Client", "connect"]

logger: logging.Logger = logging.getLogger("trio_websock.client")

_Cause: TypeAlias = Reason | ConnectFailed | HandshakeError


@final
class Client:
    """A client while it runs a handler; :func:`connect` makes it and hands it out through ``task_status``.

    Its methods may be called from any task of the same Trio run.
    """

    def __init__(
        self, url: str, handler: BoundHandler, args: object, reconnect: Reconnect | None, keywords: HandlerKeywords
    ) -> None:
        self._url = url
        self._args = args
        self._reconnect = reconnect
        self._keywords: dict[str, Any] = dict(keywords)
        self._dialing, self._options = split_client_keywords(keywords, HandlerKeywords)
        if reconnect is not None and isinstance(self._dialing.stream, trio.abc.Stream):
            raise TypeError("a stream that is open already is good for one connection: give a function that opens one")
        self._forwarding = Forwarding(self._options.mailbox_size)
        self._tenancy = Tenancy(handler, self._forwarding)
        self._connection: Connection | None = None
        self._changed = trio.Event()
        self._over = trio.Event()
        self._waiting = trio.CancelScope()
        self._is_closing = False
        self._deadline = math.inf
        self._grace = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        #: The server's answer to the newest handshake that it granted; ``None`` before the first.
        self.response: HandshakeResponse | None = None
        #: How many connections there have been, the present one included.
        self.connection_count: int = 0
        #: What was sent into the mailbox and never given to ``handle_info``; complete once ``connect`` is over.
        self.unhandled: tuple[object, ...] = ()

    @property
    def connection(self) -> Connection | None:
        """The connection there is; ``None`` between two of them, and at the end."""
        return self._connection

    @property
    def mailbox(self) -> trio.MemorySendChannel[Any]:
        """The way in for other tasks, whether or not there is a connection.

        What is sent here is given to ``handle_info`` once: by the connection there is, or by the next one if that ends
        before. So it waits while there is none, up to ``mailbox_size`` items; then ``send`` waits, too, and
        ``send_nowait`` raises ``trio.WouldBlock``. Once ``connect`` is over both raise ``trio.BrokenResourceError``.

        What should not outlive a connection belongs into the mailbox of that, ``client.connection.mailbox``.
        """
        return self._forwarding.sender

    async def wait_connected(self) -> Connection:
        """Wait until there is a connection.

        Raises:
            StateError: ``connect`` is over, so that there will be none.

        Checkpoint: always. Cancelled: only the waiting ends.
        """
        await trio.lowlevel.checkpoint()
        while self._connection is None:
            if self._over.is_set():
                raise StateError("this client is over: there will be no further connection")
            await self._changed.wait()
        return self._connection

    async def aclose(self) -> None:
        """End gracefully; the same as :meth:`shutdown` without arguments."""
        await self.shutdown()

    async def shutdown(self, *, grace: float = 15) -> None:
        """End for good: close the connection, if there is one, and wait until ``connect`` is over.

        The running callback is finished, the server is told 1001, ``terminate(Shutdown())`` runs. Attempts to connect
        and waiting for the next one end at once. May be called again: to wait too, or to shorten the grace.

        Args:
            grace: seconds for all of it; then callbacks are cancelled and the server is dropped. Only a shield of the
                handler's own holds us longer, and is told of in a warning.

        Raises:
            OptionError: a grace that is no number of seconds.

        Checkpoint: unless all is over already.
        Cancelled: the shutdown goes on; only the waiting ends. A callback that waits here waits for itself: it is
            cancelled when the grace is over.
        """
        check_seconds("grace", grace, allow_zero=True)
        is_first, self._is_closing = not self._is_closing, True
        self._deadline = min(self._deadline, trio.current_time() + grace)
        self._grace.deadline = self._deadline + CANCEL_TIMEOUT
        if is_first and self._nursery is not None:
            self._nursery.start_soon(self._enforce_grace)
        if self._connection is not None:
            self._connection.shutdown_nowait(deadline=self._deadline)
        self._waiting.cancel()
        await self._over.wait()

    async def _run(self, task_status: trio.TaskStatus[Client]) -> Reason:
        cause: _Cause | BaseException = Shutdown()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                try:
                    cause = await self._stay_connected(task_status)
                finally:
                    self._nursery = None  # it takes no more tasks
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            cause = only_exception(group)
        finally:
            self._over.set()
            self._tell_change()
            self.unhandled = self._forwarding.close()
        if isinstance(cause, BaseException):
            raise cause  # out here, where it keeps its context and does not get the group for one
        return cause

    async def _enforce_grace(self) -> None:
        with self._grace:
            await trio.sleep_forever()
        if self._connection is not None:
            self._connection._transport.abort()
        await trio.sleep(OVERDUE_TIMEOUT)
        if self._connection is not None:
            who = self._connection.handler
            logger.warning("the grace is over, and the server was dropped: %s %s", who, OVERDUE_CAUSES)

    async def _stay_connected(self, task_status: trio.TaskStatus[Client]) -> _Cause:
        """Connect, again and again; the cause of the outage that is the last."""
        attempts = 0
        while True:
            opened = await self._dial()
            cause: _Cause
            if isinstance(opened, Opened):
                if attempts:
                    logger.info("connected again, at attempt %d", attempts)
                cause, has_lasted = await self._live(opened, task_status)
                attempts = 0 if has_lasted else attempts
            else:
                cause = opened
            attempts += 1
            if self._is_closing or self._reconnect is None or not await self._prepare(cause, attempts, self._reconnect):
                return cause
            if self._is_closing:
                return Shutdown()

    async def _dial(self) -> Opened | _Cause:
        with trio.CancelScope() as self._waiting:
            opened: Opened | _Cause
            try:
                opened = await open_transport(self._url, self._dialing, self._options)
            except (ConnectFailed, HandshakeError) as exc:
                opened = exc
            if not self._is_closing:
                return opened
            if isinstance(opened, Opened):
                opened.transport.abort()
        return Shutdown()

    async def _live(self, opened: Opened, task_status: trio.TaskStatus[Client]) -> tuple[Reason, bool]:
        """Live through one connection; why it ended, and whether it has lasted."""
        connection = Connection(opened.transport, self._options, opened.request)
        begin = trio.current_time()
        self._connection, self.response = connection, opened.response
        self.connection_count += 1
        self._tell_change()
        if self.connection_count == 1:
            task_status.started(self)
        try:
            reason = await run_connection(connection, self._tenancy.bind(connection), self._args)
        finally:
            self._connection = None
            self._forwarding.take_back(connection)
        if self._reconnect is None:
            return reason, False
        if self._reconnect.keep_state and self._tenancy.has_new_state:
            self._args = self._tenancy.state
        return reason, trio.current_time() - begin >= self._reconnect.reset_after

    def _tell_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _prepare(self, cause: _Cause, attempts: int, reconnect: Reconnect) -> bool:
        """Decide about an outage, and wait if there is to be another attempt; whether there is."""
        with trio.CancelScope() as self._waiting:
            delay = reconnect.delay_after(cause, attempts)
            proposal = Again(delay) if reconnect.allows(cause, attempts) else None
            again = await self._decide(Outage(cause, self._tenancy.state, self._args, attempts, proposal))
            if again is None:
                return False
            self._adopt(again)
            delay = delay if again.delay is None else again.delay
            level = logging.WARNING if isinstance(cause, Exception) else logging.INFO
            logger.log(level, "connecting again in %.1f seconds, attempt %d: %s", delay, attempts, describe(cause))
            await trio.sleep(delay)
        return True

    async def _decide(self, outage: Outage) -> Again | None:
        decide = None if self._reconnect is None else self._reconnect.decide
        if decide is None:
            return outage.proposal
        decision = decide(outage)
        again = await decision if isinstance(decision, Awaitable) else decision
        if again is not None and not isinstance(again, Again):
            raise TypeError(f"decide returned {describe(again)}: expected Again(...), or None for no more attempt")
        return again

    def _adopt(self, again: Again) -> None:
        if again.args is not SAME:
            self._args = again.args
        if again.url is not None:
            parse_url(again.url)  # now, and not after the delay
            self._url = again.url
        if again.options:
            self._keywords.update(again.options)
            keywords = cast("HandlerKeywords", self._keywords)
            self._dialing, self._options = split_client_keywords(keywords, HandlerKeywords)


async def connect(
    url: str,
    handler: object,
    args: object = None,
    *,
    reconnect: bool | Reconnect = False,
    task_status: trio.TaskStatus[Client] = trio.TASK_STATUS_IGNORED,
    **options: Unpack[HandlerKeywords],
) -> Reason:
    """Connect and run a handler, the same as on a server, until the connection is over; or the last of them.

    ::

        trio.run(partial(connect, "wss://example.com/chat", Chat, reconnect=True))

    Everything that holds for a connection of a server holds for this one: callbacks, results, mailbox, ``terminate``.

    Args:
        url: begins with ``ws://`` or ``wss://``; a user and password in it are sent as Basic authorization.
        handler: class, instance or module with ``init`` and ``handle_in``; a class gives an instance for each
            connection.
        args: for ``init``, at every connection; but see ``keep_state`` of :class:`Reconnect`.
        reconnect: whether and how to connect again; ``True`` is ``Reconnect()``. Then the first attempt is repeated
            like any other.
        task_status: gives the :class:`Client` as soon as there is a first connection, with
            ``await nursery.start(connect, ...)``.
        options: see :class:`ClientOptions` and :class:`Options`; ``origins`` is refused. Unlike on a server ``timeout``
            is ``math.inf``, and ``ping_interval`` 20 seconds.

    Returns:
        What ``terminate`` was told last, or would have been had ``init`` succeeded. An exception of the handler is
        the cause of an ``Error``, and logged. ``Shutdown()`` after :meth:`Client.shutdown`.

    Raises:
        TypeError: an incomplete handler, an option that does not exist; or ``decide`` or ``stream`` returned something
            else than it may.
        OptionError: an option, or a URL, that is not allowed.
        ConnectFailed: there is no connection, or not within ``connect_timeout``; and none is wanted any more.
        UpgradeRejected: the same, as the server answered with something else than 101; it carries the response.
        HandshakeError: the same, as the server's 101 is not what RFC 6455 expects.
        StateError: Trio does not run here.

    Checkpoint: always.
    Cancelled: the server is told 1001, ``terminate`` runs within ``terminate_timeout``, and nobody waits for the
        server; then ``Cancelled`` goes on.
    Source: the client's end of RFC 6455 for a handler of WebSock; our own ruling, as WebSock has servers only.
    """
    check_trio("connect()")
    if not isinstance(reconnect, (bool, Reconnect)):
        raise OptionError("reconnect", reconnect, "True, False or Reconnect(...)")
    parse_url(url)
    policy = Reconnect() if reconnect is True else reconnect or None
    return await Client(url, bind_handler(handler), args, policy, options)._run(task_status)
