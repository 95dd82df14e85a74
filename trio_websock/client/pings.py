"""Pings whose pongs are waited for, and whoever wants to see pings and pongs.

In: payloads of pings, and what has arrived. Out: the seconds each took. Sends nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import final

import trio

from ..messages import Ping, Pong
from ..transport import Arrival

__all__ = ["SentPing", "SentPings"]


@final
class SentPing:
    """One ping.

    Args:
        payload: which its pong repeats.
    """

    __slots__ = ("answered_after", "event", "payload", "sent_at")

    def __init__(self, payload: bytes) -> None:
        self.payload: bytes = payload
        #: Set when there is nothing more to wait for.
        self.event: trio.Event = trio.Event()
        self.sent_at: float = trio.current_time()
        #: Seconds until its pong; ``None`` before that.
        self.answered_after: float | None = None


@final
class SentPings:
    """All of one connection, in the order they were sent."""

    __slots__ = ("_pings", "observer")

    def __init__(self) -> None:
        self._pings: deque[SentPing] = deque()
        #: Told each ping and pong that arrives, before the waiting tasks are; must neither block nor raise.
        self.observer: Callable[[Ping | Pong], None] | None = None

    def __bool__(self) -> bool:
        return bool(self._pings) or self.observer is not None

    def add(self, payload: bytes) -> SentPing:
        """Wait for the pong of a ping that is about to be sent."""
        sent = SentPing(payload)
        self._pings.append(sent)
        return sent

    def forget(self, sent: SentPing) -> None:
        """Nobody waits any more."""
        if sent in self._pings:
            self._pings.remove(sent)

    def end(self) -> None:
        """No pong will come any more."""
        for sent in self._pings:
            sent.event.set()

    def notice(self, batch: Iterable[Arrival]) -> float | None:
        """Look for pongs among what has arrived; the seconds of the last one that was waited for.

        Source: RFC 6455 §5.5.3: a pong answers its ping, and every ping before that.
        """
        latency = None
        for arrival in batch:
            if self.observer is not None and isinstance(arrival, (Ping, Pong)):
                self.observer(arrival)
            if type(arrival) is Pong and any(sent.payload == arrival.payload for sent in self._pings):
                latency = self._answer(arrival.payload)
        return latency

    def _answer(self, payload: object) -> float:
        while True:
            sent = self._pings.popleft()
            sent.answered_after = trio.current_time() - sent.sent_at
            sent.event.set()
            if sent.payload == payload:
                return sent.answered_after
