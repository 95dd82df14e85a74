"""Where one task receives: messages out of the inbox, one by one, until the last.

In: the inbox that the reader fills, and the socket below it. Out: messages. Knows nothing of how a connection ends.
"""

from __future__ import annotations

from typing import final

import trio

from ..hosts.readiness import Watch
from ..inbox import Inbox
from .outlet import Outlet

__all__ = ["Inlet"]


@final
class Inlet:
    """See the module.

    Args:
        inbox: messages, and last of all something else.
        watch: of the socket, if there is one.
        outlet: of the same connection; who receives is often who sends.
    """

    __slots__ = ("_inbox", "_is_drained", "_is_receiving", "_outlet", "_watch")

    def __init__(self, inbox: Inbox, watch: Watch | None, outlet: Outlet) -> None:
        self._inbox = inbox
        self._watch = watch
        self._outlet = outlet
        self._is_receiving = False
        self._is_drained = False

    async def receive(self) -> str | bytes | None:
        """Wait for the next message; ``None``: there are no more.

        Raises:
            trio.BusyResourceError: another task is receiving.

        Checkpoint: cancellation is always seen; others get their turn at least whenever there is nothing to receive.
        Cancelled: no message is lost.
        """
        if self._is_receiving:
            raise trio.BusyResourceError("another task is receiving from this WebSocket")
        inbox = self._inbox
        if inbox or self._is_drained:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await self._wait_arrival()
        if inbox.interruption is None and not self._is_drained:
            item = inbox.pop()
            if type(item) is str or type(item) is bytes:
                return item
        self._is_drained = True
        return None

    async def _wait_arrival(self) -> None:
        inbox, watch = self._inbox, self._watch
        self._is_receiving = True
        try:
            while not inbox:
                if watch is not None and watch.can_attend:
                    # The reader would be told by the registry's task, and we by the reader: this is two turns of the
                    # scheduler less.
                    inbox.loop.wake_elsewhere = watch.dismiss
                    await watch.attend()
                else:
                    await inbox.loop.park()
        finally:
            inbox.loop.wake_elsewhere = None
            self._is_receiving = False
        self._outlet.note_turn()
