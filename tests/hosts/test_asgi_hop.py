"""A hop from loop to loop, and a place to wait in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trio_websock.hosts.asgi_hop import Event, Hop, batched, size_of

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


def test_what_is_posted_while_a_call_is_under_way_travels_with_it_in_order() -> None:
    posted: Posted = []
    called: list[str] = []
    post = batched(posted.append)
    post(lambda: called.append("a"))
    post(lambda: called.append("b"))
    assert len(posted) == 1
    posted.pop()()
    post(lambda: called.append("c"))
    posted.pop()()
    assert called == ["a", "b", "c"]


def test_what_a_batch_posts_itself_travels_with_the_next_one() -> None:
    posted: Posted = []
    post = batched(posted.append)
    post(lambda: post(lambda: None))  # type: ignore[func-returns-value]  # a way tells nothing
    posted.pop()()
    assert len(posted) == 1
