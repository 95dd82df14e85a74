"""Trio's side of the ASGI host: requests are answered and connections hosted, whatever loop the server runs in.

In: scopes, each with an exchange of its events. Out: answers, and connections until their end. Knows neither the
server's loop nor how events get here.
"""

from __future__ import annotations

import logging
import math
from typing import final

import trio

from ..application import Wish, bind_application
from ..connection import Connection
from ..errors import ConnectionLost, UpgradeRefused
from ..nursery import run_connection
from ..options import Options, check_defaults
from ..protocol.upgrade import check_origin, check_upgrade_request
from ..request import Request
from ..response import Response, refusal, unavailable
from .asgi_exchange import Exchange
from .asgi_hop import Event
from .asgi_request import Scope, accept_event, request_from, response_events
from .asgi_transport import AsgiTransport
from .subprotocol import choose_subprotocol

__all__ = ["Service", "checked_options"]

logger: logging.Logger = logging.getLogger("trio_websock.hosts")

_NOT_TO_BE_HAD = ("compress", "max_frame_size", "max_empty_fragments", "validate_utf8", "ping_interval")


def checked_options(options: Options) -> Options:
    """Refuse what no ASGI application can do.

    Raises:
        OptionError: an option that ASGI has nothing for is not at its default.
    """
    check_defaults(options, _NOT_TO_BE_HAD, "ASGI has nothing for it, it is the server's to set")
    return options


