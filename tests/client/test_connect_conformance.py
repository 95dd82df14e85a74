"""Every claim of the rulings that is about a connection, asked of a handler on the client's end.

The checks play a client. Here they get one to talk to: what stands between the two, ``turning.py``, makes each the
other's server.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from trio_websock import Client, Deflate, connect, upgrade
from trio_websock.behaviour.handler import bind_handler, is_handler
from trio_websock.client.options import HandlerKeywords, split_client_keywords
from trio_websock.testing.host_checks import ALL_CHECKS, Capability, Check, Host, missing_capabilities, run_check
from trio_websock.testing.memory_listener import MemoryListener, MemoryStream

sys.path.append(str(Path(__file__).parent))  # tests are no package

heads = importlib.import_module("heads")
turning = importlib.import_module("turning")

SERVER_NAMES = {"origins", "grace", "handshake_timeout", "max_connections"}


class Running:
    """A client from its handshake to its end."""

    def __init__(self) -> None:
        self._opened = trio.Event()
        self._client: Client | None = None

    def started(self, client: Client) -> None:
        self._client = client
        self._opened.set()

    async def shutdown(self, grace: float) -> None:
        await self._opened.wait()  # its peer knows of the connection before the client does
        assert self._client is not None
        await self._client.shutdown(grace=grace)


@dataclass
class Clients:
    """A loop that accepts, with a client for each stream."""

    listener: MemoryListener
    grace: float
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    finished: trio.Event = field(default_factory=trio.Event)
    begun: list[Running] = field(default_factory=list)
    authority: str = "localhost"

    async def connect(self) -> MemoryStream:
        return await self.listener.connect()

    async def shutdown(self, *, restart: bool = False, grace: float | None = None) -> None:
        assert not restart, "only a server restarts"
        async with trio.open_nursery() as nursery:
            for running in self.begun:
                nursery.start_soon(running.shutdown, self.grace if grace is None else grace)
        self.cancel()

    def cancel(self) -> None:
        self.scope.cancel()


COMMON = frozenset(
    {
        Capability.FRAMING,
        Capability.COMPRESSION,
        Capability.SHUTDOWN,
        Capability.PIPELINING,
        Capability.READ_AHEAD,
        Capability.CONTROL,
        Capability.CLOSING,
        Capability.HALF_CLOSE,
    }
)


@dataclass(frozen=True)
class MemoryHost:
    """Handlers on the client's end of a stream in memory, in virtual time."""

    name: str = "connect in memory"
    capabilities: frozenset[Capability] = COMMON | {Capability.VIRTUAL_TIME}
    pace: float = 1.0

    def make_clock(self) -> trio.testing.MockClock:
        return trio.testing.MockClock(autojump_threshold=0)

    def open_server(self, app: object, **options: Any) -> AbstractAsyncContextManager[Clients]:
        return open_clients(app, turning.over_stream, options)


@dataclass(frozen=True)
class TcpHost:
    """The same over real sockets: time is real, so what takes time is scripted in hundredths."""

    name: str = "connect over TCP"
    capabilities: frozenset[Capability] = COMMON | {Capability.RESET}
    pace: float = 0.02

    def make_clock(self) -> None:
        return None

    def open_server(self, app: object, **options: Any) -> AbstractAsyncContextManager[Clients]:
        return open_clients(app, turning.over_tcp, options)


@asynccontextmanager
async def open_clients(app: object, reach: Any, options: dict[str, Any]) -> AsyncIterator[Clients]:
    check(app, options)
    clients = Clients(MemoryListener(), options["grace"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept, clients, partial(run_client, clients=clients, reach=reach, app=app, given=options))
        yield clients
        clients.cancel()


def check(app: object, options: dict[str, Any]) -> None:
    """What ``connect`` would refuse, before there is anything to connect."""
    if is_handler(app):
        bind_handler(app)
    split_client_keywords(client_options(options), HandlerKeywords)


def client_options(options: dict[str, Any]) -> Any:
    """The options of a server's connection, defaults and all."""
    given = {name: value for name, value in options.items() if name not in SERVER_NAMES}
    if isinstance(given.get("compress"), Deflate):
        given["compress"] = turned_settings(given["compress"])
    return {"timeout": 60, "ping_interval": None, **given}


def turned_settings(settings: Deflate) -> Deflate:
    """What a server wants of itself, a client wants of itself."""
    sides = ("server_max_window_bits", "client_max_window_bits")
    sides += ("server_no_context_takeover", "client_no_context_takeover")
    return replace(settings, **turning.turned({name: getattr(settings, name) for name in sides}))


async def accept(clients: Clients, run: Any) -> None:
    with clients.scope:
        await trio.serve_listeners(run, [clients.listener])
    clients.finished.set()


async def run_client(stream: MemoryStream, clients: Clients, reach: Any, app: Any, given: dict[str, Any]) -> None:
    came = await heads.receive_request(stream)
    if came is None:
        return
    request, leftover = came
    wish = upgrade(app, request) if is_handler(app) else app(request)
    options = client_options({**given, **wish.keywords})
    options["subprotocols"] = request.subprotocols
    clients.begun.append(running := Running())
    async with reach(stream, turning.Turning(request, leftover)) as (url, how):
        await connect(url + request.target, wish.handler, wish.args, task_status=running, **how, **options)


HOSTS: list[Host] = [MemoryHost(), TcpHost()]


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
@pytest.mark.parametrize("check", ALL_CHECKS, ids=str)
def test_client_holds(host: Host, check: Check) -> None:
    missing = missing_capabilities(host, check)
    if missing:
        pytest.skip(f"{host.name} lacks {', '.join(sorted(capability.name for capability in missing))}")
    run_check(host, check)


def test_a_client_is_asked_whatever_is_not_a_server_s_alone() -> None:
    servers = {Capability.HTTP, Capability.ADMISSION, Capability.OFFERS, Capability.DRAINING}
    asked = {check for host in HOSTS for check in ALL_CHECKS if not missing_capabilities(host, check)}
    assert asked >= {check for check in ALL_CHECKS if not check.needs & servers}
