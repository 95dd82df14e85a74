"""Whose fault an exception is: the application's own, or something that has to go on.

In: what an application raised. Out: the part that ends where the application was called, and the part that does not.
"""

from __future__ import annotations

import math

import trio

__all__ = ["is_by_child", "split_fault"]


def split_fault(exc: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """``(fault, rest)`` of what an application raised, either of them ``None`` if there is no such thing.

    A fault is every ``Exception``, also in a group beside something else. So is a ``Cancelled`` that nobody around us
    asked for: it is from a scope that the application opened and let escape. The rest, a ``KeyboardInterrupt`` say or
    our own cancellation, must be raised on.
    """
    is_cancelled = trio.current_effective_deadline() == -math.inf
    kinds: tuple[type[BaseException], ...] = (Exception,) if is_cancelled else (Exception, trio.Cancelled)
    if isinstance(exc, BaseExceptionGroup):
        return exc.split(kinds)
    return (exc, None) if isinstance(exc, kinds) else (None, exc)


def is_by_child(exc: trio.Cancelled) -> bool:
    """Whether we are cancelled because a child of our nursery failed.

    If nothing of its failure comes out of the nursery, it was a ``Cancelled`` of the application's own, alone or in a
    group, which nurseries take for theirs. Before Trio 0.31 no ``Cancelled`` says what it is for.
    """
    return getattr(exc, "source", None) == "nursery"
