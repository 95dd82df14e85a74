"""What ASGI applications answer: as it comes, cancelled, faulty, and at the end of the server."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from trio_websock import Server, serve_stream

applications = importlib.import_module("applications")
stray = importlib.import_module("stray")
visitors = importlib.import_module("visitors")

Start = Callable[..., Awaitable[Server]]
Ask = Callable[..., Awaitable[bytes]]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

GET = visitors.GET
LAST = visitors.LAST
POST = visitors.POST
START = applications.START
body = applications.body
Echo = visitors.Echo
page = applications.page
mirror = applications.mirror
read_all = visitors.read_all
read_strictly = visitors.read_strictly
cancel_when_blocked = applications.cancel_when_blocked


# The response.


async def test_a_response_is_sent_as_it_comes(begin: Start) -> None:
    go_on = trio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send(START)
            await send(body(b"he", more=True))
            await go_on.wait()
            await send(body(b"llo"))

    server = await begin(app)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as client:
        await client.send_all(LAST)
        assert (await client.receive_some()).endswith(b"\r\n\r\n2\r\nhe\r\n")
        go_on.set()
        assert await read_all(client) == b"3\r\nllo\r\n0\r\n\r\n"


async def test_what_follows_the_response_keeps_no_request_waiting(begin: Start, ask: Ask) -> None:
    calls = 0
    second = trio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal calls
        if scope["type"] == "http":
            calls += 1
            await page(scope, receive, send)
            await (second.wait() if calls == 1 else trio.lowlevel.checkpoint())
            second.set()

    assert (await ask(await begin(app), GET, LAST)).count(b"page") == 2


async def test_a_client_that_takes_nothing_is_dropped(
    begin: Start, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    raised: list[OSError] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        try:
            await page(scope, receive, send)
        except OSError as exc:
            raised.append(exc)
            raise

    client, theirs = trio.testing.lockstep_stream_pair()  # sends wait until they are received
    nursery.start_soon(lambda: serve_stream(theirs, Echo, http=app, write_timeout=7))
    await client.send_all(GET)
    await trio.sleep(6.9)
    assert raised == []
    await trio.sleep(0.2)
    assert "took no byte for 7 seconds" in str(raised[0])


async def test_several_tasks_may_send_to_a_client_that_reads_slowly(begin: Start) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send(START)
            async with trio.open_nursery() as nursery:
                for data in (b"a", b"b"):
                    nursery.start_soon(send, body(data * 10_000_000, more=True))
            await send(body(b"end"))

    server = await begin(app)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as client:
        await client.send_all(LAST)
        await trio.testing.wait_all_tasks_blocked()
        assert (await read_all(client)).endswith(b"\r\n3\r\nend\r\n0\r\n\r\n")


async def send_and_cancel(send: Send, data: bytes, *, more: bool) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_when_blocked, nursery.cancel_scope)
        await send(body(data, more=more))


async def test_a_send_that_the_application_cancels_is_not_torn(begin: Start) -> None:
    was_cancelled = trio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send(START)
            await send_and_cancel(send, b"a" * 0x1000000, more=True)
            was_cancelled.set()
            await send(body(b"end"))

    server = await begin(app)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as client:
        await client.send_all(LAST)
        await was_cancelled.wait()
        _, _, chunks = (await read_all(client)).partition(b"\r\n\r\n")
    assert chunks == b"1000000\r\n" + b"a" * 0x1000000 + b"\r\n3\r\nend\r\n0\r\n\r\n"


async def test_a_last_send_that_is_cancelled_is_finished_by_the_session(begin: Start) -> None:
    was_cancelled = trio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send(START)
            await send_and_cancel(send, b"a" * 20_000_000, more=False)
            was_cancelled.set()

    server = await begin(app)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as client:
        await client.send_all(LAST)
        await was_cancelled.wait()
        assert (await read_all(client)).endswith(b"\r\n\r\n" + b"a" * 20_000_000)


async def test_a_stream_that_a_cancelled_send_has_broken_is_dropped(nursery: trio.Nursery) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(START)
        await send_and_cancel(send, b"torn", more=True)
        await send(body(b"never"))

    client, theirs = trio.testing.lockstep_stream_pair()
    nursery.start_soon(lambda: serve_stream(theirs, Echo, http=app))
    await client.send_all(GET)
    await trio.testing.wait_all_tasks_blocked()
    assert b"never" not in await read_all(client)


async def test_an_endless_answer_to_a_head_keeps_nobody_waiting(begin: Start) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(START)
        while True:
            await send(body(b"more", more=scope["method"] == "HEAD"))

    server = await begin(app)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as client:
        await client.send_all(GET.replace(b"GET", b"HEAD"))
        assert (await client.receive_some()).startswith(b"HTTP/1.1 200 OK\r\n")
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as other:
            await other.send_all(LAST)
            assert (await read_all(other)).endswith(b"more")


async def test_an_endless_stream_that_outlives_its_connection_is_told(nursery: trio.Nursery) -> None:
    raised = trio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(START)
        try:
            while True:
                await send(body(b"more", more=True))
        except OSError:
            raised.set()

    client, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(lambda: serve_stream(theirs, Echo, http=app))
    await client.send_all(GET)
    await client.receive_some()
    await theirs.aclose()
    await raised.wait()


# Faults.


async def raise_at_once(scope: Any, receive: Receive, send: Send) -> None:
    raise ValueError("a fault")


async def raise_behind_the_start(scope: Any, receive: Receive, send: Send) -> None:
    await send(START)
    raise ValueError("a fault")


async def raise_in_a_group(scope: Any, receive: Receive, send: Send) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raise_at_once, scope, receive, send)


async def return_at_once(scope: Any, receive: Receive, send: Send) -> None:
    pass


async def send_nonsense(scope: Any, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b\r\nc: d")]})


async def let_a_cancellation_escape(scope: Any, receive: Receive, send: Send) -> None:
    raise await stray.stray_cancelled()


FAULTY = [
    raise_at_once,
    raise_behind_the_start,
    raise_in_a_group,
    return_at_once,
    send_nonsense,
    let_a_cancellation_escape,
]


@pytest.mark.parametrize("app", FAULTY)
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_fault_before_the_response_is_answered_500_and_logged(
    begin: Start, ask: Ask, caplog: pytest.LogCaptureFixture, app: Any, method: bytes
) -> None:
    server = await begin(app)
    caplog.clear()
    answer = await ask(server, GET.replace(b"GET", method))
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"fault" not in answer
    assert f"the ASGI application failed at {method.decode()} /" in caplog.text
    assert (server.snapshot().application_errors, server.snapshot().requests) == (1, 1)


@pytest.mark.parametrize("fails", [True, False])
async def test_a_response_that_is_not_finished_is_cut_off(begin: Start, fails: bool) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"half", more=True))
        if fails:
            raise ValueError("a fault")

    server = await begin(app)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as client:
        await client.send_all(GET.replace(b"1.1", b"1.0"))
        with pytest.raises(trio.BrokenResourceError):  # or half a page would look like a whole one
            await read_strictly(client)
    assert server.snapshot().application_errors == 1


async def test_a_fault_behind_the_response_is_logged_and_harms_no_client(
    begin: Start, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await page(scope, receive, send)
        raise ValueError("a background task")

    server = await begin(app)
    assert (await ask(server, GET + LAST)).count(b"page") == 2
    assert "ValueError: a background task" in caplog.text
    assert server.snapshot().application_errors == 2


async def test_an_event_that_cannot_come_now_raises_where_it_was_sent(begin: Start, ask: Ask) -> None:
    refused: list[RuntimeError] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await page(scope, receive, send)
            try:
                await send(body(b"more"))
            except RuntimeError as exc:
                refused.append(exc)

    await ask(await begin(app), LAST)
    assert "behind the end of the response" in str(refused[0])


# The end of the server.


async def test_a_request_that_is_being_answered_is_answered_in_a_shutdown(begin: Start, nursery: trio.Nursery) -> None:
    go_on = trio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await go_on.wait()
            await page(scope, receive, send)

    server = await begin(app, grace=20)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as client:
        await client.send_all(GET)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(server.shutdown)
        await trio.testing.wait_all_tasks_blocked()
        go_on.set()
        assert (await read_all(client)).endswith(b"Connection: close\r\n\r\npage")


async def test_a_connection_whose_response_had_begun_ends_with_it_in_a_shutdown(
    begin: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send(START)
            await send(body(b"he", more=True))
            await trio.sleep(1)
            await send(body(b"llo"))

    server = await begin(app, listeners=[memory_listener], grace=60)
    client = await memory_listener.connect()
    await client.send_all(GET)
    await client.receive_some()
    await server.shutdown()
    assert trio.current_time() <= 2  # and not with the time for a next request
    assert await read_all(client) == b"3\r\nllo\r\n0\r\n\r\n"


async def test_when_the_grace_is_over_calls_are_cancelled(
    begin: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    ends = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                if scope["path"] == "/behind":
                    await page(scope, receive, send)
                await trio.sleep_forever()
            finally:
                ends.append(scope["path"])

    server = await begin(app, listeners=[memory_listener], grace=5)
    clients = [await memory_listener.connect() for _ in range(2)]
    await clients[0].send_all(GET)
    await clients[1].send_all(GET.replace(b"/ ", b"/behind ", 1))
    await trio.sleep(1)
    await server.shutdown()
    assert sorted(ends) == ["/", "/behind"]
    assert trio.current_time() == pytest.approx(6, abs=0.1)


async def test_when_the_grace_is_over_nobody_takes_a_part_of_a_response_for_the_whole(begin: Start) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send(START)
            await send(body(b"part", more=True))
            await trio.sleep_forever()

    server = await begin(app, grace=0)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as client:
        await client.send_all(b"GET / HTTP/1.0\r\n\r\n")  # the end of the connection is that of the body
        await client.receive_some()
        await server.shutdown()
        with pytest.raises(trio.BrokenResourceError):
            await read_strictly(client)


@pytest.mark.parametrize("turns", range(0, 40, 3))
async def test_cancelled_at_any_moment_the_application_ends_and_the_stream_is_closed(turns: int) -> None:
    running: set[int] = set()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        running.add(id(scope))
        try:
            await mirror(scope, receive, send)
            await trio.lowlevel.checkpoint()
        finally:
            running.remove(id(scope))

    async def cancel_later(scope: trio.CancelScope) -> None:
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    client, theirs = trio.testing.memory_stream_pair()
    await client.send_all((POST + b"hello") * 3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve_stream(theirs, Echo, http=app))
        nursery.start_soon(cancel_later, nursery.cancel_scope)
    assert running == set()
    data = await read_all(client)
    assert data.count(b"HTTP/1.1 200 OK\r\n") == data.count(b"\r\n\r\nhello")
