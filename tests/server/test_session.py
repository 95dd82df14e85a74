"""One client's stay: keep-alive, pipelining, limits in size and time, and what it leaves behind."""

from __future__ import annotations

import contextlib
import importlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from trio_websock import (
    Options,
    Request,
    Response,
    Server,
    ServerOptions,
    Upgrade,
    is_upgrade,
    upgrade,
)
from trio_websock.application import Wish
from trio_websock.hosts.stream_wire import StreamWire
from trio_websock.hosts.wire import SocketWire
from trio_websock.server.ledger import Ledger, Notice
from trio_websock.server.session import Session
from trio_websock.server.site import site_for
from trio_websock.testing import ScriptedPeer

visitors = importlib.import_module("visitors")

Start = Callable[..., Awaitable[Server]]
Ask = Callable[..., Awaitable[bytes]]

GET = visitors.GET
LAST = visitors.LAST
UPGRADE = visitors.UPGRADE
TEXT = visitors.TEXT
CLOSE = visitors.CLOSE
ECHOED = visitors.ECHOED
Echo = visitors.Echo
read_all = visitors.read_all
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 4\r\n\r\npage"


async def app(request: Request) -> Response | Upgrade:
    if request.body:
        return Response(200, request.body, content_type="text/plain")
    return upgrade(Echo) if is_upgrade(request) else Response(200, "page")


async def test_requests_follow_each_other_on_one_connection(start: Start, ask: Ask) -> None:
    answer = await ask(await start(app), GET, GET, LAST)
    assert answer == PAGE + PAGE + PAGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


async def test_pipelined_requests_are_answered_in_order_and_then_upgraded(start: Start, ask: Ask) -> None:
    answer = await ask(await start(app), GET + GET + UPGRADE + TEXT + CLOSE)
    assert answer.startswith(PAGE + PAGE + b"HTTP/1.1 101 ")
    assert answer.endswith(ECHOED)


async def test_a_request_may_come_byte_by_byte(start: Start, ask: Ask) -> None:
    data = UPGRADE + TEXT + CLOSE
    answer = await ask(await start(app), *(data[i : i + 1] for i in range(len(data))))
    assert answer.endswith(ECHOED)


async def test_http_1_0_is_answered_and_closed(start: Start, ask: Ask) -> None:
    answer = await ask(await start(app), b"GET / HTTP/1.0\r\n\r\n" + GET)
    assert answer == PAGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


async def test_head_is_answered_without_the_body(start: Start, ask: Ask) -> None:
    answer = await ask(await start(app), LAST.replace(b"GET", b"HEAD"))
    assert answer.endswith(b"Content-Length: 4\r\nConnection: close\r\n\r\n")


async def test_a_response_that_says_close_ends_the_connection(start: Start, ask: Ask) -> None:
    server = await start(lambda request: Response(200, "page", {"Connection": "close"}))
    assert (await ask(server, GET + GET)).count(b"page") == 1


async def test_a_body_reaches_the_application(start: Start, ask: Ask) -> None:
    data = LAST.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n")
    assert (await ask(await start(app), data, b"hel", b"lo")).endswith(b"\r\n\r\nhello")


async def test_a_client_that_asks_first_is_told_to_continue(start: Start, ask: Ask) -> None:
    fields = b"\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    answer = await ask(await start(app), LAST.replace(b"\r\n\r\n", fields), b"hello")
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "body", [b"Content-Length: 4\r\n\r\n\x81\x80ab", b"Transfer-Encoding: chunked\r\n\r\n1\r\n\x81\r\n0\r\n\r\n"]
)
async def test_the_body_of_an_upgrade_is_never_read_as_frames(start: Start, ask: Ask, body: bytes) -> None:
    server = await start(Echo)
    answer = await ask(server, UPGRADE.replace(b"\r\n\r\n", b"\r\n") + body + TEXT + CLOSE)
    assert answer.endswith(ECHOED)


async def test_frames_behind_a_refused_upgrade_are_not_read_as_a_request(start: Start, ask: Ask) -> None:
    answer = await ask(await start(lambda request: Response(404)), UPGRADE + TEXT)
    assert answer == b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 500, b"431 Request Header Fields Too Large"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n" + b"a" * 101, b"413 "),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", b"501 Not Implemented"),
        (b"\x16\x03\x01", b"400 Bad Request"),
    ],
)
async def test_what_is_refused_is_answered_in_words_and_closed(
    start: Start, ask: Ask, data: bytes, status: bytes
) -> None:
    answer = await ask(await start(app, max_head_size=200, max_body_size=100), data)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"\r\nConnection: close\r\n" in answer
    assert b"expected" in answer or b"only chunked" in answer


async def test_the_answer_is_not_lost_to_a_flood_of_unread_bytes(start: Start, ask: Ask) -> None:
    server = await start(app, max_body_size=100)
    data = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n" + b"a" * 500_000
    assert (await ask(server, data)).endswith(b"expected a body of at most 100 bytes\n")


# Limits in time.


