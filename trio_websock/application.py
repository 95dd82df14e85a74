"""What is served: one handler, or an application function that decides for each request.

In: a request. Out: a response, or a wish to upgrade with everything checked that does not depend on the request.
Knows neither how requests come in nor how they are answered.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from types import FunctionType
from typing import Final, NamedTuple, Protocol, TypeAlias, final

from .behaviour.fitting import makes_generator
from .behaviour.handler import BoundHandler, bind_handler, is_handler
from .errors import UpgradeRefused, describe, only_exception
from .faults import split_fault
from .headers import Headers
from .option_checks import objection_to_calling
from .options import Options
from .request import Request
from .response import Response, Upgrade, refusal

__all__ = ["Application", "FunctionSite", "HandlerSite", "Report", "Site", "Wish", "bind_application", "site_options"]

Application: TypeAlias = Callable[[Request], "Response | Upgrade | Awaitable[Response | Upgrade]"]
"""An application function, plain or a coroutine function: our counterpart of a Plug."""

site_options: ContextVar[Options] = ContextVar("trio_websock.application", default=Options())  # noqa: B039  # it is frozen
"""The options of the site whose application function is running."""

Report: TypeAlias = Callable[[Request, BaseException], None]
"""Is told of every fault of an application function."""


class Wish(NamedTuple):
    """An upgrade as the application wants it, bound and merged."""

    handler: BoundHandler
    args: object
    options: Options
    headers: tuple[tuple[str, str], ...] = ()
    subprotocol: str | None = None


class Site(Protocol):
    """What answers requests."""

    @property
    def may_wait(self) -> bool:
        """Whether ``answer`` may take its time, and so must be spared the client's deadline."""
        ...

    async def answer(self, request: Request) -> Response | Wish:
        """The response, or the wish to upgrade; raises no ``Exception``."""
        ...

    async def ask(self, request: Request) -> Response | Wish:
        """The same, but what an application function raises comes out as it is."""
        ...


def bind_application(handler_or_app: object, options: Options, report: Report) -> Site:
    """The site made of what a host was given.

    Args:
        handler_or_app: a handler or an application function.
        options: of every connection, where an upgrade does not say otherwise.
        report: is told of the faults of an application function, which its client learns nothing of.

    Raises:
        TypeError: it is neither a complete handler nor callable with a request.
    """
    if is_handler(handler_or_app):
        return HandlerSite(bind_handler(handler_or_app), options)
    if callable(handler_or_app):
        _check_application(handler_or_app)
        return FunctionSite(handler_or_app, options, report)
    raise TypeError(
        f"{handler_or_app!r} is neither a handler (it has no init and no handle_in)"
        " nor an application function (it cannot be called)"
    )


def _check_application(function: Callable[..., object]) -> None:
    """Refuse at the start what every request would fail of."""
    why = objection_to_calling(function, Request("GET", "/"))
    if why is not None:
        hint = "an ASGI application goes into http= of serve"
        raise TypeError(f"{function!r} cannot be called with a request alone ({why}); {hint}")
    if _is_generator(function):
        raise TypeError(f"{function!r} is a generator: it must return its answer, not yield it")


def _is_generator(function: object) -> bool:
    while isinstance(function, partial):
        function = function.func
    function = getattr(function, "__func__", function)
    return type(function) is FunctionType and makes_generator(function)


@final
class HandlerSite:
    """Upgrades every request to one handler, which gets the request as ``args``."""

    __slots__ = ("_handler", "_options")

    may_wait: Final = False

    def __init__(self, handler: BoundHandler, options: Options) -> None:
        self._handler = handler
        self._options = options

    async def ask(self, request: Request) -> Response | Wish:
        """The wish to upgrade; raises nothing."""
        return Wish(self._handler, request, self._options)

    answer = ask


@final
class FunctionSite:
    """Asks an application function."""

    __slots__ = ("_function", "_options", "_report")

    may_wait: Final = True

    def __init__(self, function: Application, options: Options, report: Report) -> None:
        self._function = function
        self._options = options
        self._report = report

    async def answer(self, request: Request) -> Response | Wish:
        """What the function returned; 500, or what it was refused with, if it raised."""
        # The one place where an exception of the application function stops: the client learns nothing of it, and
        # the server lives on.
        try:
            return await self.ask(request)
        except BaseException as exc:
            fault, rest = split_fault(exc)
            refused = only_exception(exc)
            try:
                if rest is None and isinstance(refused, UpgradeRefused):
                    return refusal(refused.status, refused.reason, refused.headers)
                if fault is not None:
                    self._report(request, fault)
                if rest is not None:
                    raise rest from None
                return refusal(500, "Internal Server Error")
            finally:
                del fault, rest, refused  # their traceback leads back to this frame

    async def ask(self, request: Request) -> Response | Wish:
        """What the function returned; raises what it raised, and ``TypeError`` if that is neither."""
        token = site_options.set(self._options)
        try:
            result = self._function(request)
            if inspect.isawaitable(result):
                result = await result
        finally:
            site_options.reset(token)
        if isinstance(result, Response):
            return result
        if isinstance(result, Upgrade):
            return self._wish(result)
        raise TypeError(f"the application function returned {describe(result)}: expected a Response or upgrade(...)")

    def _wish(self, result: Upgrade) -> Wish:
        options = self._options.merged(result.keywords)
        headers = Headers(result.headers).pairs()
        return Wish(bind_handler(result.handler), result.args, options, headers, result.subprotocol)
