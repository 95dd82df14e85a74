"""A scenario is interrupted wherever it can be, and once not at all."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_websock import Connection, Ok, Push, Remote, Shutdown, StateError
from trio_websock.testing.connection import open_test_connection
from trio_websock.testing.interruption import cancel_connection, each_checkpoint


async def count_to(number: int, counted: list[int]) -> None:
    for step in range(number):
        await trio.lowlevel.checkpoint()
        counted.append(step)


async def test_body_is_cancelled_at_each_of_its_checkpoints_and_at_last_not() -> None:
    ends: list[int] = []
    for interruption in each_checkpoint():
        counted: list[int] = []
        with interruption:
            await count_to(3, counted)
        ends.append(len(counted))
    assert sorted(set(ends)) == [0, 1, 2, 3]
    assert ends == sorted(ends)


def test_interruption_that_nobody_entered_is_an_error() -> None:
    with pytest.raises(StateError, match="with interruption:"):
        list(each_checkpoint())


async def test_last_run_alone_is_not_interrupted() -> None:
    struck = []
    for interruption in each_checkpoint():
        with interruption:
            await count_to(2, [])
        struck.append(interruption.has_struck)
    assert struck == [True] * (len(struck) - 1) + [False]


async def test_tasks_that_the_body_starts_are_interrupted_too() -> None:
    lengths = set()
    for interruption in each_checkpoint():
        counted: list[int] = []
        with interruption:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(count_to, 3, counted)
        lengths.add(len(counted))
    assert lengths == {0, 1, 2, 3}


async def test_task_that_is_waiting_is_cancelled_while_it_waits(autojump_clock: MockClock) -> None:
    waited = []
    for interruption in each_checkpoint():
        start = trio.current_time()
        with interruption:
            await trio.sleep(10)
        waited.append((interruption.has_struck, trio.current_time() - start))
    assert (True, 0) in waited
    assert waited[-1] == (False, 10)


async def test_scenario_may_be_left_at_any_run() -> None:
    for interruption in each_checkpoint():
        with interruption:
            await count_to(3, [])
        break
    assert interruption.has_struck


async def stand_by() -> None:
    while True:
        await trio.lowlevel.checkpoint()


async def test_other_tasks_do_not_count(nursery: trio.Nursery) -> None:
    nursery.start_soon(stand_by)
    places = []
    for interruption in each_checkpoint():
        with interruption:
            await count_to(3, [])
        places.append(interruption.place)
    nursery.cancel_scope.cancel()
    assert not any("stand_by" in place for place in places)


async def test_steps_behind_the_block_do_not_count() -> None:
    for interruption in each_checkpoint():
        with interruption:
            pass
        await count_to(3, [])
        assert not interruption.has_struck


async def test_task_is_met_while_it_waits_and_with_what_it_waited_for_in_its_hands(nursery: trio.Nursery) -> None:
    outcomes = []
    for interruption in each_checkpoint():
        send, receive = trio.open_memory_channel[str](0)
        is_received, is_cancelled = False, False
        nursery.start_soon(send_or_give_up, send)
        with interruption:
            is_received = bool(await receive.receive())
            is_cancelled = trio.current_effective_deadline() == -math.inf
        receive.close()
        outcomes.append((is_received, is_cancelled))
    assert set(outcomes) == {(False, False), (True, True), (True, False)}


async def send_or_give_up(send: trio.MemorySendChannel[str]) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        await send.send("item")


async def fail_when_cancelled() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise KeyError


async def test_failure_of_the_body_says_where_it_was_interrupted() -> None:
    with pytest.raises(KeyError) as caught, next(each_checkpoint()):
        await fail_when_cancelled()
    (note,) = caught.value.__notes__
    assert note.startswith("Interrupted at ")
    assert "test_interruption.py" in note


class Pausing:
    def __init__(self) -> None:
        self.ended: list[object] = []

    def init(self, args: Any) -> Any:
        return Ok(0)

    async def handle_in(self, message: str | bytes, state: int) -> Any:
        await count_to(3, [])
        return Push(message, state + 1)

    def terminate(self, reason: Any, state: int) -> None:
        self.ended.append((reason, state))


async def test_connection_is_cancelled_at_each_of_its_checkpoints(autojump_clock: MockClock) -> None:
    ends = []
    for interruption in each_checkpoint(cancel_connection):
        handler = Pausing()
        with interruption:
            async with open_test_connection(handler) as peer:
                await peer.send("x")
        ends += handler.ended
    assert set(ends) == {(Shutdown(), 0), (Shutdown(), 1)}


async def test_strike_is_told_the_connection_and_falls_inside_it(autojump_clock: MockClock) -> None:
    struck: list[Connection] = []
    for interruption in each_checkpoint(struck.append):
        with interruption:
            async with open_test_connection(Pausing()) as peer:
                await peer.send("x")
        assert struck[-1:] == [peer.connection] or not interruption.has_struck
    assert len(struck) > 5


async def test_exception_of_a_strike_comes_out() -> None:
    def strike(connection: Connection) -> None:
        raise KeyError("strike")

    with pytest.raises(KeyError, match="strike"), next(each_checkpoint(strike)):
        async with open_test_connection(Pausing()):
            pass


async def test_connection_that_has_ended_cannot_be_cancelled(autojump_clock: MockClock) -> None:
    async with open_test_connection(Pausing()) as peer:
        await peer.close()
        cancel_connection(peer.connection)
        assert peer.reason == Remote(1000)
