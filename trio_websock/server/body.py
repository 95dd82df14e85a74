"""The body of a plain HTTP request, as its bytes arrive: out of a length or out of chunks.

In: bytes. Out: the body, at once or piece by piece, and what came behind it. Bounded in what it keeps and in what it
reads, unless it is taken piece by piece. Pure.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import final

import httptools

from .head import BadRequest

__all__ = ["Body", "ChunkedBody", "SizedBody", "body_for"]

# A chunk of one byte costs five more, and may carry an extension; a body that is nearly all framing is an attack.
MAX_FRAMING_RATIO = 16

_DIGITS = re.compile(rb"[0-9A-Fa-f]*")
_SIZE_LEN = 17  # a size has 64 bits at most, and then something else


class Body(ABC):
    """A body that is being received."""

    __slots__ = ()

    #: Whether the whole body is there.
    is_complete: bool

    @abstractmethod
    def receive_data(self, data: bytes) -> bytes:
        """Take what belongs to the body and return the rest; the rest is empty until it is complete.

        Raises:
            BadRequest: 400 for broken chunks, 413 for too much.
        """

    @abstractmethod
    def content(self) -> bytes:
        """The body received so far; the part of it that has not been taken."""

    @abstractmethod
    def take(self) -> bytes:
        """The same, and forget it."""


def body_for(content_length: int | None, max_size: float) -> Body:
    """The body that a head announces; ``None`` is a chunked one.

    Args:
        content_length: what the head says.
        max_size: bytes; ``math.inf`` for a body that is taken piece by piece.

    Raises:
        BadRequest: 413, before a byte of it is read.
    """
    if content_length is None:
        return ChunkedBody(max_size)
    if content_length > max_size:
        raise _too_large(max_size)
    return SizedBody(content_length)


@final
class SizedBody(Body):
    """``size`` bytes."""

    __slots__ = ("_data", "_missing", "is_complete")

    def __init__(self, size: int) -> None:
        self._data = bytearray()
        self._missing = size
        self.is_complete: bool = size == 0

    def receive_data(self, data: bytes) -> bytes:
        taken = data[: self._missing]
        self._data += taken
        self._missing -= len(taken)
        self.is_complete = self._missing == 0
        return data[len(taken) :]

    def content(self) -> bytes:
        return bytes(self._data)

    def take(self) -> bytes:
        data, self._data = self._data, bytearray()
        return bytes(data)


@final
class ChunkedBody(Body):
    """Chunks up to the empty one, and trailers, which are dropped. Source: RFC 9112 §7.1."""

    __slots__ = ("_chunks", "_line", "_max_size", "_missing", "_parser", "_taken")

    def __init__(self, max_size: float) -> None:
        self._max_size = max_size
        self._taken = 0
        self._line = b""  # the beginning of the present line, as far as it may tell a size
        self._missing = 0  # bytes of the present chunk and the end of its line
        self._chunks = _Chunks()
        # A parser of its own: one that has seen "Upgrade" would leave the chunks to us.
        self._parser = httptools.HttpRequestParser(self._chunks)
        self._parser.feed_data(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")

    @property
    def is_complete(self) -> bool:  # type: ignore[override]  # read-only here
        return self._chunks.is_complete

    def receive_data(self, data: bytes) -> bytes:
        # llhttp cannot be stopped behind the last chunk. Every body ends at the end of a line, so it gets one at a
        # time; but the inside of a chunk at once, which may be nothing but line feeds.
        start = 0
        while start < len(data) and not self.is_complete:
            end = start + self._missing if self._missing else data.find(b"\n", start) + 1 or len(data)
            self._receive_piece(data[start:end])
            start = end
        return data[start:]

    def _receive_piece(self, piece: bytes) -> None:
        self._taken += len(piece)
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserError as exc:
            raise BadRequest(400, f"expected a chunked body (RFC 9112 §7.1): {exc}") from exc
        if len(self._chunks.data) > self._max_size or self._taken > MAX_FRAMING_RATIO * (self._max_size + 1024):
            raise _too_large(self._max_size)
        if self._missing:
            self._missing -= len(piece)
        else:
            self._learn_size(piece)

    def _learn_size(self, piece: bytes) -> None:
        """Learn how long a chunk is from a piece of the line before it; llhttp has found it good, but does not say."""
        self._line = (self._line + piece).lstrip(b"0")[:_SIZE_LEN]
        if not piece.endswith(b"\n"):
            return
        size = int(b"0" + _DIGITS.match(self._line)[0], 16) if self._chunks.has_begun else 0  # type: ignore[index]
        self._missing = size + 2 if size else 0  # with the end of the line behind it
        self._chunks.has_begun = False
        self._line = b""

    def content(self) -> bytes:
        return bytes(self._chunks.data)

    def take(self) -> bytes:
        data, self._chunks.data = self._chunks.data, bytearray()
        return bytes(data)


@final
class _Chunks:
    """What llhttp reports of the chunks."""

    __slots__ = ("data", "has_begun", "is_complete")

    def __init__(self) -> None:
        self.data = bytearray()
        self.has_begun = False
        self.is_complete = False

    def on_chunk_header(self) -> None:
        self.has_begun = True

    def on_body(self, data: bytes) -> None:
        self.data += data

    def on_message_complete(self) -> None:
        self.is_complete = True


def _too_large(max_size: float) -> BadRequest:
    return BadRequest(413, f"expected a body of at most {max_size} bytes")
