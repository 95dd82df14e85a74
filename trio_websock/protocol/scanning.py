"""Scanning: the whole messages in a buffer.

In: a buffer, and a position in it where a frame starts and no message is open. Out: the messages that lie there whole,
each in one frame, as nearly every message is; and where the first thing begins that is not like that. Judges nothing:
what it does not take, be it unfinished, unusual or illegal, is left to ``frames`` and ``assembly``. One function is the
whole face, so that a compiled twin can take its place.
"""

from __future__ import annotations

from collections.abc import Callable

from ..codes import Opcode
from ..messages import Incoming
from .frames import FIN, RSV1
from .masking import apply_mask

__all__ = ["LONGEST", "parse_messages"]

LONGEST = 0xFFFF  # the longest payload that is taken: the longest with two bytes of length

_LENGTH_16 = 126  # two bytes of length follow, RFC 6455 §5.2
_NEVER = LONGEST + 1
_WHOLE_TEXT = FIN | Opcode.TEXT
_WHOLE_BINARY = FIN | Opcode.BINARY
_PLAIN = frozenset((_WHOLE_TEXT, _WHOLE_BINARY))
_COMPRESSED = frozenset((_WHOLE_TEXT | RSV1, _WHOLE_BINARY | RSV1))


def parse_messages(
    buffer: bytes,
    position: int,
    masked: bool,
    longest: int,
    errors: str,
    inflate: Callable[[bytes, bool], Incoming] | None,
    batch: list[Incoming],
    most: int,
    /,
) -> int:
    """Append whole messages to ``batch``; the position behind the last of them.

    A compressed message ends the scan, so that the caller sees what it has become.

    Args:
        buffer: what has arrived.
        position: where the first frame starts.
        masked: whether the peer is a client (RFC 6455 §5.1).
        longest: the longest payload to take, in bytes as it travels; never more than :data:`LONGEST`.
        errors: what to do with text that is not UTF-8: ``"strict"``, or another of the codec's names.
        inflate: makes the message of a compressed payload, told whether it is text; its errors pass. ``None`` where no
            compression was negotiated.
        batch: what has been parsed so far.
        most: ends the scan once the batch is that long.

    Raises:
        UnicodeDecodeError: text that is not UTF-8; the messages before it are in the batch.
        ValueError: a position outside the buffer.

    Source: RFC 6455 §5.2.
    """
    size = len(buffer)
    if not 0 <= position <= size:
        raise ValueError(f"position {position} came: expected one within {size} bytes")
    mask_bit, head_size = (0x80, 6) if masked else (0, 2)
    taken = _PLAIN if inflate is None else _PLAIN | _COMPRESSED
    longest = min(longest, LONGEST)
    while len(batch) < most:
        start = position + head_size
        if start > size:
            return position
        first = buffer[position]
        length = buffer[position + 1] ^ mask_bit
        shortest = 0
        if length == _LENGTH_16:
            shortest, start = _LENGTH_16, start + 2
            length = int.from_bytes(buffer[position + 2 : position + 4], "big")
        elif length > _LENGTH_16:  # eight bytes of length, or the wrong MASK bit
            shortest = _NEVER
        end = start + length
        if not (shortest <= length <= longest and end <= size and first in taken):
            return position
        payload = buffer[start:end]
        if masked:
            payload = apply_mask(payload, buffer[start - 4 : start])
        position = end
        if inflate is not None and first & RSV1:
            batch.append(inflate(payload, first == _WHOLE_TEXT | RSV1))
            return position
        batch.append(payload if first == _WHOLE_BINARY else payload.decode("utf-8", errors))
    return position
