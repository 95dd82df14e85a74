"""ASGI as a host: handlers behind Hypercorn, uvicorn, granian and whatever else speaks it, alone or mounted.

In: an ASGI server's calls. Out: requests answered and connections hosted, in the server's own loop where that is
Trio's, else in a Trio loop in a thread beside it. Frames and HTTP are the server's affair.

::

    asgi_request.py     a scope becomes a request, a response becomes events
    asgi_hop.py, asgi_exchange.py
                        events cross from the server's loop to Trio and back, in batches
    asgi_crew.py        the tasks that carry them, on either loop
    asgi_transport.py   events become messages
    asgi_service.py     Trio's side: who is asked, and who is connected
    asgi_loop.py        the thread with a Trio loop
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import NamedTuple, Unpack, final

import anyio
import anyio.to_thread
import trio

from ..application import Application
from ..connection import Connection
from ..errors import StateError
from ..option_checks import check_count, check_seconds
from ..options import ConnectionKeywords, Options
from .asgi_crew import FutureRest, carry_on_asyncio, carry_on_trio
from .asgi_exchange import open_exchange
from .asgi_hop import Post, Receive, Send, batched
from .asgi_loop import EXIT_TIMEOUT, TrioLoop, start_loop
from .asgi_request import Scope
from .asgi_service import Service

__all__ = ["AsgiApp"]

logger: logging.Logger = logging.getLogger("trio_websock.hosts")


@final
class AsgiApp:
    """An ASGI application that serves a handler or an application function.

    ::

        app = AsgiApp(Echo)  # hypercorn -k trio module:app, uvicorn module:app, ...

    Mounted in a framework it sees the path below its mount. Under a server that runs on Trio everything runs in the
    server's own loop. Under asyncio, handlers and application functions run in a Trio loop of their own, in a thread
    that begins with the lifespan or with the first client, and ends with the lifespan, with the server's loop, or by
    :meth:`shutdown`.

    Args:
        handler_or_app: a handler or an application function, as for ``serve``. A handler alone answers plain requests
            with 426.
        grace: seconds that a shutdown by the server's lifespan may take in all.
        max_body_size: bytes of a plain request's body; beyond it 413.
        options: those of :class:`Options`. ``max_message_size`` counts beside the server's own.

    Raises:
        TypeError: an option that does not exist, an incomplete handler, or neither that nor an application function.
        OptionError: an option with a value that is not allowed, or that ASGI has nothing for: ``compress``,
            ``max_frame_size``, ``max_empty_fragments``, ``ping_interval`` and ``validate_utf8=False``.

    Source: the ASGI specification 3.0; its HTTP & WebSocket, lifespan and denial response specifications.
    """

    def __init__(
        self,
        handler_or_app: object | Application,
        *,
        grace: float = 15,
        max_body_size: int = 1024 * 1024,
        **options: Unpack[ConnectionKeywords],
    ) -> None:
        check_seconds("grace", grace, allow_zero=True)
        check_count("max_body_size", max_body_size, "a positive number of bytes")
        self._service = Service(handler_or_app, Options().merged(options), max_body_size)
        self._grace = grace
        self._lock = threading.Lock()
        self._beside: TrioLoop | None = None
        self._way: _Way | None = None
        self._guard: AsyncGenerator[None, None] | None = None
        self._closed_in: object = None  # the run of the server's loop in which all was shut down

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The WebSockets that are open now; for tasks of the Trio loop that runs them."""
        return self._service.connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What an ASGI server calls.

        Checkpoint: always.
        Cancelled: a connection says 1001 and runs ``terminate``, and does not wait for the peer's close.
        """
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] in ("http", "websocket"):
            if self._closed_in is not None and self._closed_in is not _current_run():
                # Mounted we are told of no startup, and tests run one application many times.
                self._open()
            await (self._serve_here if trio.lowlevel.in_trio_run() else self._serve_beside)(scope, receive, send)
        else:
            raise StateError(f"a scope of type {scope['type']!r} came: expected http, websocket or lifespan")

    async def shutdown(self, *, restart: bool = False, grace: float | None = None) -> None:
        """Close every connection with 1001, wait until the last has gone, and end the Trio loop if it is our own.

        The lifespan does this where the server passes it on; a framework that we are mounted in mostly does not: call
        this from its own lifespan or shutdown hook. From the loop that the server runs in, whatever it is. Until that
        loop ends, or a lifespan begins, whoever comes is answered with 503.

        Args:
            restart: close with 1012 instead of 1001, so that clients know to come back.
            grace: seconds for all of it; by default that of the constructor.

        Raises:
            OptionError: a grace that is no number of seconds.

        Checkpoint: if there is something to wait for.
        Cancelled: the shutdown goes on; only the waiting ends.
        Source: the shutdown of ``serve``.
        """
        seconds = self._grace if grace is None else grace
        check_seconds("grace", seconds, allow_zero=True)
        self._closed_in = _current_run()
        if trio.lowlevel.in_trio_run():
            await self._service.shutdown(restart, seconds)
            return
        loop = self._beside
        if loop is None or loop.is_over:
            self._service.close()
        else:
            shut_down = partial(self._shut_down_beside, loop, restart, seconds)
            self._way_to(loop)(partial(loop.start_soon, shut_down))  # behind all that are on their way already
        if loop is not None:
            await anyio.to_thread.run_sync(loop.join, abandon_on_cancel=True)

    async def _shut_down_beside(self, loop: TrioLoop, restart: bool, grace: float) -> None:
        await self._service.shutdown(restart, grace)
        loop.end()

    def _open(self) -> None:
        self._closed_in = None
        self._service.open()

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                self._open()
                if not trio.lowlevel.in_trio_run():
                    await self._loop_beside()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.shutdown()
                await send({"type": "lifespan.shutdown.complete"})
                return

    # In the server's own loop.

    async def _serve_here(self, scope: Scope, receive: Receive, send: Send) -> None:
        carrier = open_exchange(receive, send, _call, _call)
        await carry_on_trio(carrier, partial(self._service.serve, scope, carrier.exchange))

    # Beside the server's loop.

    async def _serve_beside(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = await self._loop_beside()
        farewell = {"type": "websocket.close", "code": 1011} if scope["type"] == "websocket" else None
        to_trio = self._way_to(loop)
        to_server = _way_into(asyncio.get_running_loop(), lambda: carrier.exchange.lose())
        carrier = open_exchange(receive, send, to_trio, to_server, FutureRest)
        on_end = partial(to_server, partial(carrier.give_up, farewell))
        loop.watch(on_end)
        try:
            serve = partial(self._service.serve, scope, carrier.exchange)
            await carry_on_asyncio(carrier, partial(to_trio, partial(loop.start_soon, serve)))
        finally:
            loop.unwatch(on_end)

    def _way_to(self, loop: TrioLoop) -> Post:
        """The way from the server's loop, one for all: what one turn of it posts wakes Trio's thread once."""
        way, server_loop = self._way, asyncio.get_running_loop()
        if way is None or way.loop is not loop or way.server_loop is not server_loop:
            way = self._way = _Way(loop, server_loop, _way_out_of(server_loop, loop))
        return way.post

    async def _loop_beside(self) -> TrioLoop:
        """The Trio loop; a new one if there is none, or if the last has ended."""
        with self._lock:
            if self._beside is not None and not self._beside.is_over:
                return self._beside
            loop = self._beside = start_loop()
        self._guard = _end_with_server(loop)
        await anext(self._guard)
        return loop


class _Way(NamedTuple):
    loop: TrioLoop
    server_loop: asyncio.AbstractEventLoop
    post: Post


def _way_out_of(server_loop: asyncio.AbstractEventLoop, loop: TrioLoop) -> Post:
    post_behind_turn = batched(lambda arrive: server_loop.call_soon(loop.post, arrive))

    def post(function: Callable[[], None]) -> None:
        if server_loop.is_closed():  # and a coroutine that it has left behind is being thrown away
            loop.post(function)
        else:
            post_behind_turn(function)

    return post


def _current_run() -> object:
    return trio.lowlevel.current_trio_token() if trio.lowlevel.in_trio_run() else asyncio.get_running_loop()


def _call(function: Callable[[], None]) -> None:
    function()


def _way_into(loop: asyncio.AbstractEventLoop, on_closed: Callable[[], None]) -> Post:
    def post(function: Callable[[], None]) -> None:
        try:
            loop.call_soon_threadsafe(function)
        except RuntimeError:  # it is closed, and nobody is left there to be told
            logger.debug("the ASGI server's loop has ended")
            on_closed()

    return post


async def _end_with_server(loop: TrioLoop) -> AsyncGenerator[None, None]:
    """End ``loop`` with the server's loop: what ends that is known to close its asynchronous generators last."""
    try:
        yield
    finally:
        loop.end()
        await asyncio.to_thread(loop.join, EXIT_TIMEOUT)
