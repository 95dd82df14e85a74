"""Whether a callback can be called as it will be, as far as its code tells.

In: a handler, and the name of one of its callbacks. Out: nothing, or a ``TypeError`` that names both. Calls nothing.
"""

from __future__ import annotations

import inspect
from types import CodeType, FunctionType, MethodType
from typing import Final

__all__ = ["GIVEN", "check_fit"]

GIVEN: Final = {
    "init": ("args",),
    "handle_in": ("message", "state"),
    "handle_control": ("frame", "state"),
    "handle_info": ("info", "state"),
    "terminate": ("reason", "state"),
}
"""What each callback is called with."""

_YIELDS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


def check_fit(handler: object, handler_name: str, name: str) -> None:
    """Refuse a callback that fails whenever it is called, or that nobody would run.

    Only functions and methods are looked at, and of a decorated one what the decorator has made of it: whatever else
    can be called may take anything.

    Args:
        handler: class, instance or module.
        handler_name: its name, for errors.
        name: of a callback that it has.

    Raises:
        TypeError: it cannot be called with what it will be given, or it is a generator.
    """
    function, bound = _function_of(handler, name)
    if function is None:
        return
    code = function.__code__
    if code.co_flags & _YIELDS and not code.co_flags & inspect.CO_ITERABLE_COROUTINE:
        raise TypeError(f"{name} of handler {handler_name} is a generator: it must return its result, not yield it")
    if not _takes(function, code, len(GIVEN[name]) + bound):
        signature = inspect.signature(function, follow_wrapped=False)
        raise TypeError(
            f"{name} of handler {handler_name} cannot be called with ({', '.join(GIVEN[name])}): "
            f"its signature is {signature}"
        )


def _function_of(handler: object, name: str) -> tuple[FunctionType | None, int]:
    """The function behind a callback, and how many arguments it gets beside those of the callback: a ``self``."""
    found = getattr(handler, name)
    if isinstance(found, MethodType):
        return _only_function(found.__func__), 1
    if not isinstance(handler, type):
        return _only_function(found), 0
    # Of a class a function comes as it stands there, whether its instances will bind it or not.
    raw = next((vars(cls)[name] for cls in handler.__mro__ if name in vars(cls)), None)
    if isinstance(raw, staticmethod):
        return _only_function(raw.__func__), 0
    return _only_function(raw), 1


def _only_function(candidate: object) -> FunctionType | None:
    return candidate if isinstance(candidate, FunctionType) else None


def _takes(function: FunctionType, code: CodeType, count: int) -> bool:
    """Whether ``function`` can be called with so many arguments, all of them by position."""
    # By its code: inspect.signature takes a decorator's word for what the function takes, and many times as long.
    least = code.co_argcount - len(function.__defaults__ or ())
    most = code.co_argcount if not code.co_flags & inspect.CO_VARARGS else count
    return least <= count <= most and code.co_kwonlyargcount <= len(function.__kwdefaults__ or ())
