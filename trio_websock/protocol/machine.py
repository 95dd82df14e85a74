"""The machine: all protocol state of one connection.

In: the peer's bytes, and the messages and the close we want to send. Out: whole messages and control frames, the
bytes for the peer, and how the conversation ended. Knows no socket, no clock and no callback: when to read, to write,
to close and to give up is decided by whoever drives it.
"""

# Theory of operation.
#
# What has arrived lies in one buffer with a position in it. next_batch() walks over it in two modes: messages that lie
# there whole and in one frame, as nearly every message does, are taken by parse_messages(); everything else goes
# through parse_head() and the assembler, payload by piece as it arrives, so that faults show as early as the RFC lets
# them and no byte is looked at twice. Between two calls the buffer holds less than one head, or less than one control
# frame, or what the limit of the batch left.
#
#   READING ──────────── send_close ────────────▶ CLOSE SENT
#      │ the peer's close: peer_close                 │ the peer's close: peer_close
#      │ a broken rule: failure                       │ a broken rule
#      ▼                                              ▼
#   FINISHED ─────────── send_close ────────────▶ FINISHED, CLOSE SENT
#
# Rule 1: messages that are complete before a fault or a close are handed out (RFC 6455 §7.1.7 lets us).
# Rule 2: a ping's pong is queued before the ping is handed out.
# Rule 3: nothing is sent after our close (§5.5.1), and nothing but the peer's close is looked for (§1.4).
# Rule 4: the machine never answers a close by itself: what arrived before it may still have to be handled.

from __future__ import annotations

from typing import TYPE_CHECKING, final

from ..codes import Opcode
from ..errors import InvalidPayload, RemoteError
from ..messages import MAX_FRAMES, Incoming, Outgoing, Ping, Pong, SharedOutgoing
from .assembly import Assembler, Limits
from .frames import (
    FIRST_CONTROL,
    RSV1,
    PeerClose,
    Role,
    parse_close,
    parse_head,
    serialize_close,
)
from .keys import new_masking_keys
from .scanning import LONGEST
from .twins import apply_mask, parse_messages, serialize_frames

if TYPE_CHECKING:
    from .deflate import PerMessageDeflate
    from .frames import Head
    from .serializing import Frame

__all__ = ["Limits", "Machine", "PeerClose", "Role"]

# A peer that pings without reading must not fill our memory: beyond this many waiting pongs only the newest ping
# is answered, as RFC 6455 §5.5.3 allows. Well above what a peer that reads can have waiting.
_MAX_WAITING_PONGS = 64

# A read of 64 KiB may inflate to 64 MiB of messages that are each within their limit: a batch ends once it holds this
# many inflated bytes, so that whoever bounds what is read ahead can do so between two batches.
_MAX_INFLATED = 256 * 1024


