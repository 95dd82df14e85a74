"""Plain requests that an ASGI application answers, on the wire and at the application."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from trio_websock import Handler, Ok, Push, Request, Server, serve_stream

Start = Callable[..., Awaitable[Server]]
Ask = Callable[..., Awaitable[bytes]]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
TEXT = b"\x81\x82\0\0\0\0hi"
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"
ECHOED = b"\r\n\r\n\x81\x02hi\x88\x02\x03\xe8"
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"

START = {"type": "http.response.start", "status": 200, "headers": []}


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


class Echo(Handler[None, Any]):
    def init(self, args: object) -> Ok[None]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Push[None]:
        return Push(message, None)


async def page(scope: Any, receive: Receive, send: Send) -> None:
    await send(START)
    await send(body(b"page"))


async def read_body(receive: Receive) -> bytes:
    data, more = b"", True
    while more:
        event = await receive()
        assert event["type"] == "http.request"
        data, more = data + event["body"], event["more_body"]
    return data


async def mirror(scope: Any, receive: Receive, send: Send) -> None:
    data = await read_body(receive)
    await send(START)
    await send(body(data))


@pytest.fixture
def begin(start: Start) -> Start:
    """A server with handler ``Echo`` beside the application."""

    async def begin_server(app: Any, **options: Any) -> Server:
        return await start(Echo, http=app, **options)

    return begin_server


async def read_all(client: trio.abc.Stream) -> bytes:
    data = b""
    with contextlib.suppress(trio.BrokenResourceError):
        while piece := await client.receive_some():
            data += piece
    return data


async def read_strictly(client: trio.abc.Stream) -> None:
    while await client.receive_some():
        pass


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
    client = memory_listener.connect()
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


async def cancel_when_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


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
    with trio.CancelScope() as inner:
        inner.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as exc:
            escaped = exc
    raise escaped


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
    client = memory_listener.connect()
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
    clients = [memory_listener.connect() for _ in range(2)]
    await clients[0].send_all(GET)
    await clients[1].send_all(GET.replace(b"/ ", b"/behind ", 1))
    await trio.sleep(1)
    await server.shutdown()
    assert sorted(ends) == ["/", "/behind"]
    assert trio.current_time() == pytest.approx(6, abs=0.1)


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
