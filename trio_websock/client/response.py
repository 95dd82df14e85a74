"""The server's answer to the opening handshake: HTTP/1.1 over a wire, the client's end.

In: a wire on which a request has been sent. Out: one whole response, and the bytes behind it that are frames already.
Knows nothing of what makes an answer a good one, and no limits in time.
"""

from __future__ import annotations

from typing import final

import httptools
import trio

from ..errors import ConnectionLost, describe
from ..hosts.wire import Wire
from ..request import Headers
from .answer import HandshakeResponse
from .failures import HandshakeError

__all__ = ["receive_response"]

MAX_HEAD_SIZE = 64 * 1024  # of one head, and of all interim answers together
MAX_BODY_SIZE = 64 * 1024  # of a refusal; what is longer is cut
BODY_TIMEOUT = 2.0  # seconds for the body of a refusal, which is not worth more waiting

_SECTION = "RFC 9112 §4"
_BEGINNING = b"HTTP/1."
_SWITCHING = 101


@final
class _Parts:
    """What llhttp reports of one response."""

    __slots__ = ("body", "has_head", "is_complete", "pairs", "reason")

    def __init__(self) -> None:
        self.has_head = False
        self.reason = b""
        self.pairs: list[tuple[str, str]] = []
        self.body = b""
        self.is_complete = False

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.has_head = True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_complete = True


async def receive_response(wire: Wire, *, is_tunnel: bool = False) -> tuple[HandshakeResponse, bytes]:
    """Wait for the answer; interim ones, such as 103, are passed over.

    Args:
        wire: on which the request was sent.
        is_tunnel: the request was ``CONNECT``: if it is granted, what follows the head is the tunnel, and no body
            (RFC 9110 §9.3.6).

    Returns:
        The answer, and what came behind the head of a 101 or of a granted ``CONNECT``.

    Raises:
        HandshakeError: it is not HTTP/1.1, or too large.
        ConnectionLost: the connection ended before the answer was whole.

    Checkpoint: always. Cancelled: the wire is of no further use.
    """
    buffer = b""
    interim_size = 0
    while True:
        head, buffer = await _receive_head(wire, buffer)
        parts = _Parts()
        parser = httptools.HttpResponseParser(parts)
        _feed_head(parser, parts, head)
        status = parser.get_status_code()
        has_body = status >= 200 and not (is_tunnel and status < 300)
        if has_body:
            await _receive_body(wire, parser, parts, buffer)
            buffer = b""
        if status >= 200 or status == _SWITCHING:
            _check_version(parser, status)
            reason = parts.reason.decode("latin-1")
            return HandshakeResponse(status, reason, Headers(parts.pairs), parts.body[:MAX_BODY_SIZE]), buffer
        interim_size += len(head)
        if interim_size > MAX_HEAD_SIZE:
            raise HandshakeError(f"over {MAX_HEAD_SIZE} bytes of interim responses came, now {status}", _SECTION)


def _check_version(parser: httptools.HttpResponseParser, status: int) -> None:
    if status == _SWITCHING and parser.get_http_version() != "1.1":
        raise HandshakeError(f"HTTP/{parser.get_http_version()} came: expected HTTP/1.1", "RFC 6455 §4.1")


async def _receive_head(wire: Wire, buffer: bytes) -> tuple[bytes, bytes]:
    while True:
        end = buffer.find(b"\r\n\r\n") + 4
        if not buffer.startswith(_BEGINNING[: len(buffer)]):
            raise HandshakeError(f"{describe(buffer[:64])} came: expected an HTTP/1.1 response", _SECTION)
        if max(end, len(buffer) if end < 4 else 0) > MAX_HEAD_SIZE:
            raise HandshakeError(f"a response head of over {MAX_HEAD_SIZE} bytes came", _SECTION)
        if end >= 4:
            return buffer[:end], buffer[end:]
        data = await wire.receive()
        if not data:
            raise ConnectionLost("the server ended the connection instead of answering the handshake")
        buffer += data


def _feed_head(parser: httptools.HttpResponseParser, parts: _Parts, head: bytes) -> None:
    try:
        _feed(parser, head)
    except HandshakeError:
        # llhttp also stops at a 101 whose headers do not say that anything is upgraded; what they should say is not
        # for this module to judge.
        if not (parts.has_head and parser.get_status_code() == _SWITCHING):
            raise


def _feed(parser: httptools.HttpResponseParser, data: bytes) -> None:
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # the 101; what follows it is not the parser's
    except httptools.HttpParserError as exc:
        raise HandshakeError(f"a malformed response came: {exc}", _SECTION) from exc


async def _receive_body(wire: Wire, parser: httptools.HttpResponseParser, parts: _Parts, data: bytes) -> None:
    """Read the body of a refusal as far as it comes: what was refused, and why, is known already."""
    try:
        with trio.move_on_after(BODY_TIMEOUT):
            while not parts.is_complete:
                if data:
                    _feed(parser, data)
                if parts.is_complete or len(parts.body) >= MAX_BODY_SIZE:
                    return
                data = await wire.receive()
                if not data:
                    return
    except (ConnectionLost, HandshakeError):
        pass
