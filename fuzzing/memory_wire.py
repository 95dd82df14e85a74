"""A wire in memory whose other end takes as many bytes as it is told to, to the byte.

In: what the peer sends, in pieces, and how much it takes. Out: what it was sent, and how the wire was closed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import trio

from trio_websock.errors import ConnectionLost
from trio_websock.hosts.wire import Wire
from trio_websock.protocol.frames import serialize_head

__all__ = ["MemoryWire", "frame", "split"]


class MemoryWire(Wire):
    """One end is the runtime's; ``put``, ``reset``, ``room`` and ``taken`` are for whoever plays the peer."""

    def __init__(self) -> None:
        self.received_size = 0
        self.client, self.scheme = None, "http"
        self.taken = b""
        self.room: float = math.inf
        self.is_closed = self.is_aborted = self.is_reset = False
        self._incoming: list[bytes] = []
        self._queue = b""
        self._changed = trio.Event()

    def put(self, data: bytes) -> None:
        """Have bytes arrive; none at all is the end of the stream."""
        self._incoming.append(data)
        self.notify()

    def reset(self) -> None:
        self.is_reset, self._incoming, self._queue = True, [], b""
        self.notify()

    def notify(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    @property
    def is_gone(self) -> bool:
        return self.is_closed or self.is_reset

    @property
    def unsent_size(self) -> int:  # type: ignore[override]
        return len(self._queue)

    async def receive(self) -> bytes:
        while not self._incoming and not self.is_gone:
            await self._changed.wait()
        await trio.lowlevel.checkpoint()
        if self.is_gone or not self._incoming:
            raise ConnectionLost("gone")
        data = self._incoming[0]
        if data:
            del self._incoming[0]
        self.received_size += len(data)
        return data

    def write_nowait(self, chunks: Iterable[bytes]) -> None:
        if not self.is_gone:
            self._queue += b"".join(chunks)

    def flush_nowait(self) -> bool:
        size = int(min(self.room, len(self._queue)))
        self.taken, self._queue = self.taken + self._queue[:size], self._queue[size:]
        self.room -= size
        return not self._queue

    async def flush_some(self) -> None:
        while not self.room and not self.is_gone:
            await self._changed.wait()
        await trio.lowlevel.checkpoint()
        if self.is_gone:
            raise ConnectionLost("gone")
        self.flush_nowait()

    def send_eof_nowait(self) -> None:
        pass

    async def aclose(self) -> None:
        self.is_closed, self._queue = True, b""
        self.notify()

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True
        self._queue = b""
        self.notify()


def frame(first: int, payload: bytes = b"", *, masked: bool = True) -> bytes:
    """A frame as a client sends it."""
    return serialize_head(first, len(payload), bytes(4) if masked else None) + payload


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Every whole frame of a server, and what is left behind them."""
    frames: list[tuple[int, bytes]] = []
    while len(data) >= 2:
        size = {126: 2, 127: 8}.get(data[1], 0)
        length = int.from_bytes(data[2 : 2 + size], "big") if size else data[1]
        if len(data) < 2 + size + length:
            break
        frames.append((data[0], data[2 + size : 2 + size + length]))
        data = data[2 + size + length :]
    return frames, data
