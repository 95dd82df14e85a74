"""``open_websocket``: a block of code with a WebSocket in its hands.

In: a URL, options, and the body of an ``async with``. Out: what the body raised, as it is. The connection's tasks live
in a nursery around the body, and nothing of that nursery shows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Unpack, final

import trio

from ..codes import CloseCode
from ..errors import only_exception
from ..trio_run import check_trio
from .dialing import open_transport
from .options import ClientKeywords, split_client_keywords
from .websocket import WebSocket

__all__ = ["open_websocket"]


def open_websocket(url: str, **options: Unpack[ClientKeywords]) -> AbstractAsyncContextManager[WebSocket]:
    """Connect for the time of a block, which gets the open WebSocket.

    Leaving the block closes the connection with 1000, or with 1011 if an exception leaves it, and waits for the
    server at most ``close_timeout`` seconds; once cancelled, it closes with 1001 and waits for nobody.

    Args:
        url: begins with ``ws://`` or ``wss://``; a user and password in it are sent as Basic authorization.
        options: see :class:`ClientOptions` and :class:`Options`; those of a server's or a handler's side are refused.
            Unlike on a server ``timeout`` is ``math.inf``, and ``ping_interval`` 20 seconds.

    Raises:
        TypeError: an option that does not exist, or ``stream`` opened none.
        OptionError: an option, or a URL, that is not allowed.
        ConnectFailed: there is no connection, or not within ``connect_timeout``.
        UpgradeRejected: the server answered with something else than 101; it carries the response.
        HandshakeError: the server's 101 is not what RFC 6455 expects.
        StateError: Trio does not run here.

    What the block raises comes out as it is.

    Checkpoint: always. Cancelled: while it connects, what was open is dropped.
    """
    return _Block(_open(url, options))


@final
class _Block(AbstractAsyncContextManager[WebSocket]):
    """A block that an interrupt cuts off at a checkpoint, and nowhere else.

    In between it would leave the nursery inside the generator open, which is the end of Trio.
    """

    __slots__ = ("_manager",)

    def __init__(self, manager: AbstractAsyncContextManager[WebSocket]) -> None:
        self._manager = manager

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> WebSocket:
        return await self._manager.__aenter__()

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._manager.__aexit__(kind, exc, traceback)


@asynccontextmanager
async def _open(url: str, options: ClientKeywords) -> AsyncIterator[WebSocket]:
    check_trio("open_websocket()")
    client, connection = split_client_keywords(options, ClientKeywords)
    websocket = WebSocket(await open_transport(url, client, connection), connection)
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            websocket._start(nursery)
            try:
                yield websocket
            except BaseException as exc:
                failure = exc
            failure = await _leave(websocket, failure)
    except BaseExceptionGroup as group:
        failure = _unwrapped(group, failure)
    websocket._forget()
    if failure is not None:
        try:
            raise failure
        finally:
            del failure  # its traceback leads back to this frame


async def _leave(websocket: WebSocket, failure: BaseException | None) -> BaseException | None:
    """End with the block: in good order if there is time. Returns what has to be raised."""
    try:
        if failure is None or isinstance(failure, Exception):
            await websocket.close(CloseCode.NORMAL_CLOSURE if failure is None else CloseCode.INTERNAL_ERROR)
    except trio.Cancelled as exc:
        failure = failure or exc
    finally:
        await websocket._let_go()
    return failure


def _unwrapped(group: BaseExceptionGroup[BaseException], failure: BaseException | None) -> BaseException:
    """What goes on: a fault of the tasks around the body, what the body raised, or a cancellation, in this order."""
    cancelled, faults = group.split(trio.Cancelled)
    if faults is None and failure is not None:
        return failure
    return only_exception(faults or cancelled or group)
