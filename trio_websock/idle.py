"""The idle clock: how long the peer has been silent while we were listening.

In: that bytes arrived, that the loop is busy, that it is idle again. Out: a cancel scope around the reader that
expires, at 1.0 to 1.05 of the timeout.

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
        "_was_opened",
        "_was_touched",
    )

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._slack = timeout * SLACK
        self._scope = trio.CancelScope()
        self._was_opened = False
        self._silent_since = self._armed_for = -math.inf
        self._paused_at: float | None = None
        self._was_touched = True
        self._current_time = trio.lowlevel.current_clock().current_time

    def open_scope(self) -> trio.CancelScope:
        """A scope for the reader to listen in, armed if the clock is running."""
        if self._was_opened:
            self._scope = trio.CancelScope()
            self._armed_for = -math.inf
        self._was_opened = True
        if not self._was_touched and self._paused_at is None:
            self._arm()
        return self._scope

    def has_expired(self) -> bool:
        """Whether the peer has really been silent for the whole timeout."""
        if self._was_touched or self._paused_at is not None:
            return False
        now = self._current_time()
        if now > self._scope.deadline + self._slack:
            self._silent_since = now
        return now >= self._silent_since + self._timeout

    def touch(self, *, is_unfinished: bool = False) -> None:
        """Bytes arrived. The time is looked up when the loop becomes idle, or now if they gave it nothing to do."""
        self._was_touched = True
        if is_unfinished and self._paused_at is None:
            self.resume()

    def pause(self) -> None:
        """The loop is busy and suspended."""
        if self._paused_at is None and self._timeout != math.inf:
            self._paused_at = self._current_time()
            self._armed_for = -math.inf
            self._scope.deadline = math.inf

    def resume(self) -> None:
        """The loop is idle."""
        if self._timeout == math.inf:
            return
        if self._was_touched:
            self._silent_since = self._current_time()
            self._was_touched = False
        elif self._paused_at is not None:
            self._silent_since += self._current_time() - self._paused_at
        self._paused_at = None
        if self._silent_since - self._armed_for > self._slack:
            self._arm()

    def _arm(self) -> None:
        self._armed_for = self._silent_since
        self._scope.deadline = self._silent_since + self._timeout + self._slack
