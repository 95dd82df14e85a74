"""One parked task, one wake-up."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock.parking import Parking


async def test_wake_lets_the_parked_task_go_on(nursery):
    parking = Parking()
    nursery.start_soon(parking.park)
    await wait_all_tasks_blocked()
    assert nursery.child_tasks
    parking.wake()
    await wait_all_tasks_blocked()
    assert not nursery.child_tasks


async def test_waking_nobody_is_forgotten(nursery):
    parking = Parking()
    parking.wake()
    nursery.start_soon(parking.park)
    await wait_all_tasks_blocked()
    assert nursery.child_tasks
    parking.wake()


async def test_cancelled_task_is_not_woken_again():
    parking = Parking()
    with trio.CancelScope() as scope:
        scope.cancel()
        await parking.park()
    assert scope.cancelled_caught
    parking.wake()


async def test_task_that_waits_elsewhere_is_woken_there():
    parking, event = Parking(), trio.Event()
    parking.wake_elsewhere = event.set
    parking.wake()
    assert event.is_set()
