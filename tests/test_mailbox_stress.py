"""A thousand senders and a connection that ends meanwhile: every item is accounted for, once, and in order."""

from __future__ import annotations

import math
import random
from collections import Counter
from functools import partial
from itertools import groupby

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock import NORMAL, ConnectionLost, Error, Ok, Push, Remote, Stop, current_connection
from trio_websock.testing.connection import open_test_connection

SENDERS = 1000
ITEMS = 2  # per sender
REFUSALS = (trio.BrokenResourceError, trio.WouldBlock)


@pytest.fixture(autouse=True)
def same_schedule_every_time():
    trio._core._run._r.seed(0)  # Trio shuffles what is due in one turn, and has no public way to say how


class Taking:
    """Notes what it is given; does what a test has put at a number of items."""

    def __init__(self, at, act):
        self.handled = []
        self.at = at
        self.act = act

    def init(self, args):
        return Ok(None)

    def handle_in(self, message, state):
        return Ok(state)

    async def handle_info(self, info, state):
        self.handled.append(info)
        if len(self.handled) == self.at:
            return await self.act(state)
        if len(self.handled) % 10 == 0:
            await trio.lowlevel.checkpoint()
        return Ok(state)


class Senders:
    """A crowd of tasks, each of which notes the items whose sending raised."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.refused = []

    async def run(self, mailbox):
        async with trio.open_nursery() as nursery:
            for sender in range(SENDERS):
                nursery.start_soon(self._send_items, nursery, mailbox.clone(), sender)

    async def _send_items(self, nursery, mailbox, sender):
        for number in range(ITEMS):
            for _ in range(self.random.randrange(20)):
                await trio.lowlevel.checkpoint()
            try:
                await self._send(nursery, mailbox, (sender, number))
            except REFUSALS:
                self.refused.append((sender, number))

    async def _send(self, nursery, mailbox, item):
        way = self.random.randrange(4)
        if way == 0:
            mailbox.send_nowait(item)
        elif way > 1:
            await mailbox.send(item)
        else:
            with trio.CancelScope() as scope:
                nursery.start_soon(self._cancel_soon, scope)
                await mailbox.send(item)
            if scope.cancelled_caught:
                self.refused.append(item)

    async def _cancel_soon(self, scope):
        for _ in range(self.random.randrange(6)):
            await trio.lowlevel.checkpoint()
        scope.cancel()


# How the connection ends, from inside a callback


async def stop(peer, state):
    return Stop(NORMAL, state)


async def stop_while_the_peer_takes_nothing(peer, state):
    peer.transport.take(0)
    return Stop(NORMAL, state, messages="last words")


async def fail(peer, state):
    raise RuntimeError("enough")


async def fail_in_a_task(peer, state):
    current_connection().nursery.start_soon(partial(fail, peer, state))
    await trio.sleep(1)
    return Ok(state)


async def fail_in_a_task_while_the_peer_takes_nothing(peer, state):
    peer.transport.take(0)
    current_connection().nursery.start_soon(partial(fail, peer, state))
    return Push("stuck", state)


async def cancel_myself(peer, state):
    current_connection().nursery.cancel_scope.cancel()
    return Ok(state)


async def see_the_peer_close(peer, state):
    peer.transport.put(Remote(1000))
    return Ok(state)


async def see_the_peer_go(peer, state):
    peer.transport.put(Error(ConnectionLost("gone")))
    return Ok(state)


async def be_shut_down(peer, state):
    peer.connection.shutdown_nowait(deadline=trio.current_time() + 10)
    return Ok(state)


async def be_shut_down_at_once(peer, state):
    peer.connection.shutdown_nowait(deadline=-math.inf)
    await trio.sleep_forever()


async def lose_a_peer_that_takes_nothing(peer, state):
    peer.transport.take(0)
    return Push("stuck", state)


ENDINGS = [
    stop,
    stop_while_the_peer_takes_nothing,
    fail,
    fail_in_a_task,
    fail_in_a_task_while_the_peer_takes_nothing,
    cancel_myself,
    see_the_peer_close,
    see_the_peer_go,
    be_shut_down,
    be_shut_down_at_once,
    lose_a_peer_that_takes_nothing,
]


def all_items():
    return Counter((sender, number) for sender in range(SENDERS) for number in range(ITEMS))


def is_ordered(items):
    """Whether the items of each sender are in the order they were sent."""
    by_sender = groupby(sorted(items, key=lambda item: item[0]), key=lambda item: item[0])
    return all(numbers == sorted(numbers) for numbers in ([number for _, number in group] for _, group in by_sender))


@pytest.mark.parametrize("mailbox_size", [1, 50])
@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__.replace("_", " "))
async def test_every_item_is_handled_refused_or_unhandled_exactly_once_and_in_order(
    ending, mailbox_size, autojump_clock, caplog
):
    at = 700
    handler = Taking(at, lambda state: ending(peer, state))
    senders = Senders(f"{ending.__name__} {mailbox_size}")
    async with open_test_connection(handler, mailbox_size=mailbox_size, raise_handler_errors=False) as peer:
        await senders.run(peer.connection.mailbox)
        await trio.sleep(1000)
        await peer.wait_ended()
    kept = [*handler.handled, *peer.connection.unhandled]
    assert Counter(kept + senders.refused) == all_items()
    assert is_ordered(kept)
    assert len(handler.handled) >= at


@pytest.mark.parametrize("seed", range(8))
async def test_connection_cancelled_at_any_moment_loses_no_item(seed, autojump_clock):
    handler = Taking(math.inf, None)
    senders = Senders(seed)
    async with trio.open_nursery() as nursery:
        async with open_test_connection(handler, mailbox_size=30) as peer:
            nursery.start_soon(senders.run, peer.connection.mailbox)
            for _ in range(random.Random(seed).randrange(60)):
                await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked()
    kept = [*handler.handled, *peer.connection.unhandled]
    assert Counter(kept + senders.refused) == all_items()
    assert is_ordered(kept)


async def test_without_an_ending_every_item_is_handled_or_its_sending_raised(autojump_clock):
    handler = Taking(math.inf, None)
    senders = Senders(0)
    async with open_test_connection(handler, mailbox_size=10) as peer:
        await senders.run(peer.connection.mailbox)
        await wait_all_tasks_blocked()
        assert Counter(handler.handled + senders.refused) == all_items()
        assert is_ordered(handler.handled)


async def test_item_sent_on_the_way_out_of_the_last_callback_is_unhandled(autojump_clock):
    class Leaving:
        def init(self, args):
            return Ok(None)

        def handle_in(self, message, state):
            current_connection().mailbox.send_nowait("to myself")  # straight into the hands of the mailbox task
            return Stop(NORMAL, state)

    async with open_test_connection(Leaving) as peer:
        await peer.send("x")
        await peer.wait_ended()
    assert peer.connection.unhandled == ("to myself",)
