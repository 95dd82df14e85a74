"""Frames: the head of a frame, and what a close frame carries, as bytes and as values.

In: bytes at a position of a buffer, or the parts of a head. Out: a :class:`Head` that keeps every rule a head can be
judged by alone, or bytes. Remembers nothing: what an earlier frame allows or forbids is the assembler's affair.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from ..codes import Opcode, is_sendable
from ..errors import FrameError, InvalidPayload
from ..messages import MAX_CONTROL_PAYLOAD

__all__ = [
    "FIN",
    "FIRST_CONTROL",
    "RSV1",
    "SMALL_HEADS",
    "Head",
    "PeerClose",
    "Role",
    "parse_close",
    "parse_head",
    "serialize_close",
    "serialize_head",
]

# The first byte of a frame, RFC 6455 §5.2: FIN, three reserved bits, four bits of opcode.
FIN = 0x80
RSV1 = 0x40  # a compressed message, RFC 7692 §6
_RSV2_RSV3 = 0x30
_OPCODE = 0x0F
# The second byte: MASK, seven bits of length.
_MASK = 0x80
_LENGTH = 0x7F
_LENGTH_16 = 126  # two bytes of length follow
_LENGTH_64 = 127  # eight bytes of length follow

_OPCODES = frozenset(Opcode)
FIRST_CONTROL = 0x8  # from here up: control frames, §5.5


class Role(enum.Enum):
    """Which end of the connection we are.

    A server expects masked frames and sends unmasked ones; a client the reverse.

    Source: RFC 6455 §5.1.
    """

    SERVER = "server"
    CLIENT = "client"


class Head(NamedTuple):
    """Everything that stands before a payload.

    Args:
        opcode: what the frame carries.
        fin: whether it is the last frame of its message.
        compressed: RSV1.
        length: bytes of the payload.
        key: of the mask; ``None`` for an unmasked frame.
        size: bytes of the head itself.

    Source: RFC 6455 §5.2.
    """

    opcode: Opcode
    fin: bool
    compressed: bool
    length: int
    key: bytes | None
    size: int


class PeerClose(NamedTuple):
    """The peer's close frame; ``code`` is ``None`` for an empty one.

    Source: RFC 6455 §5.5.1.
    """

    code: int | None
    text: str


# Every first byte that is legal where compression was negotiated, and what it says; the others are named by
# _fault_of_first. RSV1 belongs to the first frame of a data message alone (RFC 7692 §6.1), and control frames are
# never fragmented (RFC 6455 §5.5).
_FIRST_BYTES = {
    fin | rsv1 | opcode: (opcode, bool(fin), bool(rsv1))
    for opcode in Opcode
    for fin in ((0, FIN) if opcode < FIRST_CONTROL else (FIN,))
    for rsv1 in ((0, RSV1) if opcode in (Opcode.TEXT, Opcode.BINARY) else (0,))
}


def parse_head(buffer: bytes, position: int, expect_mask: bool, allow_rsv1: bool) -> Head | None:
    """The head that starts at ``position``; ``None`` if more bytes are needed.

    Args:
        buffer: what has arrived.
        position: where the frame starts.
        expect_mask: whether the peer is a client (RFC 6455 §5.1).
        allow_rsv1: whether compression was negotiated.

    Raises:
        FrameError: as soon as the bytes that are there cannot become a legal head.

    Source: RFC 6455 §5.2.
    """
    available = len(buffer) - position
    if available < 2:
        return None
    first, second = buffer[position], buffer[position + 1]
    if first not in _FIRST_BYTES or (first & RSV1 and not allow_rsv1):
        raise _fault_of_first(first, allow_rsv1)
    opcode, fin, compressed = _FIRST_BYTES[first]
    if (second >= _MASK) is not expect_mask:
        raise _fault_of_mask(expect_mask)
    size, length = 2, second & _LENGTH
    if length > MAX_CONTROL_PAYLOAD:
        if opcode >= FIRST_CONTROL:
            raise _fault_of_control(opcode, "with an extended length")
        size = 4 if length == _LENGTH_16 else 10
        if available < size:
            return None
        length = _parse_length(buffer[position + 2 : position + size])
    key = None
    if expect_mask:
        size += 4
        if available < size:
            return None
        key = buffer[position + size - 4 : position + size]
    return Head(opcode, fin, compressed, length, key, size)


def _parse_length(extended: bytes) -> int:
    length = int.from_bytes(extended, "big")
    # §5.2: "the minimal number of bytes MUST be used", and of eight bytes the most significant bit is 0.
    if length < (_LENGTH_16 if len(extended) == 2 else 0x10000):
        came = f"length {length} came in {len(extended)} bytes"
        raise FrameError(f"{came}: expected its shortest form", "RFC 6455 §5.2")
    if length >= 1 << 63:
        raise FrameError(f"length {length} came: expected the most significant bit to be 0", "RFC 6455 §5.2")
    return length


def _fault_of_first(first: int, allow_rsv1: bool) -> FrameError:
    number = first & _OPCODE
    if number not in _OPCODES:
        return FrameError(f"opcode {number:#x} came, which is reserved", "RFC 6455 §5.2")
    if first & _RSV2_RSV3:
        return FrameError("RSV2 or RSV3 is set: expected 0, no extension defines them", "RFC 6455 §5.2")
    if first & RSV1 and not allow_rsv1:
        return FrameError("RSV1 is set: expected 0, compression was not negotiated", "RFC 6455 §5.2")
    if first & RSV1:
        name = Opcode(number).name.lower()
        return FrameError(f"RSV1 is set on a {name} frame: expected on the first of a message", "RFC 7692 §6.1")
    return _fault_of_control(Opcode(number), "that is fragmented")


def _fault_of_mask(expect_mask: bool) -> FrameError:
    came, expected = ("an unmasked", "masked") if expect_mask else ("a masked", "unmasked")
    return FrameError(f"{came} frame came: expected {expected} ones from this side", "RFC 6455 §5.1")


def _fault_of_control(opcode: Opcode, came: str) -> FrameError:
    expected = f"a whole frame of at most {MAX_CONTROL_PAYLOAD} bytes"
    return FrameError(f"a {opcode.name.lower()} frame {came} came: expected {expected}", "RFC 6455 §5.5")


# SMALL_HEADS[first byte][length] is the unmasked head of a whole text or binary frame of at most 125 bytes: looking it
# up is what makes a small answer cheap.
SMALL_HEADS = {
    first: tuple(bytes((first, length)) for length in range(_LENGTH_16))
    for opcode in (Opcode.TEXT, Opcode.BINARY)
    for first in (FIN | opcode, FIN | RSV1 | opcode)
}


def serialize_head(first: int, length: int, key: bytes | None = None) -> bytes:
    """The head of a frame, its length in the shortest form.

    Args:
        first: FIN, RSV1 and the opcode.
        length: bytes of the payload.
        key: of the mask; ``None`` for an unmasked frame.

    Source: RFC 6455 §5.2.
    """
    mask, tail = (0, b"") if key is None else (_MASK, key)
    if length < _LENGTH_16:
        return bytes((first, mask | length)) + tail
    if length < 0x10000:
        return bytes((first, mask | _LENGTH_16)) + length.to_bytes(2, "big") + tail
    return bytes((first, mask | _LENGTH_64)) + length.to_bytes(8, "big") + tail


def parse_close(payload: bytes) -> PeerClose:
    """What a close frame says.

    Raises:
        FrameError: half a code, or a code that may not travel.
        InvalidPayload: text that is not UTF-8.

    Source: RFC 6455 §5.5.1 and §7.4.
    """
    if not payload:
        return PeerClose(None, "")
    if len(payload) == 1:
        raise FrameError("a close frame of 1 byte came: expected none, or a code of 2 bytes", "RFC 6455 §5.5.1")
    code = int.from_bytes(payload[:2], "big")
    if not is_sendable(code):
        raise FrameError(f"close code {code} came, which may not travel", "RFC 6455 §7.4")
    try:
        return PeerClose(code, payload[2:].decode())
    except UnicodeDecodeError as exc:
        raise InvalidPayload(f"the text of a close frame is not UTF-8: {exc}", "RFC 6455 §5.5.1") from exc


def serialize_close(code: int | None, text: bytes = b"") -> bytes:
    """The payload of a close frame; without a code there is no text either.

    Source: RFC 6455 §5.5.1.
    """
    return b"" if code is None else code.to_bytes(2, "big") + text
