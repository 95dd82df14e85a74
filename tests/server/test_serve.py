"""A whole server: where it listens, how many it takes, and what it knows."""

from __future__ import annotations

import importlib
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from trio_websock import Server, serve

sys.path.append(str(Path(__file__).parent))  # tests are no package

certificates = importlib.import_module("certificates")
visitors = importlib.import_module("visitors")

Start = Callable[..., Awaitable[Server]]
Ask = Callable[..., Awaitable[bytes]]


# Where it listens.


async def test_a_server_says_where_it_listens(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    server = await start(visitors.Echo, port=0, path=path)
    assert server.addresses == (path, ("127.0.0.1", server.port))


async def test_a_server_without_tcp_has_no_port(start: Start, tmp_path: Path) -> None:
    server = await start(visitors.Echo, path=str(tmp_path / "socket"))
    assert not hasattr(server, "port")


async def test_a_unix_socket_serves(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    server = await start(visitors.Echo, path=path)
    async with await trio.open_unix_socket(path) as stream:
        await visitors.upgraded(stream)
        await stream.send_all(visitors.TEXT + visitors.CLOSE)
        assert await visitors.read_all(stream) == b"\x81\x02hi\x88\x02\x03\xe8"
    await server.shutdown()
    assert not Path(path).exists()


async def test_tls_serves_both_http_and_websockets(start: Start) -> None:
    ours, theirs = certificates.localhost_contexts()
    server = await start(visitors.Echo, ssl_context=ours)
    plain = await trio.open_tcp_stream("127.0.0.1", server.port)
    async with trio.SSLStream(plain, theirs, server_hostname="localhost", https_compatible=True) as stream:
        await visitors.upgraded(stream)
        await stream.send_all(visitors.TEXT + visitors.CLOSE)
        assert await visitors.read_all(stream) == b"\x81\x02hi\x88\x02\x03\xe8"
    assert server.scheme == "https"


async def test_a_client_that_speaks_no_tls_is_dropped_and_counted(start: Start, ask: Ask) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    server = await start(visitors.Echo, ssl_context=context)
    assert b"HTTP/1.1" not in await ask(server, visitors.UPGRADE)
    assert server.snapshot().handshake_failures == 1


async def test_options_that_do_not_exist_are_refused() -> None:
    with pytest.raises(TypeError, match="'prot' is not an option"):
        await serve(visitors.Echo, prot=8000)  # type: ignore[call-arg]  # the point of the test


async def test_incomplete_handlers_are_refused_before_anything_listens() -> None:
    class Half:
        def init(self, args: object) -> None: ...

    with pytest.raises(TypeError, match="handler Half has no handle_in"):
        await serve(Half, port=0)


# How many it takes.


async def test_beyond_max_connections_clients_are_told_503(start: Start, ask: Ask) -> None:
    server = await start(visitors.Echo, max_connections=1)
    async with await visitors.open_websocket(server):
        answer = await ask(server, visitors.UPGRADE)
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\ntoo many connections\n")


async def test_a_place_that_has_become_free_is_taken_again(start: Start, ask: Ask) -> None:
    server = await start(visitors.Echo, max_connections=1)
    assert b" 101 " in await ask(server, visitors.UPGRADE + visitors.CLOSE)
    while server.snapshot().open_clients:
        await trio.lowlevel.checkpoint()
    assert b" 101 " in await ask(server, visitors.UPGRADE + visitors.CLOSE)


async def test_beyond_max_connections_per_client_an_address_is_told_503_and_others_are_served(
    start: Start, ask: Ask
) -> None:
    server = await start(visitors.Echo, max_connections_per_client=1)
    async with await visitors.open_websocket(server):
        answer = await ask(server, visitors.UPGRADE)
        async with await trio.open_tcp_stream("127.0.0.1", server.port, local_address="127.0.0.2") as other:
            await visitors.upgraded(other)
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\ntoo many connections from your address\n")


async def test_an_address_whose_client_has_left_is_served_again(start: Start, ask: Ask) -> None:
    server = await start(visitors.Echo, max_connections_per_client=1)
    for _ in range(3):
        assert b" 101 " in await ask(server, visitors.UPGRADE + visitors.CLOSE)
        while server.snapshot().open_clients:
            await trio.lowlevel.checkpoint()


async def test_clients_without_an_address_are_not_counted_by_address(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    await start(visitors.Echo, path=path, max_connections_per_client=1)
    async with await trio.open_unix_socket(path) as first, await trio.open_unix_socket(path) as second:
        await visitors.upgraded(first)
        await visitors.upgraded(second)


async def test_a_flood_beyond_the_limit_is_dropped(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("trio_websock.server.serve"), "MAX_REFUSALS", 1)
    server = await start(visitors.Echo, max_connections=1)
    async with await visitors.open_websocket(server), await trio.open_tcp_stream("127.0.0.1", server.port):
        try:
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as third:
                assert await visitors.read_all(third) == b"<reset>"
        except OSError:
            pass  # the reset was faster than connect()
        assert server.snapshot().refusals == 2


# What it knows.


async def test_connections_are_those_that_are_open(start: Start) -> None:
    server = await start(visitors.Echo)
    async with await visitors.open_websocket(server) as stream:
        [connection] = server.connections
        assert connection.handler == "Echo"
        await stream.send_all(visitors.CLOSE)
        await visitors.read_all(stream)
    while server.snapshot().open_clients:
        await trio.lowlevel.checkpoint()
    assert server.connections == ()
