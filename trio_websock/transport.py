"""The port between the runtime and a host: whole messages in, whole messages out.

A host (our own stream, trio-websocket, ASGI) implements :class:`Transport`; the runtime drives it and never learns
what a frame looks like. The contract that makes output safe under cancellation: ``send_nowait`` and
``send_close_nowait`` only queue, ``flush_nowait`` never waits, and ``flush_some``, the one call that waits for the
peer, may be cancelled at any checkpoint and called again without a byte lost or sent twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias

from .behaviour.reasons import Reason
from .messages import Incoming, Outgoing

__all__ = ["Arrival", "Transport"]

Arrival: TypeAlias = Incoming | Reason
"""What ``receive`` yields: a message, or (last of all) why there will be no more."""


class Transport(ABC):
    """One open WebSocket, in whole messages.

    ``receive`` is called by one task at a time; everything else by any task, as it never waits (but ``flush_some``,
    again called by one task at a time).
    """

    __slots__ = ()

    #: Bytes received since the start: moved by every byte, also of an unfinished message.
    received_size: int

    #: The subprotocol agreed on, if any.
    subprotocol: str | None

    #: The peer's address as text, for logs.
    peer: str

    @abstractmethod
    async def receive(self, max_messages: int) -> list[Arrival]:
        """Wait for bytes and return what they complete: up to ``max_messages`` arrivals, perhaps none.

        Pings are answered (queued) before they are returned. The last arrival ever is a
        :data:`~trio_websock.behaviour.reasons.Reason`: ``Remote`` for a close frame, ``Error`` with a
        ``RemoteError`` or ``ConnectionLost``; it is not to be called after that.

        Checkpoint: always.
        Cancelled: nothing is lost; what was read is returned by the next call.
        """

    async def receive_each(self, max_messages: int, take: Callable[[list[Arrival]], int]) -> None:
        """Give batch after batch to ``take``, as :meth:`receive` would return them.

        A host that can do it without waking this task for every batch does so: ``take`` may run in any task.

        Args:
            max_messages: arrivals in the first batch, at least one.
            take: must not wait. Returns how many arrivals may be in the next batch; zero ends this call, and has to
                answer a batch with a reason.

        Checkpoint: always.
        Cancelled: nothing is lost; what was read is in the next batch.
        """
        while max_messages > 0:
            max_messages = take(await self.receive(max_messages))

    @abstractmethod
    def receive_nowait(self, max_messages: int) -> list[Arrival]:
        """What has arrived already, without waiting for more: up to ``max_messages`` arrivals, perhaps none."""

    @abstractmethod
    def send_nowait(self, message: Outgoing) -> None:
        """Queue one message; dropped without a word once a close is queued or the connection is gone."""

    @abstractmethod
    def send_close_nowait(self, code: int | None, text: bytes) -> None:
        """Queue the close frame, the last frame ever; ``None`` sends it empty. A second call does nothing."""

    @abstractmethod
    def flush_nowait(self) -> bool:
        """Hand over what can be handed over now; whether nothing is left."""

    @property
    @abstractmethod
    def unsent_size(self) -> int:
        """Bytes queued and not yet handed over (near enough for back-pressure)."""

    @abstractmethod
    async def flush_some(self) -> None:
        """Wait until the peer takes some of what is queued, and hand that over.

        Raises:
            ConnectionLost: there is nobody left to take it.

        Checkpoint: always. Cancelled: the rest stays queued, at a byte's precision.
        """

    @abstractmethod
    async def wait_closed(self) -> None:
        """Read on, throwing data away, until the peer's close or the end of the stream.

        Checkpoint: always. Cancelled: may be called again.
        """

    @abstractmethod
    def send_eof_nowait(self) -> None:
        """Say that nothing more will come, keeping the reading side open, where the host can."""

    @abstractmethod
    async def aclose(self) -> None:
        """Give the connection back in good order; immediate as far as it is ours. Never raises."""

    @abstractmethod
    def abort(self) -> None:
        """Drop the connection at once (a reset, where there is such a thing). Never raises, may be repeated."""
