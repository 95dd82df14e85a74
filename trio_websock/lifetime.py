"""The deadline of a whole connection, which a shutdown may bring forward at any time.

Every wait of a connection that may outlast its callbacks is opened here, so that one assignment to the deadline
reaches all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import trio

__all__ = ["CANCEL_TIMEOUT", "OVERDUE_CAUSES", "OVERDUE_TIMEOUT", "Lifetime"]

# Seconds behind the end of a grace for what was cancelled to come to its own end; then its socket is aborted.
CANCEL_TIMEOUT = 0.05

# Seconds behind that after which what still runs is named in the log, and what may have made it last so long.
OVERDUE_TIMEOUT = 1.0
OVERDUE_CAUSES = "shields itself from cancellation, or waits for a thread"


@final
class Lifetime:
    """The scopes a connection waits in, and the latest moment any of them may end."""

    __slots__ = ("_scopes", "deadline")

    def __init__(self) -> None:
        self.deadline: float = math.inf
        self._scopes: list[trio.CancelScope] = []

    @contextmanager
    def bounded(self, seconds: float = math.inf, *, shield: bool) -> Iterator[trio.CancelScope]:
        """A scope of at most ``seconds``, and never beyond the deadline, even if that moves while inside."""
        scope = trio.CancelScope(deadline=self.after(seconds), shield=shield)
        self.adopt(scope)
        try:
            with scope:
                yield scope
        finally:
            self.release(scope)

    def adopt(self, scope: trio.CancelScope) -> None:
        """Have the deadline reach a scope opened elsewhere."""
        self._scopes.append(scope)
        if self.deadline < math.inf:
            self._tighten(scope)

    def release(self, scope: trio.CancelScope) -> None:
        """Forget a scope that has been left."""
        self._scopes.remove(scope)

    def after(self, seconds: float) -> float:
        """The moment ``seconds`` from now, or the deadline if that is earlier."""
        return self.deadline if seconds == math.inf else min(self.deadline, trio.current_time() + seconds)

    @property
    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline < math.inf and trio.current_time() >= self.deadline

    def shorten(self, deadline: float) -> None:
        """Bring the deadline forward; a later one changes nothing."""
        self.deadline = min(self.deadline, deadline)
        for scope in self._scopes:
            self._tighten(scope)

    def _tighten(self, scope: trio.CancelScope) -> None:
        if self.deadline >= scope.deadline:
            return
        if self.deadline <= trio.current_time():
            scope.cancel()  # now, and not when Trio next looks at its clock
        else:
            scope.deadline = self.deadline
