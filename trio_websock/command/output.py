"""A file descriptor that may be slow to take what is written: a pipe, a file, a terminal.

In: text. Out: bytes, in order, written by a thread, so that a reader who takes a break stops neither the answers to
pings nor the clocks.
"""

from __future__ import annotations

import os
import select
from typing import final

import trio

__all__ = ["Output"]

MAX_WAITING_SIZE = 256 * 1024  # bytes; beyond it whoever has more to tell waits


@final
class Output:
    """See the module; :meth:`run` is a task beside whoever writes.

    Args:
        fd: the file descriptor.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._chunks: list[bytes] = []
        self._size = 0
        self._more = trio.lowlevel.ParkingLot()
        self._less = trio.lowlevel.ParkingLot()

    def put_nowait(self, text: str) -> None:
        """Write a line; what no encoding can express, as a text that was not checked may hold, is written out."""
        data = f"{text}\n".encode("utf-8", "backslashreplace")
        self._chunks.append(data)
        self._size += len(data)
        self._more.unpark()

    async def wait_room(self) -> None:
        """Wait until not too much is waiting."""
        while self._size > MAX_WAITING_SIZE:
            await self._less.park()

    async def drain(self) -> None:
        """Wait until everything is written."""
        while self._size:
            await self._less.park()

    async def run(self) -> None:
        """Write until cancelled.

        Raises:
            OSError: nobody reads any more (``BrokenPipeError``), or the disk is full.

        Checkpoint: always. Cancelled: what is being written is left to its thread.
        """
        while True:
            while not self._chunks:
                await self._more.park()
            data = b"".join(self._chunks)
            self._chunks.clear()
            await trio.to_thread.run_sync(_write_all, self._fd, data, abandon_on_cancel=True)
            self._size -= len(data)
            self._less.unpark_all()


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:  # somebody else who has it open has made it so
            select.select([], [fd], [])
