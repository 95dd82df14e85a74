"""ASGI applications that several test files share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio
import trio.testing

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"

START = {"type": "http.response.start", "status": 200, "headers": []}


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


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


async def cancel_when_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()
