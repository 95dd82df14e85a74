"""Several tasks that send: cancellation is seen each time, and others get a turn."""

from __future__ import annotations

import math

import trio

from trio_websock.client.outlet import MAX_SENDS, Outlet
from trio_websock.lifetime import Lifetime
from trio_websock.testing.memory_transport import MemoryTransport
from trio_websock.writer import Writer


def open_outlet():
    return Outlet(Writer(MemoryTransport(), math.inf, Lifetime(), print))


async def test_a_turn_sees_cancellation_each_time():
    outlet = open_outlet()
    for _ in range(2 * MAX_SENDS):
        with trio.move_on_after(0) as scope:
            await outlet.take_turn()
        assert scope.cancelled_caught


async def test_others_get_a_turn_after_a_few_messages():
    outlet = open_outlet()
    with trio.testing.assert_checkpoints():
        for _ in range(MAX_SENDS):
            await outlet.take_turn()


async def test_nothing_sent_is_nothing_to_wait_for(nursery, autojump_clock):
    with trio.fail_after(1):
        await open_outlet().wait_flushed(nursery)
