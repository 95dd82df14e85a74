"""Serving: ``serve``, and the ``Server`` it stands for while it runs.

In: a handler or an application function, and options. Out: nothing; it ends when it is told to.

::

    serve's own task      waits for the end, or for its own cancellation
    ── shield ────────────────────────────────────────────────────────────
    aides                 the end of the grace, staggered goodbyes
      clients             one task for each client, and for each call of an ASGI application
        accepting         one loop for each place to listen

1. All that serves lies inside the shield: cancelling ``serve`` reaches no client, it begins a graceful shutdown.
2. A shutdown stops the accepting, then the inner nursery runs empty. How fast is up to the clients until the grace is
   over; then everything is cancelled, and only a handler's own shield can still hold it.
3. The lifespan of an ASGI application lies around all of it, and is told to shut down behind the last client.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Unpack, final

import trio

from ..application import Application, Site
from ..connection import Connection
from ..errors import OptionError
from ..hosts.wire import Wire
from ..lifetime import CANCEL_TIMEOUT, OVERDUE_CAUSES, OVERDUE_TIMEOUT
from ..option_checks import check_seconds
from ..options import Options, ServerKeywords, ServerOptions, split_keywords
from ..trio_run import check_trio
from .annex import Annex
from .asgi import AsgiSite
from .encryption import APPLICATION_PROTOCOL
from .ledger import Ledger, Notice, Snapshot
from .listeners import Admit, Entrance, open_entrances
from .session import House, Session
from .site import site_for
from .turning_away import refuse_wire

__all__ = ["Server", "serve"]

logger: logging.Logger = logging.getLogger("trio_websock.server")

# Clients that are being told "too many connections" at one time; what comes on top is dropped without a word, or the
# telling would cost what the limit is there to save.
MAX_REFUSALS = 64


@final
class Server:
    """A server while it serves; :func:`serve` makes it and hands it out through ``task_status``.

    Its methods may be called from any task of the same Trio run.
    """

    def __init__(
        self, site: Site, ledger: Ledger, entrances: Sequence[Entrance], server_options: ServerOptions, options: Options
    ) -> None:
        self._site = site
        self._ledger = ledger
        self._entrances = entrances
        self._options = server_options
        self._write_timeout = options.write_timeout
        self._sessions: dict[Session, None] = {}
        self._house = House(self._see_off, self._interrupt)
        self._annex: Annex | None = None
        if server_options.http is not None:
            self._annex = Annex(server_options.http, options, ledger, self._interrupt)
        self._sessions_of: dict[str, int] = {}
        self._refusals: set[trio.CancelScope] = set()
        self._accepting = trio.CancelScope()
        self._grace = trio.CancelScope()
        self._clients: trio.Nursery | None = None
        self._aides: trio.Nursery | None = None
        self._drained = trio.Event()
        self._rate: float | None = None
        self._is_interrupted = False

    @property
    def port(self) -> int:
        """The first TCP port that is listened on.

        Raises:
            AttributeError: there is none, as with a Unix socket only.
        """
        for address in self.addresses:
            if isinstance(address, tuple):
                return address[1]
        raise AttributeError("this server listens on no TCP port")

    @property
    def scheme(self) -> str:
        """``"http"`` or ``"https"``: what is spoken there, as far as it is our own TLS."""
        return "http" if self._options.ssl_context is None else "https"

    @property
    def addresses(self) -> tuple[tuple[str, int] | str, ...]:
        """Everything that is listened on: ``(host, port)``, or the path of a Unix socket."""
        return tuple(entrance.address for entrance in self._entrances if entrance.address is not None)

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The WebSockets that are open now, oldest client first."""
        return tuple(session.connection for session in self._sessions if session.connection is not None)

    def snapshot(self) -> Snapshot:
        """The server's counters at this moment."""
        return self._ledger.snapshot(len(self._sessions), len(self.connections))

    async def aclose(self) -> None:
        """Shut down gracefully; the same as :meth:`shutdown` without arguments."""
        await self.shutdown()

    async def shutdown(self, *, restart: bool = False, grace: float | None = None, rate: float | None = None) -> None:
        """Stop listening, say goodbye to every client, and wait until the last has gone.

        Each connection finishes its running callback, sends a close frame and runs ``terminate(Shutdown())``. Plain
        requests that are being answered are answered; who has asked for nothing yet is disconnected. When the grace
        is over, callbacks are cancelled and sockets aborted. ``serve`` returns as soon as all is over. May be called
        again: to wait too, or to shorten the grace.

        Args:
            restart: close with 1012 instead of 1001, so that clients know to come back.
            grace: seconds for all of it; by default the option of ``serve``. 0 aborts at once.
            rate: connections told per second, so that not all come back elsewhere in one moment; ``None`` tells all
                at once. Who has not been told when the grace is over is aborted with the rest. A later call changes
                the pace.

        Raises:
            OptionError: a grace that is no number of seconds, or a rate that is not positive.

        Checkpoint: unless all is over already.
        Cancelled: the shutdown goes on; only the waiting ends. A callback that waits here waits for itself: it is
            cancelled when the grace is over.
        Source: RFC 6455 §7.4.1; our own ruling, as the hosts of WebSock send 1000.
        """
        seconds = self._options.grace if grace is None else grace
        check_seconds("grace", seconds, allow_zero=True)
        if rate is not None and not (isinstance(rate, (int, float)) and rate > 0):
            raise OptionError("rate", rate, "a positive number of connections per second, or None")
        self._begin_shutdown(restart, seconds, rate)
        await self._drained.wait()

    def _begin_shutdown(self, restart: bool, grace: float, rate: float | None) -> None:
        deadline = trio.current_time() + grace
        notice = self._ledger.notice
        if notice is None:
            notice = self._ledger.notice = Notice(restart, deadline)
            self._accepting.cancel()
        notice.deadline = min(notice.deadline, deadline)
        self._grace.deadline = notice.deadline
        told = [session for session in self._sessions if session.is_told or session.connection is None]
        for session in told if rate is not None else list(self._sessions):
            session.shutdown_nowait(restart=notice.restart, deadline=notice.deadline)
        if rate is not None and self._aides is not None:
            if self._rate is None:
                self._aides.start_soon(self._stagger_goodbyes, notice)
            self._rate = rate

    async def _stagger_goodbyes(self, notice: Notice) -> None:
        assert self._rate is not None
        for session in list(self._sessions):
            if session in self._sessions and not session.is_told:
                session.shutdown_nowait(restart=notice.restart, deadline=notice.deadline)
                await trio.sleep(1 / self._rate)

    async def _run(self, task_status: trio.TaskStatus[Server]) -> None:
        if self._annex is None:
            await self._serve(task_status)
        else:
            await self._annex.run_around(partial(self._serve, task_status), self._stop_listening)

    @trio.lowlevel.enable_ki_protection  # so that an interrupt waits for the two places below that expect one
    async def _serve(self, task_status: trio.TaskStatus[Server]) -> None:
        going_on: BaseException | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._host)
            try:
                task_status.started(self)
                await self._drained.wait()
            except KeyboardInterrupt:
                self._interrupt()
            except BaseException as exc:  # Cancelled: goes on as soon as all is over
                going_on = exc
                self._begin_shutdown(False, self._options.grace, None)
            await self._wait_drained()
        # Before a cancellation: who is interrupted tells the clients, and one of them may be what cancels us.
        if self._is_interrupted:
            raise KeyboardInterrupt
        if going_on is not None:
            raise going_on

    def _interrupt(self) -> None:
        """Ctrl-C without :func:`run`: the first is a graceful shutdown, the second is out of patience."""
        self._begin_shutdown(False, 0 if self._is_interrupted else self._options.grace, None)
        self._is_interrupted = True

    async def _wait_drained(self) -> None:
        # Shielded: we may have been cancelled, and what is left to wait for is bounded by the grace.
        with trio.CancelScope(shield=True):
            while not self._drained.is_set():
                try:
                    await self._drained.wait()
                except KeyboardInterrupt:
                    self._interrupt()

    async def _host(self) -> None:
        """Serve until a shutdown has begun and the last client has gone."""
        # The shield makes cancellation a shutdown instead of an end: see rule 1.
        with trio.CancelScope(shield=True):
            try:
                async with trio.open_nursery() as self._aides:
                    async with trio.open_nursery() as self._clients:
                        if self._annex is not None:
                            self._annex.open(self._clients, self._aides, self._shut_down_by_itself)
                        await self._accept_clients(self._clients)
                        self._aides.start_soon(self._enforce_grace)
                    if self._annex is not None:
                        await self._annex.shut_down()
                    aides, self._aides = self._aides, None  # it takes no more tasks
                    aides.cancel_scope.cancel()
            finally:
                self._aides = None
                self._drained.set()

    async def _accept_clients(self, clients: trio.Nursery) -> None:
        try:
            with self._accepting:
                async with trio.open_nursery() as nursery:
                    for entrance in self._entrances:
                        nursery.start_soon(self._accept_from, entrance)
        finally:
            await self._stop_listening()

    async def _stop_listening(self) -> None:
        with trio.CancelScope(shield=True):  # it is we who wait for it, never the peer
            for entrance in self._entrances:
                await entrance.aclose()

    def _shut_down_by_itself(self) -> None:
        self._begin_shutdown(False, self._options.grace, None)

    async def _accept_from(self, entrance: Entrance) -> None:
        admit: Admit = self._admit
        if self._annex is not None:
            admit = partial(self._admit, http=self._annex.site_at(entrance.address))
        try:
            await entrance.admit_clients(admit)
        except* KeyboardInterrupt:
            self._interrupt()

    def _admit(self, wire: Wire, http: AsgiSite | None = None) -> None:
        assert self._clients is not None
        session = Session(
            wire,
            self._site,
            self._options,
            write_timeout=self._write_timeout,
            ledger=self._ledger,
            http=http,
            house=self._house,
        )
        host = session.host
        objection = self._object_to(host)
        if objection is not None:
            self._refuse(wire, objection)
            return
        if host is not None:
            self._sessions_of[host] = self._sessions_of.get(host, 0) + 1
        self._ledger.clients += 1
        self._sessions[session] = None
        self._clients.start_soon(session.run)

    def _object_to(self, host: str | None) -> str | None:
        """Why a client from ``host`` cannot be taken; ``None`` if it can."""
        limit, limit_per_client = self._options.max_connections, self._options.max_connections_per_client
        if limit is not None and len(self._sessions) >= limit:
            return "too many connections"
        if host is not None and limit_per_client is not None and self._sessions_of.get(host, 0) >= limit_per_client:
            return "too many connections from your address"
        return None

    def _see_off(self, session: Session) -> None:
        host = session.host
        del self._sessions[session]
        if host is not None:
            self._sessions_of[host] -= 1
            if not self._sessions_of[host]:
                del self._sessions_of[host]

    def _refuse(self, wire: Wire, objection: str) -> None:
        assert self._clients is not None
        self._ledger.refusals += 1
        if len(self._refusals) >= MAX_REFUSALS:
            wire.abort()
            return
        scope = trio.CancelScope()
        self._refusals.add(scope)
        self._clients.start_soon(self._refuse_politely, wire, objection, scope)

    async def _refuse_politely(self, wire: Wire, objection: str, scope: trio.CancelScope) -> None:
        with scope:
            await refuse_wire(wire, self._options.ssl_context, objection)
        self._refusals.remove(scope)

    async def _enforce_grace(self) -> None:
        with self._grace:
            await trio.sleep_forever()
        for session in list(self._sessions):
            session.cancel()
        if self._annex is not None:
            self._annex.expire()
        for scope in self._refusals:
            scope.cancel()
        await trio.sleep(CANCEL_TIMEOUT)
        for session in self._sessions:
            session.abort()
        await trio.sleep(OVERDUE_TIMEOUT)
        logger.warning(
            "the grace is over, but %d clients are still being served: %s %s",
            len(self._sessions),
            ", ".join(self._culprits()),
            OVERDUE_CAUSES,
        )

    def _culprits(self) -> list[str]:
        names = sorted({connection.handler for connection in self.connections})
        if self._annex is not None and (self._annex.calls_len or not names):
            names.append("the ASGI application")
        return names or ["the application function"]


