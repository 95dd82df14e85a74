"""The lifespan of an ASGI application: its startup before a server serves, its shutdown behind the last client.

In: an application. Out: whether it has started, its state for requests, and its failure if it fails meanwhile.

1. The application's lifespan is one task, shielded from the cancellation of ``serve``: it ends when it is told to.
2. Without a shutdown message it is ended by cancellation only if the startup was not finished, or the grace is over.
3. An application that knows no lifespan, and says so by raising or returning before its startup is complete, is served
   all the same: the specification demands it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, final

import trio

from ..errors import StartupFailed, StateError, describe
from ..faults import split_fault
from ..options import AsgiApplication
from .asgi_response import type_of
from .asgi_scope import lifespan_scope

__all__ = ["Lifespan"]

logger: logging.Logger = logging.getLogger("trio_websock.server")

# Seconds for an application that has told of its failure to raise what it failed of.
CAUSE_TIMEOUT = 1.0


@final
class Lifespan:
    """One application's lifespan; :meth:`run_around` comes first.

    Args:
        application: called once, with a scope of its own.
    """

    def __init__(self, application: AsgiApplication) -> None:
        self._application = application
        self._scope = trio.CancelScope(shield=True)
        self._started = trio.Event()  # the startup is over, however it went
        self._shutdown = trio.Event()  # it has been asked to shut down
        self._ended = trio.Event()  # it has nothing more to do
        self._over = trio.Event()  # its task has ended
        self._has_received = False
        self._is_complete = False
        self._startup_fault: str | None = None
        self._has_told_fault = False
        self._exception: BaseException | None = None
        #: What the application has left for its requests.
        self.state: dict[str, Any] = {}

    async def run_around(self, serving: Callable[[], Awaitable[None]]) -> None:
        """Start up, serve, and end.

        Args:
            serving: called once the startup is complete; calls :meth:`shut_down` itself, when it is time.

        Raises:
            StartupFailed: the application said so; ``serving`` was not called.
            Exception: what ``serving`` raised; else, what the application failed of while serving.

        Checkpoint: always.
        Cancelled: in the startup the application is cancelled; later it is up to ``serving``.
        """
        raised: BaseException | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run)
            try:
                await self._wait_started()
                await serving()
            except BaseException as exc:  # goes on below: out of the nursery's group
                raised = exc
            self._scope.cancel()
        if raised is not None:
            raise raised
        if self._exception is not None and self._has_failed:
            raise self._exception

    async def wait_failed(self) -> None:
        """Wait until the application fails while it should be running; perhaps for ever."""
        await self._over.wait()
        if not self._has_failed:
            await trio.sleep_forever()

    @property
    def _has_failed(self) -> bool:
        return self._is_complete and self._exception is not None and not self._shutdown.is_set()

    async def shut_down(self, deadline: float) -> None:
        """Have the application shut down, and wait until it has.

        Args:
            deadline: on Trio's clock: then it is cancelled. It learns of the shutdown even if that has passed.

        Checkpoint: if there is something to wait for. Cancelled: it goes on.
        """
        if not self._is_complete or self._over.is_set():
            return
        self._shutdown.set()
        self._scope.deadline = deadline
        await self._ended.wait()

    def expire(self) -> None:
        """The grace is over: cancel a shutdown that is going on."""
        if self._shutdown.is_set():
            self._scope.cancel()

    async def _wait_started(self) -> None:
        await self._started.wait()
        if self._startup_fault is not None:
            with trio.move_on_after(CAUSE_TIMEOUT):
                await self._over.wait()
            raise StartupFailed(f"the ASGI application could not start: {self._startup_fault}") from self._exception

    async def _run(self) -> None:
        try:
            with self._scope:
                await self._application(lifespan_scope(self.state), self._receive, self._send)
        except BaseException as exc:
            self._exception, rest = split_fault(exc)
            self._report()
            if rest is not None:
                raise rest from None
        finally:
            for event in (self._over, self._started, self._ended):
                event.set()

    def _report(self) -> None:
        if self._has_told_fault or self._exception is None:
            return
        if self._is_complete:
            when = "in its shutdown" if self._shutdown.is_set() else "while serving: the server shuts down"
            logger.error("the ASGI application's lifespan failed %s", when, exc_info=self._exception)
        elif self._has_received:
            logger.warning("the ASGI application failed in its startup; served all the same", exc_info=self._exception)
        else:
            logger.debug("the ASGI application knows no lifespan: %r", self._exception)

    async def _receive(self) -> MutableMapping[str, Any]:
        if not self._has_received:
            self._has_received = True
            await trio.lowlevel.checkpoint()
            return {"type": "lifespan.startup"}
        await self._shutdown.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, event: MutableMapping[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        kind, is_starting = type_of(event), not self._started.is_set()
        if is_starting and kind == "lifespan.startup.complete":
            self._is_complete = True
            self._started.set()
        elif is_starting and kind == "lifespan.startup.failed":
            self._startup_fault = self._fault_of(event)
            self._started.set()
        elif not is_starting and kind == "lifespan.shutdown.complete":
            self._ended.set()
        elif not is_starting and kind == "lifespan.shutdown.failed":
            logger.error("the ASGI application could not shut down: %s", self._fault_of(event))
            self._ended.set()
        else:
            raise StateError(f"{describe(kind)} is not a message of a lifespan, or not at this time")

    def _fault_of(self, event: MutableMapping[str, Any]) -> str:
        self._has_told_fault = True
        return str(event.get("message") or "it does not say why")
