"""HTTP responses as bytes: those of the application, our own refusals, and the 101.

In: values. Out: one bytes object each, head and body together, so that one system call sends it. What an application
puts into a header is checked here: a line break in it would let a stranger write our responses. Pure.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

from ..request import Headers
from ..response import (
    BODILESS,
    RESPONSE_FIELDS,
    SWITCH_FIELDS,
    Response,
    check_field,
    content_type_of,
    encoded_body,
)

__all__ = [
    "CONTINUE",
    "asks_to_close",
    "checked_lines",
    "serialize_response",
    "serialize_switch",
    "status_lines",
]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_PHRASES = {status.value: status.phrase for status in HTTPStatus}


def serialize_response(response: Response, *, is_head: bool = False, closes: bool = False) -> bytes:
    """One whole response.

    Args:
        response: the application's.
        is_head: whether it answers ``HEAD``, and so has no body.
        closes: whether the connection ends with it.

    Raises:
        StateError: a header that may not be sent.

    Source: RFC 9112 §4, §6.
    """
    body, headers = encoded_body(response), Headers(response.headers)
    lines = status_lines(response.status, has_date="date" in headers)
    if response.status not in BODILESS:
        lines += _content_lines(response, body)
    lines += checked_lines(headers.pairs(), RESPONSE_FIELDS)
    if closes and not asks_to_close(response):
        lines.append("Connection: close")
    head = "\r\n".join([*lines, "\r\n"]).encode("latin-1")
    return head if is_head or response.status in BODILESS else head + body


def _content_lines(response: Response, body: bytes) -> Iterable[str]:
    content_type = content_type_of(response, body)
    if content_type is not None:
        yield from checked_lines([("Content-Type", content_type)])
    yield f"Content-Length: {len(body)}"


def asks_to_close(response: Response) -> bool:
    """Whether the application itself wants the connection closed behind its response."""
    return "close" in (token.lower() for token in Headers(response.headers).tokens("connection"))


def serialize_switch(
    accept: str, subprotocol: str | None, extensions: str | None, pairs: Iterable[tuple[str, str]]
) -> bytes:
    """The 101 that turns the connection into a WebSocket.

    Args:
        accept: the value of ``Sec-WebSocket-Accept``.
        subprotocol: what was agreed on, if anything.
        extensions: the same.
        pairs: headers of the application.

    Raises:
        StateError: a header that may not be sent.

    Source: RFC 6455 §4.2.2.
    """
    text = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n"
    )
    if subprotocol is not None:
        text += f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
    if extensions is not None:
        text += f"Sec-WebSocket-Extensions: {extensions}\r\n"
    if pairs:
        for line in checked_lines(pairs, SWITCH_FIELDS):
            text += line + "\r\n"
    return (text + "\r\n").encode("latin-1")


def status_lines(status: int, *, has_date: bool) -> list[str]:
    """What a response begins with: the status line, and the date unless the application has told it."""
    lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, '')}"]
    return lines if has_date else [*lines, f"Date: {_date()}"]


def checked_lines(pairs: Iterable[tuple[str, str]], reserved: frozenset[str] = frozenset()) -> Iterable[str]:
    """Header fields as lines, without their ends.

    Raises:
        StateError: a name or value that may not be sent (RFC 9110 §5), or a name in ``reserved``.
    """
    for name, value in pairs:
        check_field(name, value, reserved)
        yield f"{name}: {value}"


_date_cache = (0, "")


def _date() -> str:
    global _date_cache
    now = int(time.time())
    if now != _date_cache[0]:
        _date_cache = (now, formatdate(now, usegmt=True))
    return _date_cache[1]
