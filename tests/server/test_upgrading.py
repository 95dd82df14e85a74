"""The handshake, as bytes on a socket: one row of the table of faults after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from trio_websock import (
    Handler,
    Headers,
    OptionError,
    Push,
    Request,
    Response,
    Server,
    Stop,
    Upgrade,
    UpgradeRefused,
    check_upgrade,
    upgrade,
)
from trio_websock.behaviour.reasons import NORMAL

Start = Callable[..., Awaitable[Server]]
Ask = Callable[..., Awaitable[bytes]]

HOST = b"Host: example.com\r\n"
CONNECTION = b"Connection: Upgrade\r\n"
UPGRADE = b"Upgrade: websocket\r\n"
VERSION = b"Sec-WebSocket-Version: 13\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"  # of RFC 6455 §1.3
FIELDS = HOST + CONNECTION + UPGRADE + VERSION + KEY
ACCEPT = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + ACCEPT
CLOSE = b"\x88\x80\0\0\0\0"


class Goodbye(Handler[None, Any]):
    def init(self, args: object) -> Stop[None]:
        return Stop(NORMAL, None)

    def handle_in(self, message: str | bytes, state: None) -> Push[None]:
        return Push(message, None)


def get(*fields: bytes, target: bytes = b"/") -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\n" + b"".join(fields) + b"\r\n"


async def test_the_answer_to_the_example_of_the_rfc(start: Start, ask: Ask) -> None:
    assert await ask(await start(Goodbye), get(FIELDS) + CLOSE) == SWITCH + b"\r\n\x88\x02\x03\xe8"


async def test_tokens_in_any_case_and_in_lists_are_understood(start: Start, ask: Ask) -> None:
    fields = b"CONNECTION: keep-alive, upgrade\r\nupgrade: h2c, WebSocket\r\n"
    assert (await ask(await start(Goodbye), get(HOST, fields, VERSION, KEY) + CLOSE)).startswith(SWITCH)


def refused(status: bytes, body: bytes, *fields: bytes, closes: bool = True) -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    end = b"Connection: close\r\n" if closes else b""
    head = b"HTTP/1.1 " + status + b"\r\nContent-Type: text/plain; charset=utf-8\r\n" + length
    return head + b"".join(fields) + end + b"\r\n" + body


NEEDS_UPGRADE = (b"Connection: upgrade\r\n", b"Upgrade: websocket\r\n")

TABLE = {
    "a plain request": (
        get(HOST),
        b"426 Upgrade Required",
        b"no Connection header came: only WebSocket is served here, expected Connection: upgrade\n",
        NEEDS_UPGRADE,
    ),
    "no version": (
        get(HOST, CONNECTION, UPGRADE, KEY),
        b"426 Upgrade Required",
        b"no Sec-WebSocket-Version header came: expected 13\n",
        (*NEEDS_UPGRADE, b"Sec-WebSocket-Version: 13\r\n"),
    ),
    "an old version": (
        get(HOST, CONNECTION, UPGRADE, KEY, b"Sec-WebSocket-Version: 8\r\n"),
        b"426 Upgrade Required",
        b"Sec-WebSocket-Version: 8 came: expected 13\n",
        (*NEEDS_UPGRADE, b"Sec-WebSocket-Version: 13\r\n"),
    ),
    "another method": (
        get(FIELDS).replace(b"GET", b"POST"),
        b"400 Bad Request",
        b"method POST came: a WebSocket needs GET\n",
        (),
    ),
    "no key": (
        get(HOST, CONNECTION, UPGRADE, VERSION),
        b"400 Bad Request",
        b"no Sec-WebSocket-Key header came: expected exactly one\n",
        (),
    ),
    "two keys": (
        get(FIELDS, KEY),
        b"400 Bad Request",
        b"2 Sec-WebSocket-Key headers came: expected exactly one\n",
        (),
    ),
    "a short key": (
        get(HOST, CONNECTION, UPGRADE, VERSION, b"Sec-WebSocket-Key: c2hvcnQ=\r\n"),
        b"400 Bad Request",
        b"a Sec-WebSocket-Key of 5 bytes came: expected 16 bytes in base64\n",
        (),
    ),
    "no host": (
        get(CONNECTION, UPGRADE, VERSION, KEY),
        b"400 Bad Request",
        "expected exactly one Host header, 0 came (RFC 9112 §3.2)\n".encode(),
        (),
    ),
    "HTTP/1.0": (
        get(FIELDS).replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"400 Bad Request",
        b"HTTP/1.0 came: a WebSocket needs HTTP/1.1\n",
        (),
    ),
    "a foreign origin": (
        get(FIELDS, b"Origin: https://evil.example\r\n"),
        b"403 Forbidden",
        b"Origin 'https://evil.example' came: expected that of the Host, example.com\n",
        (),
    ),
}


@pytest.mark.parametrize(("request_", "status", "body", "fields"), TABLE.values(), ids=TABLE.keys())
async def test_each_fault_gets_its_answer(
    start: Start, ask: Ask, request_: bytes, status: bytes, body: bytes, fields: tuple[bytes, ...]
) -> None:
    closes = request_ != get(HOST)
    end = b"" if closes else b"\0"  # a plain request keeps the connection; this ends it
    answer = await ask(await start(Goodbye), request_ + end)
    expected = refused(status, body, *fields, closes=closes)
    assert answer[: len(expected)] == expected


async def test_an_unknown_version_of_http_is_answered_505(start: Start, ask: Ask) -> None:
    answer = await ask(await start(Goodbye), get(FIELDS).replace(b"HTTP/1.1", b"HTTP/3.0"))
    assert answer.startswith(b"HTTP/1.1 505 HTTP Version Not Supported\r\n")


async def test_the_origin_of_the_host_is_allowed(start: Start, ask: Ask) -> None:
    answer = await ask(await start(Goodbye), get(FIELDS, b"Origin: https://example.com\r\n") + CLOSE)
    assert answer.startswith(SWITCH)


async def test_the_first_subprotocol_of_the_server_wins(start: Start, ask: Ask) -> None:
    server = await start(Goodbye, subprotocols=["b", "a"])
    answer = await ask(server, get(FIELDS, b"Sec-WebSocket-Protocol: a, b\r\n") + CLOSE)
    assert answer.startswith(SWITCH + b"Sec-WebSocket-Protocol: b\r\n\r\n")


async def test_without_a_common_subprotocol_no_header_is_sent(start: Start, ask: Ask) -> None:
    server = await start(Goodbye, subprotocols=["b"])
    answer = await ask(server, get(FIELDS, b"Sec-WebSocket-Protocol: a\r\n") + CLOSE)
    assert answer.startswith(SWITCH + b"\r\n")


async def test_a_required_subprotocol_is_missed_with_400(start: Start, ask: Ask) -> None:
    server = await start(Goodbye, subprotocols=["b"], require_subprotocol=True)
    answer = await ask(server, get(FIELDS, b"Sec-WebSocket-Protocol: a\r\n"))
    assert answer == refused(b"400 Bad Request", b"subprotocols a came: expected one of b\n")


async def test_compression_is_agreed_on_where_it_is_offered(start: Start, ask: Ask) -> None:
    server = await start(Goodbye, compress=True)
    answer = await ask(server, get(FIELDS, b"Sec-WebSocket-Extensions: permessage-deflate\r\n") + CLOSE)
    assert answer.startswith(SWITCH + b"Sec-WebSocket-Extensions: permessage-deflate")


async def test_headers_and_subprotocol_of_the_application_travel_on_the_101(start: Start, ask: Ask) -> None:
    def app(request: Request) -> Upgrade:
        return upgrade(Goodbye, headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], subprotocol="x")

    answer = await ask(await start(app), get(FIELDS, b"Sec-WebSocket-Protocol: y, x\r\n") + CLOSE)
    expected = SWITCH + b"Sec-WebSocket-Protocol: x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n"
    assert answer.startswith(expected)


@pytest.mark.parametrize(
    "wish",
    [
        lambda request: upgrade(Goodbye, headers={"A": "b\r\nC: d"}),
        lambda request: upgrade(Goodbye, headers={"Upgrade": "h2c"}),
        lambda request: upgrade(Goodbye, subprotocol="never-offered"),
        lambda request: upgrade(Goodbye, origins=lambda request: bool(1 / 0)),
    ],
    ids=["a line break", "a header of ours", "a subprotocol nobody offered", "origins that fail"],
)
async def test_an_upgrade_that_cannot_be_answered_is_a_500(
    start: Start, ask: Ask, wish: object, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start(wish)
    answer = await ask(server, get(FIELDS, b"Origin: http://a\r\n").replace(HOST, b"Host: a\r\n"))
    assert answer == refused(b"500 Internal Server Error", b"Internal Server Error\n")
    assert "cannot be sent" in caplog.text
    assert server.snapshot().application_errors == 1


async def test_the_application_sees_the_request_before_it_is_checked(start: Start, ask: Ask) -> None:
    server = await start(lambda request: Response(200, "page"))
    answer = await ask(server, get(HOST, CONNECTION, UPGRADE))
    assert answer.endswith(b"\r\n\r\npage")


async def test_checking_early_answers_as_the_late_check_does(start: Start, ask: Ask) -> None:
    def app(request: Request) -> Upgrade:
        check_upgrade(request, origins=["https://example.com"])
        raise AssertionError("not reached")

    answer = await ask(await start(app), get(FIELDS, b"Origin: https://evil.example\r\n"))
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")


def test_checking_early_raises_the_refusal() -> None:
    with pytest.raises(UpgradeRefused) as caught:
        check_upgrade(Request("GET", "/"))
    assert caught.value.status == 400


def test_checking_early_checks_its_options() -> None:
    with pytest.raises(OptionError):
        check_upgrade(Request("GET", "/"), origins="everybody")


def test_checking_early_lets_a_good_request_pass() -> None:
    fields = dict(line.split(": ") for line in FIELDS.decode().strip().split("\r\n"))
    check_upgrade(Request("GET", "/", Headers(fields)), subprotocols=["a"])
