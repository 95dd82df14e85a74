"""What is over is freed at once: no connection is left to the garbage collector."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from trio_websock import Error, Handler, Ok, open_websocket, serve
from trio_websock.testing import ScriptedPeer

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"

_handlers: list[weakref.ref[Handler[Any, None]]] = []


class Traced(Handler[Any, None]):
    async def init(self, args: Any) -> Ok[None]:
        _handlers.append(weakref.ref(self))
        return Ok(None)

    async def handle_in(self, message: Any, state: None) -> Ok[None]:
        return Ok(None)


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


class TracedPlain(Traced):
    def init(self, args: Any) -> Ok[None]:  # type: ignore[override]  # plain, which the base is not
        _handlers.append(weakref.ref(self))
        return Ok(None)

    def handle_in(self, message: Any, state: None) -> Ok[None]:  # type: ignore[override]  # as above
        return Ok(None)


async def visit(port: int) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(HANDSHAKE)
        assert await stream.receive_some()
        await stream.send_all(CLOSE)
        while await stream.receive_some():
            pass


@pytest.mark.parametrize("handler", [Traced, TracedPlain])
@pytest.mark.parametrize("options", [{}, {"ping_interval": 60}], ids=["bare", "keepalive"])
@pytest.mark.usefixtures("_no_collector")
async def test_a_connection_that_is_over_is_freed_without_the_garbage_collector(
    handler: type[Traced], options: dict[str, Any]
) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, handler, host="127.0.0.1", port=0, **options))
        await visit(server.port)
        await server.shutdown()
    assert _handlers.pop()() is None


@pytest.mark.parametrize("handler", [Traced, TracedPlain])
@pytest.mark.usefixtures("_no_collector")
async def test_a_connection_that_was_reset_is_freed_without_the_garbage_collector(handler: type[Traced]) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, handler, host="127.0.0.1", port=0))
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(HANDSHAKE)
            await stream.receive_some()
            [connection] = server.connections
            await ScriptedPeer(stream).abort()
        assert isinstance(await connection.wait_ended(), Error)
        del connection
        await server.shutdown()
    assert _handlers.pop()() is None


async def visit_as_client(port: int, **options: Any) -> weakref.ref[trio.Event]:
    async with open_websocket(f"ws://127.0.0.1:{port}/", **options) as websocket:
        await websocket.send("x")
        over = weakref.ref(websocket._over)
    return over


@pytest.mark.parametrize("options", [{"ping_interval": None}, {}], ids=["bare", "keepalive"])
@pytest.mark.usefixtures("_no_collector")
async def test_a_clients_connection_that_is_over_is_freed_without_the_garbage_collector(
    options: dict[str, Any],
) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, Traced, host="127.0.0.1", port=0))
        over = await visit_as_client(server.port, **options)
        await server.shutdown()
    assert over() is None
