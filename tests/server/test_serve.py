"""A whole server: where it listens, how many it takes, and how it ends."""

from __future__ import annotations

import importlib
import math
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from trio_websock import Handler, Ok, OptionError, Push, Reason, Request, Response, Server, Shutdown, serve, upgrade

Start = Callable[..., Awaitable[Server]]
Ask = Callable[..., Awaitable[bytes]]

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
TEXT = b"\x81\x82\0\0\0\0hi"
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"
GOING_AWAY = b"\x88\x02\x03\xe9"
RESTART = b"\x88\x02\x03\xf4"


class Echo(Handler[None, Any]):
    def init(self, args: object) -> Ok[None]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Push[None]:
        return Push(message, None)


async def upgraded(stream: trio.abc.Stream) -> trio.abc.Stream:
    """The same stream, once the server has answered 101."""
    await stream.send_all(UPGRADE)
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += await stream.receive_some()
    return stream


async def open_websocket(server: Server) -> trio.abc.Stream:
    return await upgraded(await trio.open_tcp_stream("127.0.0.1", server.port))


async def read_all(stream: trio.abc.Stream) -> bytes:
    data = b""
    try:
        while piece := await stream.receive_some():
            data += piece
    except trio.BrokenResourceError:
        data += b"<reset>"
    return data


# Where it listens.


async def test_a_server_says_where_it_listens(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    server = await start(Echo, port=0, path=path)
    assert server.addresses == (path, ("127.0.0.1", server.port))


async def test_a_server_without_tcp_has_no_port(start: Start, tmp_path: Path) -> None:
    server = await start(Echo, path=str(tmp_path / "socket"))
    assert not hasattr(server, "port")


async def test_a_unix_socket_serves(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    server = await start(Echo, path=path)
    async with await trio.open_unix_socket(path) as stream:
        await upgraded(stream)
        await stream.send_all(TEXT + CLOSE)
        assert await read_all(stream) == b"\x81\x02hi\x88\x02\x03\xe8"
    await server.shutdown()
    assert not Path(path).exists()


async def test_tls_serves_both_http_and_websockets(start: Start) -> None:
    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(ours)
    authority.configure_trust(theirs)
    server = await start(Echo, ssl_context=ours)
    plain = await trio.open_tcp_stream("127.0.0.1", server.port)
    async with trio.SSLStream(plain, theirs, server_hostname="localhost", https_compatible=True) as stream:
        await upgraded(stream)
        await stream.send_all(TEXT + CLOSE)
        assert await read_all(stream) == b"\x81\x02hi\x88\x02\x03\xe8"
    assert server.scheme == "https"


async def test_a_client_that_speaks_no_tls_is_dropped_and_counted(start: Start, ask: Ask) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    server = await start(Echo, ssl_context=context)
    assert b"HTTP/1.1" not in await ask(server, UPGRADE)
    assert server.snapshot().handshake_failures == 1


async def test_options_that_do_not_exist_are_refused() -> None:
    with pytest.raises(TypeError, match="'prot' is not an option"):
        await serve(Echo, prot=8000)  # type: ignore[call-arg]  # the point of the test


async def test_incomplete_handlers_are_refused_before_anything_listens() -> None:
    class Half:
        def init(self, args: object) -> None: ...

    with pytest.raises(TypeError, match="handler Half has no handle_in"):
        await serve(Half, port=0)


# How many it takes.


async def test_beyond_max_connections_clients_are_told_503(start: Start, ask: Ask) -> None:
    server = await start(Echo, max_connections=1)
    async with await open_websocket(server):
        answer = await ask(server, UPGRADE)
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\ntoo many connections\n")


async def test_a_place_that_has_become_free_is_taken_again(start: Start, ask: Ask) -> None:
    server = await start(Echo, max_connections=1)
    assert b" 101 " in await ask(server, UPGRADE + CLOSE)
    while server.snapshot().open_clients:
        await trio.lowlevel.checkpoint()
    assert b" 101 " in await ask(server, UPGRADE + CLOSE)


async def test_beyond_max_connections_per_client_an_address_is_told_503_and_others_are_served(
    start: Start, ask: Ask
) -> None:
    server = await start(Echo, max_connections_per_client=1)
    async with await open_websocket(server):
        answer = await ask(server, UPGRADE)
        async with await trio.open_tcp_stream("127.0.0.1", server.port, local_address="127.0.0.2") as other:
            await upgraded(other)
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\ntoo many connections from your address\n")


async def test_an_address_whose_client_has_left_is_served_again(start: Start, ask: Ask) -> None:
    server = await start(Echo, max_connections_per_client=1)
    for _ in range(3):
        assert b" 101 " in await ask(server, UPGRADE + CLOSE)
        while server.snapshot().open_clients:
            await trio.lowlevel.checkpoint()


async def test_clients_without_an_address_are_not_counted_by_address(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    await start(Echo, path=path, max_connections_per_client=1)
    async with await trio.open_unix_socket(path) as first, await trio.open_unix_socket(path) as second:
        await upgraded(first)
        await upgraded(second)


async def test_a_flood_beyond_the_limit_is_dropped(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("trio_websock.server.serve"), "MAX_REFUSALS", 1)
    server = await start(Echo, max_connections=1)
    async with await open_websocket(server), await trio.open_tcp_stream("127.0.0.1", server.port):
        try:
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as third:
                assert await read_all(third) == b"<reset>"
        except OSError:
            pass  # the reset was faster than connect()
        assert server.snapshot().refusals == 2


# What it knows.


async def test_connections_are_those_that_are_open(start: Start) -> None:
    server = await start(Echo)
    async with await open_websocket(server) as stream:
        [connection] = server.connections
        assert connection.handler == "Echo"
        await stream.send_all(CLOSE)
        await read_all(stream)
    while server.snapshot().open_clients:
        await trio.lowlevel.checkpoint()
    assert server.connections == ()


# How it ends.


async def test_a_shutdown_closes_with_1001_and_waits_for_the_last(start: Start, nursery: trio.Nursery) -> None:
    server = await start(Echo, grace=15)
    async with await open_websocket(server) as stream:
        nursery.start_soon(server.shutdown)
        assert await stream.receive_some() == GOING_AWAY
        assert server.connections != ()
        await stream.send_all(CLOSE)
        assert await stream.receive_some() == b""
    await server.aclose()
    assert server.connections == ()


async def test_a_restart_closes_with_1012(start: Start, nursery: trio.Nursery) -> None:
    server = await start(Echo, grace=15)
    async with await open_websocket(server) as stream:
        nursery.start_soon(partial(server.shutdown, restart=True))
        assert await stream.receive_some() == RESTART


async def test_cancelling_serve_is_a_graceful_shutdown_and_goes_on() -> None:
    reasons: list[Reason] = []

    class Parting(Echo):
        def terminate(self, reason: Reason, state: None) -> None:
            reasons.append(reason)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, Parting, port=0))
        stream = await open_websocket(server)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            assert await stream.receive_some() == GOING_AWAY
            await stream.aclose()
    assert reasons == [Shutdown()]
    assert nursery.cancel_scope.cancelled_caught


async def test_serve_returns_when_it_has_been_shut_down() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, Echo, port=0))
        await server.shutdown()
    assert not nursery.cancel_scope.cancel_called


