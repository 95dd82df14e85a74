"""Every claim of the rulings, asked of every host."""

from __future__ import annotations

import importlib
import inspect
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from trio_websock import Request, Server, Upgrade, serve
from trio_websock.behaviour.handler import bind_handler, is_handler
from trio_websock.testing.host_checks import ALL_CHECKS, Capability, Check, Host, missing_capabilities, run_check
from trio_websock.testing.memory_listener import MemoryListener
from trio_websock.testing.stage import Stage, Witness

certificates = importlib.import_module("certificates")
ways = importlib.import_module("ways")
contexts = cache(certificates.localhost_contexts)

OWN_SERVER = frozenset(
    {
        Capability.FRAMING,
        Capability.PIPELINING,
        Capability.COMPRESSION,
        Capability.OFFERS,
        Capability.HTTP,
        Capability.ADMISSION,
        Capability.SHUTDOWN,
        Capability.DRAINING,
        Capability.READ_AHEAD,
        Capability.CONTROL,
        Capability.CLOSING,
    }
)


@dataclass
class NativeServer:
    """Our own server, running."""

    server: Server
    open_stream: Callable[[], Awaitable[trio.abc.Stream]]
    authority: str
    scope: trio.CancelScope
    finished: trio.Event

    async def connect(self) -> trio.abc.Stream:
        return await self.open_stream()

    async def shutdown(self, *, restart: bool = False, grace: float | None = None) -> None:
        await self.server.shutdown(restart=restart, grace=grace)

    def cancel(self) -> None:
        self.scope.cancel()


@asynccontextmanager
async def open_native(
    app: object, connect: Callable[[Server], Awaitable[trio.abc.Stream]], options: dict[str, Any]
) -> AsyncIterator[NativeServer]:
    finished = trio.Event()

    async def run(task_status: trio.TaskStatus[tuple[Server, trio.CancelScope]]) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                server = await nursery.start(partial(serve, app, **options))
                task_status.started((server, scope))
        finished.set()

    async with trio.open_nursery() as nursery:
        server, scope = await nursery.start(run)
        yield NativeServer(server, partial(connect, server), "localhost", scope, finished)
        scope.cancel()


@dataclass(frozen=True)
class TcpHost:
    """Real sockets: time is real, so what takes time is scripted in hundredths."""

    name: str = "native over TCP"
    capabilities: frozenset[Capability] = OWN_SERVER | {Capability.RESET, Capability.HALF_CLOSE}
    pace: float = 0.02

    def make_clock(self) -> None:
        return None

    def open_server(self, app: object, **options: Any) -> AbstractAsyncContextManager[NativeServer]:
        return open_native(app, self.connect, {"port": 0, **options})

    @staticmethod
    async def connect(server: Server) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", server.port)


@dataclass(frozen=True)
class TlsHost:
    """The same over TLS; a reset cannot be told from a torn record, and half a close does not exist."""

    name: str = "native over TLS"
    capabilities: frozenset[Capability] = OWN_SERVER
    pace: float = 0.02

    def make_clock(self) -> None:
        return None

    def open_server(self, app: object, **options: Any) -> AbstractAsyncContextManager[NativeServer]:
        return open_native(app, self.connect, {"port": 0, "ssl_context": contexts().server, **options})

    @staticmethod
    async def connect(server: Server) -> trio.SSLStream:
        plain = await trio.open_tcp_stream("127.0.0.1", server.port)
        return trio.SSLStream(plain, contexts().client, server_hostname="localhost")


@dataclass(frozen=True)
class UnixHost:
    """A Unix socket: has no reset of its own."""

    name: str = "native over a Unix socket"
    capabilities: frozenset[Capability] = OWN_SERVER | {Capability.HALF_CLOSE}
    pace: float = 0.02

    def make_clock(self) -> None:
        return None

    @asynccontextmanager
    async def open_server(self, app: object, **options: Any) -> AsyncIterator[NativeServer]:
        with tempfile.TemporaryDirectory() as directory:
            path = str(Path(directory) / "socket")

            async def connect(server: Server) -> trio.SocketStream:
                return await trio.open_unix_socket(path)

            async with open_native(app, connect, {"path": path, **options}) as server:
                yield server


@dataclass(frozen=True)
class MemoryHost:
    """Streams in memory, in virtual time."""

    name: str = "native in memory"
    capabilities: frozenset[Capability] = OWN_SERVER | {Capability.HALF_CLOSE, Capability.VIRTUAL_TIME}
    pace: float = 1.0

    def make_clock(self) -> trio.testing.MockClock:
        return trio.testing.MockClock(autojump_threshold=0)

    @asynccontextmanager
    async def open_server(self, app: object, **options: Any) -> AsyncIterator[NativeServer]:
        listener = MemoryListener()

        async def connect(server: Server) -> trio.abc.Stream:
            return await listener.connect()

        async with open_native(app, connect, {"listeners": [listener], **options}) as server:
            yield server


def awaiting(app: Any) -> object:
    """What is served, but each callback has an ``await``."""
    if is_handler(app):
        return ways.awaiting(app)

    async def ask(request: Request) -> object:
        answer = app(request)
        if inspect.isawaitable(answer):
            answer = await answer
        return replace(answer, handler=ways.awaiting(answer.handler)) if isinstance(answer, Upgrade) else answer

    return ask


@dataclass(frozen=True)
class AwaitingTcpHost(TcpHost):
    """The same, but every callback is run by the connection's own task: most of the checks have prompt ones."""

    name: str = "native over TCP, callbacks with an await"

    def open_server(self, app: object, **options: Any) -> AbstractAsyncContextManager[NativeServer]:
        return super().open_server(awaiting(app), **options)


@dataclass(frozen=True)
class AwaitingMemoryHost(MemoryHost):
    """The same in memory."""

    name: str = "native in memory, callbacks with an await"

    def open_server(self, app: object, **options: Any) -> AbstractAsyncContextManager[NativeServer]:
        return super().open_server(awaiting(app), **options)


HOSTS: list[Host] = [
    TcpHost(),
    TlsHost(),
    UnixHost(),
    MemoryHost(),
    AwaitingTcpHost(),
    AwaitingMemoryHost(),
]


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
@pytest.mark.parametrize("check", ALL_CHECKS, ids=str)
def test_host_holds(host: Host, check: Check) -> None:
    missing = missing_capabilities(host, check)
    if missing:
        pytest.skip(f"{host.name} lacks {', '.join(sorted(capability.name for capability in missing))}")
    run_check(host, check)


def test_every_check_is_asked_of_some_host() -> None:
    assert not [check for check in ALL_CHECKS if all(missing_capabilities(host, check) for host in HOSTS)]


def test_no_two_checks_make_the_same_claim() -> None:
    assert len({str(check) for check in ALL_CHECKS}) == len(ALL_CHECKS)


def test_hosts_that_say_so_have_no_prompt_callbacks() -> None:
    handler = bind_handler(awaiting(Witness(Stage(MemoryHost()))))
    assert not handler.is_prompt
    assert not handler.awaitless
