"""A deadline that reaches every scope opened under it, also when it is brought forward."""

from __future__ import annotations

import math
from contextlib import suppress

import trio

from trio_websock.lifetime import Lifetime


async def test_scope_ends_after_its_seconds(autojump_clock):
    start = trio.current_time()
    with Lifetime().bounded(3, shield=False) as scope:
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == start + 3


async def test_scope_ends_at_the_deadline_if_that_is_earlier(autojump_clock):
    lifetime = Lifetime()
    lifetime.shorten(trio.current_time() + 2)
    start = trio.current_time()
    with lifetime.bounded(3, shield=False):
        await trio.sleep_forever()
    assert trio.current_time() == start + 2


async def test_open_scope_follows_a_deadline_brought_forward(autojump_clock):
    lifetime = Lifetime()
    start = trio.current_time()
    with lifetime.bounded(shield=False):
        lifetime.shorten(start + 1)
        await trio.sleep_forever()
    assert trio.current_time() == start + 1


async def test_later_deadline_changes_nothing():
    lifetime = Lifetime()
    lifetime.shorten(5)
    lifetime.shorten(math.inf)
    assert lifetime.deadline == 5


async def test_adopted_scope_follows_the_deadline_until_it_is_released(autojump_clock):
    lifetime = Lifetime()
    deadline = trio.current_time() + 5
    scope = trio.CancelScope()
    lifetime.adopt(scope)
    lifetime.shorten(deadline)
    assert scope.deadline == deadline
    lifetime.release(scope)
    lifetime.shorten(deadline - 1)
    assert scope.deadline == deadline


async def test_deadline_that_has_come_cancels_at_once(autojump_clock):
    lifetime = Lifetime()
    with lifetime.bounded(shield=False) as scope:
        lifetime.shorten(trio.current_time())
        await trio.lowlevel.checkpoint_if_cancelled()  # Trio has not looked at its clock since
    assert scope.cancelled_caught


async def test_scope_adopted_behind_a_shutdown_has_the_deadline_already(autojump_clock):
    lifetime = Lifetime()
    lifetime.shorten(5)
    scope = trio.CancelScope()
    lifetime.adopt(scope)
    assert scope.deadline == 5


async def test_shield_holds_an_outer_cancellation_back_until_the_deadline(autojump_clock):
    start = trio.current_time()
    with trio.CancelScope() as outer:
        outer.cancel()
        with Lifetime().bounded(3, shield=True):
            await trio.sleep_forever()
        assert trio.current_time() == start + 3


async def test_scope_that_has_been_left_is_forgotten(autojump_clock):
    lifetime = Lifetime()
    with suppress(KeyError), lifetime.bounded(shield=False) as scope:
        raise KeyError
    lifetime.shorten(5)
    assert scope.deadline == math.inf
