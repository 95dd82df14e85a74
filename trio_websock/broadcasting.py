"""Broadcasting: one item for the mailboxes of many connections.

In: connections and an item. Out: the item in their inboxes, and at the next opportunity one turn of the scheduler for
all those callbacks that need not wait, where sending to each mailbox would cost a turn each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, final

import trio

from .connection import Connection
from .errors import describe
from .inbox import Inbox
from .parking import Parking

__all__ = ["broadcast"]

MAX_SERVED = 256  # inboxes served between two turns of everybody else


def broadcast(connections: Iterable[Connection], info: Any) -> list[Connection]:
    """Send ``info`` into the mailbox of each of ``connections``: their ``handle_info`` is called with it.

    The same as ``connection.mailbox.send_nowait(info)`` for each of them, in the same order with all else that is sent
    to it, at less than half the price; and one connection that cannot take it does not keep it from the others. No
    callback runs before this returns. For a message that goes to everybody see also :func:`prepare`.

    Args:
        connections: of this Trio run, as :func:`current_connection` gives them; they may have ended meanwhile.
        info: the same object for all.

    Returns:
        Those it could not be sent to: the mailbox is full, was closed by the application, or the connection has ended.

    Raises:
        TypeError: one of them is no connection; nothing was sent.
        RuntimeError: there is no Trio run here; nothing was sent.

    Checkpoint: none. It may be called from callbacks and from any task of the Trio run, not from other threads.
    Source: ``Registry.dispatch/3`` and ``Phoenix.PubSub.broadcast/3``.
    """
    everyone = list(connections)
    for connection in everyone:
        if not isinstance(connection, Connection):
            raise TypeError(f"{describe(connection)} is no connection: broadcast() takes those of current_connection()")
    rounds = _rounds_here()
    missed: list[Connection] = []
    for connection in everyone:
        if connection._mailbox.post_nowait(info):
            rounds.due.append(connection._inbox)
        else:
            missed.append(connection)
    rounds.start()
    return missed


def _rounds_here() -> _Rounds:
    try:
        return _rounds.get()
    except LookupError:
        rounds = _Rounds()
        _rounds.set(rounds)
        trio.lowlevel.spawn_system_task(rounds.run)
        return rounds


@final
class _Rounds:
    """The inboxes of a Trio run that are to be served, and the task that does it."""

    __slots__ = ("_place", "due")

    def __init__(self) -> None:
        self._place = Parking()
        self.due: deque[Inbox] = deque()

    def start(self) -> None:
        if self.due:
            self._place.wake()

    async def run(self) -> None:
        """Serve, until the Trio run is over."""
        await trio.lowlevel.checkpoint()
        try:
            while True:
                for _ in range(min(MAX_SERVED, len(self.due))):
                    self.due.popleft().serve()
                await (trio.lowlevel.checkpoint() if self.due else self._place.park())
        except trio.Cancelled:
            # By the end of the run, or by a cancel scope that a callback has opened and left open in this task, which
            # may not cost all others their broadcasts. A task that begins anew finds out.
            trio.lowlevel.spawn_system_task(self.run)


_rounds: trio.lowlevel.RunVar[_Rounds] = trio.lowlevel.RunVar("trio_websock.broadcasting")
