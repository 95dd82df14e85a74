"""What people are told: an event as lines of text, on a terminal or in a pipe.

In: events. Out: text without an escape sequence that a server has sent: on a terminal those could do anything.
"""

from __future__ import annotations

from ..client import ConnectFailed, ConnectionClosed, HandshakeError, HandshakeResponse, UpgradeRejected
from ..client.failures import first_line
from ..codes import CloseCode
from ..errors import describe
from .events import Closed, Event, Failed, Noted, Opened, Pinged, Ponged, Received

__all__ = ["message_line", "printable", "remark", "terminal_lines"]

MAX_SHOWN_SIZE = 256  # bytes of a binary message on a terminal, about ten lines

# C0 and C1 controls and DEL, and what turns the direction of writing: a server's text has to look like what it is.
_UNSAFE = [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_ESCAPES = {number: repr(chr(number))[1:-1] for number in _UNSAFE if chr(number) not in "\n\t"}


def printable(text: str) -> str:
    """``text`` with every control character but newline and tab written out."""
    return text.translate(_ESCAPES)


def message_line(message: str | bytes) -> str:
    """A message for a pipe: text as it is, anything else in hexadecimal digits."""
    return message if isinstance(message, str) else message.hex()


def terminal_lines(event: Event) -> str:
    """An event for somebody at a terminal: messages behind ``<``, all else behind ``*``."""
    if isinstance(event, Received):
        return _marked("<", _shown(event.message))
    return _marked("*", remark(event))


def _marked(mark: str, text: str) -> str:
    return f"{mark} " + printable(text).replace("\n", "\n  ")


def _shown(message: str | bytes) -> str:
    if isinstance(message, str):
        return message
    shown = message[:MAX_SHOWN_SIZE].hex(" ")
    more = len(message) - MAX_SHOWN_SIZE
    return f"binary, {_bytes(len(message))}: {shown}" + (f" … and {_bytes(more)} more" if more > 0 else "")


def _bytes(count: int) -> str:
    return f"{count} byte" if count == 1 else f"{count} bytes"


def remark(event: Event) -> str:
    """What there is to say about an event that is no message."""
    match event:
        case Opened(url, subprotocol, response):
            compressed = ", compressed" if "sec-websocket-extensions" in response.headers else ""
            return f"connected to {url}" + (f", subprotocol {subprotocol}" if subprotocol else "") + compressed
        case Pinged(payload):
            return "ping" + _payload(payload)
        case Ponged(payload, None):
            return "pong that nobody asked for" + _payload(payload)
        case Ponged(payload, latency):
            return f"pong after {(latency or 0) * 1000:.1f} ms" + _payload(payload)
        case Closed(ending):
            return _ending(ending)
        case Failed(error):
            return _failure(error)
    assert isinstance(event, Noted)  # messages are shown otherwise
    return event.text


def _failure(error: ConnectFailed | HandshakeError) -> str:
    response: HandshakeResponse | None = getattr(error, "response", None)
    if response is None or (isinstance(error, UpgradeRejected) and first_line(response.body)):
        return str(error)  # which tells that line
    body = response.body.decode("utf-8", "replace").strip()
    return f"{error}; it says {describe(body)}" if body else str(error)


def _payload(payload: bytes) -> str:
    if not payload:
        return ""
    try:
        return f": {payload.decode()}"
    except UnicodeDecodeError:
        return f": {payload.hex(' ')}"


def _ending(ending: ConnectionClosed) -> str:
    cause = f" ({ending.__cause__})" if ending.__cause__ is not None else ""
    if ending.closed_by == "nobody":
        return f"the connection was lost{cause}"
    who = "closed" if ending.closed_by == "us" else "closed by the server"
    text = f": {ending.text}" if ending.text else ""
    return f"{who} with {_code(ending.code)}{text}{cause}"


def _code(code: int | None) -> str:
    if code is None:
        return "no code"
    try:
        return f"{code} ({CloseCode(code).name.lower().replace('_', ' ')})"
    except ValueError:
        return str(code)
