"""Whether a callback can be called as it will be, as far as its code tells.

In: a handler, and the name of one of its callbacks. Out: nothing, or a ``TypeError`` that names both. Calls nothing.
"""

from __future__ import annotations

import inspect
from types import CodeType, FunctionType, MethodType
from typing import Final

from ..option_checks import takes

__all__ = ["GIVEN", "check_fit", "makes_generator"]

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
    is_generator = makes_generator(function)
    # By its code: inspect.signature takes a decorator's word for what the function takes, and many times as long.
    is_fitting = not is_generator and takes(function, len(GIVEN[name]) + bound)
    if is_fitting or _is_set_anew(handler, name):
        return
    if is_generator:
        raise TypeError(f"{name} of handler {handler_name} is a generator: it must return its result, not yield it")
    signature = inspect.signature(function, follow_wrapped=False)
    raise TypeError(
        f"{name} of handler {handler_name} cannot be called with ({', '.join(GIVEN[name])}): "
        f"its signature is {signature}"
    )


def makes_generator(function: FunctionType) -> bool:
    """Whether a call makes a generator, which nobody would run; what ``types.coroutine`` has made can be awaited."""
    flags = function.__code__.co_flags
    return bool(flags & _YIELDS) and not flags & inspect.CO_ITERABLE_COROUTINE


def _function_of(handler: object, name: str) -> tuple[FunctionType | None, int]:
    """The function behind a callback, and how many arguments it gets beside those of the callback: a ``self``."""
    found = getattr(handler, name)
    if type(found) is MethodType:
        return _only_function(found.__func__), 1
    if not isinstance(handler, type):
        return _only_function(found), 0
    # Of a class a function comes as it stands there, whether its instances will bind it or not.
    raw = next((vars(cls)[name] for cls in handler.__mro__ if name in vars(cls)), None)
    if isinstance(raw, staticmethod):
        return _only_function(raw.__func__), 0
    return _only_function(raw), 1


def _only_function(candidate: object) -> FunctionType | None:
    # By its type: what wraps a function may say that it is one.
    return candidate if type(candidate) is FunctionType else None


def _is_set_anew(handler: object, name: str) -> bool:
    """Whether the instances of a class may have a callback of their own, as those of a dataclass with such a field."""
    if not isinstance(handler, type):
        return False
    codes = [getattr(vars(cls).get("__init__"), "__code__", None) for cls in handler.__mro__]
    return any(name in (*code.co_names, *code.co_consts) for code in codes if isinstance(code, CodeType))
