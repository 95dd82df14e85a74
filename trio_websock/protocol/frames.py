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

_OPCODES = {int(opcode): opcode for opcode in Opcode}
_FIRST_CONTROL = 0x8


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


def parse_head(buffer: bytes, position: int, role: Role, allow_compressed: bool) -> Head | None:
    """The head that starts at ``position``; ``None`` if more bytes are needed.

    Args:
        buffer: what has arrived.
        position: where the frame starts.
        role: which end we are.
        allow_compressed: whether permessage-deflate was negotiated.

    Raises:
        FrameError: as soon as the bytes that are there cannot become a legal head.

    Source: RFC 6455 §5.2.
    """
    available = len(buffer) - position
    if available < 2:
        return None
    first, second = buffer[position], buffer[position + 1]
    opcode = _check_first(first, allow_compressed)
    masked = _check_mask(second, role)
    fin, length = bool(first & FIN), second & _LENGTH
    if opcode >= _FIRST_CONTROL:
        _check_control(opcode, fin, length)
    size = 2
    if length >= _LENGTH_16:
        width = 2 if length == _LENGTH_16 else 8
        size += width
        if available < size:
            return None
        length = _parse_length(buffer[position + 2 : position + size], width)
    key = None
    if masked:
        size += 4
        if available < size:
            return None
        key = buffer[position + size - 4 : position + size]
    return Head(opcode, fin, bool(first & RSV1), length, key, size)


def _check_first(first: int, allow_compressed: bool) -> Opcode:
    opcode = _OPCODES.get(first & _OPCODE)
    if opcode is None:
        raise FrameError(f"opcode {first & _OPCODE:#x} came, which is reserved", "RFC 6455 §5.2")
    if first & _RSV2_RSV3:
        raise FrameError("RSV2 or RSV3 is set: expected 0, no extension defines them", "RFC 6455 §5.2")
    if first & RSV1 and not allow_compressed:
        raise FrameError("RSV1 is set: expected 0, compression was not negotiated", "RFC 6455 §5.2")
    if first & RSV1 and opcode not in (Opcode.TEXT, Opcode.BINARY):
        name = opcode.name.lower()
        raise FrameError(f"RSV1 is set on a {name} frame: expected on the first frame of a message", "RFC 7692 §6.1")
    return opcode


def _check_mask(second: int, role: Role) -> bool:
    masked = bool(second & _MASK)
    if masked and role is Role.CLIENT:
        raise FrameError("a masked frame came: expected unmasked frames from a server", "RFC 6455 §5.1")
    if not masked and role is Role.SERVER:
        raise FrameError("an unmasked frame came: expected masked frames from a client", "RFC 6455 §5.1")
    return masked


def _check_control(opcode: Opcode, fin: bool, length: int) -> None:
    if not fin:
        raise FrameError(f"a fragmented {opcode.name.lower()} frame came: expected a whole one", "RFC 6455 §5.5")
    if length > MAX_CONTROL_PAYLOAD:
        message = f"a {opcode.name.lower()} frame of more than {MAX_CONTROL_PAYLOAD} bytes came: expected at most that"
        raise FrameError(message, "RFC 6455 §5.5")


def _parse_length(extended: bytes, width: int) -> int:
    length = int.from_bytes(extended, "big")
    # §5.2: "the minimal number of bytes MUST be used".
    if length < (126 if width == 2 else 0x10000):
        raise FrameError(f"length {length} came in {width} bytes: expected its shortest form", "RFC 6455 §5.2")
    if length >= 1 << 63:
        raise FrameError(f"length {length} came: expected the most significant bit to be 0", "RFC 6455 §5.2")
    return length


# SMALL_HEADS[first byte][length] is the unmasked head of a frame of at most 125 bytes: looking it up is what makes a
# small answer cheap. Only first bytes of whole frames that we send are there.
SMALL_HEADS = {
    first: tuple(bytes((first, length)) for length in range(MAX_CONTROL_PAYLOAD + 1))
    for first in (
        *(FIN | opcode for opcode in Opcode if opcode is not Opcode.CONTINUATION),
        *(FIN | RSV1 | opcode for opcode in (Opcode.TEXT, Opcode.BINARY)),
    )
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