@final
class Machine:
    """One connection's side of RFC 6455, after the handshake.

    Args:
        role: which end we are.
        limits: what a message may be.
        deflate: the compression that was negotiated, if any.

    Attributes:
        failure: what the peer broke; ``None`` so far.
        peer_close: the peer's close frame, if it came and was legal.
        close_sent: whether our close frame was queued.
        finished: nothing further is parsed: the peer has closed, or has broken a rule.
        has_backlog: the last batch was cut short; call :meth:`next_batch` again without new data.

    Source: RFC 6455 §5 to §8.
    """

    __slots__ = (
        "_allows_rsv1",
        "_assembler",
        "_buffer",
        "_deflate",
        "_expects_mask",
        "_inflated",
        "_key",
        "_last",
        "_last_pong",
        "_longest",
        "_position",
        "_remaining",
        "_utf8_errors",
        "_waiting_pongs",
        "close_sent",
        "failure",
        "finished",
        "has_backlog",
        "output",
        "peer_close",
    )

    def __init__(self, role: Role, limits: Limits, deflate: PerMessageDeflate | None = None) -> None:
        self.failure: RemoteError | None = None
        self.peer_close: PeerClose | None = None
        self.close_sent: bool = False
        self.finished: bool = False
        self._expects_mask = role is Role.SERVER
        self._deflate = deflate
        self._allows_rsv1 = deflate is not None
        self._assembler = Assembler(limits, deflate)
        self._utf8_errors = "strict" if limits.validate_utf8 else "surrogateescape"
        sizes = (LONGEST, limits.max_message_size, limits.max_frame_size)
        self._longest = min(size for size in sizes if size is not None)  # that the fast mode may take
        self._buffer = b""
        self._position = 0
        self.has_backlog: bool = False
        self._inflated = 0
        # The data frame whose payload is arriving: bytes to come (None: between frames), key, end of its message.
        self._remaining: int | None = None
        self._key: bytes | None = None
        self._last = False
        #: Frames that wait for :meth:`data_to_send`; to be read only.
        self.output: list[Frame] = []
        self._waiting_pongs = 0
        self._last_pong = 0

    # Receiving.

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer; nothing is parsed before :meth:`next_batch`."""
        if self.finished:
            return
        self._buffer = self._buffer[self._position :] + data if self._buffer else data
        self._position = 0

    def next_batch(self, max_messages: int) -> list[Incoming]:
        """Parse what has arrived: at most ``max_messages`` messages and control frames, in order.

        Fewer come where compressed messages inflate to much; see :attr:`has_backlog`. Bad input raises nothing: see
        ``failure`` and ``peer_close`` afterwards.
        """
        batch: list[Incoming] = []
        if self.finished or not self._buffer:
            return batch
        self._inflated = 0
        try:
            if self.close_sent:
                self._seek_close()
            else:
                self._parse(batch, max_messages)
        except RemoteError as exc:
            self._fail(exc)
        except UnicodeDecodeError as exc:
            # RFC 6455 §8.1. Text is decoded in several places; the fault gets its name here.
            came = f"text came that is not UTF-8: {exc.reason} at byte {exc.start}"
            self._fail(InvalidPayload(came, "RFC 6455 §8.1"))
        if self._position == len(self._buffer):
            self.has_backlog = False
            self._buffer = b""
            self._position = 0
        else:
            self.has_backlog = len(batch) >= max_messages or self._inflated >= _MAX_INFLATED
            if not self.has_backlog:  # a few bytes of a frame must not keep all that came with them
                self._buffer = self._buffer[self._position :]
                self._position = 0
        return batch

    def _parse(self, batch: list[Incoming], max_messages: int) -> None:
        assembler, buffer, errors = self._assembler, self._buffer, self._utf8_errors
        inflate = None if self._deflate is None else self._inflate
        while len(batch) < max_messages:
            start = position = self._position
            # The fast mode: no message is open, and the whole of some have arrived in one frame each.
            if not assembler.in_message:
                position = parse_messages(
                    buffer, start, self._expects_mask, self._longest, errors, inflate, batch, max_messages
                )
            # The thorough mode: everything else.
            if position == start:
                position = self._parse_any(buffer, start, batch)
                if position == start or self.finished:
                    return
            self._position = position
            if position == len(buffer) or self._inflated >= _MAX_INFLATED:
                return

    def _inflate(self, payload: bytes, is_text: bool) -> Incoming:
        """The message that came whole in one compressed frame."""
        message = self._assembler.receive_compressed(payload, is_text)
        self._inflated += len(message)
        return message

    def _parse_any(self, buffer: bytes, position: int, batch: list[Incoming]) -> int:
        """Take what there is of one frame; the position behind it, the same one if more bytes are needed."""
        if self._remaining is not None:
            return self._receive_payload(buffer, position, batch)
        head = parse_head(buffer, position, self._expects_mask, self._allows_rsv1)
        if head is None:
            return position
        if head.opcode >= FIRST_CONTROL:
            return self._receive_control(head, buffer, position, batch)
        self._assembler.open_frame(head)
        self._remaining, self._key, self._last = head.length, head.key, head.fin
        return self._receive_payload(buffer, position + head.size, batch)

    def _receive_payload(self, buffer: bytes, position: int, batch: list[Incoming]) -> int:
        assert self._remaining is not None
        end = min(position + self._remaining, len(buffer))
        piece = buffer[position:end]
        self._remaining -= len(piece)
        if self._key is not None:
            piece = apply_mask(piece, self._key)
            shift = len(piece) % 4  # the next piece starts in the middle of the key, RFC 6455 §5.3
            self._key = self._key[shift:] + self._key[:shift]
        ends_frame = self._remaining == 0
        if ends_frame:
            self._remaining = None
        message = self._assembler.receive_piece(piece, ends_frame and self._last)
        if message is not None:
            batch.append(message)
            if self._deflate is not None:
                self._inflated += len(message)
        return end

    def _receive_control(self, head: Head, buffer: bytes, position: int, batch: list[Incoming]) -> int:
        start = position + head.size
        end = start + head.length
        if end > len(buffer):
            return position
        payload = buffer[start:end]
        if head.key is not None:
            payload = apply_mask(payload, head.key)
        if head.opcode is Opcode.CLOSE:
            self.peer_close = parse_close(payload)
            self._finish()
        elif head.opcode is Opcode.PING:
            self._queue_pong(payload)
            batch.append(Ping(payload))
        else:
            batch.append(Pong(payload))
        return end

    def _seek_close(self) -> None:
        """Skip everything that comes after our own close, but the peer's close (Rule 3)."""
        buffer = self._buffer
        while not self.finished:
            if self._remaining is not None:
                self._skip_payload(self._remaining)
            position = self._position
            head = parse_head(buffer, position, self._expects_mask, self._allows_rsv1)
            if head is None:
                return
            if head.opcode is not Opcode.CLOSE:
                self._position += head.size
                self._remaining = head.length
            elif self._receive_control(head, buffer, position, []) == position:
                return

    def _skip_payload(self, remaining: int) -> None:
        skipped = min(remaining, len(self._buffer) - self._position)
        self._position += skipped
        self._remaining = None if skipped == remaining else remaining - skipped

    def _fail(self, error: RemoteError) -> None:
        # After our close it is too late to blame anyone (Rule 3).
        # Without its traceback, which would keep what was being parsed.
        self.failure = None if self.close_sent else error.with_traceback(None)
        self._finish()

    def _finish(self) -> None:
        self.finished = True
        self._buffer = b""
        self._position = 0

    # Sending.

    def send_message(self, message: Outgoing) -> None:
        """Queue one whole frame; compressed if that was negotiated and it carries data. Ignored after our close.

        Source: RFC 6455 §5.6, RFC 7692 §6.1.
        """
        if self.close_sent:
            return
        if type(message) is SharedOutgoing:
            self._send_shared(message)
        elif self._deflate is not None:
            self.output.append(self._compress(message))
        else:
            self.output.append(message)

    def _compress(self, message: Outgoing) -> Frame:
        opcode, payload = message
        if self._deflate is None or opcode >= FIRST_CONTROL:
            return opcode, payload
        return opcode | RSV1, self._deflate.compress(payload)

    def _send_shared(self, message: SharedOutgoing) -> None:
        """Queue the frame of another machine that has sent the same, where there can be one.

        Source: RFC 6455 §5.3 and RFC 7692 §7.1.1 tell where no other can have sent the same.
        """
        key: tuple[int, ...] | None = ()  # uncompressed
        if self._deflate is not None and message[0] < FIRST_CONTROL:
            key = self._deflate.sharing_key
        if key is None or not self._expects_mask:
            self.output.append(self._compress(message))
            return
        frame = message.frames.get(key)
        if frame is None:
            frame = tuple(serialize_frames([self._compress(message)], None))
            if len(message.frames) < MAX_FRAMES:
                message.frames[key] = frame
        self.output += frame

    def send_close(self, code: int | None, text: bytes = b"") -> None:
        """Queue our close frame, once; nothing is sent after it.

        Args:
            code: ``None`` sends an empty frame.
            text: UTF-8, at most 123 bytes.

        Source: RFC 6455 §5.5.1.
        """
        if not self.close_sent:
            self.output.append((Opcode.CLOSE, serialize_close(code, text)))
            self.close_sent = True

    @property
    def output_size(self) -> int:
        """Bytes that :meth:`data_to_send` would return, without the heads of frames; zero only if there are none."""
        if not self.output:  # most of the time
            return 0
        return sum(2 + len(frame if isinstance(frame, bytes) else frame[1]) for frame in self.output)

    def data_to_send(self) -> list[bytes]:
        """Take everything that is queued, to be written in order and whole."""
        output = self.output
        if not output:
            return []
        self.output = []
        self._waiting_pongs = 0
        return serialize_frames(output, None if self._expects_mask else new_masking_keys(len(output)))

    def _queue_pong(self, payload: bytes) -> None:
        if self._waiting_pongs == _MAX_WAITING_PONGS:
            del self.output[self._last_pong]
        else:
            self._waiting_pongs += 1
        self._last_pong = len(self.output)
        self.output.append((Opcode.PONG, payload))
