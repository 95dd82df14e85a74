"""Keepalive pings, for who asks for them: is anybody still there?

In: the transport's count of received bytes. Out: pings, the latency of their pongs, and in the end a ``Timeout``.

The peer is judged by what has arrived: any byte after a ping proves it alive. While the inbox is full nothing is read
and nobody is judged, and when reading goes on the peer has its whole time again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import final

import trio

from .behaviour.reasons import Timeout
from .codes import Opcode
from .connection import Connection
from .messages import Pong
from .transport import Arrival, Transport
from .writer import Writer

__all__ = ["Keepalive"]

SLACK = 0.05  # of the timeout: who wakes later than that was held up by somebody who blocked the thread


@final
class Keepalive:
    """See the module; only for connections with a ``ping_interval``.

    Args:
        connection: whose peer to ask; its latency is kept up to date.
        transport: where pings go.
        writer: hands them over.
        on_silence: told when one stayed unanswered.
        interval: seconds between two pings.
        timeout: seconds for anything to arrive after one.
    """

    __slots__ = (
        "_connection",
        "_inbox",
        "_interval",
        "_on_silence",
        "_payload",
        "_received_size",
        "_sent_at",
        "_timeout",
        "_transport",
        "_waiting_since",
        "_writer",
    )

    def __init__(
        self,
        connection: Connection,
        transport: Transport,
        writer: Writer,
        on_silence: Callable[[Timeout], None],
        *,
        interval: float,
        timeout: float,
    ) -> None:
        self._connection = connection
        self._interval = interval
        self._on_silence = on_silence
        self._timeout = timeout
        self._transport = transport
        self._writer = writer
        self._inbox = connection._inbox
        self._payload = 0
        self._sent_at = 0.0
        self._received_size = 0
        self._waiting_since: float | None = None

    async def run(self) -> None:
        """Ping until the peer leaves one unanswered."""
        next_ping = trio.current_time() + self._interval
        while True:
            due = min(next_ping, self._judged_at)
            await trio.sleep_until(due)
            if self._waiting_since is not None and trio.current_time() > due + SLACK * self._timeout:
                # Nobody was listening, and what has come meanwhile may take many turns to be read.
                self._waiting_since = trio.current_time()
            if await self._is_overdue():
                self._on_silence(Timeout("ping timeout"))
                return
            if trio.current_time() >= next_ping:
                next_ping = trio.current_time() + self._interval
                self._ping()

    @property
    def _judged_at(self) -> float:
        if self._waiting_since is None:
            return math.inf
        return max(self._waiting_since, self._inbox.reading_since) + self._timeout

    async def _is_overdue(self) -> bool:
        # What the kernel has for us must have been read before the peer is judged; the reader is due in this turn
        # of the scheduler or the next, and comes before us or after us there.
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        if self._transport.received_size != self._received_size:
            self._waiting_since = None
        return trio.current_time() >= self._judged_at

    def _ping(self) -> None:
        if self._transport.unsent_size:
            return  # a peer that takes nothing is the write timeout's
        self._payload += 1
        self._sent_at = trio.current_time()
        if self._waiting_since is None:
            self._waiting_since = self._sent_at
            self._received_size = self._transport.received_size
        self._transport.send_nowait((Opcode.PING, self._payload.to_bytes(4, "big")))
        self._writer.flush(self._connection.nursery)

    def notice(self, batch: Iterable[Arrival]) -> None:
        """Look for the pong of the last ping among what has arrived."""
        for arrival in batch:
            if type(arrival) is Pong and arrival.payload == self._payload.to_bytes(4, "big"):
                self._connection.latency = trio.current_time() - self._sent_at
