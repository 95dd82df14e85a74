"""What runs beside a test leaves no trace in what the test raises."""

from __future__ import annotations

import pytest
import trio

from trio_websock.testing.rooms import open_room


async def test_exception_of_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError, match="a failing test"):
        async with open_room():
            raise KeyError("a failing test")


async def test_tasks_are_cancelled_at_the_end_of_the_block() -> None:
    async with open_room() as room:
        room.start_soon(trio.sleep_forever)


async def test_cancellation_of_the_block_reaches_the_scope_it_came_from() -> None:
    with trio.CancelScope() as scope:
        async with open_room() as room:
            room.start_soon(trio.sleep_forever)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def interrupt() -> None:
    raise KeyboardInterrupt


async def share_a_room(count: int, failure: Exception | None = None) -> None:
    async with open_room() as room:
        for _ in range(count):
            room.start_soon(interrupt)
        if failure is not None:
            raise failure
        await trio.sleep_forever()


def test_exception_of_a_task_comes_out_as_it_is() -> None:
    with pytest.raises(KeyboardInterrupt):
        trio.run(share_a_room, 1)


def test_exception_of_a_task_keeps_its_cause() -> None:
    async def fail() -> None:
        raise KeyError from ValueError()

    async def main() -> None:
        async with open_room() as room:
            room.start_soon(fail)
            await trio.sleep_forever()

    with pytest.raises(KeyError) as caught:
        trio.run(main)
    assert isinstance(caught.value.__cause__, ValueError)


def test_exceptions_of_several_tasks_come_out_as_a_group() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(share_a_room, 2)
    assert len(caught.value.exceptions) == 2


def test_the_block_s_own_exception_wins_over_a_task_s() -> None:
    with pytest.raises(KeyError):
        trio.run(share_a_room, 1, KeyError())