async def test_shutting_down_twice_is_no_error(start: Start) -> None:
    server = await start(Echo)
    await server.shutdown()
    await server.shutdown(grace=0)


async def test_a_cancelled_start_ends() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await serve(Echo, port=0)
    assert scope.cancelled_caught


async def test_nobody_is_let_in_while_it_shuts_down(start: Start, nursery: trio.Nursery) -> None:
    server = await start(Echo, grace=15)
    async with await open_websocket(server) as stream:
        nursery.start_soon(server.shutdown)
        await stream.receive_some()
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream("127.0.0.1", server.port)


async def test_clients_that_have_asked_for_nothing_are_closed_at_once(start: Start) -> None:
    server = await start(Echo, grace=math.inf)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(UPGRADE[:10])
        while not server.snapshot().clients:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        await server.shutdown()
        assert (await read_all(stream)) in (b"", b"<reset>")


async def test_requests_in_progress_are_answered(start: Start, nursery: trio.Nursery) -> None:
    may_answer, was_asked = trio.Event(), trio.Event()

    async def app(request: Request) -> Any:
        was_asked.set()
        await may_answer.wait()
        return upgrade(Echo) if request.path == "/ws" else Response(200, "done")

    server = await start(app, grace=math.inf)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await was_asked.wait()
        nursery.start_soon(server.shutdown)
        await trio.testing.wait_all_tasks_blocked()
        may_answer.set()
        assert (await read_all(stream)).endswith(b"\r\nConnection: close\r\n\r\ndone")


async def test_an_upgrade_that_comes_too_late_is_answered_503(start: Start, nursery: trio.Nursery) -> None:
    may_answer, was_asked = trio.Event(), trio.Event()

    async def app(request: Request) -> Any:
        was_asked.set()
        await may_answer.wait()
        return upgrade(Echo)

    server = await start(app, grace=math.inf)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(UPGRADE)
        await was_asked.wait()
        nursery.start_soon(server.shutdown)
        await trio.testing.wait_all_tasks_blocked()
        may_answer.set()
        answer = await read_all(stream)
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 5\r\n" in answer


