"""Fixtures for pytest with pytest-trio: connections under test, and servers on free ports.

In: ``pytest_plugins = ["trio_websock.testing.pytest_plugin"]`` in a ``conftest.py``, or ``-p`` with this name. Nothing
loads it by itself: an entry point would import the whole library into every test run of whoever has it installed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Any, Protocol, Unpack, overload

import pytest
import trio

from ..behaviour.handler import Handler
from ..messages import Message
from ..options import ConnectionKeywords, ServerKeywords
from ..request import Request
from ..server import Server, serve
from .connection import Info, State, TestConnection, open_test_connection
from .rooms import open_room

__all__ = ["ConnectHandler", "ServeWebsock", "connect_handler", "websock_server"]


class ConnectHandler(Protocol):
    """The type of the fixture :func:`connect_handler`: :func:`open_test_connection` without a block."""

    @overload
    async def __call__(
        self,
        handler: type[Handler[State, Info]] | Handler[State, Info],
        args: object = ...,
        *,
        request: Request | None = ...,
        subprotocol: str | None = ...,
        first: Iterable[Message] = ...,
        answers_close: bool = ...,
        answers_pings: bool = ...,
        raise_handler_errors: bool = ...,
        **options: Unpack[ConnectionKeywords],
    ) -> TestConnection[State, Info]: ...
    @overload
    async def __call__(
        self,
        handler: object,
        args: object = ...,
        *,
        request: Request | None = ...,
        subprotocol: str | None = ...,
        first: Iterable[Message] = ...,
        answers_close: bool = ...,
        answers_pings: bool = ...,
        raise_handler_errors: bool = ...,
        **options: Unpack[ConnectionKeywords],
    ) -> TestConnection[Any, Any]: ...


class ServeWebsock(Protocol):
    """The type of the fixture :func:`websock_server`: ``serve`` on a free port of the loopback, in the background."""

    async def __call__(self, handler_or_app: object, **options: Unpack[ServerKeywords]) -> Server:
        """Start a server; it is aborted at the end of the test."""


@pytest.fixture
async def connect_handler() -> AsyncIterator[ConnectHandler]:
    """Open test connections that last until the end of the test.

    Call it as :func:`open_test_connection`. A failure of a handler that the test has not seen is raised at the end.
    """
    peers: list[TestConnection[Any, Any]] = []
    async with open_room() as room:

        async def connect(handler: object, args: object = None, **how: Any) -> TestConnection[Any, Any]:
            peers.append(await room.start(_stay_connected, open_test_connection(handler, args, **how)))
            return peers[-1]

        yield connect
    for peer in peers:
        peer.raise_failure()


async def _stay_connected(connection: Any, *, task_status: trio.TaskStatus[TestConnection[Any, Any]]) -> None:
    async with connection as peer:
        task_status.started(peer)
        await trio.sleep_forever()


@pytest.fixture
async def websock_server() -> AsyncIterator[ServeWebsock]:
    """Serve on free ports of the loopback, until the end of the test.

    Call it with the arguments of ``serve``; it returns the :class:`Server` as soon as that listens. ``port`` is 0
    unless it is given. At the end of the test a server is aborted, whatever its ``grace``; ``shutdown`` in the test is
    as graceful as anywhere.
    """
    servers: list[Server] = []
    async with open_room() as room:

        async def start(handler_or_app: object, **options: Unpack[ServerKeywords]) -> Server:
            if not options.keys() & {"path", "listeners"}:
                options.setdefault("port", 0)
            servers.append(await room.start(partial(serve, handler_or_app, **options)))
            return servers[-1]

        try:
            yield start
        finally:
            async with trio.open_nursery() as nursery:  # all are told, even if nobody can wait for the first
                for server in servers:
                    nursery.start_soon(partial(server.shutdown, grace=0))
