"""Where several tasks send: each in its turn, and none for ever.

In: tasks that want to send, or to wait for what was sent. Out: their order. Sends nothing itself.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import final

import trio

from ..writer import Writer

__all__ = ["Outlet"]

MAX_SENDS = 16  # messages sent in a row before everybody else gets a turn


@final
class Outlet:
    """See the module.

    Args:
        writer: what they send through.
    """

    __slots__ = ("_sends", "_turn", "_writer")

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._turn = trio.Lock()
        self._sends = 0

    def take_turn(self) -> Awaitable[None]:
        """See whether we are cancelled; after a few messages in a row let others have a turn. To be awaited.

        Not a coroutine itself: every message comes through here.
        """
        self._sends += 1
        if self._sends < MAX_SENDS:
            return trio.lowlevel.checkpoint_if_cancelled()
        self._sends = 0
        return trio.lowlevel.checkpoint()

    def note_turn(self) -> None:
        """Others have had a turn, as whoever sends was waiting for something else."""
        self._sends = 0

    async def wait_flushed(self, nursery: trio.Nursery) -> None:
        """Wait until the peer has taken what was sent, or is gone. Checkpoint: always."""
        async with self._turn:  # the writer knows one waiting task
            if not self._writer.flush(nursery):
                await self._writer.wait_flushed()
