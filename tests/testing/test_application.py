"""Application functions without a server."""

from __future__ import annotations

import re
from typing import Any

import pytest
from trio.testing import MockClock

from trio_websock import (
    LocalError,
    Ok,
    OptionError,
    Options,
    Push,
    Request,
    Response,
    Upgrade,
    UpgradeRefused,
    current_connection,
)
from trio_websock import upgrade as upgrade_to
from trio_websock.testing.application import TestApplication


class Room:
    def init(self, name: Any) -> Any:
        return Push(f"this is {name}", None)

    def handle_in(self, message: str | bytes, state: None) -> Any:
        return Push(message, state)


async def application(request: Request) -> Response | Upgrade:
    match request.path:
        case "/":
            return Response(200, f"{request.method} {request.headers['host']}".encode() + request.body)
        case "/chat":
            return upgrade_to(Room, request.query["room"], headers={"Set-Cookie": "seen=1"}, timeout=30)
        case "/broken":
            raise KeyError("inside")
        case "/moved":
            return Response(302, headers={"Location": "/chat"})
        case "/split":
            return Response(200, headers={"A": "b\r\nc: d"})
    raise UpgradeRefused(404, "no such room")


APP = TestApplication(application)


async def test_plain_request_gets_the_response() -> None:
    assert (await APP.request()).body == b"GET localhost"
    assert (await APP.request("/", method="PUT", headers={"Host": "a"}, body=b" b")).body == b"PUT a b"


@pytest.mark.parametrize("body", [b"b", bytearray(b"b"), memoryview(b"b")])
async def test_body_reaches_the_application_as_bytes(body: Any) -> None:
    app = TestApplication(lambda request: Response(200, repr(request.body)))
    assert (await app.request(method="POST", body=body)).body == "b'b'"


@pytest.mark.parametrize("body", ["text", 5, None, ["b"]])
async def test_body_that_no_server_would_hand_over_is_refused(body: Any) -> None:
    with pytest.raises(TypeError, match=f"body must be bytes, not {type(body).__name__}"):
        await APP.request(method="POST", body=body)


@pytest.mark.parametrize("target", ["", "chat", "?room=trio", "./chat", "/a b", "/ä", "/ HTTP/1.1\r\nX: y", "/\udc80"])
async def test_target_that_no_server_would_take_is_answered_400(target: str) -> None:
    answer = await APP.request(target)
    assert (answer.status, str(answer.body)[:27]) == (400, "expected an HTTP/1.1 reques")


async def test_target_that_no_server_would_take_opens_nothing() -> None:
    with pytest.raises(UpgradeRefused, match=r"400: expected an HTTP/1\.1 request"):
        await open_and_leave(APP, "chat?room=trio")


@pytest.mark.parametrize("target", ["*", "http://localhost/", "//", "/%C3%A4?%zz"])
async def test_target_that_a_server_would_take_is_asked_for(target: str) -> None:
    assert (await TestApplication(lambda request: Response(200, request.target)).request(target)).body == target


async def test_method_that_no_server_would_take_is_answered_501() -> None:
    assert (await APP.request(method="get")).status == 501


async def test_method_that_no_server_would_read_as_one_is_answered_400() -> None:
    answer = await APP.request("/x", method="GET ")
    assert (answer.status, answer.body) == (
        400,
        "expected an HTTP/1.1 request (RFC 9112): 'GET  /x HTTP/1.1' is not the request line of 'GET ' and '/x'\n",
    )


async def test_upgrade_opens_a_connection(autojump_clock: MockClock) -> None:
    async with APP.open("/chat?room=trio") as peer:
        await peer.send("hello")
        assert peer.received() == ["this is trio", "hello"]
        assert peer.headers["set-cookie"] == "seen=1"
        assert peer.connection.options == Options(timeout=30)


async def test_request_of_the_connection_is_the_one_that_was_sent(autojump_clock: MockClock) -> None:
    async with APP.open("/chat?room=trio", headers={"Cookie": "user=7"}) as peer:
        assert peer.connection.request is not None
        assert peer.connection.request.headers["cookie"] == "user=7"


@pytest.mark.parametrize(
    ("target", "status", "reason"),
    [
        ("/nowhere", 404, "no such room"),
        ("/", 400, "answered 200: GET localhost"),
        ("/moved", 400, "answered 302: "),
    ],
)
async def test_response_in_place_of_an_upgrade_is_a_refusal(target: str, status: int, reason: str) -> None:
    with pytest.raises(UpgradeRefused) as refused:
        await open_and_leave(APP, target)
    assert (refused.value.status, refused.value.reason) == (status, reason)


