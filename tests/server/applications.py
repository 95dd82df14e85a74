"""Requests, ASGI applications and clients that several test files share."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import trio
import trio.testing

from trio_websock import Handler, Ok, Push

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


async def read_all(client: trio.abc.Stream) -> bytes:
    data = b""
    with contextlib.suppress(trio.BrokenResourceError):
        while piece := await client.receive_some():
            data += piece
    return data


async def read_strictly(client: trio.abc.Stream) -> None:
    while await client.receive_some():
        pass


async def cancel_when_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()