@final
class Service:
    """What is served, and to whom at the moment.

    Args:
        handler_or_app: a handler or an application function.
        options: of every connection.
        max_body_size: bytes of a plain request's body.

    Raises:
        TypeError: it is neither a complete handler nor callable with a request.
        OptionError: an option that ASGI has nothing for.
    """

    def __init__(self, handler_or_app: object, options: Options, max_body_size: int) -> None:
        self._options = checked_options(options)
        self._site = bind_application(handler_or_app, options, _report)
        self._max_body_size = max_body_size
        self._scopes: set[trio.CancelScope] = set()
        self._connections: set[Connection] = set()
        self._vacant = trio.Event()
        self._is_closing = False
        self._restart = False
        self._deadline = math.inf

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The WebSockets that are open now."""
        return tuple(self._connections)

    def open(self) -> None:
        """Begin, perhaps again behind a shutdown."""
        self._is_closing = False
        self._deadline = math.inf

    def close(self) -> None:
        """Turn away whoever comes; for a service that nobody is connected to."""
        self._is_closing = True

    async def shutdown(self, restart: bool, grace: float) -> None:
        """Say goodbye to everyone and wait until the last has gone, ``grace`` seconds at most."""
        self._is_closing = True
        self._restart = restart
        self._deadline = min(self._deadline, trio.current_time() + grace)
        for connection in self._connections:
            connection.shutdown_nowait(restart=restart, deadline=self._deadline)
        with trio.CancelScope(deadline=self._deadline):
            await self._wait_vacant()
            return
        for scope in self._scopes:
            scope.cancel()
        await self._wait_vacant()

    async def _wait_vacant(self) -> None:
        while self._scopes:
            self._vacant = trio.Event()
            await self._vacant.wait()

    async def serve(self, scope: Scope, exchange: Exchange) -> None:
        """One scope from its first event to its end; raises no ``Exception``.

        Checkpoint: always. Cancelled: an open connection ends as :func:`run_connection` says.
        """
        self._scopes.add(exchange.scope)
        try:
            with exchange.scope:
                await self._serve(scope, exchange)
        except ConnectionLost as exc:
            logger.debug("the client of %s left before it was answered: %s", scope.get("path"), exc)
        except Exception:  # a fault of ours; but nothing that one client brings about may end the others
            logger.exception("unexpected failure at %s", scope.get("path"))
            exchange.abort()
        except BaseExceptionGroup as group:  # a fault beside a cancellation, which goes on alone
            fault, rest = group.split(Exception)
            if fault is not None:
                logger.error("unexpected failure at %s", scope.get("path"), exc_info=fault)
            if rest is not None:
                raise rest from None
        finally:
            exchange.end()
            self._scopes.discard(exchange.scope)
            if not self._scopes:
                self._vacant.set()

    async def _serve(self, scope: Scope, exchange: Exchange) -> None:
        if scope["type"] == "http":
            answer = await self._answer_plain(scope, exchange)
        else:
            answer = await self._answer_upgrade(scope, exchange)
        if answer is not None:
            await self._send(exchange, self._events_of(scope, answer))

    # Plain requests.

    async def _answer_plain(self, scope: Scope, exchange: Exchange) -> Response | None:
        body = await self._receive_body(exchange)
        if body is None:
            return None
        if len(body) > self._max_body_size:
            return refusal(413, f"expected a body of at most {self._max_body_size} bytes")
        request = request_from(scope, body)
        answer = await self._site.answer(request)
        if isinstance(answer, Response):
            return answer
        try:
            check_upgrade_request(request)
        except UpgradeRefused as exc:
            return refusal(exc.status, exc.reason, exc.headers)
        return refusal(501, "the server in front of this application does not speak WebSocket")

    async def _receive_body(self, exchange: Exchange) -> bytes | None:
        """The whole body, or more of it than is allowed; ``None`` if the client has left."""
        parts: list[bytes] = []
        size = 0
        while size <= self._max_body_size:
            event = await _next_event(exchange)
            if event["type"] != "http.request":
                return None
            parts.append(event.get("body", b""))
            size += len(parts[-1])
            if not event.get("more_body", False):
                break
        return b"".join(parts)

    # WebSockets.

    async def _answer_upgrade(self, scope: Scope, exchange: Exchange) -> Response | None:
        """Host a connection; the response instead, if there is to be none."""
        if not exchange.has_events:  # it is there, mostly, and whatever it is answered with is waited for
            await exchange.wait_event()
        if exchange.pop()["type"] != "websocket.connect":
            return None
        request = request_from(scope)
        wish = await self._site.answer(request)
        if isinstance(wish, Response):
            return wish
        try:
            options = checked_options(wish.options)
            check_origin(request, options.origins)
            subprotocol = choose_subprotocol(request, wish.subprotocol, options)
            accept = accept_event(subprotocol, wish.headers)
        except UpgradeRefused as exc:
            return refusal(exc.status, exc.reason, exc.headers)
        except Exception as exc:  # of what the application wants, or of its ``origins`` function
            return _failure(request, exc)
        if self._is_closing:
            return unavailable()
        await self._host(request, exchange, accept, wish)
        return None

    async def _host(self, request: Request, exchange: Exchange, accept: Event, wish: Wish) -> None:
        await self._send(exchange, [accept])
        peer = "an unknown peer" if request.client is None else "{}:{}".format(*request.client)
        transport = AsgiTransport(exchange, wish.options.max_message_size, accept["subprotocol"], peer)
        connection = Connection(transport, wish.options, request)
        self._connections.add(connection)
        try:
            if self._is_closing:
                connection.shutdown_nowait(restart=self._restart, deadline=self._deadline)
            await run_connection(connection, wish.handler, wish.args)
        finally:
            self._connections.discard(connection)

    # Either.

    def _events_of(self, scope: Scope, response: Response) -> list[Event]:
        try:
            return response_events(scope, response)
        except Exception as exc:  # headers that may not be sent, or a body that can no longer be read
            return response_events(scope, _failure(request_from(scope), exc))

    async def _send(self, exchange: Exchange, events: list[Event]) -> None:
        """Send what answers a request, of which the client has to take something in time."""
        for event in events:
            exchange.send_nowait(event)
        with trio.move_on_after(self._options.write_timeout) as patience:
            try:
                await exchange.wait_sent()
            except trio.Cancelled:  # whoever it was: nothing else would end a send that is stuck
                exchange.abort()
                raise
        if patience.cancelled_caught:
            raise ConnectionLost("it took nothing of the answer in time")


async def _next_event(exchange: Exchange) -> Event:
    await exchange.wait_event()
    return exchange.pop()


def _failure(request: Request, fault: Exception) -> Response:
    """The answer to a fault of the application, which is logged here."""
    _report(request, fault)
    return refusal(500, "Internal Server Error")


def _report(request: Request, fault: BaseException) -> None:
    logger.error("the application failed at %s %s", request.method, request.target, exc_info=fault)
