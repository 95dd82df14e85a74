"""Where several tasks send: each in its turn, and none for ever.

In: tasks that want to send, or to wait for what was sent. Out: their order. Sends nothing itself.
"""

from __future__ import annotations

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

    async def take_turn(self) -> None:
        """See whether we are cancelled; after a few messages in a row let others have a turn."""
        self._sends += 1
        if self._sends < MAX_SENDS:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._sends = 0
            await trio.lowlevel.checkpoint()

    async def wait_flushed(self, nursery: trio.Nursery) -> None:
        """Wait until the peer has taken what was sent, or is gone. Checkpoint: always."""
        async with self._turn:  # the writer knows one waiting task
            if not self._writer.flush(nursery):
                await self._writer.wait_flushed()