async def open_in_memory(start: Start, listener: Any, **options: Any) -> trio.abc.Stream:
    await start(app, listeners=[listener], handshake_timeout=10, **options)
    client: trio.abc.Stream = await listener.connect()
    return client


async def test_a_silent_client_is_closed_without_a_word(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    client = await open_in_memory(start, memory_listener)
    assert await read_all(client) == b""
    assert trio.current_time() == pytest.approx(10)


async def test_half_a_head_is_answered_408_after_the_handshake_timeout(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    client = await open_in_memory(start, memory_listener)
    await client.send_all(GET[:-1])
    answer = await client.receive_some()
    assert trio.current_time() == pytest.approx(10)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert answer.endswith(b"expected a whole request within 10 seconds\n")


async def test_dripping_a_head_does_not_stretch_its_time(
    start: Start, memory_listener: Any, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    client = await open_in_memory(start, memory_listener)

    async def drip() -> None:
        for i in range(len(GET)):
            await client.send_all(GET[i : i + 1])
            await trio.sleep(1)

    nursery.start_soon(drip)
    await client.receive_some()
    assert trio.current_time() == pytest.approx(10)


async def test_a_connection_kept_alive_has_the_same_time_for_its_next_request(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    client = await open_in_memory(start, memory_listener)
    await trio.sleep(9)
    await client.send_all(GET)
    assert (await read_all(client)).endswith(b"page")
    assert trio.current_time() == pytest.approx(19)


async def test_a_body_that_stalls_is_answered_408(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    client = await open_in_memory(start, memory_listener)
    await client.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2048\r\n\r\n")
    await trio.testing.wait_all_tasks_blocked()
    await client.send_all(b"a" * 1024)
    assert (await client.receive_some()).startswith(b"HTTP/1.1 408 ")
    assert trio.current_time() == pytest.approx(11)  # a second more for each KiB that came


async def test_the_application_may_take_its_time(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async def slow(request: Request) -> Response:
        await trio.sleep(1000)
        return Response(200, "late")

    await start(slow, listeners=[memory_listener], handshake_timeout=10)
    client = await memory_listener.connect()
    await client.send_all(LAST)
    assert (await read_all(client)).endswith(b"late")


async def test_a_client_that_does_not_read_its_answer_is_dropped(
    start: Start, autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()  # sends wait until they are received

    class Listener(trio.abc.Listener[trio.abc.Stream]):
        has_accepted = False

        async def accept(self) -> trio.abc.Stream:
            if self.has_accepted:
                await trio.sleep_forever()
            self.has_accepted = True
            return theirs

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    server = await start(app, listeners=[Listener()], write_timeout=7)
    await ours.send_all(GET)
    await trio.sleep(6.9)
    assert server.snapshot().open_clients == 1
    await trio.sleep(0.2)
    assert server.snapshot().open_clients == 0


async def test_tls_that_stalls_counts_against_the_same_time(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    client = await open_in_memory(start, memory_listener, ssl_context=context)
    await client.send_all(b"\x16\x03\x01")
    assert await read_all(client) == b""
    assert trio.current_time() == pytest.approx(10)


# What it leaves behind.


async def test_a_connection_that_fails_to_open_does_not_end_the_server(start: Start, ask: Ask) -> None:
    class Broken(Echo):
        def __init__(self) -> None:
            raise RuntimeError("no")

    server = await start(lambda request: upgrade(Broken if request.path == "/" else Echo))
    with contextlib.suppress(trio.BrokenResourceError):
        await ask(server, UPGRADE + CLOSE)
    assert (await ask(server, UPGRADE.replace(b"/ ", b"/echo ", 1) + TEXT + CLOSE)).endswith(ECHOED)


async def test_a_client_that_leaves_between_two_requests_is_forgotten(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server = await start(app, listeners=[memory_listener])
    client = await memory_listener.connect()
    await client.send_all(GET)
    await client.receive_some()
    await client.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert (server.snapshot().open_clients, server.snapshot().handshake_failures) == (0, 0)


def released() -> Any:
    view = memoryview(b"gone")
    view.release()
    return view


@pytest.mark.parametrize("response", [Response(200, "", {"A": "b\r\nC: d"}), Response(200, released())])
async def test_a_response_that_cannot_be_sent_is_answered_500(
    start: Start, ask: Ask, caplog: pytest.LogCaptureFixture, response: Response
) -> None:
    server = await start(lambda request: response)
    assert (await ask(server, LAST)).startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert "answer to GET / cannot be sent" in caplog.text
    assert server.snapshot().application_errors == 1


class BrokenSite:
    """Answers with what no session expects."""

    may_wait = False

    def __init__(self, wish: Wish | None) -> None:
        self._wish = wish

    async def answer(self, request: Request) -> Wish:
        if self._wish is None:
            raise RuntimeError("a fault of ours")
        return self._wish


@pytest.mark.parametrize("wish", [None, Wish(None, None, Options())], ids=["answering", "running"])  # type: ignore[arg-type]
async def test_a_fault_of_ours_ends_its_own_client_only(wish: Wish | None, caplog: pytest.LogCaptureFixture) -> None:
    client, theirs = trio.testing.memory_stream_pair()
    await client.send_all(UPGRADE)
    await Session(StreamWire(theirs), BrokenSite(wish), ServerOptions(port=0), write_timeout=1, ledger=Ledger()).run()
    assert "unexpected failure" in caplog.text
    assert b"fault" not in await read_all(client)


async def test_what_came_is_counted(start: Start, ask: Ask) -> None:
    server = await start(app)
    await ask(server, GET + LAST)
    await ask(server, UPGRADE + TEXT + CLOSE)
    await ask(server, b"\0")
    while server.snapshot().open_clients:
        await trio.lowlevel.checkpoint()
    counters = server.snapshot()
    assert (counters.clients, counters.requests, counters.connections) == (3, 2, 1)
    assert counters.handshake_failures == 1


async def test_a_client_that_rests_too_long_between_two_requests_is_no_failed_handshake(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server = await start(app, listeners=[memory_listener], handshake_timeout=2)
    client = await memory_listener.connect()
    await client.send_all(GET)
    await trio.sleep(3)
    assert (server.snapshot().open_clients, server.snapshot().handshake_failures) == (0, 0)


async def test_a_malformed_request_behind_a_good_one_is_counted(start: Start, ask: Ask) -> None:
    server = await start(app)
    await ask(server, GET + b"GET / HTTP/1.1\r\n\r\n")
    assert (server.snapshot().requests, server.snapshot().handshake_failures) == (1, 1)


@pytest.mark.parametrize(("sent", "failures"), [(b"", 0), (b"\r\n", 0), (GET[:5], 1), (GET + GET[:5], 1)])
async def test_a_client_that_leaves_inside_a_head_is_counted(
    sent: bytes, failures: int, start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server = await start(app, listeners=[memory_listener])
    client = await memory_listener.connect()
    await client.send_all(sent)
    await client.send_eof()
    await trio.testing.wait_all_tasks_blocked()
    assert (server.snapshot().open_clients, server.snapshot().handshake_failures) == (0, failures)


async def test_a_client_that_resets_is_forgotten(start: Start) -> None:
    server = await start(app)
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    await stream.send_all(GET[:5])
    await ScriptedPeer(stream).abort()
    while server.snapshot().clients == 0 or server.snapshot().open_clients:
        await trio.lowlevel.checkpoint()
    assert server.snapshot().handshake_failures == 1


async def test_a_shutdown_while_the_101_waits_for_the_socket_is_told_right_behind_it(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    client, theirs = trio.testing.lockstep_stream_pair()  # sends wait until they are received
    ledger = Ledger()
    site = site_for(Echo, Options(), ledger)
    session = Session(StreamWire(theirs), site, ServerOptions(port=0), write_timeout=1, ledger=ledger)
    nursery.start_soon(session.run)
    await client.send_all(UPGRADE)
    await trio.testing.wait_all_tasks_blocked()
    ledger.notice = Notice(restart=True, deadline=100)
    answer = await client.receive_some()
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert await client.receive_some() == b"\x88\x02\x03\xf4"
    await client.aclose()


async def test_a_shutdown_before_the_first_turn_refuses_a_request_that_is_there() -> None:
    ours, theirs = socket.socketpair()
    ledger = Ledger()
    session = Session(
        SocketWire(ours), site_for(Echo, Options(), ledger), ServerOptions(port=0), write_timeout=1, ledger=ledger
    )
    theirs.send(UPGRADE)
    ledger.notice = Notice(restart=False, deadline=trio.current_time() + 100)
    session.shutdown_nowait(restart=False, deadline=ledger.notice.deadline)
    with trio.fail_after(10):
        await session.run()
    assert theirs.recv(4096).startswith(b"HTTP/1.1 503 ")
    theirs.close()


async def test_a_shutdown_before_the_first_turn_leaves_a_client_that_asked_for_nothing() -> None:
    ours, theirs = socket.socketpair()
    ledger = Ledger()
    session = Session(
        SocketWire(ours), site_for(Echo, Options(), ledger), ServerOptions(port=0), write_timeout=1, ledger=ledger
    )
    ledger.notice = Notice(restart=False, deadline=trio.current_time() + 100)
    session.shutdown_nowait(restart=False, deadline=ledger.notice.deadline)
    with trio.fail_after(10):
        await session.run()
    assert theirs.recv(4096) == b""
    theirs.close()


@pytest.mark.parametrize("data", [b"\r\n\r\n", b"\r\n\r\n" + UPGRADE[:-2]], ids=["alone", "before half a head"])
async def test_empty_lines_are_no_request_that_could_outstay_a_shutdown(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    ledger = Ledger()
    session = Session(
        SocketWire(ours), site_for(Echo, Options(), ledger), ServerOptions(port=0), write_timeout=1, ledger=ledger
    )
    theirs.send(data)
    ledger.notice = Notice(restart=False, deadline=trio.current_time() + 100)
    session.shutdown_nowait(restart=False, deadline=ledger.notice.deadline)
    with trio.fail_after(10):
        await session.run()
    assert theirs.recv(4096) == b""
    theirs.close()