async def serve(
    handler_or_app: object | Application,
    *,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
    **options: Unpack[ServerKeywords],
) -> None:
    """Serve WebSockets, and plain HTTP beside them, until shut down or cancelled.

    ::

        trio.run(partial(serve, Echo, port=8000))

    Cancelling it is a graceful shutdown: no client is cut off, for at most ``grace`` seconds; then the cancellation
    goes on. Connections run in tasks of this call and never outlive it; no exception of a handler or of the
    application function leaves it.

    Args:
        handler_or_app: a handler (class, instance or module with ``init`` and ``handle_in``), or an application
            function, plain or async, from a :class:`Request` to a :class:`Response` or an :func:`upgrade`. Beside
            ``http`` it gets the requests for a WebSocket only.
        task_status: gives the :class:`Server` as soon as it listens, with ``await nursery.start(serve, ...)``.
        options: those of :class:`ServerOptions` and, for all connections, of :class:`Options`. Listeners and sockets
            given in ``listeners`` are owned from now on, and closed at the end.

    Raises:
        TypeError: an option that does not exist, or something that is neither a handler nor a function.
        OptionError: an option with a value that is not allowed.
        OSError: an address cannot be listened on; the message names it.
        StartupFailed: the application given as ``http`` could not start.
        StateError: Trio does not run here.
        Exception: what the lifespan of that application failed of while serving, after a graceful shutdown.

    Checkpoint: always.
    Cancelled: graceful shutdown, see above. A second ``KeyboardInterrupt`` aborts.
    Source: ``Bandit.start_link/1`` and its ``shutdown_timeout``; ``trio.serve_listeners``.
    """
    check_trio("serve()")
    server_options, connection_options = split_keywords(options)
    ledger = Ledger()
    site = site_for(handler_or_app, connection_options, ledger)
    if server_options.ssl_context is not None:
        server_options.ssl_context.set_alpn_protocols([APPLICATION_PROTOCOL])
    entrances = await open_entrances(server_options)
    server = Server(site, ledger, entrances, server_options, connection_options)
    await server._run(task_status)
