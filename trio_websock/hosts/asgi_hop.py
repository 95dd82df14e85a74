"""What ASGI events travel by between two loops, and what the traveller waits in.

In: events. Out: the same, in batches. Knows neither end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, final

__all__ = ["Event", "Hop", "Post", "Receive", "Rest", "Send", "batched", "size_of"]

Event: TypeAlias = MutableMapping[str, Any]
"""One ASGI event."""

Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]

Post: TypeAlias = Callable[[Callable[[], None]], object]
"""Has a function called in another loop, or at once where that is the same loop."""

Item = TypeVar("Item")

EVENT_SIZE = 64  # what an event counts beside its payload: empty messages take memory, too


def size_of(event: Event) -> int:
    """What an event counts for back-pressure, near enough."""
    payload = event.get("text") or event.get("bytes") or event.get("body") or ""
    return len(payload) + EVENT_SIZE


@final
class Hop(Generic[Item]):
    """One direction: as many items per call as have been put by the time it is made.

    Args:
        post: the way into the loop that is to get them.
        deliver: called there.
    """

    __slots__ = ("_deliver", "_is_due", "_items", "_post")

    def __init__(self, post: Post, deliver: Callable[[list[Item]], None]) -> None:
        self._post = post
        self._deliver = deliver
        self._items: deque[Item] = deque()
        self._is_due = False

    def put(self, items: Sequence[Item]) -> None:
        """Send ``items`` on their way; from one loop only."""
        # First the items, then the question: whoever has reset the answer since will find them.
        self._items.extend(items)
        if not self._is_due:
            self._is_due = True
            self._post(self._arrive)

    def _arrive(self) -> None:
        self._is_due = False
        batch = [self._items.popleft() for _ in range(len(self._items))]
        self._deliver(batch)


def batched(post: Post) -> Post:
    """A way on which what is posted while a call is under way travels with that; from one loop only."""
    hop = Hop[Callable[[], None]](post, _call_all)
    return lambda function: hop.put((function,))


def _call_all(functions: list[Callable[[], None]]) -> None:
    for function in functions:
        function()


class Rest(Protocol):
    """A place for one task to wait in."""

    async def park(self) -> None:
        """Wait for :meth:`wake`."""

    def wake(self) -> None:
        """Let the parked task go on, if there is one."""
