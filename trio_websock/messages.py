"""Messages as an application writes and reads them, and their one form on the way to the wire.

In: whatever a callback pushes. Out: ``(opcode, payload bytes)``, checked, so that nothing behind this
station can fail on a message. A prepared message has been through here before. Knows nothing of frames, but keeps those
that others make of a prepared one.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from types import CoroutineType
from typing import Final, TypeAlias, Union, final

from .codes import Opcode
from .errors import MessageError, describe

__all__ = [
    "AWAIT_HINT",
    "MAX_CONTROL_PAYLOAD",
    "MAX_FRAMES",
    "Binary",
    "Incoming",
    "Message",
    "Outgoing",
    "Payload",
    "Ping",
    "Pong",
    "Prepared",
    "SharedOutgoing",
    "Text",
    "close_forgotten",
    "encode_message",
    "prepare",
]

AWAIT_HINT = " (is an await missing?)"
MAX_CONTROL_PAYLOAD = 125  # bytes; RFC 6455 §5.5
MAX_FRAMES: Final = (
    8  # kept of one message: RFC 7692 has 7 sizes of a window that zlib takes, and there is the plain one
)

Payload: TypeAlias = Union[str, bytes, bytearray, memoryview, Sequence["Payload"], None]  # noqa: UP007  # a forward reference
"""What a message carries: text, bytes, ``None`` for nothing, or a list of those (iodata), joined when sent."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text message. Bytes must be UTF-8: they are sent as they are, without a decode."""

    payload: Payload = b""