async def open_and_leave(app: TestApplication, target: str, **how: Any) -> None:
    async with app.open(target, **how):
        pass


@pytest.mark.parametrize(("status", "words"), [(404, "404 (RFC"), (599, "599 (RFC")])
async def test_refusal_without_a_body_is_told_by_its_status(status: int, words: str) -> None:
    with pytest.raises(UpgradeRefused, match=re.escape(words)):
        await open_and_leave(TestApplication(lambda request: Response(status)), "/")


async def test_body_of_a_refusal_is_told_whole() -> None:
    with pytest.raises(UpgradeRefused, match=re.escape("403: first\nsecond (RFC")):
        await open_and_leave(TestApplication(lambda request: Response(403, "first\nsecond\n")), "/")


async def test_headers_of_a_refusal_are_told() -> None:
    with pytest.raises(UpgradeRefused) as refused:
        await open_and_leave(APP, "/moved")
    assert refused.value.headers.pairs() == (("Location", "/chat"),)


async def test_repeated_headers_of_a_refusal_are_all_told() -> None:
    cookies = [("Set-Cookie", "a=1; HttpOnly"), ("Set-Cookie", "b=2")]
    app = TestApplication(lambda request: Response(401, headers=cookies))
    with pytest.raises(UpgradeRefused) as refused:
        await open_and_leave(app, "/")
    assert refused.value.headers.pairs() == tuple(cookies)


async def test_foreign_origin_is_refused() -> None:
    with pytest.raises(UpgradeRefused) as refused:
        await open_and_leave(APP, "/chat?room=trio", origin="https://evil.example")
    assert refused.value.status == 403


async def test_plain_request_where_a_websocket_is_served_is_told_so() -> None:
    assert (await APP.request("/chat?room=trio")).status == 426


async def test_websocket_cannot_be_had_by_a_plain_request(autojump_clock: MockClock) -> None:
    headers = {
        "Connection": "upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    with pytest.raises(ValueError, match="use open"):
        await APP.request("/chat?room=trio", headers=headers)


async def test_exception_of_the_application_function_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError, match="inside"):
        await APP.request("/broken")
    with pytest.raises(KeyError, match="room"):
        await open_and_leave(APP, "/chat")


async def test_response_that_cannot_be_sent_is_an_error() -> None:
    with pytest.raises(LocalError):
        await APP.request("/split")


async def test_subprotocol_is_agreed_on(autojump_clock: MockClock) -> None:
    class Seeing(Room):
        def init(self, request: Request) -> Any:
            return Push(f"{current_connection().subprotocol} {request.path}", None)

    app = TestApplication(Seeing, subprotocols=["v2", "v1"])
    async with app.open("/here", subprotocols=["v1", "v2"]) as peer:
        assert peer.received() == ["v2 /here"]


async def test_subprotocols_are_offered_by_a_list(autojump_clock: MockClock) -> None:
    with pytest.raises(OptionError, match="subprotocols must be a list of names, not 'v1'"):
        await open_and_leave(TestApplication(Room), "/", subprotocols="v1")


async def test_failure_of_a_handler_is_raised_unless_it_is_expected(autojump_clock: MockClock) -> None:
    class Failing(Room):
        def handle_in(self, message: str | bytes, state: None) -> Any:
            raise KeyError(message)

    app = TestApplication(Failing)
    async with app.open() as peer:
        with pytest.raises(KeyError):
            await peer.send("x")
    async with app.open(raise_handler_errors=False) as peer:
        await peer.send("x")
        assert isinstance(peer.error, KeyError)


async def test_peer_may_leave_pings_unanswered(autojump_clock: MockClock) -> None:
    app = TestApplication(Room, ping_interval=20, ping_timeout=10)
    async with app.open() as answering, app.open(answers_pings=False) as silent:
        await silent.wait_ended()
        assert answering.reason is None


@pytest.mark.parametrize("wrong", [object(), lambda request, more: Ok(None)])
def test_what_cannot_be_served_is_refused_at_once(wrong: object) -> None:
    with pytest.raises(TypeError):
        TestApplication(wrong)


def test_option_of_a_server_is_refused() -> None:
    with pytest.raises(TypeError, match="'port' is not an option; the options are"):
        TestApplication(application, port=0)  # type: ignore[call-arg]  # what it is about
