"""Broadcasting: one item for the mailboxes of many connections.

In: connections and an item. Out: the item in their inboxes, and at the next opportunity one turn of the scheduler for
all those callbacks that need not wait, where sending to each mailbox would cost a turn each.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import trio

from .connection import Connection
from .errors import describe
from .inbox import Inbox

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
    missed: list[Connection] = []
    round_ = _Round()
    for connection in everyone:
        if connection._mailbox.post_nowait(info):
            round_.due.append(connection._inbox)
        else:
            missed.append(connection)
    round_.due.reverse()
    round_.start()
    return missed


class _Round:
    """Inboxes that are to be served, each once."""

    __slots__ = ("_token", "due")

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        #: The last of them comes first.
        self.due: list[Inbox] = []

    def start(self) -> None:
        if self.due:
            self._token.run_sync_soon(self._serve)

    def _serve(self) -> None:
        for _ in range(min(MAX_SERVED, len(self.due))):
            self.due.pop().serve()
        self.start()
