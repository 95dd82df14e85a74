"""Every claim of the rulings, asked of ``serve_stream``: before the opening handshake, and after it."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from trio_websock import serve_stream
from trio_websock.testing.host_checks import ALL_CHECKS, Capability, Check, Host, missing_capabilities, run_check
from trio_websock.testing.memory_listener import MemoryListener, MemoryStream

heads = importlib.import_module("heads")

FRAMES = frozenset(
    {
        Capability.FRAMING,
        Capability.PIPELINING,
        Capability.READ_AHEAD,
        Capability.CONTROL,
        Capability.CLOSING,
        Capability.HALF_CLOSE,
        Capability.VIRTUAL_TIME,
    }
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
)


@dataclass
class StreamServer:
    """A loop that accepts, with a task for each stream."""

    listener: MemoryListener
    scope: trio.CancelScope
    finished: trio.Event
    authority: str = "localhost"

    async def connect(self) -> MemoryStream:
        return await self.listener.connect()

    async def shutdown(self, *, restart: bool = False, grace: float | None = None) -> None:
        raise NotImplementedError("a stream has no server that could be shut down")

    def cancel(self) -> None:
        self.scope.cancel()


@dataclass(frozen=True)
class StreamHost:
    """Streams in memory, in virtual time."""

    name: str
    capabilities: frozenset[Capability]
    answers_handshake: bool = False
    pace: float = 1.0

    def make_clock(self) -> trio.testing.MockClock:
        return trio.testing.MockClock(autojump_threshold=0)

    @asynccontextmanager
    async def open_server(self, app: object, **options: Any) -> AsyncIterator[StreamServer]:
        del options["grace"]
        serve_one = serve_frames if self.answers_handshake else serve_stream
        server = StreamServer(MemoryListener(), trio.CancelScope(), trio.Event())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept, server, partial(serve_one, handler_or_app=app, **options))
            yield server
            server.cancel()


async def accept(server: StreamServer, serve_one: Any) -> None:
    with server.scope:
        await trio.serve_listeners(serve_one, [server.listener])
    server.finished.set()


async def serve_frames(stream: MemoryStream, handler_or_app: object, **options: Any) -> None:
    """Answer the handshake of a scripted peer, as some other server would, and have the rest served."""
    came = await heads.receive_request(stream)
    if came is None:
        return
    request, leftover = came
    subprotocol = next(iter(request.subprotocols), None)
    agreed = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    await stream.send_all(SWITCH + agreed.encode() + b"\r\n")
    await serve_stream(stream, handler_or_app, request=request, subprotocol=subprotocol, leftover=leftover, **options)


HOSTS: list[Host] = [
    StreamHost("a stream before the handshake", FRAMES | {Capability.COMPRESSION, Capability.OFFERS, Capability.HTTP}),
    StreamHost("a stream after the handshake", FRAMES, answers_handshake=True),
]


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
@pytest.mark.parametrize("check", ALL_CHECKS, ids=str)
def test_host_holds(host: Host, check: Check) -> None:
    missing = missing_capabilities(host, check)
    if missing:
        pytest.skip(f"{host.name} lacks {', '.join(sorted(capability.name for capability in missing))}")
    run_check(host, check)
