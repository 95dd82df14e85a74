"""A listener without sockets: its connections are pipes in memory, so that a server can run in virtual time.

In: calls of ``connect``. Out: ``trio.abc.Stream`` pairs with a bounded buffer each way, so that a peer that does not
read stalls the writer, as TCP would. Knows nothing of what is sent.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import trio

__all__ = ["MemoryListener", "MemoryStream", "open_memory_streams"]

BUFFER_SIZE = 64 * 1024  # bytes a pipe holds before its writer waits; about what a fresh TCP socket takes


class _Side:
    """Keeps two tasks from doing the same thing to one end of a pipe."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._is_busy = False

    @contextmanager
    def alone(self) -> Iterator[None]:
        if self._is_busy:
            raise trio.BusyResourceError(f"this stream is being {self._doing} by another task")
        self._is_busy = True
        try:
            yield
        finally:
            self._is_busy = False


class _Pipe:
    """Bytes on their way in one direction."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._data = bytearray()
        self._waiting = trio.lowlevel.ParkingLot()
        self._writing = _Side("sent to")
        self._reading = _Side("received from")
        self._is_ended = False
        self._is_dropped = False
        self._is_broken = False

    async def put(self, data: bytes | bytearray | memoryview) -> None:
        with self._writing.alone():
            await trio.lowlevel.checkpoint()
            self._check_writable()
            self._data += data
            self._waiting.unpark_all()
            await self._wait_room()

    async def put_eof(self) -> None:
        with self._writing.alone():
            await trio.lowlevel.checkpoint()
            self.end()

    async def wait_room(self) -> None:
        with self._writing.alone():
            await trio.lowlevel.checkpoint()
            self._check_writable()
            await self._wait_room()

    async def _wait_room(self) -> None:
        while len(self._data) > self._max_size:
            self._check_writable()
            await self._waiting.park()

    def _check_writable(self) -> None:
        if self._is_ended:
            raise trio.ClosedResourceError("the sending side has been closed")
        if self._is_dropped or self._is_broken:
            raise trio.BrokenResourceError("the other end is gone")

    async def take(self, max_size: int | None) -> bytes:
        if max_size is not None and operator.index(max_size) < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._reading.alone():
            await trio.lowlevel.checkpoint()
            while not (self._data or self._is_ended or self._is_dropped or self._is_broken):
                await self._waiting.park()
        if self._is_dropped:
            raise trio.ClosedResourceError("this end has been closed")
        if self._is_broken:
            raise trio.BrokenResourceError("the other end has reset the connection")
        size = len(self._data) if max_size is None else max_size
        taken = bytes(self._data[:size])
        del self._data[:size]
        self._waiting.unpark_all()
        return taken

    def end(self) -> None:
        self._is_ended = True
        self._waiting.unpark_all()

    def drop(self) -> None:
        self._is_dropped = True
        self._waiting.unpark_all()

    def break_off(self) -> None:
        self._is_broken = True
        self._data.clear()
        self._waiting.unpark_all()


@final
class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection in memory; made by :func:`open_memory_streams`.

    Closing it ends what it sends in good order; the other end can read what is under way, and gets
    ``trio.BrokenResourceError`` for what it sends from then on.
    """

    def __init__(self, receiving: _Pipe, sending: _Pipe) -> None:
        self._receiving = receiving
        self._sending = sending

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; waits while more are under way than the buffer holds.

        Checkpoint: always. Cancelled: all is sent, or nothing at the first checkpoint.
        """
        await self._sending.put(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._sending.wait_room()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._receiving.take(max_bytes)

    async def send_eof(self) -> None:
        await self._sending.put_eof()

    async def aclose(self) -> None:
        self._sending.end()
        self._receiving.drop()
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Close it as a TCP reset does: what is under way is lost, and the other end gets ``BrokenResourceError``."""
        self._sending.break_off()
        self._sending.end()
        self._receiving.drop()


def open_memory_streams(buffer_size: int = BUFFER_SIZE) -> tuple[MemoryStream, MemoryStream]:
    """Both ends of a new connection in memory.

    Args:
        buffer_size: bytes that may be under way in one direction before a sender waits.
    """
    there, back = _Pipe(buffer_size), _Pipe(buffer_size)
    return MemoryStream(back, there), MemoryStream(there, back)


@final
class MemoryListener(trio.abc.Listener[MemoryStream]):
    """Listens to ``connect`` of its own; pass it to ``serve(listeners=[...])``.

    Args:
        buffer_size: see :func:`open_memory_streams`.
    """

    def __init__(self, buffer_size: int = BUFFER_SIZE) -> None:
        self._buffer_size = buffer_size
        self._arrive, self._arrived = trio.open_memory_channel[MemoryStream](math.inf)

    async def accept(self) -> MemoryStream:
        return await self._arrived.receive()

    async def connect(self) -> MemoryStream:
        """Connect to whoever accepts here; returns the client's end.

        Raises:
            ConnectionRefusedError: the listener has been closed.

        Checkpoint: always.
        """
        ours, theirs = open_memory_streams(self._buffer_size)
        try:
            await self._arrive.send(theirs)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise ConnectionRefusedError("nobody listens here any more") from exc
        return ours

    async def aclose(self) -> None:
        self._arrived.close()
        await trio.lowlevel.checkpoint()
