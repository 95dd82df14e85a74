"""One client's stay at its limits: who is too slow, what counts as a failure, what is owed behind the last answer."""

from __future__ import annotations

import importlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from trio_websock import Options, Request, Response, Server, ServerOptions
from trio_websock.hosts.stream_wire import StreamWire
from trio_websock.hosts.wire import SocketWire, Wire
from trio_websock.server.ledger import Ledger
from trio_websock.server.session import Session
from trio_websock.server.site import site_for

applications = importlib.import_module("applications")
visitors = importlib.import_module("visitors")

Start = Callable[..., Awaitable[Server]]
Ask = Callable[..., Awaitable[bytes]]

GET = visitors.GET
LAST = visitors.LAST
POST = visitors.POST
Echo = visitors.Echo
read_all = visitors.read_all
HEAD = LAST.replace(b"GET", b"HEAD")


def page(request: Request) -> Response:
    return Response(200, "page")


def session_over(wire: Wire, app: object = page, **more: Any) -> tuple[Session, Ledger]:
    """A session that gives its client ten seconds to ask, and seven to take an answer."""
    ledger = Ledger()
    options = ServerOptions(port=0, handshake_timeout=10, **more)
    return Session(wire, site_for(app, Options(), ledger), options, write_timeout=7, ledger=ledger), ledger


# Too slow.


@pytest.mark.parametrize("sent", [b"", GET[:-1], POST, GET + POST])
async def test_a_client_that_is_too_slow_to_ask_is_counted(sent: bytes, autojump_clock: trio.testing.MockClock) -> None:
    client, theirs = trio.testing.memory_stream_pair()
    await client.send_all(sent)
    session, ledger = session_over(StreamWire(theirs))
    await session.run()
    assert ledger.handshake_failures == 1


@pytest.mark.parametrize("sent", [GET, GET + GET[:5]])
async def test_a_client_that_takes_no_answer_is_dropped_though_it_has_begun_to_ask_again(
    sent: bytes, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    client, theirs = trio.testing.lockstep_stream_pair()  # sends wait until they are received
    nursery.start_soon(client.send_all, sent)
    session, ledger = session_over(StreamWire(theirs))
    await session.run()
    assert (trio.current_time(), ledger.handshake_failures) == (pytest.approx(7), 0)


async def test_a_client_that_does_not_even_take_its_408_is_dropped(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    client, theirs = trio.testing.lockstep_stream_pair()  # as above
    nursery.start_soon(client.send_all, GET[:-1])
    session, _ = session_over(StreamWire(theirs))
    with trio.move_on_after(100):
        await session.run()
    assert trio.current_time() == pytest.approx(17)


async def test_a_body_that_stalls_behind_a_head_that_came_at_once_is_answered_408(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = socket.socketpair()
    theirs.send(POST)
    with trio.move_on_after(100):
        await session_over(SocketWire(ours), Echo)[0].run()
    with theirs:
        assert theirs.recv(4096).startswith(b"HTTP/1.1 408 ")


async def test_an_application_that_waits_ends_with_the_grace_though_its_request_came_at_once(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def wait(request: Request) -> Response:
        await trio.sleep(100)
        return Response(200)

    ours, theirs = socket.socketpair()
    theirs.send(GET)
    session, _ = session_over(SocketWire(ours), wait)
    with theirs:
        nursery.start_soon(session.run)
        await trio.sleep(1)
        session.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert theirs.recv(4096) == b""


async def test_tls_that_stalls_is_counted_and_nobodys_fault(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    _, theirs = trio.testing.memory_stream_pair()
    session, ledger = session_over(StreamWire(theirs), ssl_context=context)
    await session.run()
    assert ledger.handshake_failures == 1
    assert [record.message for record in caplog.records if record.levelno > logging.DEBUG] == []


async def test_a_connection_kept_alive_by_an_asgi_application_has_the_same_time_for_its_next_request(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    server = await start(Echo, http=applications.page, listeners=[memory_listener], handshake_timeout=10)
    client = await memory_listener.connect()
    await client.send_all(GET)
    with trio.move_on_after(100):
        assert (await read_all(client)).endswith(b"page")
    assert (trio.current_time(), server.snapshot().handshake_failures) == (pytest.approx(10), 0)


async def test_many_requests_at_once_leave_others_their_turns(nursery: trio.Nursery) -> None:
    turns: list[None] = []
    turns_before: list[int] = []

    async def count_turns() -> None:
        while True:
            turns.append(await trio.lowlevel.checkpoint())

    def note_turns(request: Request) -> Response:
        turns_before.append(len(turns))
        return Response(200)

    ours, theirs = socket.socketpair()
    theirs.send(GET * 50 + LAST)
    theirs.shutdown(socket.SHUT_WR)
    nursery.start_soon(count_turns)
    with theirs:
        await session_over(SocketWire(ours), note_turns)[0].run()
    assert turns_before[-1] >= 25


# The last answer.


async def raise_at_once(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        raise ValueError("a fault")


@pytest.mark.parametrize("http", [None, applications.page, raise_at_once], ids=["ours", "ASGI", "faulty"])
async def test_behind_its_last_answer_a_server_reads_on_so_that_no_reset_overtakes_it(
    http: Any, start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    await start(page, http=http, listeners=[memory_listener])
    client = await memory_listener.connect()
    await client.send_all(LAST)
    await trio.testing.wait_all_tasks_blocked()
    await client.send_all(b"more")  # raises if nobody reads


async def test_an_answer_that_cannot_be_sent_is_a_500_without_a_body_for_a_head(start: Start, ask: Ask) -> None:
    server = await start(lambda request: Response(200, "", {"A": "b\r\nC: d"}))
    answer = await ask(server, HEAD)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.endswith(b"\r\nConnection: close\r\n\r\n")


async def test_an_asgi_application_that_fails_at_a_head_is_a_500_without_a_body(begin: Start, ask: Ask) -> None:
    answer = await ask(await begin(raise_at_once), HEAD.replace(b"Connection: close\r\n", b"") + GET)
    assert (answer.startswith(b"HTTP/1.1 500 "), answer.count(b"HTTP/1.1")) == (True, 1)
    assert answer.endswith(b"\r\nConnection: close\r\n\r\n")


async def test_a_client_that_has_nothing_to_send_is_not_told_to_continue(start: Start, ask: Ask) -> None:
    answer = await ask(await start(page), LAST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_what_an_asgi_application_answers_is_counted(begin: Start, ask: Ask) -> None:
    server = await begin(applications.page)
    await ask(server, GET + LAST)
    assert server.snapshot().requests == 2
