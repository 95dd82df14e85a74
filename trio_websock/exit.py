"""The exit of a connection, the same whatever ended it: flush, ``terminate``, wait for the peer, close.

In: how the connection ends. Out: a transport that is closed and a ``terminate`` that has run. The nursery is closed
by now, so nothing runs beside this; every step is bounded, and all of them by the connection's deadline.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, final

import trio

from .behaviour.enforce import Ending
from .behaviour.handler import Callbacks
from .behaviour.reasons import Error, Reason, Remote
from .connection import Connection
from .dispatch import Dispatcher
from .errors import RemoteError
from .transport import Transport
from .writer import Writer

__all__ = ["Exit"]

logger: logging.Logger = logging.getLogger("trio_websock.connection")

FAULT_DRAIN_TIMEOUT = 1.0  # seconds for a peer that broke the protocol to take our close frame before the reset


@final
class Exit:
    """See the module.

    Args:
        connection: whose end it is.
        callbacks: for ``terminate``.
        dispatcher: has the state, and knows whether ``init`` succeeded.
        transport: closed in the end.
        writer: hands over what is left.
    """

    __slots__ = ("_callbacks", "_connection", "_dispatcher", "_lifetime", "_options", "_transport", "_writer")

    def __init__(
        self, connection: Connection, callbacks: Callbacks, dispatcher: Dispatcher, transport: Transport, writer: Writer
    ) -> None:
        self._connection = connection
        self._options = connection.options
        self._lifetime = connection._lifetime
        self._callbacks = callbacks
        self._dispatcher = dispatcher
        self._transport = transport
        self._writer = writer

    async def run(self, ending: Ending, *, is_awaited: bool) -> None:
        """Go through all of it.

        Args:
            ending: what ``terminate`` is told, and the close frame to send unless it was sent before.
            is_awaited: whether there is time to wait for the peer's close.

        Checkpoint: not for certain. Cancelled: only the waiting ends.
        """
        try:
            if ending.close is not None:
                self._transport.send_close_nowait(*ending.close)
            if not self._transport.flush_nowait():
                await self._flush()
        except Exception:  # of ours, or of a host's transport: terminate is owed all the same
            logger.exception("unexpected failure of %r", self._connection)
            self._transport.abort()
        terminate = self._callbacks.terminate
        if terminate is not None and self._dispatcher.has_state:
            await self._terminate(terminate, ending.reason)
        try:
            await self._close(ending, is_awaited=is_awaited)
        finally:
            self._connection.mark_ended(ending.reason)

    async def _flush(self) -> None:
        """Wait for the rest to be taken, reading on meanwhile: a peer busy sending must get to read it."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._transport.wait_closed)
                await self._writer.drain()
                nursery.cancel_scope.cancel()

    async def _terminate(self, terminate: Callable[[Reason, Any], object], reason: Reason) -> None:
        name = f"{self._connection.handler}.terminate"
        timeout = self._options.terminate_timeout
        try:
            with self._lifetime.bounded(timeout, shield=True) as scope:
                try:
                    result = terminate(reason, self._dispatcher.state)
                    if isinstance(result, Awaitable):
                        await result
                except BaseException:
                    scope.cancel()  # a Cancelled of the handler's own that it let escape ends here as well
                    raise
        except Exception as exc:
            logger.error("%s failed, peer %s", name, self._connection.peer, exc_info=exc)
        if scope.cancelled_caught:
            logger.error("%s was cancelled, peer %s: its time was over", name, self._connection.peer)

    async def _close(self, ending: Ending, *, is_awaited: bool) -> None:
        """Let the peer finish the closing handshake, if it is its turn and there is time, and close."""
        try:
            if is_awaited and ending.close is not None and not isinstance(ending.reason, Remote):
                await self._wait_closed(ending.reason)
        finally:
            if self._lifetime.is_over:
                self._transport.abort()
            else:
                await self._transport.aclose()

    async def _wait_closed(self, reason: Reason) -> None:
        timeout = self._options.close_timeout
        if isinstance(reason, Error) and isinstance(reason.cause, RemoteError):
            self._transport.send_eof_nowait()
            timeout = min(timeout, FAULT_DRAIN_TIMEOUT)
        # Not shielded: all that was owed has been done, and a cancellation has somewhere to go.
        with self._lifetime.bounded(timeout, shield=False):
            await self._transport.wait_closed()
