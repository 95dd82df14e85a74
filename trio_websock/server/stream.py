"""Serving one stream: WebSockets over anything that carries bytes.

In: a ``trio.abc.Stream``, before the opening handshake or after it. Out: nothing; when ``serve_stream`` returns, the
stream is closed. Listens nowhere, and knows no other client.
"""

from __future__ import annotations

import logging
from typing import Unpack, cast

import trio

from ..application import Application, Site, Wish
from ..behaviour.handler import Handler, bind_handler
from ..behaviour.reasons import NORMAL
from ..behaviour.results import Stop
from ..codes import CloseCode
from ..connection import Connection
from ..errors import OptionError, StateError, describe
from ..hosts.stream_wire import wire_for
from ..hosts.wire import Wire
from ..nursery import run_connection
from ..options import (
    CONNECTION_NAMES,
    STREAM_NAMES,
    Options,
    ServerKeywords,
    ServerOptions,
    StreamKeywords,
    check_names,
    split_keywords,
)
from ..request import Request
from ..response import Response
from ..trio_run import check_trio
from .asgi import AsgiCall, AsgiSite
from .ledger import Ledger
from .session import Session
from .site import site_for
from .upgrading import Agreement

__all__ = ["serve_stream"]

logger: logging.Logger = logging.getLogger("trio_websock.server")


async def serve_stream(
    stream: trio.abc.Stream,
    handler_or_app: object | Application,
    *,
    request: Request | None = None,
    subprotocol: str | None = None,
    leftover: bytes = b"",
    **options: Unpack[StreamKeywords],
) -> None:
    """Serve the one client at the other end of ``stream``, until it is gone.

    ::

        await trio.serve_tcp(partial(serve_stream, handler_or_app=Echo), 8000)

    Without a ``request`` the client speaks HTTP first, and all is as with :func:`serve`. With one, the opening
    handshake has been answered elsewhere, and the stream carries frames from here on.

    Args:
        stream: owned from now on. A ``trio.SocketStream`` gives up its socket.
        handler_or_app: a handler or an application function, as for :func:`serve`.
        request: what was answered with the 101. Whoever did so has checked it, the origin too. Given to ``init``, or
            to the application function. A :class:`Response` comes too late then: the connection is closed with 1008,
            1013 in place of a 503, or 1011 in place of another 5xx.
        subprotocol: agreed on in that handshake.
        leftover: bytes that came behind that handshake and have been read already.
        options: those of :class:`Options`; ``handshake_timeout``, ``max_head_size``, ``max_body_size`` and ``http``
            where there is HTTP to be spoken, as for :func:`serve`. The application given as ``http`` has no lifespan
            here: whoever serves many streams starts and ends it.

    Raises:
        TypeError: an option that does not exist here, neither a handler nor a function, or no stream. The stream has
            not been touched.
        OptionError: an option with a value that is not allowed; ``compress`` beside a ``request``, whose answer must
            have named it.
        StateError: Trio does not run here.

    No exception of the handler or of the application function leaves it.

    Checkpoint: always.
    Cancelled: an open connection says 1001, runs ``terminate`` within ``terminate_timeout`` and does not wait for the
        peer; a client that has not got so far is dropped.
    Source: RFC 6455 §4.2 without, §5 with a ``request``.
    """
    check_trio("serve_stream()")
    if not isinstance(stream, trio.abc.Stream):
        raise TypeError(f"expected a trio.abc.Stream, not {describe(stream)}")
    if not isinstance(leftover, bytes):
        raise TypeError(f"leftover must be bytes, not {type(leftover).__name__}")
    if request is None and (subprotocol is not None or leftover):
        raise TypeError("subprotocol and leftover go with the request of a handshake that has been answered elsewhere")
    server_options, connection_options = _split_options(options, CONNECTION_NAMES if request else STREAM_NAMES)
    ledger = Ledger()
    site = site_for(handler_or_app, connection_options, ledger)
    if request is None:
        await _speak_http(wire_for(stream), site, server_options, connection_options, ledger)
        return
    if connection_options.deflate is not None:
        raise OptionError("compress", connection_options.compress, "False: the handshake has been answered elsewhere")
    await _host(wire_for(stream), site, request, subprotocol, leftover)


def _split_options(options: StreamKeywords, known: frozenset[str]) -> tuple[ServerOptions, Options]:
    check_names(options, known)
    # Its check asks for somewhere to listen; nothing is opened.
    return split_keywords(cast("ServerKeywords", {"port": 0, **options}))


async def _speak_http(wire: Wire, site: Site, server_options: ServerOptions, options: Options, ledger: Ledger) -> None:
    write_timeout = options.write_timeout
    if server_options.http is None:
        await Session(wire, site, server_options, write_timeout=write_timeout, ledger=ledger).run()
        return
    async with trio.open_nursery() as nursery:

        def spawn(call: AsgiCall) -> None:
            nursery.start_soon(call.run)

        http = AsgiSite(server_options.http, spawn, ledger, options.timeout, write_timeout)
        await Session(wire, site, server_options, write_timeout=write_timeout, ledger=ledger, http=http).run()


async def _host(wire: Wire, site: Site, request: Request, subprotocol: str | None, leftover: bytes) -> None:
    connection: Connection | None = None
    try:
        wish = _wish_of(await site.answer(request), subprotocol)
        connection = Agreement(request, wish, subprotocol, deflate=None, answer=b"").open(wire, leftover)
    finally:
        if connection is None:
            await wire.aclose()
    await run_connection(connection, wish.handler, wish.args)


def _wish_of(answer: Response | Wish, subprotocol: str | None) -> Wish:
    """What can still be done of an answer, now that the handshake is over."""
    if isinstance(answer, Response):
        return _refused(_close_code(answer.status))
    excess = _excess_of(answer, subprotocol)
    if excess is None:
        return answer
    exc = StateError(f"upgrade() asks for {excess}, but the handshake has been answered elsewhere")
    logger.error("the application's answer cannot be carried out", exc_info=exc)
    return _refused(CloseCode.INTERNAL_ERROR)


def _close_code(status: int) -> CloseCode:
    if status == 503:
        return CloseCode.TRY_AGAIN_LATER
    return CloseCode.INTERNAL_ERROR if status >= 500 else CloseCode.POLICY_VIOLATION


def _excess_of(wish: Wish, subprotocol: str | None) -> str | None:
    """What only a handshake could have agreed on."""
    if wish.headers:
        return "headers"
    if wish.subprotocol not in (None, subprotocol):
        return f"subprotocol {wish.subprotocol!r}"
    return None if wish.options.deflate is None else "compression"


def _refused(code: CloseCode) -> Wish:
    return Wish(bind_handler(_Refusal), code, Options())


class _Refusal(Handler[None, None]):
    """Closes at once, in the place of the handler there should have been."""

    def init(self, args: CloseCode) -> Stop[None]:
        return Stop(NORMAL, None, close=args)

    def handle_in(self, message: str | bytes, state: None) -> Stop[None]:
        return Stop(NORMAL, None)
