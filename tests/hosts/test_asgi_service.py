"""Trio's side of the ASGI host, asked by a server in memory."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from trio_websock import (
    Handler,
    Ok,
    OptionError,
    Options,
    Push,
    Request,
    Response,
    Shutdown,
    Upgrade,
    UpgradeRefused,
    current_connection,
    upgrade,
)
from trio_websock.hosts.asgi_crew import carry_on_trio
from trio_websock.hosts.asgi_exchange import open_exchange
from trio_websock.hosts.asgi_hop import Event
from trio_websock.hosts.asgi_service import Service

DENIAL = "websocket.http.response"


class Echo(Handler[Any, Any]):
    def init(self, args: Any) -> Ok[Any]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: Any) -> Push[Any]:
        return Push(message, state)


class Client:
    """One scope that a server in memory has of a service."""

    def __init__(self, service: Service, nursery: trio.Nursery, **facts: Any) -> None:
        headers = facts.pop("headers", [])
        self.scope = {
            "type": "websocket",
            "path": "/",
            "headers": [(b"host", b"localhost"), *headers],
            "extensions": {DENIAL: {}},
            **facts,
        }
        self._tell, told = trio.open_memory_channel[Event](math.inf)
        self._sent, self._see = trio.open_memory_channel[Event](math.inf)
        self.carrier = open_exchange(told.receive, self._sent.send, lambda call: call(), lambda call: call())
        self.ended = trio.Event()
        nursery.start_soon(self._run, service)

    async def _run(self, service: Service) -> None:
        await carry_on_trio(self.carrier, lambda: service.serve(self.scope, self.carrier.exchange))
        self.ended.set()

    def tell(self, *events: Event) -> None:
        for event in events:
            self._tell.send_nowait(event)

    async def see(self) -> Event:
        return await self._see.receive()

    async def open(self) -> Client:
        self.tell({"type": "websocket.connect"})
        assert (await self.see())["type"] == "websocket.accept"
        return self

    async def answer(self, *events: Event) -> tuple[int, bytes]:
        """The status and body that ``events`` are answered with."""
        self.tell(*events)
        start, body = await self.see(), await self.see()
        await self.ended.wait()
        return start["status"], body["body"]


Ask = Callable[..., Awaitable[tuple[int, bytes]]]


@pytest.fixture
def connect(nursery: trio.Nursery) -> Callable[..., Client]:
    """A client of a service made of these."""

    def make(served: object, options: dict[str, Any] | None = None, **facts: Any) -> Client:
        return Client(Service(served, Options(**(options or {})), 10), nursery, **facts)

    return make


Connect = Callable[..., Client]

CONNECT: Event = {"type": "websocket.connect"}
PLAIN: Event = {"type": "http.request", "body": b"", "more_body": False}


# What may be served, and how.


@pytest.mark.parametrize(
    "options", [{"compress": True}, {"max_frame_size": 9}, {"ping_interval": 5}, {"validate_utf8": False}], ids=str
)
def test_options_that_asgi_has_nothing_for_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Service(Echo, Options(**options), 10)


@pytest.mark.parametrize(
    "served", ["a string", 7, lambda scope, receive, send: None, type("Half", (), {"init": None, "handle_in": None})]
)
def test_what_can_be_neither_asked_nor_hosted_is_refused(served: object) -> None:
    with pytest.raises(TypeError):
        Service(served, Options(), 10)


# WebSockets.


async def test_a_handler_is_hosted(connect: Connect) -> None:
    client = await connect(Echo).open()
    client.tell({"type": "websocket.receive", "text": "a"}, {"type": "websocket.receive", "bytes": b"b"})
    assert [await client.see(), await client.see()] == [
        {"type": "websocket.send", "text": "a"},
        {"type": "websocket.send", "bytes": b"b"},
    ]


async def test_the_connection_knows_request_peer_and_subprotocol(connect: Connect) -> None:
    class Teller(Echo):
        def init(self, args: Any) -> Push[Any]:  # type: ignore[override]  # a result is a result
            connection = current_connection()
            assert connection.request is args
            return Push(f"{args.path} {connection.peer} {connection.subprotocol}", None)

    facts = {"client": ("10.0.0.1", 99), "headers": [(b"sec-websocket-protocol", b"a, b")], "path": "/room"}
    client = await connect(Teller, {"subprotocols": ["b"]}, **facts).open()
    assert (await client.see())["text"] == "/room 10.0.0.1:99 b"


async def test_an_application_function_decides(connect: Connect) -> None:
    async def application(request: Request) -> Upgrade:
        await trio.lowlevel.checkpoint()
        return upgrade(Echo, headers={"X-A": "b"}, subprotocol="a")

    client = connect(application, headers=[(b"sec-websocket-protocol", b"a")])
    client.tell(CONNECT)
    assert await client.see() == {"type": "websocket.accept", "subprotocol": "a", "headers": [(b"x-a", b"b")]}


def refuse(request: Request) -> Response:
    raise UpgradeRefused(418, "a teapot", {"X-A": "b"})


@pytest.mark.parametrize(
    ("application", "status", "word"),
    [
        (lambda request: Response(401, "who?"), 401, b"who?"),
        (refuse, 418, b"a teapot"),
        (lambda request: 1 / 0, 500, b"Internal Server Error"),
        (lambda request: None, 500, b"Internal Server Error"),
        (lambda request: upgrade(object()), 500, b"Internal Server Error"),
        (lambda request: upgrade(Echo, subprotocol="not offered"), 500, b"Internal Server Error"),
        (lambda request: upgrade(Echo, compress=True), 500, b"Internal Server Error"),
        (lambda request: upgrade(Echo, headers={"a b": "c"}), 500, b"Internal Server Error"),
        (lambda request: Response(200, headers={"a": "\n"}), 500, b"Internal Server Error"),
        (lambda request: upgrade(Echo, require_subprotocol=True, subprotocols=["x"]), 400, b"expected one of x"),
    ],
)
async def test_what_is_not_hosted_is_denied_with_a_response(
    connect: Connect, application: Any, status: int, word: bytes
) -> None:
    came, body = await connect(application).answer(CONNECT)
    assert came == status
    assert word in body


async def test_an_origin_from_elsewhere_is_refused(connect: Connect) -> None:
    client = connect(Echo, headers=[(b"origin", b"https://evil.example")])
    status, body = await client.answer(CONNECT)
    assert status == 403
    assert b"https://evil.example" in body


async def test_an_application_that_fails_is_logged(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    await connect(lambda request: 1 / 0, path="/here").answer(CONNECT)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "/here" in record.getMessage()


async def test_a_client_that_left_before_the_answer_is_not_hosted(connect: Connect) -> None:
    client = connect(Echo)
    client.tell({"type": "websocket.disconnect", "code": 1006})
    await client.ended.wait()


async def test_a_client_that_takes_no_answer_is_dropped(nursery: trio.Nursery, autojump_clock: object) -> None:
    client = Client(Service(Echo, Options(write_timeout=5), 10), nursery)
    client.carrier._send = lambda event: trio.sleep_forever()  # type: ignore[attr-defined, misc]  # a stuck server
    client.tell(CONNECT)
    await client.ended.wait()
    assert trio.current_time() == pytest.approx(5, abs=0.1)


async def test_a_shutdown_waits_for_no_answer_that_a_client_does_not_take(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    service = Service(lambda request: Response(200), Options(write_timeout=60), 10)
    client = Client(service, nursery, type="http")
    client.carrier._send = lambda event: trio.sleep_forever()  # type: ignore[attr-defined, misc]  # a stuck server
    client.tell(PLAIN)
    await trio.testing.wait_all_tasks_blocked()
    await service.shutdown(False, 7)
    await client.ended.wait()
    assert trio.current_time() == pytest.approx(7, abs=0.1)


async def test_a_fault_of_ours_is_logged_and_ends_that_scope_alone(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(Echo, headers=[("not", "bytes")])
    client.tell(CONNECT)
    await client.ended.wait()
    assert caplog.records[-1].levelno == logging.ERROR


async def test_what_fails_while_it_is_cancelled_is_logged_and_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    async def fail_in_the_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in the end")

    async def application(request: Request) -> Response:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(fail_in_the_end)
            await trio.sleep_forever()
        raise AssertionError

    async with trio.open_nursery() as server:
        Client(Service(application, Options(), 10), server).tell(CONNECT)
        await trio.testing.wait_all_tasks_blocked()
        server.cancel_scope.cancel()
    assert caplog.records[-1].levelno == logging.ERROR


# Plain requests.


@pytest.mark.parametrize(
    ("served", "events", "status"),
    [
        (Echo, [PLAIN], 426),
        (lambda request: upgrade(Echo), [PLAIN], 426),
        (lambda request: Response(200 + len(request.body)), [PLAIN], 200),
        (
            lambda request: Response(200 + len(request.body)),
            [{"type": "http.request", "body": b"ab", "more_body": True}, {"type": "http.request", "body": b"c"}],
            203,
        ),
        (lambda request: Response(200), [{"type": "http.request", "body": b"x" * 11, "more_body": True}], 413),
    ],
    ids=["a handler alone", "an upgrade", "a response", "a body in pieces", "a body too large"],
)
async def test_plain_requests_are_answered(connect: Connect, served: Any, events: list[Event], status: int) -> None:
    assert (await connect(served, type="http", method="GET").answer(*events))[0] == status


async def test_a_server_that_passes_no_websockets_on_is_told_so(connect: Connect) -> None:
    headers = [(b"connection", b"upgrade"), (b"upgrade", b"websocket"), (b"sec-websocket-version", b"13")]
    headers.append((b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="))
    client = connect(Echo, type="http", method="GET", headers=headers)
    assert (await client.answer(PLAIN))[0] == 501


async def test_a_client_that_leaves_in_its_body_is_not_answered(connect: Connect) -> None:
    client = connect(lambda request: Response(), type="http", method="GET")
    client.tell({"type": "http.request", "body": b"", "more_body": True}, {"type": "http.disconnect"})
    await client.ended.wait()


# The end.


class Ending(Echo):
    """Tells why it ended."""

    reasons: list[Any]

    def terminate(self, reason: Any, state: Any) -> None:
        self.reasons.append(reason)


@pytest.mark.parametrize(("restart", "code"), [(False, 1001), (True, 1012)])
async def test_a_shutdown_closes_every_connection(nursery: trio.Nursery, restart: bool, code: int) -> None:
    handler = Ending()
    handler.reasons = []
    service = Service(handler, Options(), 10)
    client = await Client(service, nursery).open()
    await trio.testing.wait_all_tasks_blocked()
    assert len(service.connections) == 1
    nursery.start_soon(service.shutdown, restart, 10)
    assert (await client.see())["code"] == code
    client.tell({"type": "websocket.disconnect", "code": code})
    await client.ended.wait()
    assert handler.reasons == [Shutdown(restart)]
    assert service.connections == ()


async def test_whoever_comes_during_a_shutdown_is_told_to_come_again(nursery: trio.Nursery) -> None:
    service = Service(Echo, Options(), 10)
    await service.shutdown(False, 10)
    assert (await Client(service, nursery).answer(CONNECT))[0] == 503
    service.open()
    await Client(service, nursery).open()


async def test_a_shutdown_takes_grace_at_most(nursery: trio.Nursery, autojump_clock: object) -> None:
    async def application(request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    service = Service(application, Options(), 10)
    client = Client(service, nursery)
    client.tell(CONNECT)
    await trio.testing.wait_all_tasks_blocked()
    await service.shutdown(False, 7)
    assert trio.current_time() == pytest.approx(7, abs=0.1)
    await client.ended.wait()


async def test_a_handshake_that_a_shutdown_overtakes_is_closed_at_once(nursery: trio.Nursery) -> None:
    service = Service(Echo, Options(), 10)
    client = Client(service, nursery)
    gate = trio.Event()
    send = client.carrier._send

    async def send_later(event: Event) -> None:
        await gate.wait()
        await send(event)

    client.carrier._send = send_later  # the accept is on its way while the shutdown begins
    client.tell(CONNECT)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(service.shutdown, False, 10)
    await trio.testing.wait_all_tasks_blocked()
    gate.set()
    assert [(await client.see())["type"], (await client.see())["code"]] == ["websocket.accept", 1001]
    client.tell({"type": "websocket.disconnect", "code": 1001})
