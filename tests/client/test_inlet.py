"""Who receives gets every message once, whether it is read by the reader or, alone in the run, by himself."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock import Shutdown, Timeout
from trio_websock.client.inlet import Inlet
from trio_websock.client.outlet import Outlet
from trio_websock.hosts.readiness import watch_socket
from trio_websock.inbox import Inbox


class Line:
    """A socket, a reader that puts what comes into an inbox, and the inlet behind it."""

    def __init__(self, ours, theirs):
        self.ours, self.theirs = ours, theirs
        self.watch = watch_socket(ours.fileno())
        self.inbox = Inbox(10, 1000, 10)
        self.inlet = Inlet(self.inbox, self.watch, Outlet(writer=None))
        self.times_woken = 0

    async def read(self):
        try:
            while True:
                await self.watch.wait(self._step)
                self.times_woken += 1
        except trio.ClosedResourceError:
            self.inbox.put_arrivals([Timeout()])

    def _step(self):
        try:
            self.inbox.put_arrivals([self.ours.recv(10)])
        except BlockingIOError:
            pass
        return True


@pytest.fixture
async def line(nursery):
    """A line on which the reader sleeps already."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        line = Line(ours, theirs)
        nursery.start_soon(line.read)
        await wait_all_tasks_blocked()
        yield line
        line.inbox.close()


@pytest.fixture(params=["alone", "among others"])
def company(request):
    """Perhaps another socket of the same run that somebody waits for."""
    if request.param == "alone":
        yield None
        return
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


async def join(company, nursery):
    if company is not None:
        nursery.start_soon(watch_socket(company.fileno()).wait)
        await wait_all_tasks_blocked()


async def test_messages_are_received_as_they_come(line, company, nursery):
    await join(company, nursery)
    received = []
    for message in (b"a", b"b", b"c"):
        nursery.start_soon(receive_into, line, received)
        await wait_all_tasks_blocked()
        line.theirs.send(message)
        with trio.fail_after(5):
            while not received or received[-1] != message:
                await trio.lowlevel.checkpoint()
    assert received == [b"a", b"b", b"c"]
    assert not line.times_woken


async def receive_into(line, received):
    received.append(await line.inlet.receive())


async def test_what_comes_while_nobody_receives_is_read_all_the_same(line, company, nursery):
    await join(company, nursery)
    line.theirs.send(b"a")
    with trio.fail_after(5):
        assert await line.inlet.receive() == b"a"
        line.theirs.send(b"b")
        while not line.inbox:
            await trio.lowlevel.checkpoint()
    assert await line.inlet.receive() == b"b"


async def test_an_end_that_does_not_come_from_the_socket_is_noticed(line, company, nursery):
    await join(company, nursery)
    received = []
    nursery.start_soon(receive_into, line, received)
    await wait_all_tasks_blocked()
    line.inbox.put_arrivals([Timeout()])
    await wait_all_tasks_blocked()
    assert received == [None]


async def test_an_interruption_is_noticed(line, company, nursery):
    await join(company, nursery)
    received = []
    nursery.start_soon(receive_into, line, received)
    await wait_all_tasks_blocked()
    line.inbox.interrupt(Shutdown())
    await wait_all_tasks_blocked()
    assert received == [None]


async def test_a_cancelled_receive_leaves_the_socket_to_the_reader(line, company, nursery):
    await join(company, nursery)
    with trio.move_on_after(0.01) as scope:
        await line.inlet.receive()
    assert scope.cancelled_caught
    line.theirs.send(b"a")
    with trio.fail_after(5):
        while not line.inbox:
            await trio.lowlevel.checkpoint()


async def test_only_one_task_may_receive(line, company, nursery):
    await join(company, nursery)
    nursery.start_soon(line.inlet.receive)
    await wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError):
        await line.inlet.receive()
    line.inbox.interrupt(Shutdown())


async def test_a_socket_that_is_closed_meanwhile_ends_the_wait(line, company, nursery):
    await join(company, nursery)
    received = []
    nursery.start_soon(receive_into, line, received)
    await wait_all_tasks_blocked()
    line.watch.close()
    await wait_all_tasks_blocked()
    assert received == [None]
