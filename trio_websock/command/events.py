"""What happens on a connection that somebody watches, and its form for programs.

In: facts. Out: values, and each as one line of JSON. Knows neither where it is told nor how it came about.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, TypeAlias, final

from ..client import ConnectFailed, ConnectionClosed, HandshakeError, HandshakeResponse
from ..request import Headers

__all__ = ["Closed", "Event", "Failed", "Noted", "Opened", "Pinged", "Ponged", "Received", "json_line"]


@final
@dataclass(frozen=True, slots=True)
class Opened:
    """The WebSocket is open.

    Args:
        url: what was asked for, without credentials.
        subprotocol: the server's choice.
        response: its answer.
    """

    url: str
    subprotocol: str | None
    response: HandshakeResponse


@final
@dataclass(frozen=True, slots=True)
class Received:
    """A message has come."""

    message: str | bytes


@final
@dataclass(frozen=True, slots=True)
class Pinged:
    """A ping has come, and has been answered."""

    payload: bytes


@final
@dataclass(frozen=True, slots=True)
class Ponged:
    """A pong has come.

    Args:
        payload: what it repeats.
        latency: seconds since the ping it answers; ``None`` if nobody asked.
        is_keepalive: whether it answers a ping that nobody has ordered.
    """

    payload: bytes
    latency: float | None
    is_keepalive: bool = False


@final
@dataclass(frozen=True, slots=True)
class Closed:
    """The connection has ended."""

    ending: ConnectionClosed


@final
@dataclass(frozen=True, slots=True)
class Failed:
    """There was no connection."""

    error: ConnectFailed | HandshakeError


@final
@dataclass(frozen=True, slots=True)
class Noted:
    """Something for whoever sits at the terminal; no event of the connection."""

    text: str


Event: TypeAlias = Opened | Received | Pinged | Ponged | Closed | Failed | Noted


# What JSON lets stand, and what steers a terminal or ends a line for some who read it: DEL and C1, the two separators,
# and what turns the direction of writing.
_UNSAFE = [*range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
_ESCAPES = {number: f"\\u{number:04x}" for number in _UNSAFE}


def json_line(event: Event) -> str:
    """The event as one line of JSON; ``""`` for what is not the connection's."""
    fields = _fields_of(event)
    return json.dumps(fields, ensure_ascii=False).translate(_ESCAPES) if fields else ""


def _fields_of(event: Event) -> dict[str, Any]:
    match event:
        case Opened(url, subprotocol, response):
            return {
                "event": "open",
                "url": url,
                "status": response.status,
                "subprotocol": subprotocol,
                "headers": _fields_of_headers(response.headers),
            }
        case Received(str(text)):
            return {"event": "message", "kind": "text", "data": text}
        case Received(bytes(data)):
            return {"event": "message", "kind": "binary", "data": _base64(data)}
        case Pinged(payload):
            return {"event": "ping", "data": _base64(payload)}
        case Ponged(payload, latency):
            return {"event": "pong", "data": _base64(payload), "latency": latency}
        case Closed(ending):
            return _fields_of_ending(ending)
        case Failed(error):
            return _fields_of_failure(error)
    return {}


def _fields_of_ending(ending: ConnectionClosed) -> dict[str, Any]:
    return {
        "event": "close",
        "code": ending.code,
        "text": ending.text,
        "by": ending.closed_by,
        "clean": ending.is_clean,
        "cause": None if ending.__cause__ is None else str(ending.__cause__),
    }


def _fields_of_failure(error: ConnectFailed | HandshakeError) -> dict[str, Any]:
    fields: dict[str, Any] = {"event": "error", "error": type(error).__name__, "text": str(error)}
    response: HandshakeResponse | None = getattr(error, "response", None)
    if response is not None:
        body = response.body.decode("utf-8", "replace")
        fields |= {"status": response.status, "headers": _fields_of_headers(response.headers), "body": body}
    return fields


def _fields_of_headers(headers: Headers) -> dict[str, list[str]]:
    """Names in lower case, each with all its values: cookies cannot be told in one."""
    fields: dict[str, list[str]] = {}
    for name, value in headers.pairs():
        fields.setdefault(name.lower(), []).append(value)
    return fields


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
