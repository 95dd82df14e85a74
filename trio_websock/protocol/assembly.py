"""Assembly: from the payloads of frames to whole messages.

In: the heads of data frames, and their payloads unmasked, in pieces as they arrive. Out: a ``str`` or ``bytes`` for
each whole message, inflated, checked and within its limits. Knows neither masks nor sockets nor control frames.

What has arrived of a message lies in one ``BytesIO``, so that memory grows with the bytes and not with the number of
pieces; unlike a bytearray it gives away what it holds without copying it. Text is checked piece by piece, to fail as
soon as it cannot become valid, and decoded once at its end.
"""

from __future__ import annotations

import codecs
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from ..codes import Opcode
from ..errors import FrameError, MessageTooBig, PolicyViolation

if TYPE_CHECKING:
    from .deflate import PerMessageDeflate
    from .frames import Head

__all__ = ["Assembler", "Limits"]

_NEW_DECODER = codecs.getincrementaldecoder("utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one message may be.

    Args:
        max_message_size: bytes, after inflating; ``None`` for no limit.
        max_frame_size: bytes of one data frame's payload as it travels; ``None`` for no limit.
        max_empty_fragments: empty frames of one message that do not end it.
        validate_utf8: ``False`` decodes text that is not UTF-8 with surrogate escapes.
    """

    max_message_size: int | None
    max_frame_size: int | None
    max_empty_fragments: int
    validate_utf8: bool


@final
class Assembler:
    """Puts the frames of one message after the other together.

    For each data frame: :meth:`open_frame`, then :meth:`receive_piece` until its payload has arrived, with ``last``
    for the end of the message; or :meth:`receive_compressed` for all of them at once. After an error it must not be
    used again.

    Source: RFC 6455 §5.4.
    """

    __slots__ = ("_buffer", "_compressed", "_decoder", "_deflate", "_empty_fragments", "_limits", "_text", "in_message")

    def __init__(self, limits: Limits, deflate: PerMessageDeflate | None) -> None:
        self.in_message: bool = False
        self._limits = limits
        self._deflate = deflate
        self._buffer: io.BytesIO | None = None
        self._decoder: codecs.IncrementalDecoder | None = None
        self._text = False
        self._compressed = False
        self._empty_fragments = 0

    @property
    def _size(self) -> int:
        """Bytes of the open message that have arrived."""
        return 0 if self._buffer is None else self._buffer.tell()

    def open_frame(self, head: Head) -> None:
        """Check a data frame against the message it belongs to, before a byte of its payload.

        Raises:
            FrameError: a continuation of nothing, or a new message before the end of the last.
            MessageTooBig: the frame, or the message with it, is over its limit.
            PolicyViolation: too many empty fragments.
        """
        if head.opcode is Opcode.CONTINUATION:
            if not self.in_message:
                raise FrameError("a continuation frame came: expected text or binary first", "RFC 6455 §5.4")
        elif self.in_message:
            name = head.opcode.name.lower()
            raise FrameError(f"a {name} frame came inside a message: expected a continuation", "RFC 6455 §5.4")
        else:
            self._open_message(head)
        self._check_size(head.length)
        if not head.length and not head.fin:
            self._count_empty_fragment()

    def _open_message(self, head: Head) -> None:
        self.in_message = True
        self._text = head.opcode is Opcode.TEXT
        self._compressed = head.compressed
        self._empty_fragments = 0

    def _check_size(self, length: int) -> None:
        limits = self._limits
        if limits.max_frame_size is not None and length > limits.max_frame_size:
            raise MessageTooBig(
                f"a frame of {length} bytes came: expected at most {limits.max_frame_size}", "RFC 6455 §10.4"
            )
        # What travels compressed may be longer than what it inflates to; the inflated size is what counts there.
        if limits.max_message_size is not None and not self._compressed:
            size = length + self._size
            if size > limits.max_message_size:
                raise self._too_big(f"of at least {size} bytes")

    def _too_big(self, size: str) -> MessageTooBig:
        return MessageTooBig(
            f"a message {size} came: expected at most {self._limits.max_message_size}", "RFC 6455 §10.4"
        )

    def _count_empty_fragment(self) -> None:
        # Empty fragments are legal and carry nothing: without an end they would keep us busy for ever.
        self._empty_fragments += 1
        if self._empty_fragments > self._limits.max_empty_fragments:
            most = self._limits.max_empty_fragments
            raise PolicyViolation(f"more than {most} empty fragments came in one message", "RFC 6455 §5.4")

    def receive_piece(self, piece: bytes, last: bool) -> str | bytes | None:
        """Take the next bytes of the open message; the whole message if they are its ``last``, else ``None``.

        Raises:
            InvalidPayload: broken deflate data.
            PolicyViolation: deflate streams without number.
            UnicodeDecodeError: text that cannot become valid UTF-8; the machine gives the fault its name.
            MessageTooBig: the message inflates to more than its limit.
        """
        if self._compressed:
            piece = self._inflate(piece, last)
        if not last:
            if piece:
                self._keep(piece)
            return None
        return self._close_message(piece)

    def receive_compressed(self, payload: bytes, is_text: bool) -> str | bytes:
        """A whole message that came compressed and in one frame, where none is open.

        Raises:
            as :meth:`receive_piece`.
        """
        self._text = is_text
        return self._close_message(self._inflate(payload, last=True))

    def _inflate(self, piece: bytes, last: bool) -> bytes:
        assert self._deflate is not None  # only then does parse_head let RSV1 pass
        limit = self._limits.max_message_size
        room = None if limit is None else limit - self._size
        inflated = self._deflate.decompress(piece, last, room)
        if room is not None and len(inflated) > room:
            if self._text and self._limits.validate_utf8:
                # In smaller pieces text that is not UTF-8 would have been met first; how the bytes came must not
                # decide what the peer is told.
                self._check_text(inflated)
            raise self._too_big(f"that inflates to more than {limit} bytes")
        return inflated

    def _keep(self, piece: bytes) -> None:
        if self._text and self._limits.validate_utf8:
            self._check_text(piece)
        if self._buffer is None:
            self._buffer = io.BytesIO()
        self._buffer.write(piece)

    def _check_text(self, piece: bytes) -> None:
        if self._decoder is None:
            self._decoder = _NEW_DECODER()
        self._decoder.decode(piece)

    def _close_message(self, piece: bytes) -> str | bytes:
        payload = piece
        if self._buffer is not None:
            self._buffer.write(piece)
            payload = self._buffer.getvalue()
        self.in_message = False
        self._buffer = self._decoder = None
        if not self._text:
            return payload
        return str(payload, "utf-8", "strict" if self._limits.validate_utf8 else "surrogateescape")
