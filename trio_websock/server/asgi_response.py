"""A response as an ASGI application sends it, event by event: what goes over the wire.

In: ``http.response.*`` events. Out: bytes, the head together with the first piece of the body. What may not be sent, or
does not fit what has been announced, is refused before a byte of it is out. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, final

from ..errors import LocalError, StateError, describe
from ..headers import kinds_of
from ..response import BODILESS
from .answers import checked_lines, status_lines

__all__ = ["AsgiResponse", "type_of"]

_LAST_CHUNK = b"0\r\n\r\n"


def type_of(event: object) -> object:
    """What an application has sent, by its ``type``; where it is no event at all, that itself."""
    return event.get("type") if isinstance(event, Mapping) else event


@final
class AsgiResponse:
    """One response, from its first event to its last.

    1. Nothing is serialized before the first ``http.response.body``: until then another answer is still possible.
    2. A body that comes whole gets a ``Content-Length``; one that comes in pieces is sent in chunks, or to a client
       that knows no chunks up to the end of the connection.

    Args:
        method: of the request: ``HEAD`` gets no body.
        http_version: of the request: 1.0 knows no chunks.
    """

    __slots__ = (
        "_connection",
        "_is_chunked",
        "_is_head",
        "_knows_chunks",
        "_length",
        "_lines",
        "_size",
        "_status",
        "closes",
        "has_begun",
        "is_complete",
    )

    def __init__(self, method: str, http_version: str) -> None:
        self._is_head = method == "HEAD"
        self._knows_chunks = http_version == "1.1"
        self._status: int | None = None
        self._lines: list[str] = []
        self._connection: list[str] = []
        self._length: int | None = None
        self._is_chunked = False
        self._size = 0
        #: Whether the head has been serialized.
        self.has_begun: bool = False
        #: Whether the last event has come.
        self.is_complete: bool = False
        #: Whether the connection ends with it; final as soon as it has begun.
        self.closes: bool = False

    def serialize(self, event: Mapping[str, Any], *, closes: bool) -> list[bytes]:
        """The bytes that ``event`` adds to what has been sent, perhaps none.

        Args:
            event: as the application sent it.
            closes: whether the connection will end with this response anyway.

        Raises:
            StateError: an event that cannot come now, or none of a response.
            LocalError: a status, a header or a body that may not be sent.

        Source: ASGI, Response Start and Response Body; RFC 9112 §6.
        """
        kind = type_of(event)
        if self.is_complete:
            raise StateError(f"{describe(kind)} came behind the end of the response")
        if kind == "http.response.start":
            self._start(event)
            return []
        if kind != "http.response.body":
            raise StateError(f"expected http.response.start or http.response.body, not {describe(kind)}")
        return self._continue(event, closes)

    def _start(self, event: Mapping[str, Any]) -> None:
        if self._status is not None:
            raise StateError("http.response.start came a second time")
        status = event.get("status")
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise LocalError(f"the status of a response must be an integer from 200 to 599, not {describe(status)}")
        fields = _Fields(event.get("headers", ()))
        self._lines = [*status_lines(status, has_date=fields.has_date), *checked_lines(fields.others)]
        self._connection = list(checked_lines(fields.connection))
        self.closes = fields.asks_to_close
        self._length = fields.length
        if status == 204:
            self._length = None  # RFC 9110 §8.6: and no Content-Length
        self._status = int(status)

    def _continue(self, event: Mapping[str, Any], closes: bool) -> list[bytes]:
        if self._status is None:
            raise StateError("http.response.body came before http.response.start")
        data = event.get("body", b"")
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise LocalError(f"the body of a response must be bytes, not {describe(data)}")
        data = bytes(data)  # what may change must not wait for the socket
        is_last = not event.get("more_body", False)
        has_body = not self._is_head and self._status not in BODILESS
        if has_body:
            self._check_length(len(data), is_last)
        pieces = [] if self.has_begun else [self._begin(len(data), is_last, closes)]
        if has_body:
            pieces += self._framed(data, is_last)
        self.is_complete = is_last
        return pieces

    def _check_length(self, size: int, is_last: bool) -> None:
        self._size += size
        if self._length is None:
            return
        if self._size > self._length or (is_last and self._size < self._length):
            raise LocalError(f"Content-Length is {self._length}, but the body has {self._size} bytes")

    def _begin(self, size: int, is_last: bool, closes: bool) -> bytes:
        self.has_begun = True
        self.closes = self.closes or closes
        framing = self._framing(size, is_last)
        connection = ["Connection: close"] if self.closes else self._connection
        return "\r\n".join([*self._lines, *framing, *connection, "\r\n"]).encode("latin-1")

    def _framing(self, size: int, is_last: bool) -> list[str]:
        """The field that says where the response ends."""
        if self._length is not None:
            return [f"Content-Length: {self._length}"]
        if self._status in BODILESS or (self._is_head and not (size and is_last)):
            return []  # the length that a GET would have is not known
        if is_last:
            return [f"Content-Length: {size}"]
        if self._knows_chunks:
            self._is_chunked = True
            return ["Transfer-Encoding: chunked"]
        self.closes = True
        return []

    def _framed(self, data: bytes, is_last: bool) -> list[bytes]:
        if not self._is_chunked:
            return [data] if data else []
        pieces = [b"%x\r\n" % len(data), data, b"\r\n"] if data else []
        return [*pieces, _LAST_CHUNK] if is_last else pieces


@final
class _Fields:
    """The headers of an application, those apart that say where a response or a connection ends."""

    __slots__ = ("asks_to_close", "connection", "has_date", "length", "others")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.others: list[tuple[str, str]] = []
        self.connection: list[tuple[str, str]] = []
        self.length: int | None = None
        self.asks_to_close = False
        self.has_date = False
        for pair in headers:
            self._add(*_decoded(pair))

    def _add(self, name: str, value: str) -> None:
        folded = name.lower()
        if folded == "content-length":
            self._add_length(value)
        elif folded == "connection":
            self.connection.append((name, value))
            self.asks_to_close |= "close" in (token.strip(" \t").lower() for token in value.split(","))
        elif folded != "transfer-encoding":  # the coding is the server's to choose
            self.others.append((name, value))
            self.has_date |= folded == "date"

    def _add_length(self, value: str) -> None:
        if not (value.isascii() and value.isdigit()):
            raise LocalError(f"Content-Length must be a number of bytes, not {describe(value)}")
        if self.length not in (None, int(value)):
            raise LocalError(f"Content-Length is both {self.length} and {value}")
        self.length = int(value)


def _decoded(pair: tuple[bytes, bytes]) -> tuple[str, str]:
    try:
        name, value = pair
        return name.decode("latin-1"), value.decode("latin-1")
    except (TypeError, ValueError, AttributeError) as exc:
        raise LocalError(f"a header must be a name and a value, both bytes, not {kinds_of(pair)}") from exc
