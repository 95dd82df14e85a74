"""The tasks that carry events: on asyncio here; what is so on either loop is told of the exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
import trio
import trio.testing

from trio_websock.hosts.asgi_crew import FutureRest, carry_on_asyncio, carry_on_trio
from trio_websock.hosts.asgi_exchange import Carrier, open_exchange
from trio_websock.hosts.asgi_hop import Event, Receive, Send

GOODBYE = {"type": "websocket.close", "code": 1001}


def now(call: Callable[[], None]) -> None:
    call()


class Trip:
    """A carrier on asyncio, between a server in memory and an end of Trio's that nobody is at."""

    def __init__(self, receive: Receive | None = None, send: Send | None = None) -> None:
        self.sent: list[Event] = []
        receive = receive or asyncio.Queue[Event]().get
        self.carrier: Carrier = open_exchange(receive, send or self._send, now, now, FutureRest)
        self.has_begun = asyncio.Event()

    async def _send(self, event: Event) -> None:
        self.sent.append(event)

    async def run(self, begin: Callable[[], object]) -> None:
        await carry_on_asyncio(self.carrier, begin)

    async def begin(self) -> asyncio.Task[None]:
        task = asyncio.create_task(self.run(self.has_begun.set))
        await self.has_begun.wait()
        return task

    def end(self) -> None:
        self.carrier.exchange.send_nowait(GOODBYE)
        self.carrier.exchange.end()


async def pass_turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def expect_cancelled(task: asyncio.Task[None]) -> None:
    with pytest.raises(asyncio.CancelledError):
        await task


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 20))


def test_who_has_carried_to_the_end_leaves_no_task_behind_and_tells_of_no_loss() -> None:
    async def scenario() -> None:
        before = asyncio.all_tasks()
        trip = Trip()
        task = await trip.begin()
        trip.end()
        await task
        assert trip.sent == [GOODBYE]
        assert not trip.carrier.exchange.is_gone
        assert asyncio.all_tasks() == before

    run(scenario())


def test_a_cancelled_call_cancels_trios_end_and_lets_it_finish_however_often_it_is_cancelled() -> None:
    async def scenario() -> None:
        trip = Trip()
        task = await trip.begin()
        for _ in range(3):
            task.cancel()
            await pass_turns()
        assert trip.carrier.exchange.scope.cancel_called
        trip.end()
        await expect_cancelled(task)
        assert trip.sent == [GOODBYE]

    run(scenario())


def test_so_does_a_call_within_a_cancelled_scope_of_anyios() -> None:
    async def scenario() -> None:
        trip = Trip()
        asyncio.get_running_loop().call_later(0.05, trip.end)
        with anyio.CancelScope() as scope:
            await trip.run(scope.cancel)
        assert scope.cancelled_caught
        assert trip.sent == [GOODBYE]

    run(scenario())


def test_a_stop_cancels_a_send_that_is_stuck() -> None:
    async def send(event: Event) -> None:
        await asyncio.Event().wait()

    async def scenario() -> None:
        trip = Trip(send=send)
        task = await trip.begin()
        trip.end()
        await pass_turns()
        trip.carrier.exchange.abort()
        await task

    run(scenario())


def test_a_send_that_swallows_its_cancellation_is_the_last_one() -> None:
    async def send(event: Event) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

    async def scenario() -> None:
        trip = Trip(send=send)
        task = await trip.begin()
        trip.carrier.exchange.send_nowait(GOODBYE)
        trip.carrier.exchange.flush_nowait()
        await pass_turns()
        trip.carrier.exchange.abort()
        await task

    run(scenario())


def test_a_receive_that_swallows_its_cancellation_does_not_hold_up_the_end() -> None:
    async def receive() -> Event:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        return {"type": "websocket.receive", "text": "swallowed"}

    async def scenario() -> None:
        trip = Trip(receive)
        task = await trip.begin()
        await pass_turns()
        trip.end()
        await task

    run(scenario())


def test_a_task_cancelled_with_its_loop_is_a_loss() -> None:
    trips: list[Trip] = []

    async def scenario() -> None:
        trips.append(Trip())
        await trips[0].begin()

    run(scenario())
    assert trips[0].carrier.exchange.is_gone


@pytest.mark.parametrize("name", ["receive", "send"])
def test_a_server_that_cancels_what_is_asked_of_it_has_lost_the_client(name: str) -> None:
    async def give_up(*event: Event) -> Any:
        raise asyncio.CancelledError

    async def scenario() -> None:
        trip = Trip(**{name: give_up})
        task = await trip.begin()
        trip.carrier.exchange.send_nowait(GOODBYE)
        trip.carrier.exchange.flush_nowait()
        await task
        assert trip.carrier.exchange.is_gone
        assert trip.carrier.exchange.pop() == {"type": "websocket.disconnect", "code": 1006}

    run(scenario())


async def test_on_trio_the_end_of_the_call_waits_for_what_is_being_sent(autojump_clock: object) -> None:
    sent: list[Event] = []

    async def send(event: Event) -> None:
        await trio.sleep(1)
        sent.append(event)

    carrier = open_exchange(trio.sleep_forever, send, now, now)

    async def body() -> None:
        carrier.exchange.send_nowait(GOODBYE)
        carrier.exchange.end()

    with trio.move_on_after(0.5):
        await carry_on_trio(carrier, body)
    assert sent == [GOODBYE]


def test_whoever_rests_is_woken_and_only_then() -> None:
    async def scenario() -> None:
        rest = FutureRest()
        rest.wake()
        waiting = asyncio.create_task(rest.park())
        await pass_turns()
        assert not waiting.done()
        rest.wake()
        await waiting

    run(scenario())


def test_whoever_has_stopped_resting_is_not_woken() -> None:
    async def scenario() -> None:
        rest = FutureRest()
        waiting = asyncio.create_task(rest.park())
        await pass_turns()
        waiting.cancel()
        rest.wake()
        await expect_cancelled(waiting)
        rest.wake()

    run(scenario())