@dataclass(frozen=True, slots=True)
class Binary:
    """A binary message. A ``str`` is sent as its UTF-8 bytes."""

    payload: Payload = b""


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping, at most 125 bytes. As ``handle_control`` gets it, ``payload`` is always ``bytes``."""

    payload: Payload = b""


@dataclass(frozen=True, slots=True)
class Pong:
    """A pong, at most 125 bytes. As ``handle_control`` gets it, ``payload`` is always ``bytes``."""

    payload: Payload = b""


@final
class Prepared:
    """A message that has been checked, and whose frame is made once for many connections; see :func:`prepare`.

    It does not change, and may be sent any number of times, by any connection of any thread.
    """

    __slots__ = ("_outgoing",)

    def __init__(self, outgoing: SharedOutgoing) -> None:
        if not isinstance(outgoing, SharedOutgoing):
            raise TypeError(f"a Prepared is made by prepare(message), not from {describe(outgoing)}")
        self._outgoing = outgoing

    @property
    def opcode(self) -> Opcode:
        """What kind of message it is."""
        return self._outgoing[0]

    @property
    def payload(self) -> bytes:
        """What it carries, text as UTF-8."""
        return self._outgoing[1]

    def __repr__(self) -> str:
        opcode, payload = self._outgoing
        return f"<Prepared {opcode.name.lower()} of {len(payload)} bytes>"


Message: TypeAlias = str | bytes | bytearray | memoryview | Text | Binary | Ping | Pong | Prepared
"""What ``Push`` accepts: ``str`` is text, bytes-like is binary, the classes name the opcode."""

Incoming: TypeAlias = str | bytes | Ping | Pong
"""What arrives: a whole text or binary message, or a control frame."""

Outgoing: TypeAlias = tuple[Opcode, bytes]
"""A checked message on its way to the wire."""


@final
class SharedOutgoing(tuple[Opcode, bytes]):
    """An :data:`Outgoing` that many connections send.

    Attributes:
        frames: what was made of it, by the parameters it was made with; no more are added than :data:`MAX_FRAMES`.
    """

    frames: dict[tuple[int, ...], tuple[bytes, ...]]

    def __init__(self, outgoing: Outgoing) -> None:
        self.frames = {}


_TEXT, _BINARY = Opcode.TEXT, Opcode.BINARY  # looked up for every message
_OPCODES = {Text: Opcode.TEXT, Binary: Opcode.BINARY, Ping: Opcode.PING, Pong: Opcode.PONG}


def encode_message(message: Message, validate_utf8: bool = True) -> Outgoing:
    """Check ``message`` and turn it into ``(opcode, payload)``.

    Args:
        message: see :data:`Message`.
        validate_utf8: ``False`` lets text carry bytes that are not UTF-8 (a ``str`` with surrogate escapes).

    Raises:
        MessageError: not a message, text that is not UTF-8, or a control frame over 125 bytes.
    """
    kind = type(message)
    if kind is str:
        try:
            return _TEXT, message.encode()  # type: ignore[union-attr]  # narrowed by identity
        except UnicodeEncodeError:
            return _TEXT, _encode_text(message, validate_utf8)  # type: ignore[arg-type]  # as above
    if kind is bytes:
        return _BINARY, message  # type: ignore[return-value]  # narrowed by identity
    if kind is Prepared:
        return message._outgoing  # type: ignore[union-attr]  # as above
    return _encode_any(message, validate_utf8)


def prepare(message: Message) -> Prepared:
    """Check ``message`` now, and have its frame made once, however many connections send it.

    The result is sent as ``message`` itself would be, to the byte, wherever a message is accepted: in ``Push`` and the
    other results, alone or in a list, and by a client. Connections of our own server share the frame, uncompressed, or
    compressed where the server's context is not taken over (``Deflate(server_no_context_takeover=True)``) and the
    settings are the same. A compressed message that refers to those before it is different on every connection, and a
    client masks each frame with another key: those are made each time, as for any message.

    Args:
        message: see :data:`Message`; a later change of a ``bytearray`` changes nothing.

    Returns:
        What does not change and may be sent at any time, any number of times. The frames are kept as long as it is.

    Raises:
        MessageError: not a message, text that is not UTF-8 (whatever ``validate_utf8`` says where it is sent), or a
            control frame over 125 bytes.

    Source: our own.
    """
    return message if isinstance(message, Prepared) else Prepared(SharedOutgoing(encode_message(message)))


def _encode_any(message: Message, validate_utf8: bool) -> Outgoing:
    if isinstance(message, str):
        return Opcode.TEXT, _encode_text(message, validate_utf8)
    opcode = _OPCODES.get(type(message))
    if opcode is None:
        data = _copy_bytes(message)
        if data is None:
            raise _refusal(message, "a message: expected str, bytes, Text, Binary, Ping or Pong")
        return Opcode.BINARY, data
    payload = _join_payload(message.payload, validate_utf8)  # type: ignore[union-attr]  # narrowed by its type
    if opcode is Opcode.TEXT:
        _check_text(message.payload, payload, validate_utf8)  # type: ignore[union-attr]  # as above
    elif opcode is not Opcode.BINARY and len(payload) > MAX_CONTROL_PAYLOAD:
        name = opcode.name.lower()
        raise MessageError(f"a {name} carries at most {MAX_CONTROL_PAYLOAD} bytes, not {len(payload)} (RFC 6455 §5.5)")
    return opcode, payload


def _join_payload(payload: Payload, validate_utf8: bool) -> bytes:
    if not isinstance(payload, (list, tuple)):
        return _encode_part(payload, validate_utf8)
    # No recursion: iodata grown as ``data = [data, more]`` is as deep as it is long. What is open is kept by identity,
    # innermost last, so that a list within itself is noticed.
    parts: list[bytes] = []
    unfinished = {id(payload): iter(payload)}
    while unfinished:
        identity, rest = unfinished.popitem()
        for part in rest:
            if isinstance(part, (list, tuple)):
                unfinished[identity] = rest
                if id(part) in unfinished:
                    raise MessageError("a payload contains itself: expected lists that come to an end")
                unfinished[id(part)] = iter(part)
                break
            parts.append(_encode_part(part, validate_utf8))
    return b"".join(parts)


def _encode_part(part: Payload, validate_utf8: bool) -> bytes:
    if isinstance(part, str):
        return _encode_text(part, validate_utf8)
    if part is None:
        return b""
    data = _copy_bytes(part)
    if data is None:
        raise _refusal(part, "a payload: expected str, bytes-like, None or a list of those")
    return data


def _refusal(given: object, expected: str) -> MessageError:
    hint = AWAIT_HINT if close_forgotten(given) else ""
    return MessageError(f"{describe(given)} is not {expected}{hint}")


def close_forgotten(given: object) -> bool:
    """Close a coroutine that nobody has begun to await; whether ``given`` is one."""
    if not isinstance(given, CoroutineType) or inspect.getcoroutinestate(given) != inspect.CORO_CREATED:
        return False
    given.close()  # the warning that nobody awaited it would show up elsewhere, at any time
    return True


def _copy_bytes(data: object) -> bytes | None:
    """``data`` as bytes that nobody can change any more; bytes themselves are not copied. ``None``: not bytes-like."""
    if type(data) is bytes:
        return data
    try:
        return bytes(memoryview(data))  # type: ignore[arg-type]  # which is asked here
    except TypeError:
        return None
    except ValueError as exc:
        raise MessageError(f"bytes cannot be read: {exc}") from exc


def _encode_text(text: str, validate_utf8: bool) -> bytes:
    try:
        return text.encode("utf-8", "strict" if validate_utf8 else "surrogateescape")
    except UnicodeEncodeError as exc:
        raise MessageError(f"text is not encodable as UTF-8: {exc}") from exc


def _check_text(given: Payload, payload: bytes, validate_utf8: bool) -> None:
    if not validate_utf8 or isinstance(given, str):
        return
    try:
        payload.decode()
    except UnicodeDecodeError as exc:
        raise MessageError(f"the payload of a text message is not UTF-8: {exc}") from exc
