"""The idle clock: how long the peer has been silent while we were listening.

In: that bytes arrived, that the loop is busy, that it is idle again. Out: a cancel scope around the reader that
expires, at 1.0 to 1.05 of the timeout; the reader then has a last look.

1. Any received byte starts the clock anew; nothing we send does, nor does the mailbox.
2. While a callback runs, or output waits for the peer, the clock stands still.
3. Moving a scope's deadline costs as much as a short callback, so it moves only when it lags by more than the slack.
   A scope may therefore expire wrongly: the reader asks ``has_expired`` and opens another one.
4. A scope that expires late was held up by somebody who blocked the whole thread, a callback of this connection or of
   another. Nobody was listening meanwhile, so the clock starts anew.
"""

from __future__ import annotations

import math
from typing import final

import trio

__all__ = ["IdleClock"]

SLACK = 0.05  # of the timeout: the price of moving the deadline rarely
LAST_LOOK = 0.02  # of the timeout


@final
class IdleClock:
    """See the module.

    Args:
        timeout: seconds of silence; ``math.inf``: never expires.
    """

    __slots__ = (
        "_armed_for",
        "_current_time",
        "_paused_at",
        "_scope",
        "_silent_since",
        "_slack",
        "_timeout",
        "was_touched",
    )

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._slack = timeout * SLACK
        self._scope: trio.CancelScope | None = None  # until the reader listens
        self._silent_since = self._armed_for = -math.inf
        self._paused_at: float | None = None
        #: Set it when bytes have arrived; the time is looked up when the loop becomes idle.
        self.was_touched: bool = True
        self._current_time = trio.lowlevel.current_clock().current_time

    def open_scope(self) -> trio.CancelScope:
        """A scope for the reader to listen in, armed if the clock is running."""
        # Given its time here, because moving the deadline of a scope costs more than making one.
        is_running = not self.was_touched and self._paused_at is None
        self._armed_for = self._silent_since if is_running else -math.inf
        self._scope = trio.CancelScope(deadline=self._expiry() if is_running else math.inf)
        return self._scope

    def open_last_look(self) -> trio.CancelScope:
        """A scope for the reader to listen in once more before a peer is judged silent: for what lies in the kernel."""
        return trio.move_on_after(self._timeout * LAST_LOOK)

    def has_expired(self) -> bool:
        """Whether the peer has really been silent for the whole timeout."""
        if self._scope is None or self.was_touched or self._paused_at is not None:
            return False
        now = self._current_time()
        if now > self._scope.deadline + self._slack:
            self._silent_since = now
        return now >= self._silent_since + self._timeout

    def notice_unfinished(self) -> None:
        """Bytes arrived that gave the loop nothing to do."""
        self.was_touched = True
        if self._paused_at is None:
            self.resume()

    def pause(self) -> None:
        """The loop is busy and suspended."""
        if self._paused_at is None and self._timeout != math.inf:
            self._paused_at = self._current_time()
            self._armed_for = -math.inf
            if self._scope is not None:
                self._scope.deadline = math.inf

    def resume(self) -> None:
        """The loop is idle."""
        if self._timeout == math.inf:
            return
        if self.was_touched:
            self._silent_since = self._current_time()
            self.was_touched = False
        elif self._paused_at is not None:
            self._silent_since += self._current_time() - self._paused_at
        self._paused_at = None
        if self._scope is not None and self._silent_since - self._armed_for > self._slack:
            self._armed_for = self._silent_since
            self._scope.deadline = self._expiry()

    def _expiry(self) -> float:
        return self._silent_since + self._timeout + self._slack
