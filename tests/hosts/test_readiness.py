"""Readiness: who waits is told of what has come, and sleeps while a function can deal with it."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import ExitStack
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock.hosts import readiness
from trio_websock.hosts.readiness import Watch, watch_socket

KINDS = {"this platform's": watch_socket, "every platform's": Watch}


@pytest.fixture(params=KINDS)
def pair(request):
    """Our socket, the peer's, and a watch on ours."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs, KINDS[request.param]


class Sleeper:
    """A socket, and a task that sleeps while a function reads it."""

    def __init__(self, ours, theirs):
        self.ours, self.theirs = ours, theirs
        self.watch = watch_socket(ours.fileno())
        self.received = []
        self.has_woken = False

    async def sleep(self):
        await self.watch.wait(self._step)
        self.has_woken = True

    def _step(self):
        self.received.append(self.ours.recv(20))
        return True


class Told:
    """A watch that only says what it was told."""

    def __init__(self, notice):
        self.notice = notice


@pytest.fixture
async def sleeper(nursery):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        sleeper = Sleeper(ours, theirs)
        nursery.start_soon(sleeper.sleep)
        await wait_all_tasks_blocked()
        yield sleeper


async def wait_for_event():
    """Until all that the kernel has to tell has been told."""
    for _ in range(3):
        await trio.lowlevel.checkpoint()
    await wait_all_tasks_blocked(0.01)


async def test_wait_ends_when_something_has_come(pair):
    ours, theirs, open_watch = pair
    theirs.send(b"x")
    watch = open_watch(ours.fileno())
    await watch.wait()
    assert watch.is_ready


async def test_function_is_called_in_place_of_the_task_until_it_wants_no_more(pair):
    ours, theirs, open_watch = pair
    received = []

    def step():
        received.append(ours.recv(10))
        return len(received) < 3

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_watch(ours.fileno()).wait, step)
        for piece in (b"a", b"b", b"c"):
            await wait_for_event()
            theirs.send(piece)
    assert received == [b"a", b"b", b"c"]


