"""A hop from loop to loop, and a place to wait in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from trio_websock.hosts.asgi_hop import Event, EventRest, Hop, size_of

Posted = list[Callable[[], None]]


def test_a_hop_takes_along_all_that_has_come_meanwhile() -> None:
    posted: Posted = []
    arrived: list[list[int]] = []
    hop = Hop[int](posted.append, arrived.append)
    hop.put([1])
    hop.put([2, 3])
    assert len(posted) == 1
    posted.pop()()
    hop.put([4])
    posted.pop()()
    assert arrived == [[1, 2, 3], [4]]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "a", "text": "abc", "bytes": None},
        {"type": "a", "text": None, "bytes": b"abc"},
        {"type": "a", "body": b"abc"},
    ],
    ids=str,
)
def test_an_event_counts_for_its_payload_and_a_little_more(event: Event) -> None:
    assert size_of(event) == size_of({"type": "a"}) + 3


async def test_whoever_rests_is_woken(nursery: trio.Nursery) -> None:
    rest, woken = EventRest(), trio.Event()

    async def wait() -> None:
        await rest.park()
        woken.set()

    rest.wake()
    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    assert not woken.is_set()
    rest.wake()
    await woken.wait()
