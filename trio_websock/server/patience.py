"""How long a client may still take: a cancel scope that costs nothing until something has to be waited for.

In: a deadline, moved at any time. Out: that what is waited for ends there. Knows nothing of what that is.
"""

from __future__ import annotations

import math
from types import TracebackType
from typing import final

import trio

__all__ = ["Patience"]


@final
class Patience:
    """A cancel scope around a ``with`` block, entered at the first :meth:`begin` inside: before that nothing can be
    cancelled, as nothing is waited for.

    Args:
        deadline: on Trio's clock.
    """

    __slots__ = ("_deadline", "_scope")

    def __init__(self, deadline: float = math.inf) -> None:
        self._deadline = deadline
        self._scope: trio.CancelScope | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        return self._scope is not None and self._scope.__exit__(kind, exc, traceback)

    def begin(self) -> None:
        """Something may have to be waited for from now on.

        In the task of the ``with`` block, and in no scope that was opened inside of it.
        """
        if self._scope is None:
            self._scope = trio.CancelScope(deadline=self._deadline)
            self._scope.__enter__()

    def extend(self, deadline: float) -> None:
        """Have it end at ``deadline`` instead, unless it was cancelled."""
        if self._deadline == -math.inf:
            return
        self._deadline = deadline
        if self._scope is not None:
            self._scope.deadline = deadline

    def cancel(self) -> None:
        """Have it end now, or at the first wait."""
        self._deadline = -math.inf
        if self._scope is not None:
            self._scope.cancel()

    @property
    def is_exhausted(self) -> bool:
        """Whether the ``with`` block was left because its time was over."""
        return self._scope is not None and self._scope.cancelled_caught
