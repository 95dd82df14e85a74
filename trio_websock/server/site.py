"""What is served: one handler, or an application function that decides for each request.

In: a request. Out: a response, or a wish to upgrade with everything checked that does not depend on the request.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, final

import trio

from ..behaviour.handler import BoundHandler, bind_handler, is_handler
from ..errors import UpgradeRefused
from ..options import Options
from ..request import Headers, Request
from ..response import Response, Upgrade, refusal
from .ledger import Ledger

__all__ = ["Application", "Site", "Wish", "site_for"]

logger: logging.Logger = logging.getLogger("trio_websock.server")

Application: TypeAlias = Callable[[Request], "Response | Upgrade | Awaitable[Response | Upgrade]"]
"""An application function, plain or a coroutine function: our counterpart of a Plug."""


@final
@dataclass(frozen=True, slots=True)
class Wish:
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


def site_for(handler_or_app: object, options: Options, ledger: Ledger) -> Site:
    """The site made of what ``serve`` was given.

    Raises:
        TypeError: it is neither a complete handler nor callable.
    """
    if is_handler(handler_or_app):
        return HandlerSite(bind_handler(handler_or_app), options)
    if callable(handler_or_app):
        _check_application(handler_or_app)
        return FunctionSite(handler_or_app, options, ledger)
    raise TypeError(
        f"{handler_or_app!r} is neither a handler (it has no init and no handle_in)"
        " nor an application function (it cannot be called)"
    )


def _check_application(function: Callable[..., object]) -> None:
    """Refuse at the start what every request would fail of."""
    try:
        inspect.signature(function).bind(Request("GET", "/"))
    except ValueError:
        pass  # it does not say what it takes
    except TypeError as exc:
        raise TypeError(
            f"{function!r} cannot be called with a request alone ({exc}); an ASGI application goes into http="
        ) from exc


@final
class HandlerSite:
    """Upgrades every request to one handler, which gets the request as ``args``."""

    __slots__ = ("_handler", "_options")

    may_wait: Final = False

    def __init__(self, handler: BoundHandler, options: Options) -> None:
        self._handler = handler
        self._options = options

    async def answer(self, request: Request) -> Response | Wish:
        return Wish(self._handler, request, self._options)


@final
class FunctionSite:
    """Asks an application function."""

    __slots__ = ("_function", "_ledger", "_options")

    may_wait: Final = True

    def __init__(self, function: Application, options: Options, ledger: Ledger) -> None:
        self._function = function
        self._options = options
        self._ledger = ledger

    async def answer(self, request: Request) -> Response | Wish:
        # The one place where an exception of the application function stops: the client learns nothing of it, and
        # the server lives on.
        try:
            return await self._ask(request)
        except UpgradeRefused as exc:
            return refusal(exc.status, exc.reason, exc.headers)
        except (Exception, trio.Cancelled) as exc:
            # A Cancelled that nobody above us asked for is from a scope the function opened and let escape.
            if isinstance(exc, trio.Cancelled) and trio.current_effective_deadline() == -math.inf:
                raise
            self._ledger.application_errors += 1
            logger.exception("the application function failed at %s %s", request.method, request.target)
            return refusal(500, "Internal Server Error")

    async def _ask(self, request: Request) -> Response | Wish:
        result = self._function(request)
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, Response):
            return result
        if isinstance(result, Upgrade):
            return self._wish(result)
        raise TypeError(f"the application function returned {result!r}: expected a Response or upgrade(...)")

    def _wish(self, result: Upgrade) -> Wish:
        options = self._options.merged(result.keywords)
        headers = Headers(result.headers).pairs()
        return Wish(bind_handler(result.handler), result.args, options, headers, result.subprotocol)
