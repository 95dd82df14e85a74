"""The head of a request, read and taken apart by hand: a second opinion on our own HTTP."""

from __future__ import annotations

import trio

from trio_websock import Headers, Request


async def receive_request(stream: trio.abc.ReceiveStream) -> tuple[Request, bytes] | None:
    """A request without a body, and what came behind it; ``None`` if the stream ends before."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = await stream.receive_some()
        if not received:
            return None
        data += received
    head, _, leftover = data.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    method, target, _ = line.split(" ")
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Request(method, target, Headers(fields)), leftover
