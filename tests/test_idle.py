"""The clock of the peer's silence, in virtual time."""

from __future__ import annotations

import math

import pytest
import trio

from trio_websock.idle import IdleClock


async def expiry(clock, scope, start):
    """Seconds from ``start`` until ``scope`` expires."""
    with scope:
        await trio.sleep(10_000)
    assert clock.has_expired() == scope.cancelled_caught
    return trio.current_time() - start if scope.cancelled_caught else math.inf


async def test_silence_expires_between_the_timeout_and_a_tenth_more(autojump_clock):
    clock = IdleClock(60)
    scope = clock.open_scope()
    clock.resume()
    assert 60 <= await expiry(clock, scope, trio.current_time()) <= 66


async def test_clock_does_not_run_before_the_loop_is_first_idle(autojump_clock):
    clock = IdleClock(60)
    assert await expiry(clock, clock.open_scope(), 0) == math.inf


async def test_infinite_timeout_never_expires(autojump_clock):
    clock = IdleClock(math.inf)
    scope = clock.open_scope()
    clock.resume()
    clock.pause()
    clock.resume()
    assert await expiry(clock, scope, 0) == math.inf


async def test_touched_clock_starts_anew_when_the_loop_is_idle(autojump_clock):
    clock = IdleClock(60)
    scope = clock.open_scope()
    clock.resume()
    await trio.sleep(50)
    clock.was_touched = True
    clock.resume()
    assert 60 <= await expiry(clock, scope, trio.current_time()) <= 66


async def test_bytes_of_an_unfinished_message_start_it_anew_at_once(autojump_clock):
    clock = IdleClock(60)
    scope = clock.open_scope()
    clock.resume()
    await trio.sleep(50)
    clock.notice_unfinished()
    assert 60 <= await expiry(clock, scope, trio.current_time()) <= 66


async def test_bytes_of_an_unfinished_message_do_not_start_a_paused_clock(autojump_clock):
    clock = IdleClock(60)
    scope = clock.open_scope()
    clock.resume()
    clock.pause()
    clock.notice_unfinished()
    assert await expiry(clock, scope, 0) == math.inf


async def test_small_drift_does_not_move_the_deadline(autojump_clock):
    clock = IdleClock(60)
    scope = clock.open_scope()
    clock.resume()
    deadline = scope.deadline
    await trio.sleep(1)
    clock.was_touched = True
    clock.resume()
    assert scope.deadline == deadline


@pytest.mark.parametrize(("silence", "pause"), [(50, 1000), pytest.param(49, 1, id="too short to matter")])
async def test_paused_time_does_not_count_and_the_clock_goes_on_behind_it(silence, pause, autojump_clock):
    clock = IdleClock(60)
    scope = clock.open_scope()
    clock.resume()
    await trio.sleep(silence)
    clock.pause()
    await trio.sleep(pause)
    clock.resume()
    assert 60 - silence <= await expiry(clock, scope, trio.current_time()) <= 66 - silence


async def test_pausing_twice_counts_from_the_first(autojump_clock):
    clock = IdleClock(60)
    scope = clock.open_scope()
    clock.resume()
    clock.pause()
    await trio.sleep(100)
    clock.pause()
    await trio.sleep(100)
    clock.resume()
    assert 60 <= await expiry(clock, scope, trio.current_time()) <= 66


async def test_scope_that_expired_although_bytes_came_is_replaced(autojump_clock):
    clock = IdleClock(60)
    with clock.open_scope() as scope:
        clock.resume()
        await trio.sleep(59)
        clock.was_touched = True
        await trio.sleep(100)
    assert scope.cancelled_caught
    assert not clock.has_expired()


async def test_new_scope_of_a_running_clock_is_armed(autojump_clock):
    clock = IdleClock(60)
    clock.open_scope()
    clock.resume()
    start = trio.current_time()
    await trio.sleep(10)
    assert 60 <= await expiry(clock, clock.open_scope(), start) <= 66
