"""What a handler is: five callbacks, of a class, an instance or a module.

In: the object an application passes to ``serve`` or ``upgrade``. Out: a :class:`BoundHandler` that has been checked,
and gives the callbacks of one connection at a time. Knows nothing of Trio: whether a callback is a coroutine shows
when it is called.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from types import CodeType, ModuleType
from typing import Any, Generic, NoReturn, TypeVar, final, get_origin

from ..errors import describe
from ..messages import Ping, Pong
from ..option_checks import objection_to_calling
from .awaitless import awaitless_code
from .fitting import check_fit
from .reasons import Reason
from .results import Ok, Result

__all__ = ["BoundHandler", "Callbacks", "Handler", "StandIn", "bind_handler", "is_handler"]

State = TypeVar("State")
Info = TypeVar("Info", contravariant=True)

REQUIRED = ("init", "handle_in")
OPTIONAL = ("handle_control", "handle_info", "terminate")
REPEATED = ("handle_in", "handle_control", "handle_info")


class Handler(ABC, Generic[State, Info]):
    """One WebSocket connection's behaviour; generic in its state and in what its mailbox carries.

    Subclass it and define ``init`` and ``handle_in``; the rest as needed. Callbacks may be plain functions or
    coroutines and never overlap within one connection. What awaits runs in the connection's own task; a callback
    without an ``await`` has that task's context variables, but may run in another. A handler need not subclass: an
    instance or a module with these callbacks does as well.

    What a callback returns (:class:`Ok`, :class:`Push`, :class:`Reply`, :class:`Stop`) is all that drives the
    connection. Anything else, or an exception, closes it with 1011. A callback is cancelled when a task of the
    connection's nursery fails, when a shutdown's grace is over, and, with ``cancel_on_disconnect``, when the peer is
    gone.

    Source: the ``WebSock`` behaviour.
    """

    @abstractmethod
    def init(self, args: Any, /) -> Result[State] | Awaitable[Result[State]]:
        """Called once, when the upgrade has been answered, before anything else.

        Args:
            args: what ``upgrade`` was given; under ``serve(Handler)`` the :class:`Request`.

        Source: WebSock ``init/1``.
        """

    @abstractmethod
    def handle_in(self, message: str | bytes, state: State, /) -> Result[State] | Awaitable[Result[State]]:
        """Called for each complete message.

        Args:
            message: ``str`` for a text message, ``bytes`` for a binary one.
            state: what the last successful callback returned.

        Source: WebSock ``handle_in/2``.
        """

    def handle_control(self, frame: Ping | Pong, state: State, /) -> Result[State] | Awaitable[Result[State]]:
        """Called for each ping, after its pong has been sent, and for each pong. Does nothing by default.

        Source: WebSock ``handle_control/2``.
        """
        return Ok(state)

    def handle_info(self, info: Info, state: State, /) -> Result[State] | Awaitable[Result[State]]:
        """Called for each item sent into the connection's mailbox; required as soon as there is one.

        Source: WebSock ``handle_info/2``.
        """
        raise _missing_handle_info(self, info)

    def terminate(self, reason: Reason, state: State, /) -> object:
        """Called once, last of all, if ``init`` succeeded, however the connection ended.

        Runs shielded from cancellation for at most ``terminate_timeout`` seconds. What it returns is ignored; what it
        raises is logged.

        Source: WebSock ``terminate/2``.
        """


@final
class Callbacks:
    """The callbacks of one connection.

    All but the most frequent are looked up when they are called: bound for good they take a quarter of a KiB.

    Args:
        handler: what is known of them.
        target: has them.
    """

    __slots__ = ("_target", "awaitless", "handle_in", "is_prompt")

    def __init__(self, handler: BoundHandler, target: Any) -> None:
        self._target = target
        #: Of those callbacks that are coroutine functions without an ``await``: theirs are never suspended.
        self.awaitless: tuple[CodeType, ...] = handler.awaitless
        #: Whether ``handle_in`` is a plain function or has no ``await``, as far as can be seen.
        self.is_prompt: bool = handler.is_prompt
        self.handle_in: Callable[[str | bytes, Any], Any] = target.handle_in

    @property
    def first(self) -> str:
        """What is called first, by the name an error has for it: ``init``, but ``__init__`` where that has failed."""
        return self._target.first if isinstance(self._target, StandIn) else "init"

    @property
    def init(self) -> Callable[[Any], Any]:
        """The first."""
        return self._target.init  # type: ignore[no-any-return]  # checked when it was bound

    @property
    def handle_control(self) -> Callable[[Ping | Pong, Any], Any] | None:
        """``None`` where nobody wants control frames."""
        return self._target.handle_control if _defines(self._target, "handle_control") else None

    @property
    def handle_info(self) -> Callable[[Any, Any], Any]:
        """Where there is none, what it is required for fails."""
        return getattr(self._target, "handle_info", None) or _refuse_info(self._target)

    @property
    def terminate(self) -> Callable[[Reason, Any], Any] | None:
        """``None`` where nobody wants to know."""
        return self._target.terminate if _defines(self._target, "terminate") else None


@final
class BoundHandler:
    """A handler that has been found complete.

    Args:
        handler: class, instance or module.

    Raises:
        TypeError: a required callback is missing, something that is no callable stands in a callback's place, one
            does not take what it is given or yields, or a class cannot be called without arguments.
    """

    __slots__ = ("_handler", "awaitless", "is_prompt", "name")

    def __init__(self, handler: object) -> None:
        handler = get_origin(handler) or handler  # of Echo[int, str] the class, which has the callbacks
        self.name: str = _name_of(handler)
        missing = [name for name in REQUIRED if not _defines(handler, name)]
        if missing:
            raise TypeError(f"handler {self.name} has no {' and no '.join(missing)}")
        for name in REQUIRED + OPTIONAL:
            if hasattr(handler, name) and not callable(getattr(handler, name)):
                raise TypeError(f"{name} of handler {self.name} is not callable: {getattr(handler, name)!r}")
        for name in REQUIRED + OPTIONAL:
            if _defines(handler, name):
                check_fit(handler, self.name, name)
        if isinstance(handler, type):
            _check_constructor(handler)
        self._handler = handler
        codes = {name: awaitless_code(getattr(handler, name, None)) for name in REPEATED}
        self.awaitless: tuple[CodeType, ...] = tuple(code for code in codes.values() if code is not None)
        may_wait = inspect.iscoroutinefunction(getattr(handler, "handle_in", None))
        self.is_prompt: bool = not may_wait or codes["handle_in"] is not None

    def open(self) -> Callbacks:
        """The callbacks for a new connection: of a new instance if the handler is a class.

        A class that fails to make one fails as its ``init`` would: when that is called.
        """
        try:
            target: Any = self._handler() if isinstance(self._handler, type) else self._handler
        except Exception as exc:
            target = _Stillborn(exc)
        return Callbacks(self, target)


def bind_handler(handler: object) -> BoundHandler:
    """Check a handler, once, before anything is served with it.

    Raises:
        TypeError: see :class:`BoundHandler`.
    """
    return BoundHandler(handler)


def is_handler(candidate: object) -> bool:
    """Whether ``candidate`` is meant as a handler, complete or not, rather than as an application function."""
    if isinstance(get_origin(candidate) or candidate, (type, ModuleType, Handler)):
        return True
    found = [callable(getattr(candidate, name, None)) for name in REQUIRED]
    # One callback alone may be chance on something that can be called; on anything else it is an incomplete handler.
    return all(found) or (any(found) and not callable(candidate))


def _name_of(handler: object) -> str:
    name = getattr(handler, "__name__", None) or type(handler).__name__
    return str(name)


def _check_constructor(handler: type) -> None:
    # Done for each upgrade, and of what a class inherits from object the signature has to be parsed from a text.
    if all(getattr(handler, name) is getattr(object, name) for name in ("__init__", "__new__")):
        return
    why = objection_to_calling(handler)
    if why is not None:
        raise TypeError(
            f"handler {_name_of(handler)} needs arguments ({why}), but every connection gets an instance of its own: "
            "hand over an instance to share, or a class that needs none"
        )


def _defines(handler: object, name: str) -> bool:
    """Whether ``handler`` has its own ``name``, not just what :class:`Handler` gives everybody."""
    found = getattr(handler, name, None)
    return found is not None and getattr(found, "__func__", found) is not getattr(Handler, name)


def _missing_handle_info(handler: object, info: object) -> TypeError:
    return TypeError(f"handler {_name_of(handler)} was sent {describe(info)} but has no handle_info")


class StandIn(ABC):
    """In place of an instance: knows what an error has to call the first callback."""

    @property
    @abstractmethod
    def first(self) -> str:
        """See :attr:`Callbacks.first`."""


class _Stillborn(StandIn):
    """In place of an instance that could not be made."""

    first = "__init__"

    def __init__(self, exc: Exception) -> None:
        self._exc = exc

    def init(self, args: object) -> NoReturn:
        raise self._exc

    def handle_in(self, message: str | bytes, state: object) -> NoReturn:
        raise self._exc  # never called, as init has failed


def _refuse_info(handler: object) -> Callable[[Any, Any], Any]:
    def handle_info(info: object, state: object) -> None:
        raise _missing_handle_info(handler, info)

    return handle_info
