"""The one door for output: at once where the peer takes it, drained where it does not."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock import Error, Opcode, WriteTimeout
from trio_websock.lifetime import Lifetime
from trio_websock.testing.memory_transport import MemoryTransport
from trio_websock.writer import Writer

ONE, TWO = (Opcode.TEXT, b"one"), (Opcode.TEXT, b"two")


@pytest.fixture
def transport():
    return MemoryTransport()


@pytest.fixture
def failures():
    return []


@pytest.fixture
def lifetime():
    return Lifetime()


@pytest.fixture
def writer(transport, lifetime, failures):
    return Writer(transport, 30, lifetime, failures.append)


async def test_flush_hands_over_what_the_peer_takes_at_once(writer, transport, nursery):
    transport.send_nowait(ONE)
    assert writer.flush(nursery)
    assert transport.taken == [ONE]
    assert not nursery.child_tasks


async def test_rest_is_drained_by_a_task_that_ends_with_it(writer, transport, nursery):
    transport.take(1)
    transport.send_nowait(ONE)
    transport.send_nowait(TWO)
    assert not writer.flush(nursery)
    await wait_all_tasks_blocked()
    assert transport.taken == [ONE]
    transport.take()
    await writer.wait_flushed()
    assert transport.taken == [ONE, TWO]
    await wait_all_tasks_blocked()
    assert not nursery.child_tasks


async def test_flush_during_a_drain_starts_no_second_one(writer, transport, nursery):
    transport.take(0)
    transport.send_nowait(ONE)
    writer.flush(nursery)
    transport.send_nowait(TWO)
    assert not writer.flush(nursery)
    assert len(nursery.child_tasks) == 1
    transport.take()


async def test_cancelled_nursery_does_not_stop_a_drain(writer, transport, autojump_clock):
    transport.take(0)
    transport.send_nowait(ONE)
    async with trio.open_nursery() as nursery:
        writer.flush(nursery)
        nursery.start_soon(take_later, transport)
        nursery.cancel_scope.cancel()
    assert transport.taken == [ONE]


async def take_later(transport):
    with trio.CancelScope(shield=True):
        await trio.sleep(5)
    transport.take()


async def test_peer_that_takes_nothing_is_dropped_after_write_timeout(
    writer, transport, nursery, failures, autojump_clock
):
    transport.take(0)
    transport.send_nowait(ONE)
    start = trio.current_time()
    writer.flush(nursery)
    await writer.wait_flushed()
    assert trio.current_time() == start + 30
    assert transport.is_aborted
    assert [type(failure) for failure in failures] == [Error]
    assert isinstance(failures[0].cause, WriteTimeout)


async def test_drain_ends_at_the_connections_deadline(writer, transport, nursery, lifetime, autojump_clock):
    transport.take(0)
    transport.send_nowait(ONE)
    start = trio.current_time()
    writer.flush(nursery)
    await wait_all_tasks_blocked()
    lifetime.shorten(start + 5)
    await writer.wait_flushed()
    assert trio.current_time() == start + 5


async def test_connection_that_is_gone_ends_a_drain_quietly(writer, transport, nursery, failures):
    transport.take(0)
    transport.send_nowait(ONE)
    writer.flush(nursery)
    await wait_all_tasks_blocked()
    await transport.aclose()
    await writer.wait_flushed()
    assert not failures
