"""Plain requests that an ASGI application answers: whose they are, their bodies, and clients that leave."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from trio_websock import Request, Server, serve_stream

applications = importlib.import_module("applications")
visitors = importlib.import_module("visitors")

Start = Callable[..., Awaitable[Server]]
Ask = Callable[..., Awaitable[bytes]]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

GET = visitors.GET
LAST = visitors.LAST
POST = visitors.POST
UPGRADE = visitors.UPGRADE
TEXT = visitors.TEXT
CLOSE = visitors.CLOSE
ECHOED = visitors.ECHOED
PAGE = applications.PAGE
START = applications.START
body = applications.body
Echo = visitors.Echo
page = applications.page
read_body = applications.read_body
mirror = applications.mirror
read_all = visitors.read_all
cancel_when_blocked = applications.cancel_when_blocked


# Who answers.


async def test_the_application_answers_plain_requests_and_the_handler_all_others(begin: Start, ask: Ask) -> None:
    server = await begin(page)
    assert (await ask(server, LAST)).endswith(b"\r\n\r\npage")
    assert (await ask(server, UPGRADE + TEXT + CLOSE)).endswith(ECHOED)


async def test_an_application_function_is_asked_for_upgrades_only(start: Start, ask: Ask) -> None:
    asked = []
    server = await start(lambda request: asked.append(request.path), http=page)
    await ask(server, LAST)
    assert asked == []
    await ask(server, UPGRADE)
    assert asked == ["/"]


async def test_requests_are_pipelined_answered_in_order_and_then_upgraded(begin: Start, ask: Ask) -> None:
    answer = await ask(await begin(page), GET + GET + UPGRADE + TEXT + CLOSE)
    assert answer.startswith(PAGE + PAGE + b"HTTP/1.1 101 ")
    assert answer.endswith(ECHOED)


async def test_the_scope_tells_where_the_request_came_from_and_where_to(begin: Start, ask: Ask) -> None:
    scopes = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await page(scope, receive, send)

    server = await begin(app)
    await ask(server, LAST)
    [scope] = [scope for scope in scopes if scope["type"] == "http"]
    assert (scope["client"][0], scope["server"]) == ("127.0.0.1", ("127.0.0.1", server.port))


async def test_on_a_unix_socket_the_server_is_its_path(begin: Start, tmp_path: Any) -> None:
    path, servers = str(tmp_path / "socket"), []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        servers.append((scope.get("client"), scope.get("server")))
        await page(scope, receive, send)

    await begin(app, path=path)
    async with await trio.open_unix_socket(path) as client:
        await client.send_all(LAST)
        assert (await read_all(client)).endswith(b"page")
    assert servers[-1] == (None, (path, None))


# The body of the request.


async def test_a_body_reaches_the_application(begin: Start, ask: Ask) -> None:
    assert (await ask(await begin(mirror), POST + b"hel", b"lo" + LAST)).count(b"\r\n\r\nhello") == 1


async def test_a_body_in_chunks_reaches_the_application(begin: Start, ask: Ask) -> None:
    head = LAST.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    answer = await ask(await begin(mirror), head + b"2\r\nhe\r\n", b"3\r\nl", b"lo\r\n0\r\n\r\n")
    assert answer.endswith(b"\r\n\r\nhello")


async def test_a_body_is_handed_over_as_it_comes(begin: Start) -> None:
    came: list[bytes] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            came.append((await receive())["body"])

    server = await begin(app)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as client:
        await client.send_all(POST + b"h")
        await client.receive_some()
    assert came == [b"h"]


async def test_a_body_has_no_limit_of_ours(begin: Start, ask: Ask) -> None:
    head = LAST.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 300000\r\n\r\n")
    answer = await ask(await begin(mirror, max_body_size=1), head + b"a" * 300_000)
    assert answer.endswith(b"\r\n\r\n" + b"a" * 300_000)


async def test_a_body_that_is_not_read_waits_at_the_client(begin: Start, nursery: trio.Nursery) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await receive()
            await trio.sleep_forever()

    server = await begin(app)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as client:
        await client.send_all(POST.replace(b"5", b"900000000"))
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_when_blocked, scope)
            await client.send_all(b"a" * 100_000_000)
        assert scope.cancelled_caught


async def test_a_client_that_asks_first_is_told_to_continue_once_the_application_reads(begin: Start, ask: Ask) -> None:
    head = LAST.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    answer = await ask(await begin(mirror), head, b"hello")
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


async def test_a_client_that_asks_first_is_told_to_continue_once(begin: Start, ask: Ask) -> None:
    head = LAST.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert (await ask(await begin(mirror), head, b"he", b"llo")).count(b"100 Continue") == 1


async def test_a_client_that_does_not_ask_is_not_told_to_continue(begin: Start, ask: Ask) -> None:
    head = LAST.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n")
    assert (await ask(await begin(mirror), head, b"hello")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_client_that_asks_in_vain_is_told_the_end(begin: Start, ask: Ask) -> None:
    head = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    answer = await ask(await begin(page), head)
    assert answer == b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\npage"


async def test_behind_the_beginning_of_a_response_nobody_is_told_to_continue(begin: Start, ask: Ask) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send(START)
            await send(body(b"so: ", more=True))
            await send(body(await read_body(receive)))

    head = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    answer = await ask(await begin(app), head, b"hello")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"5\r\nhello\r\n0\r\n\r\n")
    assert b"100 Continue" not in answer


async def test_more_of_an_unread_body_than_is_worth_it_ends_the_connection(begin: Start, ask: Ask) -> None:
    head = POST.replace(b": 5", b": 9000000")
    assert (await ask(await begin(page), head + b"a" * 500_000)).count(b"page") == 1


async def test_a_body_nobody_read_is_read_on_and_the_connection_kept(begin: Start, ask: Ask) -> None:
    answer = await ask(await begin(page), POST, b"hello" + LAST)
    assert answer.count(b"page") == 2


async def test_broken_chunks_are_answered_400(begin: Start, ask: Ask) -> None:
    gone = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            gone.append((await receive())["type"])

    head = POST.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked")
    server = await begin(app)
    assert (await ask(server, head + b"xyz\r\n")).startswith(b"HTTP/1.1 400 ")
    assert gone == ["http.disconnect"]
    assert server.snapshot().application_errors == 0


async def test_broken_chunks_behind_a_response_end_the_connection(begin: Start, ask: Ask) -> None:
    head = POST.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked")
    assert await ask(await begin(page), head + b"xyz\r\n") == PAGE  # and no second answer


async def test_a_body_that_stalls_ends_in_a_disconnect(
    begin: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    events = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        while scope["type"] == "http" and (not events or events[-1]["type"] != "http.disconnect"):
            events.append(await receive())

    await begin(app, listeners=[memory_listener], timeout=20)
    client = await memory_listener.connect()
    await client.send_all(POST + b"h")
    await read_all(client)
    assert [event["type"] for event in events] == ["http.request", "http.disconnect"]
    assert trio.current_time() == pytest.approx(20)


# The client's leaving.


async def test_a_client_that_leaves_is_noticed_by_whoever_listens(begin: Start) -> None:
    told = trio.Event()
    raised: list[OSError] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await receive()
            assert (await receive())["type"] == "http.disconnect"
            try:
                await send(START)
            except OSError as exc:
                raised.append(exc)
            assert (await receive())["type"] == "http.disconnect"
            told.set()

    server = await begin(app)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as client:
        await client.send_all(GET)
        await trio.testing.wait_all_tasks_blocked()
    await told.wait()
    assert "the client of GET / is gone" in str(raised[0])
    assert server.snapshot().application_errors == 0


async def test_who_asks_on_in_a_cancelled_scope_is_told_of_the_leaving_once_and_then_cancelled(begin: Start) -> None:
    told: list[str] = []
    ended = trio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await receive()
            await receive()
            with trio.CancelScope() as asking:
                asking.cancel()
                while True:
                    told.append((await receive())["type"])
            ended.set()

    server = await begin(app)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as client:
        await client.send_all(GET)
    await ended.wait()
    assert told == ["http.disconnect"]


async def test_requests_that_come_while_somebody_asks_for_the_leaving_are_kept(begin: Start, ask: Ask) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await trio.testing.wait_all_tasks_blocked()
            with trio.CancelScope() as asking:
                asking.cancel()
                await receive()
            await page(scope, receive, send)

    assert (await ask(await begin(app), GET, LAST)).count(b"page") == 2


async def test_sending_to_a_client_that_has_left_raises(begin: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ended = trio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await send(START)
                while True:
                    await send(body(b"a" * 100_000, more=True))
            finally:
                ended.set()

    server = await begin(app)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as client:
        await client.send_all(GET)
        await client.receive_some()
    await ended.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert "the client of GET / is gone" in caplog.text
    assert (server.snapshot().application_errors, server.snapshot().open_clients) == (0, 0)


async def test_who_listens_is_told_at_the_end_of_the_response(begin: Start, ask: Ask) -> None:
    told = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            told.append((await receive())["type"])

        if scope["type"] == "http":
            await receive()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                nursery.start_soon(listen)
                await trio.testing.wait_all_tasks_blocked()
                await page(scope, receive, send)

    assert (await ask(await begin(app), GET + LAST)).count(b"page") == 2
    assert told == ["http.disconnect"] * 4


async def test_requests_that_come_while_somebody_listens_are_kept(begin: Start, ask: Ask) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await receive()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_when_blocked, nursery.cancel_scope)
                await receive()
            await page(scope, receive, send)

    answer = await ask(await begin(app, max_head_size=50), GET, GET + GET, LAST)
    assert answer.count(b"page") == 4


# One stream.


async def test_one_stream_is_served_by_both(nursery: trio.Nursery) -> None:
    client, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(lambda: serve_stream(theirs, Echo, http=page))
    await client.send_all(GET + UPGRADE + TEXT + CLOSE)
    data = await read_all(client)
    assert b"\r\n\r\npageHTTP/1.1 101 " in data
    assert data.endswith(ECHOED)


async def test_behind_a_handshake_there_is_no_http() -> None:
    _, theirs = trio.testing.memory_stream_pair()
    with pytest.raises(TypeError, match="'http' is not an option"):
        await serve_stream(theirs, Echo, request=Request("GET", "/"), http=page)
