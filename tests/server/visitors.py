"""An echo, requests as bytes, and raw clients that send them."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from trio_websock import Handler, Ok, Push, Server

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
TEXT = b"\x81\x82\0\0\0\0hi"
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"
ECHOED = b"\r\n\r\n\x81\x02hi\x88\x02\x03\xe8"  # behind the head of a 101
GOING_AWAY = b"\x88\x02\x03\xe9"
RESTART = b"\x88\x02\x03\xf4"


class Echo(Handler[None, Any]):
    def init(self, args: object) -> Ok[None]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Push[None]:
        return Push(message, None)


async def upgraded(stream: trio.abc.Stream) -> trio.abc.Stream:
    """The same stream, once the server has answered 101."""
    await stream.send_all(UPGRADE)
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += await stream.receive_some()
    return stream


async def open_websocket(server: Server) -> trio.abc.Stream:
    return await upgraded(await trio.open_tcp_stream("127.0.0.1", server.port))


async def read_all(stream: trio.abc.Stream) -> bytes:
    """Everything that comes; a reset is told at its end."""
    data = b""
    try:
        while piece := await stream.receive_some():
            data += piece
    except trio.BrokenResourceError:
        data += b"<reset>"
    return data


async def read_strictly(stream: trio.abc.Stream) -> None:
    """Read to the end, which must not be a reset."""
    while await stream.receive_some():
        pass