async def test_fault_of_the_function_is_the_waiters(pair):
    ours, theirs, open_watch = pair
    theirs.send(b"x")
    with pytest.raises(ZeroDivisionError):
        await open_watch(ours.fileno()).wait(lambda: bool(1 // 0))


async def test_wait_is_cancelled_without_a_trace(pair):
    ours, theirs, open_watch = pair
    watch = open_watch(ours.fileno())
    with trio.CancelScope() as scope:
        scope.cancel()
        await watch.wait()
    theirs.send(b"x")
    await watch.wait()
    assert watch.is_ready


async def test_closed_watch_cannot_be_waited_on(pair):
    ours, _, open_watch = pair
    watch = open_watch(ours.fileno())
    watch.close()
    with pytest.raises(trio.ClosedResourceError):
        await watch.wait()


async def test_closing_wakes_who_waits(pair):
    ours, _, open_watch = pair
    watch = open_watch(ours.fileno())
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_closed, watch)
            await wait_all_tasks_blocked()
            watch.close()


@pytest.mark.skipif(not hasattr(readiness, "EpollWatch"), reason="there is no epoll on this platform")
class TestEpoll:
    async def test_only_one_task_may_wait(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            watch = watch_socket(ours.fileno())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch.wait)
                await wait_all_tasks_blocked()
                with pytest.raises(trio.BusyResourceError):
                    await watch.wait()
                nursery.cancel_scope.cancel()

    async def test_descriptor_that_cannot_be_registered_costs_nobody_else_his_events(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            first, second = watch_socket(ours.fileno()), watch_socket(ours.fileno())
            with trio.move_on_after(0):
                await first.wait()
            first.is_ready = False
            with pytest.raises(OSError, match="exists"):
                await second.wait()
            theirs.send(b"x")
            await wait_for_event()
            assert first.is_ready

    async def test_what_comes_while_nobody_waits_is_remembered(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            watch = watch_socket(ours.fileno())
            with trio.move_on_after(0):
                await watch.wait()
            theirs.send(b"x")
            await wait_for_event()
            assert watch.is_ready

    async def test_end_of_the_stream_that_came_with_the_last_bytes_is_known(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            watch = watch_socket(ours.fileno())
            theirs.send(b"last words")
            theirs.shutdown(socket.SHUT_WR)
            await watch.wait(lambda: True)
            assert watch.has_ended

    async def test_another_task_may_attend_and_the_one_who_waits_sleeps_on(self, sleeper):
        sleeper.theirs.send(b"a")
        await sleeper.watch.attend()
        sleeper.theirs.send(b"b")
        await sleeper.watch.attend()
        assert sleeper.received == [b"a", b"b"]
        assert not sleeper.has_woken

    async def test_attending_makes_no_work_for_the_registry(self, sleeper, monkeypatch):
        noticed = []
        monkeypatch.setattr(sleeper.watch._registry, "_watches", {sleeper.ours.fileno(): Told(noticed.append)})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper.watch.attend)
            await wait_all_tasks_blocked()
            sleeper.theirs.send(b"a")
        await wait_for_event()
        assert sleeper.received == [b"a"]
        assert not noticed

    async def test_what_comes_once_nobody_attends_any_more_is_noticed(self, sleeper):
        sleeper.theirs.send(b"a")
        await sleeper.watch.attend()
        sleeper.theirs.send(b"b")
        await wait_for_event()
        assert sleeper.received == [b"a", b"b"]

    async def test_what_came_while_somebody_attended_in_vain_is_noticed(self, sleeper):
        with trio.CancelScope() as scope:
            scope.cancel()
            sleeper.theirs.send(b"a")
            await sleeper.watch.attend()
        await wait_for_event()
        assert sleeper.received == [b"a"]

    async def test_end_of_the_stream_is_known_after_somebody_attended(self, sleeper):
        sleeper.theirs.send(b"last words")
        sleeper.theirs.shutdown(socket.SHUT_WR)
        await sleeper.watch.attend()
        await wait_for_event()
        assert sleeper.watch.has_ended
        assert sleeper.has_woken

    async def test_who_attends_can_be_dismissed(self, sleeper):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper.watch.attend)
            await wait_all_tasks_blocked()
            sleeper.watch.dismiss()
        sleeper.theirs.send(b"a")
        await wait_for_event()
        assert sleeper.received == [b"a"]

    async def test_nobody_can_attend_where_nobody_waits(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            assert not watch_socket(ours.fileno()).can_attend

    async def test_it_does_not_pay_to_attend_among_others(self, sleeper, nursery):
        assert sleeper.watch.can_attend
        ours, theirs = socket.socketpair()
        with ours, theirs:
            nursery.start_soon(watch_socket(ours.fileno()).wait)
            await wait_all_tasks_blocked()
            assert not sleeper.watch.can_attend

    async def test_closed_socket_is_forgotten_though_another_process_has_it_open(self):
        ours, theirs = socket.socketpair()
        watch = watch_socket(ours.fileno())
        with trio.move_on_after(0):
            await watch.wait()
        number = ours.fileno()
        watch.close()
        with theirs, socket.socket(fileno=os.dup(number)):  # as a forked process has it
            ours.close()
            again, others = socket.socketpair()
            with again, others:
                assert again.fileno() == number
                heir = watch_socket(number)
                with trio.move_on_after(0):
                    await heir.wait()
                heir.is_ready = False
                theirs.send(b"for the one that was closed")
                await wait_for_event()
                assert not heir.is_ready

    async def test_late_event_of_an_older_socket_does_no_harm_to_the_next_with_its_number(self):
        ours, theirs = socket.socketpair()
        watch = watch_socket(ours.fileno())
        with trio.move_on_after(0):
            await watch.wait()
        number = ours.fileno()
        watch.close()
        ours.close()
        with theirs:
            again, others = socket.socketpair()
            with again, others:
                assert again.fileno() == number
                again.setblocking(False)
                heir = watch_socket(number)
                with trio.move_on_after(0):
                    await heir.wait()
                heir.notice(1)
                assert heir.is_ready
                with pytest.raises(BlockingIOError):
                    again.recv(1)


class Chatter(trio.abc.Instrument):
    """Sockets whose peers answer at once, for ever."""

    def __init__(self, count):
        self.pairs = [socket.socketpair() for _ in range(count)]
        self.reads = [0]  # of all of them, in each turn of the scheduler

    def before_io_wait(self, timeout):
        self.reads.append(0)

    def step(self, ours, theirs):
        theirs.send(ours.recv(1))
        self.reads[-1] += 1
        return True

    async def listen(self):
        """How often they are read in the first turn in which they are read at all."""
        with ExitStack() as stack:
            async with trio.open_nursery() as nursery:
                for ours, theirs in self.pairs:
                    stack.enter_context(ours)
                    stack.enter_context(theirs)
                    nursery.start_soon(watch_socket(ours.fileno()).wait, partial(self.step, ours, theirs))
                await wait_all_tasks_blocked()
                trio.lowlevel.add_instrument(self)
                for _, theirs in self.pairs:
                    theirs.send(b"x")
                while not any(self.reads):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        return next(filter(None, self.reads))


@pytest.mark.skipif(not hasattr(readiness, "EpollWatch"), reason="there is no epoll on this platform")
class TestBusySockets:
    @pytest.fixture
    def clock(self, monkeypatch):
        """A clock by which each round takes more than a quarter of what a turn may."""
        ticks = itertools.count(step=0.3 * readiness.MAX_TURN)
        monkeypatch.setattr(readiness, "perf_counter", lambda: next(ticks))

    async def test_they_are_served_again_before_the_schedulers_turn_until_it_has_taken_too_long(self, clock):
        assert await Chatter(2).listen() == 2 * 4

    async def test_one_alone_is_served_once_in_a_turn(self, clock):
        assert await Chatter(1).listen() == 1


async def expect_closed(watch):
    with pytest.raises(trio.ClosedResourceError):
        await watch.wait()


async def test_scope_that_a_step_leaves_open_and_cancels_harms_no_other_socket(pair):
    ours, theirs, _ = pair
    scope = trio.CancelScope()

    def leave_a_scope_open():
        ours.recv(10)
        scope.__enter__()
        scope.cancel()
        return False

    one, other = socket.socketpair()
    with one, other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_socket(ours.fileno()).wait, leave_a_scope_open)
            nursery.start_soon(watch_socket(one.fileno()).wait)
            await wait_for_event()
            theirs.send(b"x")
            await wait_for_event()
            other.send(b"x")
