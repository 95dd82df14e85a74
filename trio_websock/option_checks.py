"""What the value of one option has to be: a number of seconds, a count, a TLS context for the right side.

In: an option's name and its value. Out: nothing, or an :class:`OptionError` that names both. Knows no option by name.
"""

from __future__ import annotations

import inspect
import math
import os
import ssl
import sys
from collections.abc import Callable
from types import FunctionType

from .errors import OptionError

__all__ = [
    "check_asgi",
    "check_context",
    "check_count",
    "check_flag",
    "check_function",
    "check_path",
    "check_range",
    "check_seconds",
    "objection_to_calling",
    "takes",
]


def check_seconds(name: str, value: object, allow_zero: bool = False) -> None:
    """Insist on a number of seconds a clock can tell, or ``math.inf``."""
    low = "zero or more" if allow_zero else "a positive number of"
    if not _is_seconds(value) or (value == 0 and not allow_zero):
        raise OptionError(name, value, f"{low} seconds (math.inf for no limit)")


def _is_seconds(value: object) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    # Without arithmetic: NaN fails every comparison, and an integer may be larger than any float a clock can hold.
    return 0 <= value <= sys.float_info.max or value == math.inf


def check_count(name: str, value: object, expected: str) -> None:
    """Insist on an integer from 1 up."""
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise OptionError(name, value, expected)


def check_range(name: str, value: object, low: int, high: int) -> None:
    """Insist on an integer between two, both included."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise OptionError(name, value, f"an integer from {low} to {high}")


def check_flag(name: str, value: object) -> None:
    """Insist on ``True`` or ``False``."""
    if not isinstance(value, bool):
        raise OptionError(name, value, "True or False")


def check_path(name: str, path: object) -> str:
    """Insist on the path of a Unix socket; returns it as text."""
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str) or not text:
        raise OptionError(name, path, "the path of a Unix socket as a str or a PathLike, or None")
    return text


def check_context(name: str, context: object, *, server_side: bool) -> None:
    """Insist on a TLS context that can be of this side, or ``None``: with the other's no handshake can succeed."""
    if context is None:
        return
    if not isinstance(context, ssl.SSLContext):
        raise OptionError(name, context, "an ssl.SSLContext or None")
    if context.protocol == (ssl.PROTOCOL_TLS_CLIENT if server_side else ssl.PROTOCOL_TLS_SERVER):
        side, purpose = ("server", "CLIENT_AUTH") if server_side else ("client", "SERVER_AUTH")
        made = f"as ssl.create_default_context(ssl.Purpose.{purpose}) makes it; {context.protocol.name} came"
        raise OptionError(name, context, f"an ssl.SSLContext for a {side}'s side ({made})")


def check_function(name: str, function: Callable[..., object], argument: str) -> None:
    """Insist on a function that can be called with one argument alone, as far as that can be told."""
    why = objection_to_calling(function, None)
    if why is not None:
        raise OptionError(name, function, f"a function that can be called with {argument} alone ({why})")


def objection_to_calling(function: Callable[..., object], *arguments: object) -> str | None:
    """Why ``function`` cannot be called with these arguments; ``None`` if it can, or does not say what it takes.

    Of a decorated one it is asked what the decorator has made of it, which may give more to what it decorates.
    """
    # Options come with each upgrade, and a signature takes many times as long. A bare function's is what its code says.
    if type(function) is FunctionType and not vars(function) and takes(function, len(arguments)):
        return None
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (NameError, TypeError, ValueError):  # the first of an annotation that only a type checker can read
        return None
    try:
        signature.bind(*arguments)
    except TypeError as exc:
        return str(exc)
    return None


def takes(function: FunctionType, count: int) -> bool:
    """Whether the code of ``function`` can be called with so many arguments, all of them by position."""
    code = function.__code__
    least = code.co_argcount - len(function.__defaults__ or ())
    most = code.co_argcount if not code.co_flags & inspect.CO_VARARGS else count
    return least <= count <= most and code.co_kwonlyargcount <= len(function.__kwdefaults__ or ())


def check_asgi(name: str, application: object) -> None:
    """Insist on something that can be called as an ASGI application is, as far as that can be told, or ``None``."""
    if application is None:
        return
    why: str | None = "it cannot be called"
    if callable(application):
        why = objection_to_calling(application, {}, None, None)
    if why is None:
        return
    where = "a handler or an application function is the first argument of serve"
    expected = f"an ASGI application, called with (scope, receive, send), or None ({why}; {where})"
    raise OptionError(name, application, expected)
