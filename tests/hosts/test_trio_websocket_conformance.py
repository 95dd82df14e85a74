"""Every claim of the rulings that a server of trio-websocket can be asked about, asked of one."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import trio
import trio_websocket

from trio_websock import Response
from trio_websock.behaviour.handler import is_handler
from trio_websock.hosts.trio_websocket import request_from, upgrade_request
from trio_websock.testing.host_checks import ALL_CHECKS, Capability, Check, Host, missing_capabilities, run_check


@dataclass
class LibraryServer:
    """``serve_websocket``, running."""

    port: int
    scope: trio.CancelScope
    finished: trio.Event
    authority: str = "localhost"

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def shutdown(self, *, restart: bool = False, grace: float | None = None) -> None:
        raise NotImplementedError("trio-websocket's server cannot be shut down, but cancelled")

    def cancel(self) -> None:
        self.scope.cancel()


async def host(app: Any, options: dict[str, Any], request: trio_websocket.WebSocketRequest) -> None:
    """What a user of trio-websocket would write, for whatever a check serves."""
    if is_handler(app):
        await upgrade_request(request, app, request_from(request), **options)
        return
    wish = app(request_from(request))
    if inspect.isawaitable(wish):
        wish = await wish
    if isinstance(wish, Response):
        await request.reject(wish.status)
        return
    keywords = {**options, **wish.keywords}
    await upgrade_request(
        request, wish.handler, wish.args, headers=wish.headers, subprotocol=wish.subprotocol, **keywords
    )


@dataclass(frozen=True)
class TrioWebSocketHost:
    """trio-websocket over real sockets."""

    name: str = "trio-websocket"
    capabilities: frozenset[Capability] = frozenset({Capability.READ_AHEAD})
    pace: float = 0.02

    def make_clock(self) -> None:
        return None

    @asynccontextmanager
    async def open_server(self, app: object, **options: Any) -> AsyncIterator[LibraryServer]:
        del options["grace"]
        finished = trio.Event()

        async def run(task_status: trio.TaskStatus[tuple[int, trio.CancelScope]]) -> None:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    serve = partial(trio_websocket.serve_websocket, ssl_context=None, max_message_size=2**24)
                    server = await nursery.start(serve, partial(host, app, options), "127.0.0.1", 0)
                    task_status.started((server.port, scope))
            finished.set()

        async with trio.open_nursery() as nursery:
            port, scope = await nursery.start(run)
            yield LibraryServer(port, scope, finished)
            scope.cancel()


HOST: Host = TrioWebSocketHost()


@pytest.mark.parametrize("check", ALL_CHECKS, ids=str)
def test_host_holds(check: Check) -> None:
    missing = missing_capabilities(HOST, check)
    if missing:
        pytest.skip(f"{HOST.name} lacks {', '.join(sorted(capability.name for capability in missing))}")
    run_check(HOST, check)
