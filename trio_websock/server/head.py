"""The head of an HTTP/1.1 request: its bytes in, a checked value out.

llhttp (through httptools) does the parsing, strictly: no folded lines, no bare line feeds, no two lengths. What it
leaves to its user is checked here. Pure: knows no socket, and never sees a byte behind the head.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, final

import httptools

from ..request import Headers, trusted_headers

__all__ = ["BadRequest", "Head", "parse_head"]


@final
class BadRequest(Exception):
    """A request that is answered with an error, and its connection closed.

    Args:
        status: HTTP status of the answer.
        reason: text of its body: what came and what was expected.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


class Head(NamedTuple):
    """What the head of a request says.

    Args:
        method: as sent.
        target: as sent.
        http_version: ``"1.0"`` or ``"1.1"``.
        headers: every field, values without the white space around them.
        content_length: bytes of the body that follows; ``None`` if it comes in chunks.
        keeps_alive: whether the client wants to send more on this connection.
        expects_continue: whether the client waits for ``100 Continue`` before it sends the body.
    """

    method: str
    target: str
    http_version: str
    headers: Headers
    content_length: int | None
    keeps_alive: bool
    expects_continue: bool


# Fields in one head. Each costs a lookup time over and over, and no browser sends a quarter as many (Bandit: 50,
# Cowboy: 100, Node: 2000).
MAX_FIELDS = 256

_VERSIONS = {b"HTTP/1.1": "1.1", b"HTTP/1.0": "1.0"}

# What nearly every handshake says: looked up, and kept once for all connections.
_NAMES = (
    *("Accept-Encoding", "Accept-Language", "Cache-Control", "Connection", "Cookie", "Host", "Origin", "Pragma"),
    *("Sec-WebSocket-Extensions", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol", "Sec-WebSocket-Version"),
    *("Upgrade", "User-Agent"),
)
_VALUES = (
    *("Upgrade", "upgrade", "keep-alive, Upgrade", "websocket", "WebSocket", "13", "no-cache"),
    *("gzip, deflate", "gzip, deflate, br", "permessage-deflate", "permessage-deflate; client_max_window_bits"),
)
_FREQUENT = {word.encode(): word for word in (*_NAMES, *map(str.lower, _NAMES), *_VALUES)}


@final
class _Fields:
    """What llhttp reports of one head."""

    __slots__ = ("is_complete", "pairs", "target", "values")

    def __init__(self) -> None:
        self.target = b""
        self.pairs: list[tuple[str, str]] = []
        self.values: dict[str, list[str]] = {}  # by name, in lower case
        self.is_complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        octets = value.strip(b" \t")
        key = _FREQUENT.get(name) or name.decode("latin-1")
        text = _FREQUENT.get(octets) or octets.decode("latin-1")
        self.pairs.append((key, text))
        self.values.setdefault(key.lower(), []).append(text)

    def on_headers_complete(self) -> None:
        self.is_complete = True


def parse_head(data: bytes) -> Head:
    """Parse one whole head, from the request line to the empty line.

    Raises:
        BadRequest: 400, 417, 501 or 505, with words for the client.

    Source: RFC 9112 §2 to §7.
    """
    fields = _Fields()
    parser = httptools.HttpRequestParser(fields)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # the application decides; and a body is read here before that, which llhttp would leave lying
    except httptools.HttpParserError as exc:
        raise _fault_of(data, exc) from exc
    version = _check_version(data)
    if not fields.is_complete:
        raise BadRequest(400, "expected an HTTP/1.1 request (RFC 9112 §2.1)")
    method = parser.get_method().decode("ascii")
    if method == "CONNECT":
        raise BadRequest(501, "CONNECT came: this server is no proxy")
    if len(fields.pairs) > MAX_FIELDS:
        raise BadRequest(431, f"{len(fields.pairs)} header fields came: expected at most {MAX_FIELDS}")
    values = fields.values
    _check_host(values.get("host", ()), version)
    return Head(
        method,
        fields.target.decode("ascii"),
        version,
        trusted_headers(fields.pairs, values),
        _body_length(values, version),
        version == "1.1" and not _has_token(values.get("connection", ()), "close"),
        _check_expect(values.get("expect", ())) and version == "1.1",  # RFC 9110 §10.1.1: ignored in HTTP/1.0
    )


def _check_version(data: bytes) -> str:
    # llhttp would also speak RTSP, ICE, HTTP/0.9 and, so it says, HTTP/2.0.
    line = data[: data.find(b"\r\n")]
    if b"\n" in line or b"\r" in line:  # the request line of HTTP/0.9, and a field behind it
        raise BadRequest(400, "expected lines that end with CR LF (RFC 9112 §2.2)")
    version = _VERSIONS.get(line[-8:])
    if version is None:
        raise _unknown_version(line)
    return version


def _unknown_version(line: bytes) -> BadRequest:
    came = line.rpartition(b" ")[2][:16].decode("latin-1")
    return BadRequest(505, f"{came!r} came at the end of the request line: expected HTTP/1.1 (RFC 9112 §2.3)")


def _check_host(hosts: Sequence[str], version: str) -> None:
    if len(hosts) > 1 or (not hosts and version != "1.0"):
        raise BadRequest(400, f"expected exactly one Host header, {len(hosts)} came (RFC 9112 §3.2)")


def _check_expect(values: Sequence[str]) -> bool:
    if not values:
        return False
    if any(value.lower() != "100-continue" for value in values):
        raise BadRequest(417, "Expect: only 100-continue is understood (RFC 9110 §10.1.1)")
    return True


def _body_length(values: Mapping[str, list[str]], version: str) -> int | None:
    # llhttp has refused a head with both, or with a length that is not one number.
    codings = values.get("transfer-encoding")
    if codings is not None:
        if version == "1.0":
            raise BadRequest(400, "Transfer-Encoding came in an HTTP/1.0 request (RFC 9112 §6.1)")
        if [coding.lower() for coding in codings] != ["chunked"]:
            raise BadRequest(501, "Transfer-Encoding: only chunked is understood (RFC 9112 §6.1)")
        return None
    lengths = values.get("content-length")
    return 0 if lengths is None else int(lengths[0])


def _has_token(values: Sequence[str], token: str) -> bool:
    return any(part.strip(" \t").lower() == token for value in values for part in value.split(","))


_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") +[^ ]+ +HTTP/[0-9](\.[0-9])?\r\n")
_WEBSOCKET = re.compile(rb"\r\nupgrade:[^\r\n]*websocket", re.IGNORECASE)


def _fault_of(data: bytes, exc: httptools.HttpParserError) -> BadRequest:
    """The answer to a head that llhttp refused: what it does not know is not always malformed."""
    line = _REQUEST_LINE.match(data)
    if line and isinstance(exc, httptools.HttpParserInvalidMethodError):
        if _WEBSOCKET.search(data):
            return BadRequest(400, "expected GET for a WebSocket (RFC 6455 §4.2.1)")
        return BadRequest(501, f"method {line[1][:16].decode()} came: it is not known here (methods are upper case)")
    if line and not data[: line.end()].endswith((b" HTTP/1.1\r\n", b" HTTP/1.0\r\n")):
        return _unknown_version(line[0].rstrip())
    return BadRequest(400, f"expected an HTTP/1.1 request (RFC 9112): {exc}")