class Stubborn(Echo):
    """Never comes back from ``handle_in``."""

    async def handle_in(self, message: str | bytes, state: None) -> Push[None]:  # type: ignore[override]  # async here
        await trio.sleep_forever()
        raise AssertionError("not reached")


async def open_in_memory(listener: Any, *sent: bytes) -> trio.abc.Stream:
    stream: trio.abc.Stream = listener.connect()
    await upgraded(stream)
    for data in sent:
        await stream.send_all(data)
    await trio.testing.wait_all_tasks_blocked()
    return stream


async def test_the_grace_bounds_a_callback_that_will_not_end(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server = await start(Stubborn, listeners=[memory_listener], grace=15)
    await open_in_memory(memory_listener, TEXT)
    await server.shutdown()
    assert trio.current_time() == pytest.approx(15)


async def test_the_grace_bounds_an_application_function_that_will_not_end(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async def app(request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError("not reached")

    server = await start(app, listeners=[memory_listener], grace=15)
    stream = memory_listener.connect()
    await stream.send_all(UPGRADE)
    await trio.testing.wait_all_tasks_blocked()
    await server.shutdown()
    assert trio.current_time() == pytest.approx(15)
    assert await read_all(stream) == b""


async def test_a_second_shutdown_shortens_the_grace(
    start: Start, memory_listener: Any, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = await start(Stubborn, listeners=[memory_listener])
    await open_in_memory(memory_listener, TEXT)
    nursery.start_soon(partial(server.shutdown, grace=100))
    await trio.sleep(5)
    nursery.start_soon(partial(server.shutdown, grace=200))
    await server.shutdown(grace=2)
    assert trio.current_time() == pytest.approx(7)


async def test_no_grace_aborts_at_once(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server = await start(Stubborn, listeners=[memory_listener])
    await open_in_memory(memory_listener, TEXT)
    await server.shutdown(grace=0)
    assert trio.current_time() == pytest.approx(0)


async def test_a_handler_that_shields_itself_holds_the_server_but_not_its_peer_and_is_named(
    start: Start,
    memory_listener: Any,
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Shielded(Stubborn):
        async def handle_in(self, message: str | bytes, state: None) -> Push[None]:  # type: ignore[override]
            with trio.CancelScope(shield=True):
                await trio.sleep(100)
            return Push(message, None)

    server = await start(Shielded, listeners=[memory_listener])
    stream = await open_in_memory(memory_listener, TEXT)
    nursery.start_soon(partial(server.shutdown, grace=5))
    await read_all(stream)
    assert trio.current_time() == pytest.approx(5, abs=0.1)
    await server.shutdown()
    assert trio.current_time() == pytest.approx(100)
    assert "Shielded shields itself from cancellation" in caplog.text


async def test_a_rate_spreads_the_goodbyes(
    start: Start, memory_listener: Any, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = await start(Echo, listeners=[memory_listener])
    streams = [await open_in_memory(memory_listener) for _ in range(3)]
    nursery.start_soon(partial(server.shutdown, grace=100, rate=2))
    times = []
    for stream in streams:
        assert await stream.receive_some() == GOING_AWAY
        times.append(trio.current_time())
        await stream.send_all(CLOSE)
    assert times == pytest.approx([0, 0.5, 1])


async def test_who_was_not_told_in_time_is_aborted_with_the_rest(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server = await start(Echo, listeners=[memory_listener])
    streams = [await open_in_memory(memory_listener) for _ in range(3)]
    await server.shutdown(grace=1, rate=0.5)
    assert trio.current_time() == pytest.approx(1)
    assert [server.connections, await read_all(streams[0])] == [(), GOING_AWAY]


async def test_a_client_that_is_being_turned_away_does_not_outlast_the_grace(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server = await start(Echo, listeners=[memory_listener], max_connections=1)
    await open_in_memory(memory_listener)
    turned_away = memory_listener.connect()
    await trio.testing.wait_all_tasks_blocked()
    await server.shutdown(grace=1)
    assert trio.current_time() == pytest.approx(1)
    assert await read_all(turned_away) == b""


@pytest.mark.parametrize("options", [{"grace": -1}, {"grace": math.nan}, {"rate": 0}, {"rate": -1}])
async def test_impossible_shutdowns_are_refused(start: Start, options: dict[str, float]) -> None:
    server = await start(Echo)
    with pytest.raises(OptionError):
        await server.shutdown(**options)  # type: ignore[arg-type]  # restart is not among them
