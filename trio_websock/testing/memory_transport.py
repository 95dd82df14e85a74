"""A transport without a wire: the other end of the port, in a test's hands.

In: arrivals the test puts. Out: a list of what the runtime sent. It can be made to stop taking output, to break, to
answer the runtime's close, and to be asked what was done to it. Knows nothing of frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeAlias, TypeGuard, final

import trio

from ..behaviour.reasons import Error, Remote
from ..client.ending import checked_close
from ..codes import Opcode
from ..errors import ConnectionLost, RemoteError, describe
from ..messages import Incoming, Message, Outgoing, Ping, Pong, encode_message
from ..transport import Arrival, Transport

__all__ = ["MemoryTransport", "arrivals_of", "close_of", "fault_of", "incoming_of", "is_message"]

_Sent: TypeAlias = "Outgoing | tuple[int | None, bytes]"


@final
class MemoryTransport(Transport):
    """The runtime's side is :class:`~trio_websock.transport.Transport`; the rest is for the test.

    Args:
        subprotocol: agreed on.
        peer: the peer's address as text.
        answers_close: whether the peer answers a close frame at once, as every client does.
        answers_pings: whether it answers pings at once, as every client does.
    """

    def __init__(
        self,
        *,
        subprotocol: str | None = None,
        peer: str = "a test",
        answers_close: bool = False,
        answers_pings: bool = False,
    ) -> None:
        self.subprotocol: str | None = subprotocol
        self.peer: str = peer
        self.received_size: int = 0
        #: What the peer has taken, in order: messages, and close frames as ``(code, text)``.
        self.taken: list[_Sent] = []
        #: The close frame the runtime has queued.
        self.close: tuple[int | None, bytes] | None = None
        #: Whether the runtime has given the connection back.
        self.is_closed: bool = False
        #: Whether it did so with a reset.
        self.is_aborted: bool = False
        #: Whether the runtime has ended its own side only.
        self.is_half_closed: bool = False
        self._answers_close = answers_close
        self._answers_pings = answers_pings
        self._is_broken = False
        self._is_over = False
        self._arrivals: list[Arrival] = []
        self._ends: list[Remote | Error] = []
        self._queue: list[_Sent] = []
        self._capacity: float = math.inf
        self._changed = trio.Event()

    # The test's side

    def put(self, *arrivals: Arrival) -> None:
        """Have these arrive, in one batch with whatever has not been read yet."""
        self._arrivals += arrivals
        self._ends += [arrival for arrival in arrivals if isinstance(arrival, Remote | Error)]
        # After a fault there is no close to come: the end of the stream says that ours has been read.
        self._is_over |= any(not isinstance(_cause_of(end), RemoteError) for end in self._ends)
        self.touch()

    def touch(self) -> None:
        """Have some bytes arrive, perhaps of an unfinished message."""
        self.received_size += 1
        self._notify()

    def take(self, count: float = math.inf) -> None:
        """Take only so many more messages from now on; none with 0.

        Raises:
            ValueError: that is no number of messages.
        """
        if count != math.inf and (not isinstance(count, int) or count < 0):
            raise ValueError(f"after must be a number of messages, not {describe(count)}")
        self._capacity = count
        self._notify()

    def break_off(self, error: ConnectionLost) -> None:
        """Have the connection break: ``error`` arrives, and nothing is taken any more."""
        self._is_broken = True
        self.put(Error(error))

    def has_ended_by(self, cause: object) -> bool:
        """Whether ``cause`` is what the test has had arrive as the end."""
        return any(_cause_of(end) is cause for end in self._ends)

    async def wait_changed(self) -> None:
        """Wait until either side has done something.

        Checkpoint: always. Cancelled: only the waiting ends.
        """
        await self._changed.wait()

    # The runtime's side

    async def receive(self, max_messages: int) -> list[Arrival]:
        seen = self.received_size
        while not self._arrivals and seen == self.received_size and not self.is_closed:
            await self._changed.wait()
        await trio.lowlevel.checkpoint()
        return self.receive_nowait(max_messages)

    def receive_nowait(self, max_messages: int) -> list[Arrival]:
        batch, self._arrivals = self._arrivals[:max_messages], self._arrivals[max_messages:]
        return batch

    def send_nowait(self, message: Outgoing) -> None:
        if self.close is None and not self.is_closed:
            self._queue.append(message)

    def send_close_nowait(self, code: int | None, text: bytes) -> None:
        if self.close is None and not self.is_closed:
            self.close = (code, text)
            self._queue.append(self.close)

    def flush_nowait(self) -> bool:
        while self._queue and self._capacity and not self._is_broken:
            sent = self._queue.pop(0)
            self.taken.append(sent)
            self._capacity -= 1
            if sent is self.close and self._answers_close:
                self._answer(sent[0])
            if sent[0] is Opcode.PING and self._answers_pings and not self._ends:
                self.put(Pong(sent[1]))
            self._notify()
        return not self._queue

    @property
    def unsent_size(self) -> int:
        return sum(len(message[1]) + 2 for message in self._queue)

    async def flush_some(self) -> None:
        if self._capacity or self.is_closed or self._is_broken:
            await trio.lowlevel.checkpoint()
        while not (self._capacity or self.is_closed or self._is_broken):
            await self._changed.wait()
        if self.is_closed or self._is_broken:
            raise ConnectionLost("closed at this end" if self.is_closed else "the connection is broken")
        self.flush_nowait()

    async def wait_closed(self) -> None:
        while not self._is_over and not self.is_closed:
            await self._changed.wait()
        await trio.lowlevel.checkpoint()

    def send_eof_nowait(self) -> None:
        self.is_half_closed = True

    async def aclose(self) -> None:
        self.is_closed = True
        self._notify()

    def abort(self) -> None:
        self.is_aborted = self.is_closed = True
        self._queue.clear()
        self._notify()

    def _answer(self, code: int | None) -> None:
        if not self._ends:
            self.put(Remote(code))
        self._is_over = True
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()


def _cause_of(end: Remote | Error) -> object:
    return end.cause if isinstance(end, Error) else end


def arrivals_of(messages: Iterable[Message], *, validate_utf8: bool) -> list[Incoming]:
    """What arrives of messages that a peer sends, to a connection that validates UTF-8 or not.

    Raises:
        MessageError: no peer could send one of them.
        TypeError: they are one message instead of several.
    """
    if isinstance(messages, (str, bytes)):
        raise TypeError(f"expected a list of messages, not {describe(messages)}")
    return [incoming_of(*encode_message(message, validate_utf8)) for message in messages]


def close_of(code: int | None, text: str) -> Remote:
    """What arrives of a close frame that a peer sends.

    Raises:
        MessageError: a code or a text that no peer may send, or a text without a code.
    """
    if code is not None or text:
        checked_close(code, text)
    return Remote(code, text)


def fault_of(error: RemoteError) -> Error:
    """What arrives of a peer that breaks the protocol.

    Raises:
        TypeError: that is no fault of a peer.
    """
    if not isinstance(error, RemoteError):
        raise TypeError(f"{describe(error)} is not a RemoteError, such as FrameError(what, clause)")
    return Error(error)


def is_message(entry: Outgoing | tuple[int | None, bytes]) -> TypeGuard[Outgoing]:
    """Whether what the peer has taken is a message, and no close frame."""
    return isinstance(entry[0], Opcode)  # of a close frame it is the close code


def incoming_of(opcode: Opcode, payload: bytes) -> Incoming:
    """A message as its receiver sees it."""
    if opcode is Opcode.TEXT:
        return payload.decode(errors="surrogateescape")  # as where UTF-8 is not validated; elsewhere it has been
    if opcode is Opcode.BINARY:
        return payload
    return Ping(payload) if opcode is Opcode.PING else Pong(payload)
