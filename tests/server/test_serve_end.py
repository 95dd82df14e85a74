"""How a server ends: who is told what, who is waited for, and for how long."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from trio_websock import OptionError, Push, Reason, Request, Response, Server, Shutdown, serve, upgrade

sys.path.append(str(Path(__file__).parent))  # tests are no package

visitors = importlib.import_module("visitors")

Start = Callable[..., Awaitable[Server]]
Ask = Callable[..., Awaitable[bytes]]


async def test_a_shutdown_closes_with_1001_and_waits_for_the_last(start: Start, nursery: trio.Nursery) -> None:
    server = await start(visitors.Echo, grace=15)
    async with await visitors.open_websocket(server) as stream:
        nursery.start_soon(server.shutdown)
        assert await stream.receive_some() == visitors.GOING_AWAY
        assert server.connections != ()
        await stream.send_all(visitors.CLOSE)
        assert await stream.receive_some() == b""
    await server.aclose()
    assert server.connections == ()


async def test_a_restart_closes_with_1012(start: Start, nursery: trio.Nursery) -> None:
    server = await start(visitors.Echo, grace=15)
    async with await visitors.open_websocket(server) as stream:
        nursery.start_soon(partial(server.shutdown, restart=True))
        assert await stream.receive_some() == visitors.RESTART


async def test_cancelling_serve_is_a_graceful_shutdown_and_goes_on() -> None:
    reasons: list[Reason] = []

    class Parting(visitors.Echo):
        def terminate(self, reason: Reason, state: None) -> None:
            reasons.append(reason)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, Parting, port=0))
        stream = await visitors.open_websocket(server)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            assert await stream.receive_some() == visitors.GOING_AWAY
            await stream.aclose()
    assert reasons == [Shutdown()]
    assert nursery.cancel_scope.cancelled_caught


async def test_serve_returns_when_it_has_been_shut_down() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, visitors.Echo, port=0))
        await server.shutdown()
    assert not nursery.cancel_scope.cancel_called


async def test_shutting_down_twice_is_no_error(start: Start) -> None:
    server = await start(visitors.Echo)
    await server.shutdown()
    await server.shutdown(grace=0)


async def test_a_cancelled_start_ends() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await serve(visitors.Echo, port=0)
    assert scope.cancelled_caught


async def test_nobody_is_let_in_while_it_shuts_down(start: Start, nursery: trio.Nursery) -> None:
    server = await start(visitors.Echo, grace=15)
    async with await visitors.open_websocket(server) as stream:
        nursery.start_soon(server.shutdown)
        await stream.receive_some()
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream("127.0.0.1", server.port)


async def test_clients_that_have_asked_for_nothing_are_closed_at_once(start: Start) -> None:
    server = await start(visitors.Echo, grace=math.inf)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(visitors.UPGRADE[:10])
        while not server.snapshot().clients:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        await server.shutdown()
        assert (await visitors.read_all(stream)) in (b"", b"<reset>")


async def test_requests_in_progress_are_answered(start: Start, nursery: trio.Nursery) -> None:
    may_answer, was_asked = trio.Event(), trio.Event()

    async def app(request: Request) -> Any:
        was_asked.set()
        await may_answer.wait()
        return upgrade(visitors.Echo) if request.path == "/ws" else Response(200, "done")

    server = await start(app, grace=math.inf)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await was_asked.wait()
        nursery.start_soon(server.shutdown)
        await trio.testing.wait_all_tasks_blocked()
        may_answer.set()
        assert (await visitors.read_all(stream)).endswith(b"\r\nConnection: close\r\n\r\ndone")


async def test_an_upgrade_that_comes_too_late_is_answered_503(start: Start, nursery: trio.Nursery) -> None:
    may_answer, was_asked = trio.Event(), trio.Event()

    async def app(request: Request) -> Any:
        was_asked.set()
        await may_answer.wait()
        return upgrade(visitors.Echo)

    server = await start(app, grace=math.inf)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(visitors.UPGRADE)
        await was_asked.wait()
        nursery.start_soon(server.shutdown)
        await trio.testing.wait_all_tasks_blocked()
        may_answer.set()
        answer = await visitors.read_all(stream)
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 5\r\n" in answer


class Stubborn(visitors.Echo):
    """Never comes back from ``handle_in``."""

    async def handle_in(self, message: str | bytes, state: None) -> Push[None]:  # type: ignore[override]  # async here
        await trio.sleep_forever()
        raise AssertionError("not reached")


async def open_in_memory(listener: Any, *sent: bytes) -> trio.abc.Stream:
    stream: trio.abc.Stream = await listener.connect()
    await visitors.upgraded(stream)
    for data in sent:
        await stream.send_all(data)
    await trio.testing.wait_all_tasks_blocked()
    return stream


async def test_the_grace_bounds_a_callback_that_will_not_end(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server = await start(Stubborn, listeners=[memory_listener], grace=15)
    await open_in_memory(memory_listener, visitors.TEXT)
    await server.shutdown()
    assert trio.current_time() == pytest.approx(15)


async def test_the_grace_bounds_an_application_function_that_will_not_end(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async def app(request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError("not reached")

    server = await start(app, listeners=[memory_listener], grace=15)
    stream = await memory_listener.connect()
    await stream.send_all(visitors.UPGRADE)
    await trio.testing.wait_all_tasks_blocked()
    await server.shutdown()
    assert trio.current_time() == pytest.approx(15)
    assert await visitors.read_all(stream) == b""


async def test_a_second_shutdown_shortens_the_grace(
    start: Start, memory_listener: Any, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = await start(Stubborn, listeners=[memory_listener])
    await open_in_memory(memory_listener, visitors.TEXT)
    nursery.start_soon(partial(server.shutdown, grace=100))
    await trio.sleep(5)
    nursery.start_soon(partial(server.shutdown, grace=200))
    await server.shutdown(grace=2)
    assert trio.current_time() == pytest.approx(7)


async def test_no_grace_aborts_at_once(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server = await start(Stubborn, listeners=[memory_listener])
    await open_in_memory(memory_listener, visitors.TEXT)
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
    stream = await open_in_memory(memory_listener, visitors.TEXT)
    nursery.start_soon(partial(server.shutdown, grace=5))
    await visitors.read_all(stream)
    assert trio.current_time() == pytest.approx(5, abs=0.1)
    await server.shutdown()
    assert trio.current_time() == pytest.approx(100)
    assert "Shielded shields itself from cancellation" in caplog.text


async def test_a_rate_spreads_the_goodbyes(
    start: Start, memory_listener: Any, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    server = await start(visitors.Echo, listeners=[memory_listener])
    streams = [await open_in_memory(memory_listener) for _ in range(3)]
    nursery.start_soon(partial(server.shutdown, grace=100, rate=2))
    times = []
    for stream in streams:
        assert await stream.receive_some() == visitors.GOING_AWAY
        times.append(trio.current_time())
        await stream.send_all(visitors.CLOSE)
    assert times == pytest.approx([0, 0.5, 1])


async def test_a_rate_for_a_server_that_has_ended_changes_nothing(start: Start, memory_listener: Any) -> None:
    server = await start(visitors.Echo, listeners=[memory_listener])
    await server.shutdown()
    await server.shutdown(rate=5)
    assert server.snapshot().open_clients == 0


@pytest.mark.parametrize("turns", range(12))
async def test_a_rate_may_be_given_in_whatever_turn_the_server_ends(
    start: Start, nursery: trio.Nursery, turns: int
) -> None:
    server = await start(visitors.Echo)
    nursery.start_soon(server.shutdown)
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    await server.shutdown(rate=5)
    assert server.snapshot().open_clients == 0


async def test_who_was_not_told_in_time_is_aborted_with_the_rest(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server = await start(visitors.Echo, listeners=[memory_listener])
    streams = [await open_in_memory(memory_listener) for _ in range(3)]
    await server.shutdown(grace=1, rate=0.5)
    assert trio.current_time() == pytest.approx(1)
    assert [server.connections, await visitors.read_all(streams[0])] == [(), visitors.GOING_AWAY]


async def test_a_client_that_is_being_turned_away_does_not_outlast_the_grace(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server = await start(visitors.Echo, listeners=[memory_listener], max_connections=1)
    await open_in_memory(memory_listener)
    turned_away = await memory_listener.connect()
    await trio.testing.wait_all_tasks_blocked()
    await server.shutdown(grace=1)
    assert trio.current_time() == pytest.approx(1)
    assert await visitors.read_all(turned_away) == b""


@pytest.mark.parametrize(
    "options",
    [{"grace": -1}, {"grace": math.nan}, {"grace": "5"}, {"grace": True}, {"rate": 0}, {"rate": -1}, {"rate": "5"}],
)
async def test_impossible_shutdowns_are_refused(start: Start, options: dict[str, Any]) -> None:
    server = await start(visitors.Echo)
    with pytest.raises(OptionError):
        await server.shutdown(**options)  # type: ignore[arg-type]  # restart is not among them
