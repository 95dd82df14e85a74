"""HTTP/1.1 over a wire: requests in, responses out, one after the other.

In: a wire. Out: whole requests, their bodies read; what came behind the last one is kept for the next, or for the
WebSocket. Knows no application and no limits in time: whoever calls sets deadlines.
"""

from __future__ import annotations

import math
from typing import final

import trio

from ..errors import ConnectionLost
from ..hosts.wire import Wire
from ..request import Request
from .answers import CONTINUE
from .body import Body, body_for
from .head import BadRequest, Head, parse_head

__all__ = ["HttpChannel"]

# How long and how much we read on behind an answer that ends the connection: closing with unread bytes in the kernel
# would send a reset, and a reset may overtake the answer (RFC 9112 §9.6).
LINGER_TIMEOUT = 1.0
LINGER_SIZE = 1024 * 1024


@final
class HttpChannel:
    """One connection that speaks HTTP/1.1, the server's end.

    Args:
        wire: what carries it; stays the caller's to close.
        max_head_size: bytes of one head.
        max_body_size: bytes of one body.
    """

    __slots__ = ("_buffer", "_max_body_size", "_max_head_size", "wire")

    def __init__(self, wire: Wire, max_head_size: int, max_body_size: int) -> None:
        self.wire: Wire = wire
        self._buffer = b""
        self._max_head_size = max_head_size
        self._max_body_size = max_body_size

    @property
    def has_partial_head(self) -> bool:
        """Whether something of a request has come."""
        return bool(self._buffer)

    def take_leftover(self) -> bytes:
        """What came behind the last request; it is forgotten here."""
        leftover, self._buffer = self._buffer, b""
        return leftover

    def has_whole_head(self) -> bool:
        """Whether :meth:`receive_head` has nothing to wait for.

        Raises:
            ConnectionLost: the connection broke.
        """
        if not self._buffer:
            self._buffer = self.wire.receive_nowait() or b""
        # The empty lines that may stand before a request are no end of one.
        return b"\r\n\r\n" in self._buffer.lstrip(b"\r\n")

    async def receive_head(self) -> Head | None:
        """Wait for the head of a request; ``None`` if the client left before it was whole.

        Raises:
            BadRequest: it is malformed, or too large.
            ConnectionLost: the connection broke.

        Checkpoint: unless a whole head has come already. Cancelled: may be called again, nothing is lost.
        """
        searched = 0
        while True:
            # RFC 9112 §2.2: empty lines before a request are ignored.
            if self._buffer.startswith((b"\r", b"\n")):
                self._buffer = self._buffer.lstrip(b"\r\n")
            end = self._buffer.find(b"\r\n\r\n", searched)
            size = end + 4 if end >= 0 else len(self._buffer)
            if size > self._max_head_size:
                raise BadRequest(431, f"expected a request head of at most {self._max_head_size} bytes")
            # Before the whole head is parsed, too: the answer must not depend on how the bytes came.
            _check_beginning(self._buffer[:size])
            if end >= 0:
                return self._take_head(size)
            searched = max(0, len(self._buffer) - 3)
            data = await self.wire.receive()
            if not data:
                return None
            self._buffer += data

    def _take_head(self, size: int) -> Head:
        data = self._buffer[:size]
        self._buffer = self._buffer[size:]
        return parse_head(data)

    def announced_body(self, head: Head) -> Body:
        """The body that follows ``head``, to be given to :meth:`receive_body`.

        Raises:
            BadRequest: 413.
        """
        return body_for(head.content_length, self._max_body_size)

    def streamed_body(self, head: Head) -> Body:
        """The same, of any size: for whoever takes it piece by piece."""
        return body_for(head.content_length, math.inf)

    async def send_continue(self) -> None:
        """Ask for the body, unless its beginning has come already (RFC 9110 §10.1.1)."""
        if not self._buffer:
            await self.wire.send_all([CONTINUE])

    async def receive_body(self, body: Body) -> None:
        """Wait for a part of ``body``.

        Raises:
            BadRequest: it is malformed, or too large.
            ConnectionLost: the connection ended inside it.

        Checkpoint: unless a part has come already. Cancelled: may be called again.
        """
        data = self.take_leftover() or await self.wire.receive()
        if not data:
            raise ConnectionLost("the connection ended inside the body of a request")
        self._buffer = body.receive_data(data)

    async def discard_body(self, body: Body) -> bool:
        """Read what is left of ``body``, as far as that is no trouble, and whether its end has come.

        Raises:
            ConnectionLost: the connection ended inside it.

        Checkpoint: unless it has come already. Cancelled: may be called again.
        """
        most = self.wire.received_size + LINGER_SIZE
        with trio.move_on_after(LINGER_TIMEOUT):
            try:
                while not body.is_complete and self.wire.received_size < most:
                    await self.receive_body(body)
                    body.take()
            except BadRequest:
                return False  # its answer is out already, and there must not be two
        return body.is_complete

    async def wait_gone(self) -> None:
        """Wait, while a request is being answered, until the client has left. What it sends meanwhile is kept.

        Checkpoint: always. Cancelled: may be called again, nothing is lost.
        """
        try:
            while len(self._buffer) < self._max_head_size:
                data = await self.wire.receive()
                if not data:
                    return
                self._buffer += data
        except ConnectionLost:
            return
        await trio.sleep_forever()  # it sends requests ahead, and will read their answers

    def has_left(self) -> bool:
        """Whether the client has left, as far as that can be told without waiting. What it sends meanwhile is kept."""
        if len(self._buffer) >= self._max_head_size:
            return False
        try:
            data = self.wire.receive_nowait(insist=True)
        except ConnectionLost:
            return True
        self._buffer += data or b""
        return data == b""

    def request(self, head: Head, body: bytes) -> Request:
        """The request as the application sees it."""
        wire = self.wire
        return Request(
            head.method,
            head.target,
            head.headers,
            head.http_version,
            body,
            wire.scheme,
            wire.client,
            wire.client_certificate,
        )

    async def linger(self) -> None:
        """Say that nothing more comes, and read on for a moment, so that the last answer is not lost to a reset.

        Checkpoint: always. Cancelled: nothing is left to be undone.
        """
        self.wire.send_eof_nowait()
        most = self.wire.received_size + LINGER_SIZE
        with trio.move_on_after(LINGER_TIMEOUT):
            try:
                while self.wire.received_size < most and await self.wire.receive():
                    pass
            except ConnectionLost:
                pass  # it is over, which is all that was waited for


def _check_beginning(data: bytes) -> None:
    """Refuse at once what will never become a request, instead of waiting for the end of its head."""
    if data and not data[:1].isalpha():
        raise BadRequest(400, "expected an HTTP/1.1 request (RFC 9112 §3); is the other end speaking TLS?")
    if b"\n\n" in data:
        raise BadRequest(400, "expected lines that end with CR LF (RFC 9112 §2.2)")
