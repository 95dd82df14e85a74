"""A transport without a wire: the other end of the port, in a test's hands.

In: arrivals the test puts. Out: a list of what the runtime sent. It can be made to stop taking output, to end, and to
be asked what was done to it. Knows nothing of frames.
"""

from __future__ import annotations

import math
from typing import final

import trio

from ..behaviour.reasons import Error, Remote
from ..errors import ConnectionLost
from ..messages import Outgoing
from ..transport import Arrival, Transport

__all__ = ["MemoryTransport"]


@final
class MemoryTransport(Transport):
    """The runtime's side is :class:`~trio_websock.transport.Transport`; the rest is for the test."""

    def __init__(self, *, subprotocol: str | None = None, peer: str = "a test") -> None:
        self.subprotocol: str | None = subprotocol
        self.peer: str = peer
        self.received_size: int = 0
        #: What the peer has taken, in order: messages, and close frames as ``(code, text)``.
        self.taken: list[Outgoing | tuple[int | None, bytes]] = []
        #: The close frame the runtime has queued.
        self.close: tuple[int | None, bytes] | None = None
        self.is_closed: bool = False
        self.is_aborted: bool = False
        self.is_half_closed: bool = False
        self._arrivals: list[Arrival] = []
        self._queue: list[Outgoing | tuple[int | None, bytes]] = []
        self._capacity: float = math.inf
        self._changed = trio.Event()

    # The test's side

    def put(self, *arrivals: Arrival) -> None:
        """Have these arrive, in one batch with whatever has not been read yet."""
        self._arrivals += arrivals
        self.touch()

    def touch(self) -> None:
        """Have some bytes arrive, perhaps of an unfinished message."""
        self.received_size += 1
        self._notify()

    def take(self, count: float = math.inf) -> None:
        """Take only so many more messages from now on; none with 0."""
        self._capacity = count
        self._notify()

    # The runtime's side

    async def receive(self, max_messages: int) -> list[Arrival]:
        seen = self.received_size
        while not self._arrivals and seen == self.received_size and not self.is_closed:
            await self._changed.wait()
        await trio.lowlevel.checkpoint()
        return self.receive_nowait(max_messages)

    def receive_nowait(self, max_messages: int) -> list[Arrival]:
        batch, self._arrivals = self._arrivals[:max_messages], self._arrivals[max_messages:]
        return batch

    def send_nowait(self, message: Outgoing) -> None:
        if self.close is None and not self.is_closed:
            self._queue.append(message)

    def send_close_nowait(self, code: int | None, text: bytes) -> None:
        if self.close is None and not self.is_closed:
            self.close = (code, text)
            self._queue.append(self.close)

    def flush_nowait(self) -> bool:
        while self._queue and self._capacity:
            self.taken.append(self._queue.pop(0))
            self._capacity -= 1
        return not self._queue

    @property
    def unsent_size(self) -> int:
        return sum(len(message[1]) + 2 for message in self._queue)

    async def flush_some(self) -> None:
        if self._capacity or self.is_closed:
            await trio.lowlevel.checkpoint()
        while not self._capacity and not self.is_closed:
            await self._changed.wait()
        if self.is_closed:
            raise ConnectionLost("closed at this end")
        self.flush_nowait()

    async def wait_closed(self) -> None:
        while not any(isinstance(arrival, Remote | Error) for arrival in self._arrivals) and not self.is_closed:
            await self._changed.wait()
        await trio.lowlevel.checkpoint()

    def send_eof_nowait(self) -> None:
        self.is_half_closed = True

    async def aclose(self) -> None:
        self.is_closed = True
        self._notify()

    def abort(self) -> None:
        self.is_aborted = self.is_closed = True
        self._queue.clear()
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()
