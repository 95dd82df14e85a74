"""Serving one stream: HTTP first or frames at once, what cannot be done any more then, and who closes it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from trio_websock import (
    Handler,
    Ok,
    OptionError,
    Push,
    Request,
    Response,
    Shutdown,
    Upgrade,
    current_connection,
    serve_stream,
    upgrade,
)
from trio_websock.testing.memory_listener import MemoryStream, open_memory_streams

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
TEXT = b"\x81\x82\0\0\0\0hi"
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"
ECHOED = b"\x81\x02hi\x88\x02\x03\xe8"
REQUEST = Request("GET", "/room")


class Echo(Handler[Any, Any]):
    def init(self, args: Any) -> Ok[Any]:
        return Ok(args)

    def handle_in(self, message: str | bytes, state: Any) -> Push[Any]:
        return Push(message, state)


class Teller(Echo):
    def init(self, args: Any) -> Push[Any]:  # type: ignore[override]  # a result is a result
        return Push(f"{args.path} {current_connection().subprotocol}", args)


async def ask(handler_or_app: object, data: bytes, **options: Any) -> bytes:
    ours, theirs = open_memory_streams()
    await ours.send_all(data)
    await serve_stream(theirs, handler_or_app, **options)
    return await read(ours)


async def read(stream: MemoryStream) -> bytes:
    answer = b""
    while data := await stream.receive_some():
        answer += data
    return answer


async def test_a_client_speaks_http_first() -> None:
    answer = await ask(Echo, UPGRADE + TEXT + CLOSE)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert answer.endswith(b"\r\n\r\n" + ECHOED)


async def test_plain_requests_are_answered_too() -> None:
    last = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert (await ask(lambda request: Response(200, "page"), last)).endswith(b"\r\n\r\npage")


async def test_behind_a_handshake_the_stream_carries_frames() -> None:
    assert await ask(Echo, TEXT + CLOSE, request=REQUEST) == ECHOED


async def test_what_was_read_behind_a_handshake_comes_first() -> None:
    assert await ask(Echo, CLOSE, request=REQUEST, leftover=TEXT) == ECHOED


async def test_init_is_given_the_request_and_knows_the_subprotocol() -> None:
    answer = await ask(Teller, CLOSE, request=REQUEST, subprotocol="chat")
    assert answer == b"\x81\x0a/room chat\x88\x02\x03\xe8"


async def test_an_application_function_chooses_the_handler() -> None:
    def app(request: Request) -> Upgrade:
        return upgrade(Teller if request.path == "/room" else Echo, request, subprotocol="chat")

    answer = await ask(app, CLOSE, request=REQUEST, subprotocol="chat")
    assert answer == b"\x81\x0a/room chat\x88\x02\x03\xe8"


def fail(request: Request) -> Response:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("app", "frame"),
    [
        (lambda request: Response(404), b"\x88\x02\x03\xf0"),
        (lambda request: Response(503), b"\x88\x02\x03\xf5"),
        (fail, b"\x88\x02\x03\xf3"),
        (lambda request: upgrade(Echo, headers={"a": "b"}), b"\x88\x02\x03\xf3"),
        (lambda request: upgrade(Echo, subprotocol="other"), b"\x88\x02\x03\xf3"),
        (lambda request: upgrade(Echo, compress=True), b"\x88\x02\x03\xf3"),
    ],
    ids=["a refusal", "unavailable", "a failure", "headers", "another subprotocol", "compression"],
)
async def test_what_comes_too_late_closes_the_connection(app: Callable[[Request], Any], frame: bytes) -> None:
    assert await ask(app, CLOSE, request=REQUEST, subprotocol="chat") == frame


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"request": REQUEST, "compress": True}, OptionError),
        ({"request": REQUEST, "max_head_size": 10}, TypeError),
        ({"port": 0}, TypeError),
        ({"timeout": 0}, OptionError),
        ({"subprotocol": "chat"}, TypeError),
        ({"leftover": TEXT}, TypeError),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else None,
)
async def test_an_option_that_cannot_be_kept_is_refused_before_the_stream_is_touched(
    options: dict[str, Any], error: type[Exception]
) -> None:
    ours, theirs = open_memory_streams()
    with pytest.raises(error):
        await serve_stream(theirs, Echo, **options)
    await theirs.send_all(b"mine")
    assert await ours.receive_some() == b"mine"


async def test_what_is_no_stream_is_refused() -> None:
    with socket.socket() as sock, pytest.raises(TypeError, match=r"expected a trio\.abc\.Stream, not <socket"):
        await serve_stream(sock, Echo)  # type: ignore[arg-type]  # the point of the test


async def test_a_leftover_that_is_no_bytes_is_refused_before_the_stream_is_touched() -> None:
    client, stream = open_memory_streams()
    with pytest.raises(TypeError, match="leftover must be bytes, not bytearray"):
        await serve_stream(stream, Echo, request=REQUEST, leftover=bytearray(TEXT))  # type: ignore[arg-type]
    await client.send_all(b"still open")
    assert await stream.receive_some() == b"still open"


async def test_the_head_of_a_request_is_bounded() -> None:
    assert (await ask(Echo, UPGRADE, max_head_size=20)).startswith(b"HTTP/1.1 431 ")


async def test_a_client_that_says_nothing_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    assert await ask(Echo, b"", handshake_timeout=3) == b""
    assert trio.current_time() == 3


@pytest.mark.parametrize(("data", "options"), [(UPGRADE, {}), (b"", {"request": REQUEST})])
async def test_cancellation_says_goodbye(data: bytes, options: dict[str, Any]) -> None:
    reasons: list[object] = []

    class Noting(Echo):
        def terminate(self, reason: object, state: Any) -> None:
            reasons.append(reason)

    ours, theirs = open_memory_streams()
    await ours.send_all(data)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve_stream(theirs, Noting, **options))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert (await read(ours)).endswith(b"\x88\x02\x03\xe9")
    assert reasons == [Shutdown()]


async def test_cancellation_while_the_application_decides_closes_the_stream() -> None:
    async def app(request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    ours, theirs = open_memory_streams()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve_stream(theirs, app, request=REQUEST))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await read(ours) == b""


async def test_a_socket_is_served_as_one(nursery: trio.Nursery) -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1]) as client:
        await client.send_all(TEXT + CLOSE)
        await serve_stream(await listener.accept(), Echo, request=REQUEST)
        assert await client.receive_some() == ECHOED
    await listener.aclose()
