"""The ASGI application beside a server's handlers: its lifespan, and the calls that are running.

In: an application, and the nursery of the server's clients. Out: what a session answers plain requests with. Knows no
session, and of the server's end only what it is told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import final

import trio

from ..options import AsgiApplication, Options
from .asgi import AsgiCall, AsgiSite
from .asgi_scope import ServerAddress
from .ledger import Ledger
from .lifespan import Lifespan

__all__ = ["Annex"]


@final
class Annex:
    """One ASGI application as one server runs it.

    Args:
        application: the application.
        options: of the server's connections; here its timeouts matter.
        ledger: the server's.
        interrupt: called for a ``KeyboardInterrupt`` that hits a call.
    """

    def __init__(
        self, application: AsgiApplication, options: Options, ledger: Ledger, interrupt: Callable[[], None]
    ) -> None:
        self._lifespan = Lifespan(application)
        self._site = AsgiSite(
            application, self._start, ledger, options.timeout, options.write_timeout, self._lifespan.state
        )
        self._ledger = ledger
        self._interrupt = interrupt
        self._calls: dict[AsgiCall, None] = {}
        self._nursery: trio.Nursery | None = None

    @property
    def calls_len(self) -> int:
        """How many calls are running, also behind their responses."""
        return len(self._calls)

    def site_at(self, address: ServerAddress | str | None) -> AsgiSite:
        """What answers clients that come in at ``address``."""
        return self._site.at(address)

    async def run_around(self, serving: Callable[[], Awaitable[None]], give_up: Callable[[], Awaitable[None]]) -> None:
        """Serve within the application's lifespan; see :meth:`Lifespan.run_around`.

        Args:
            serving: called once the application has started.
            give_up: called if that never happens.
        """
        has_started = False

        async def serve_now() -> None:
            nonlocal has_started
            has_started = True
            await serving()

        try:
            await self._lifespan.run_around(serve_now)
        finally:
            if not has_started:
                await give_up()

    def open(self, calls: trio.Nursery, aides: trio.Nursery, shutdown: Callable[[], None]) -> None:
        """Clients are about to come.

        Args:
            calls: where calls run; it runs empty before the shutdown of the application.
            aides: cancelled when all is over.
            shutdown: called if the application's lifespan fails.
        """
        self._nursery = calls
        aides.start_soon(self._watch, shutdown)

    def expire(self) -> None:
        """The grace is over: cancel what is left."""
        for call in list(self._calls):
            call.cancel()
        self._lifespan.expire()

    async def shut_down(self) -> None:
        """The last client has gone: have the application shut down, in what is left of the grace."""
        notice = self._ledger.notice
        assert notice is not None  # or clients would still be coming
        await self._lifespan.shut_down(notice.deadline)

    async def _watch(self, shutdown: Callable[[], None]) -> None:
        await self._lifespan.wait_failed()
        shutdown()

    def _start(self, call: AsgiCall) -> None:
        assert self._nursery is not None
        self._calls[call] = None
        self._nursery.start_soon(self._attend, call)

    async def _attend(self, call: AsgiCall) -> None:
        try:
            await call.run()
        except* KeyboardInterrupt:
            self._interrupt()
        finally:
            del self._calls[call]
