"""A place for one task to wait in until another wakes it: half the price of a memory channel's hop."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import trio

__all__ = ["Parking"]


@final
class Parking:
    """Room for one parked task.

    Attributes:
        task: the one that is parked here; to be read only.
        wake_elsewhere: wakes the task while it waits in another place for the same.
    """

    __slots__ = ("task", "wake_elsewhere")

    def __init__(self) -> None:
        self.task: trio.lowlevel.Task | None = None
        self.wake_elsewhere: Callable[[], None] | None = None

    async def park(self) -> None:
        """Wait for :meth:`wake`. Checkpoint: always. Cancelled: nothing is left behind."""
        self.task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._forget)

    def wake(self) -> None:
        """Let the parked task go on, if there is one."""
        if self.task is not None:
            task, self.task = self.task, None
            trio.lowlevel.reschedule(task)
        elif self.wake_elsewhere is not None:
            self.wake_elsewhere()

    def _forget(self, _: object) -> trio.lowlevel.Abort:
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED
