"""Coroutines that cannot be suspended: of a callback written ``async def`` that has nothing to wait for.

In: functions, and the coroutines they return. Out: which of them have no ``await``, and what such a coroutine returns,
without anybody who awaits it.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Coroutine
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, TypeVar

__all__ = ["awaitless_code", "finish"]

T = TypeVar("T")

# Where the code of a coroutine can be suspended, in all versions of Python that have had a name for it.
_SUSPENDING = frozenset(("GET_AWAITABLE", "GET_AITER", "GET_ANEXT", "BEFORE_ASYNC_WITH", "SEND", "YIELD_VALUE"))


def awaitless_code(function: object) -> CodeType | None:
    """The code of a coroutine function that has no ``await``, no ``async for`` and no ``async with``.

    It is the ``cr_code`` of every coroutine the function makes. ``None`` for anything else, also where it cannot be
    told.
    """
    function = getattr(function, "__func__", function)
    if type(function) is not FunctionType or not function.__code__.co_flags & inspect.CO_COROUTINE:
        return None
    return None if _has_await(function.__code__) else function.__code__


# An application function's handler is bound anew for each request, and reading code takes longer than an upgrade.
@lru_cache(maxsize=1024)
def _has_await(code: CodeType) -> bool:
    return any(instruction.opname in _SUSPENDING for instruction in dis.get_instructions(code))


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """What ``coroutine`` returns, or raises; it must be one that is never suspended."""
    try:
        coroutine.send(None)
    except StopIteration as returned:
        value: T = returned.value
        return value
    raise AssertionError(f"{coroutine!r} was suspended")
