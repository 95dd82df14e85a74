"""The mailbox of a client, which outlives its connections.

In: what other tasks send, whether or not there is a connection. Out: items in the mailbox of the connection there is,
each given to ``handle_info`` once, be it by a later connection. Knows nothing of why connections come and go.

1. What goes to a connection is marked, so that it can be told from what was sent to that connection itself, which ends
   with it.
2. What a connection has not given to ``handle_info`` when it ends comes back, and goes to the next one in order.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any, final

import trio

from ..connection import Connection
from ..mailbox import close_mailbox, open_mailbox

__all__ = ["Forwarded", "Forwarding"]


@final
class Forwarded:
    """An item on its way through a connection.

    Args:
        item: as it was sent.
    """

    __slots__ = ("item",)

    def __init__(self, item: object) -> None:
        self.item: Any = item


@final
class Forwarding:
    """The mailbox of one client.

    Args:
        size: items that wait while there is no connection before a sender has to.
    """

    __slots__ = ("_receiver", "_waiting", "sender")

    def __init__(self, size: int) -> None:
        self.sender: trio.MemorySendChannel[Any]
        self.sender, self._receiver = open_mailbox(size)
        # Taken out of the channel, and in no mailbox of a connection.
        self._waiting: deque[Forwarded] = deque()

    async def run(self, mailbox: trio.MemorySendChannel[Any]) -> None:
        """Forward to the mailbox of one connection until cancelled, or until every sender is closed.

        Args:
            mailbox: a clone of its own, closed at the end.

        Cancelled: no item is lost.
        """
        with mailbox, suppress(trio.EndOfChannel):
            while True:
                if not self._waiting:
                    self._waiting.append(Forwarded(await self._receiver.receive()))
                self._forward_nowait(mailbox)
                if self._waiting:
                    await mailbox.send(self._waiting[0])
                    self._waiting.popleft()

    def _forward_nowait(self, mailbox: trio.MemorySendChannel[Any]) -> None:
        """Forward at once what was sent together, as far as there is room for it."""
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                if not self._waiting:
                    self._waiting.append(Forwarded(self._receiver.receive_nowait()))
                mailbox.send_nowait(self._waiting[0])
                self._waiting.popleft()

    def take_back(self, connection: Connection) -> None:
        """Keep for the next connection what this one, which has ended, was given and has not handled."""
        left = connection._unhandled
        self._waiting.extendleft(reversed([item for item in left if type(item) is Forwarded]))
        left[:] = [item for item in left if type(item) is not Forwarded]

    def close(self) -> tuple[object, ...]:
        """Let senders know that there will be no connection any more; what nobody has handled."""
        left = [forwarded.item for forwarded in self._waiting] + close_mailbox(self._receiver)
        self._waiting.clear()
        return tuple(left)
