"""permessage-deflate: the two streams of a connection that has agreed on it.

In: payloads as they are or as they travel. Out: the other form. Knows neither frames nor messages, only where a message
ends. What is agreed on, and how, is in ``negotiation``.
"""

from __future__ import annotations

import sys
import zlib
from typing import Protocol, final

from ..errors import InvalidPayload, PolicyViolation
from .frames import Role
from .negotiation import (
    MIN_ZLIB_WINDOW_BITS,
    DeflateParameters,
    accept_deflate,
    negotiate_deflate,
    offer_deflate,
)

__all__ = ["DeflateParameters", "PerMessageDeflate", "accept_deflate", "negotiate_deflate", "offer_deflate"]

# An empty block with BFINAL set, RFC 1951 §3.2.3: it ends a stream, but only one that is between two blocks.
_LAST_BLOCK = b"\x03\x00"
# What a flush leaves at the end of a message; it does not travel, RFC 7692 §7.2.1.
_TAIL = b"\x00\x00\xff\xff"
# A sender ends a stream now and then, if it ever does; a new one costs us far more than the two bytes it may cost the
# peer, so that one message must not hold any number of them.
_MAX_STREAMS = 1024
# An empty message, RFC 7692 §7.2.3.6. zlib's flush writes nothing if nothing came since the last one.
_EMPTY = b"\x00"


class _Deflater(Protocol):
    """What we use of zlib's object, whose type has no public name."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self, mode: int, /) -> bytes: ...


class _Inflater(Protocol):
    """The same for the other direction."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /, max_length: int = 0) -> bytes: ...
    def copy(self) -> _Inflater: ...


def _check_block_end(inflater: _Inflater) -> None:
    """Refuse a message whose data stops inside a block: zlib would say nothing, and the tail would be read as data."""
    probe = inflater.copy()
    try:
        probe.decompress(_LAST_BLOCK)
        ends = probe.eof
    except zlib.error:
        ends = False
    if not ends:
        raise zlib.error("the data ends inside a block")


@final
class PerMessageDeflate:
    """The two streams of one connection: what we send compressed, and what we inflate.

    zlib's objects are made when first needed, and given back after each message where the context is not taken over:
    an idle connection without takeover costs nothing.

    Source: RFC 7692 §7.2.
    """

    __slots__ = (
        "_deflater",
        "_in_stream",
        "_inflater",
        "_keep_deflater",
        "_keep_inflater",
        "_parameters",
        "_streams",
        "_wbits",
    )

    def __init__(self, parameters: DeflateParameters, role: Role) -> None:
        server = (parameters.server_max_window_bits, not parameters.server_no_context_takeover)
        client = (parameters.client_max_window_bits, not parameters.client_no_context_takeover)
        ours, theirs = (server, client) if role is Role.SERVER else (client, server)
        self._parameters = parameters
        # Negative: a raw stream. A larger window than the peer's inflates as well.
        self._wbits = (-ours[0], -max(theirs[0], MIN_ZLIB_WINDOW_BITS))
        self._keep_deflater, self._keep_inflater = ours[1], theirs[1]
        self._deflater: _Deflater | None = None
        self._inflater: _Inflater | None = None
        self._in_stream = False  # whether bytes of the present message went into the present inflater
        self._streams = 0  # that ended in the present message

    @property
    def sharing_key(self) -> tuple[int, int, int] | None:
        """Whoever has the same compresses a message to the same bytes; ``None``: that depends on those before it."""
        parameters = self._parameters
        return None if self._keep_deflater else (self._wbits[0], parameters.level, parameters.memory_level)

    def compress(self, payload: bytes) -> bytes:
        """One whole message, as it travels.

        Source: RFC 7692 §7.2.1.
        """
        if not payload:
            return _EMPTY
        deflater = self._deflater
        if deflater is None:
            parameters = self._parameters
            deflater = zlib.compressobj(parameters.level, zlib.DEFLATED, self._wbits[0], parameters.memory_level)
            if self._keep_deflater:
                self._deflater = deflater
        return (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH))[: -len(_TAIL)]

    def decompress(self, piece: bytes, last: bool, room: int | None) -> bytes:
        """The next bytes of a message, inflated.

        Args:
            piece: as it travels.
            last: whether the message ends here.
            room: stop inflating one byte above it, whatever the ratio; ``None`` for no limit.

        Returns:
            At most ``room`` bytes; ``room`` and one if there is more, and then the streams are of no further use.

        Raises:
            InvalidPayload: broken deflate data.
            PolicyViolation: too many streams in one message.

        Source: RFC 7692 §7.2.2.
        """
        self._in_stream = self._in_stream or bool(piece)
        # A message without a byte, or one that ended with its stream, has nothing that a tail could complete.
        if last and self._in_stream:
            piece += _TAIL
        try:
            inflated = self._inflate(piece, last, 0 if room is None else min(room, sys.maxsize - 1) + 1)
        except zlib.error as exc:
            raise InvalidPayload(f"compressed data came that does not inflate: {exc}", "RFC 7692 §7.2.2") from exc
        if last:
            self._in_stream = False
            self._streams = 0
            if not self._keep_inflater:
                self._inflater = None
        return inflated

    def _inflate(self, data: bytes, last: bool, max_length: int) -> bytes:
        """Inflate one deflate stream after the other; ``max_length`` 0 is no limit.

        A block with BFINAL set ends a stream; what follows it, in this message or the next, is a new one (§7.2.3.4).
        """
        inflated = b""
        while data:
            if self._inflater is None:
                self._inflater = zlib.decompressobj(self._wbits[1])
            inflater = self._inflater
            inflated += inflater.decompress(data, max_length and max_length - len(inflated))
            if max_length and len(inflated) == max_length:
                break
            if not inflater.eof:
                if last:
                    _check_block_end(inflater)
                break
            self._end_stream()
            # A stream that ended on the last byte of the message leaves the tail alone; it begins nothing.
            data = b"" if last and inflater.unused_data == _TAIL else inflater.unused_data
            self._in_stream = bool(data)
        return inflated

    def _end_stream(self) -> None:
        self._inflater = None
        self._streams += 1
        if self._streams > _MAX_STREAMS:
            raise PolicyViolation(f"more than {_MAX_STREAMS} deflate streams came in one message", "RFC 7692 §7.2.3.4")
