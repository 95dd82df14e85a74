"""The one queue all three sources of a connection feed and the loop empties.

In: batches of arrivals from the reader, items from the mailbox task, an interruption from the server. Out: one item
at a time, in order of arrival.

1. One wake-up per batch: the loop parks here when the queue is empty and is rescheduled by the first to put. Where
   somebody stands in for the parked loop, only what he leaves is queued.
2. Arrivals that wait are bounded, in number and bytes: a reader that finds the inbox full waits until the loop has
   taken the last of them. Mailbox items are bounded in the same way, in number.
3. An interruption is not queued: the loop looks for it before every item.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias, final

import trio

from .behaviour.reasons import Reason
from .parking import Parking
from .transport import Arrival

__all__ = ["Inbox", "Info", "Item"]


class Info(NamedTuple):
    """Something out of the mailbox."""

    item: object


Item: TypeAlias = Arrival | Info


@final
class Inbox:
    """See the module.

    Args:
        max_messages: arrivals that may wait.
        max_size: bytes of theirs that may wait; the arrival that passes it is still taken.
        max_infos: mailbox items that may wait.
    """

    __slots__ = (
        "_arrivals",
        "_due",
        "_infos",
        "_is_closed",
        "_mailbox",
        "_max_infos",
        "_max_messages",
        "_max_size",
        "_posted",
        "_put",
        "_reader",
        "_size",
        "expects_info",
        "infos_put",
        "interruption",
        "loop",
        "reading_since",
        "received",
        "stand_in",
    )

    def __init__(self, max_messages: int, max_size: int, max_infos: int) -> None:
        # Two lists, as most inboxes are empty most of the time, and a deque that is empty takes ten times as much. What
        # is put waits in the one; what is taken comes off the end of the other, which is the first one reversed.
        self._put: list[Item] = []
        self._due: list[Item] = []
        self._posted: list[Item] | None = None
        self._max_messages = max_messages
        self._max_size = max_size
        self._max_infos = max_infos
        self._arrivals = 0
        self._size = 0
        self._infos = 0
        self._is_closed = False
        #: Where the loop is parked while there is nothing to take.
        self.loop: Parking = Parking()
        #: Deals with items in place of the loop while that is parked, and leaves those that have to wait for it.
        self.stand_in: Callable[[Iterator[Item]], None] | None = None
        self._reader = Parking()
        self._mailbox: Parking | None = None  # most connections have none
        self.interruption: Reason | None = None
        #: Whether the mailbox task waits for an item, perhaps with one in its hands already.
        self.expects_info: bool = False
        #: Mailbox items that have been put so far.
        self.infos_put: int = 0
        self.received: int = 0
        #: When the reader last had to wait for room; ``math.inf`` while it does.
        self.reading_since: float = -math.inf

    def put_arrivals(self, batch: Sequence[Arrival]) -> None:
        """Have what one read yielded dealt with, or queue it."""
        if self._is_closed:
            return
        self.received += len(batch)
        left = self._left_of(batch)
        if left:
            self._arrivals += len(left)
            for item in left:
                if type(item) is str or type(item) is bytes:
                    self._size += len(item)
            self._put.extend(left)
            self.serve()

    def put_info(self, item: object) -> None:
        """Have one mailbox item dealt with, or queue it; behind the end it is kept for the next :meth:`close`."""
        self.put_infos((item,))

    def put_infos(self, items: Sequence[object]) -> None:
        """As :meth:`put_info`, for several of them, as one."""
        self.infos_put += len(items)
        left = self._left_of([Info(item) for item in items])
        if left:
            self._infos += len(left)
            self._put.extend(left)
            self.serve()

    def post_info(self, item: object) -> None:
        """Take one mailbox item, and leave it to the caller to :meth:`serve`, soon but in another turn.

        It is not queued before: a callback that posts to its own connection would go on for ever.
        """
        self.infos_put += 1
        self._infos += 1
        if self._posted is None:
            self._posted = []
        self._posted.append(Info(item))

    def serve(self) -> None:
        """Have what is posted and queued dealt with, by the stand-in or by the loop."""
        self._queue_posted()
        if self.stand_in is not None:
            self.stand_in(self.take())
        if self._due or self._put:
            self.loop.wake()

    def _queue_posted(self) -> None:
        self._put += self._posted or ()
        self._posted = None

    def _left_of(self, items: Sequence[Item]) -> Sequence[Item]:
        """What the stand-in leaves of items that need not wait behind others."""
        if self._posted is not None:
            self._queue_posted()
        if self.stand_in is None or self._due or self._put:
            return items
        rest = iter(items)
        self.stand_in(rest)
        return list(rest)

    def interrupt(self, reason: Reason) -> None:
        """Have the loop end before the next item; the first reason counts."""
        if self.interruption is None:
            self.interruption = reason
            self.loop.wake()

    def close(self) -> list[object]:
        """Drop what waits: the loop has come to its end. Arrivals still to come are dropped, too.

        Returns:
            The mailbox items that were dropped, in order. More may follow, as the mailbox task is still moving them:
            ask again when it has ended.
        """
        self._is_closed = True
        self.stand_in = None  # it leads back to us
        self._queue_posted()
        if not self._due and not self._put:
            return []
        infos = [item.item for item in (*reversed(self._due), *self._put) if type(item) is Info]
        self._due.clear()
        self._put.clear()
        self._arrivals = self._size = self._infos = 0
        self._reader.wake()
        return infos

    def __bool__(self) -> bool:
        return bool(self._due or self._put) or self.interruption is not None

    def pop(self) -> Item:
        """The next item; only if there is one."""
        if not self._due:
            self._due, self._put = self._put, self._due
            self._due.reverse()
        item = self._due.pop()
        if type(item) is Info:
            self._infos -= 1
            if self._mailbox is not None:
                self._mailbox.wake()
        elif self._arrivals == 1:
            self._arrivals = self._size = 0
            self._reader.wake()
        else:
            self._arrivals -= 1
        return item

    def take(self) -> Iterator[Item]:
        """The items, one after the other, until there is none."""
        while self._due or self._put:
            yield self.pop()

    @property
    def room(self) -> int:
        """Arrivals the reader may still put; zero: it has to wait."""
        if not self._arrivals:  # most of the time
            return self._max_messages
        # An end is put whether there is room or not.
        return 0 if self._size >= self._max_size else max(0, self._max_messages - self._arrivals)

    async def wait_room(self) -> None:
        """Park the reader until the loop has taken every arrival. Checkpoint: if there is no room."""
        if self.room:
            return
        self.reading_since = math.inf
        try:
            while not self.room:
                await self._reader.park()
        finally:
            self.reading_since = trio.current_time()

    @property
    def info_room(self) -> int:
        """Items that the mailbox task may still put; none or less: it has to wait."""
        return self._max_infos - self._infos

    async def wait_info_room(self) -> None:
        """Park the mailbox task while too many of its items wait. Checkpoint: if there is no room."""
        while self.info_room <= 0:
            if self._mailbox is None:
                self._mailbox = Parking()
            await self._mailbox.park()
