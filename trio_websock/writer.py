"""The one door through which output leaves a connection.

In: the transport's queue. Out: its bytes, handed over at once where the peer takes them; where it does not, by a task
that exists only until the queue is empty.

1. Nobody but the drain waits for the peer, and the drain is shielded: cancelling a callback, a task or the whole
   nursery never stops a frame half-way.
2. The drain is bounded all the same: a peer that takes no byte for ``write_timeout`` seconds is dropped, and so is
   everyone at the connection's deadline. Once it has been cancelled, a peer that takes a little now and then does
   not prolong it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import final

import trio

from .behaviour.reasons import Error, Reason
from .errors import ConnectionLost, WriteTimeout
from .lifetime import Lifetime
from .parking import Parking
from .transport import Transport

__all__ = ["Writer"]


@final
class Writer:
    """See the module.

    Args:
        transport: what to write to.
        write_timeout: seconds in which the peer must take something.
        lifetime: bounds every wait.
        on_failure: told why, when the peer was dropped.
    """

    __slots__ = ("_companion", "_is_draining", "_lifetime", "_on_failure", "_transport", "_waiter", "_write_timeout")

    def __init__(
        self, transport: Transport, write_timeout: float, lifetime: Lifetime, on_failure: Callable[[Reason], None]
    ) -> None:
        self._transport = transport
        self._write_timeout = write_timeout
        self._lifetime = lifetime
        self._on_failure = on_failure
        self._is_draining = False
        self._waiter = Parking()
        self._companion: trio.CancelScope | None = None

    def forget(self) -> None:
        """Nothing is left to be written, and nobody to be told: what is over must not keep itself alive."""
        del self._on_failure

    def flush(self, nursery: trio.Nursery) -> bool:
        """Hand over what the peer takes now; whether that was all. The rest is drained by a task of ``nursery``."""
        if self._is_draining:
            return False
        if self._transport.flush_nowait():
            return True
        self._is_draining = True
        nursery.start_soon(self.drain)
        return False

    async def wait_flushed(self) -> None:
        """Wait for the drain to have emptied the queue. Checkpoint: if there is a drain."""
        while self._is_draining:
            await self._waiter.park()

    async def drain(self) -> None:
        """Hand over everything queued, waiting for the peer as long as it takes some of it in time."""
        self._is_draining = True
        try:
            limit = math.inf
            while not self._transport.flush_nowait():
                if limit == math.inf and trio.current_effective_deadline() == -math.inf:
                    limit = trio.current_time() + self._write_timeout
                # A scope for each wait: when the thread was blocked for too long, the wait for a peer that took
                # something meanwhile is over before its scope has expired.
                with self._lifetime.bounded(self._write_timeout, shield=True) as scope:
                    scope.deadline = min(scope.deadline, limit)
                    await self._transport.flush_some()
                if scope.cancelled_caught:
                    self._drop()
                    return
        except ConnectionLost:
            pass  # the reader meets the same end, and has the arrivals before it
        finally:
            self._is_draining = False
            if self._companion is not None:
                self._companion.cancel()
            self._waiter.wake()

    async def accompany(self, read: Callable[[], Awaitable[None]]) -> None:
        """``read`` as long as there is a drain, shielded: a peer that is busy sending must get to take what we send."""
        if self._is_draining:
            with trio.CancelScope(shield=True) as self._companion:
                await read()

    def _drop(self) -> None:
        self._transport.abort()
        timeout = WriteTimeout(f"the peer took nothing for {self._write_timeout} seconds")
        self._on_failure(Error(timeout))
