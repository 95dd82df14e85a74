"""The transport without a wire keeps the contract of the port."""

from __future__ import annotations

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from trio_websock import ConnectionLost, Error, FrameError, Opcode, Remote
from trio_websock.testing.memory_transport import MemoryTransport

ONE, TWO = (Opcode.TEXT, b"one"), (Opcode.TEXT, b"two")


async def test_receive_waits_for_arrivals_and_bounds_the_batch(nursery):
    transport = MemoryTransport()
    batches = []

    async def receive():
        for _ in range(2):
            batches.append(await transport.receive(2))

    nursery.start_soon(receive)
    await wait_all_tasks_blocked()
    assert batches == []
    transport.put("a", "b", "c")
    await wait_all_tasks_blocked()
    assert batches == [["a", "b"], ["c"]]


async def test_bytes_of_an_unfinished_message_are_an_empty_batch(nursery):
    transport = MemoryTransport()
    batches = []

    async def receive():
        batches.append(await transport.receive(2))

    nursery.start_soon(receive)
    await wait_all_tasks_blocked()
    transport.touch()
    await wait_all_tasks_blocked()
    assert batches == [[]]
    assert transport.received_size == 1


async def test_receive_is_a_checkpoint_even_if_something_waits():
    transport = MemoryTransport()
    transport.put("a")
    with assert_checkpoints():
        assert await transport.receive(1) == ["a"]


async def test_peer_takes_as_much_as_it_is_told_to():
    transport = MemoryTransport()
    transport.take(1)
    transport.send_nowait(ONE)
    transport.send_nowait(TWO)
    assert not transport.flush_nowait()
    assert transport.taken == [ONE]
    assert transport.unsent_size
    transport.take()
    await transport.flush_some()
    assert transport.taken == [ONE, TWO]


async def test_nothing_is_sent_behind_a_close():
    transport = MemoryTransport()
    transport.send_close_nowait(1000, b"")
    transport.send_nowait(ONE)
    transport.send_close_nowait(1001, b"")
    transport.flush_nowait()
    assert transport.taken == [(1000, b"")]


async def test_flush_of_a_closed_transport_is_a_lost_connection():
    transport = MemoryTransport()
    transport.take(0)
    transport.send_nowait(ONE)
    await transport.aclose()
    with pytest.raises(ConnectionLost):
        await transport.flush_some()


@pytest.mark.parametrize("ending", [Remote(1000), Error(ConnectionLost("gone"))])
async def test_wait_closed_skips_messages_until_the_end(ending):
    transport = MemoryTransport()
    transport.put("discarded", ending)
    with trio.fail_after(1):
        await transport.wait_closed()


async def test_wait_closed_ends_when_we_close(nursery):
    transport = MemoryTransport()
    nursery.start_soon(transport.wait_closed)
    await wait_all_tasks_blocked()
    assert not transport.is_half_closed
    transport.send_eof_nowait()
    assert transport.is_half_closed
    transport.abort()
    await wait_all_tasks_blocked()
    assert not nursery.child_tasks
    assert transport.is_aborted


async def test_nothing_is_taken_once_the_connection_is_broken():
    transport = MemoryTransport()
    transport.break_off(ConnectionLost("reset"))
    transport.send_nowait(ONE)
    assert not transport.flush_nowait()
    with pytest.raises(ConnectionLost):
        await transport.flush_some()
    assert transport.taken == []


async def test_what_was_not_taken_is_forgotten_by_an_abort():
    transport = MemoryTransport()
    transport.take(0)
    transport.send_nowait(ONE)
    transport.abort()
    assert transport.unsent_size == 0


async def test_peer_that_answers_closes_with_the_code_it_was_told():
    transport = MemoryTransport(answers_close=True)
    transport.send_close_nowait(1001, b"bye")
    transport.flush_nowait()
    assert transport.receive_nowait(1) == [Remote(1001)]


@pytest.mark.parametrize("ending", [Remote(1000), Error(ConnectionLost("gone"))])
async def test_peer_that_has_left_answers_nothing(ending):
    transport = MemoryTransport(answers_close=True)
    transport.put(ending)
    transport.send_close_nowait(1000, b"")
    transport.flush_nowait()
    assert transport.receive_nowait(2) == [ending]


async def test_peer_that_broke_the_protocol_is_waited_for_until_it_has_read_the_close(nursery):
    transport = MemoryTransport(answers_close=True)
    transport.put(Error(FrameError("bad", "RFC 6455 §5.2")))
    nursery.start_soon(transport.wait_closed)
    await wait_all_tasks_blocked()
    assert nursery.child_tasks
    transport.send_close_nowait(1002, b"")
    transport.flush_nowait()
    await wait_all_tasks_blocked()
    assert not nursery.child_tasks


async def test_it_is_known_whose_end_it_was():
    transport, cause = MemoryTransport(), ConnectionLost("gone")
    transport.put(Error(cause))
    assert transport.has_ended_by(cause)
    assert not transport.has_ended_by(ConnectionLost("gone"))


async def test_wait_changed_ends_when_either_side_acts(nursery):
    transport = MemoryTransport()
    for act in (transport.touch, transport.abort):
        nursery.start_soon(transport.wait_changed)
        await wait_all_tasks_blocked()
        act()
        await wait_all_tasks_blocked()
        assert not nursery.child_tasks
