"""A connection as the application sees it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock import NORMAL, Ok, Options, Push, Remote, Request, Shutdown, StateError, Stop, current_connection
from trio_websock.behaviour.handler import bind_handler
from trio_websock.connection import Connection
from trio_websock.nursery import run_connection
from trio_websock.testing.connection import open_test_connection
from trio_websock.testing.memory_transport import MemoryTransport


class Seeing:
    def init(self, args):
        return Ok(current_connection())

    def handle_in(self, message, connection):
        return Push(str(getattr(connection, message)), connection)


def test_there_is_no_current_connection_outside_of_one():
    with pytest.raises(StateError, match="for callbacks"):
        current_connection()


async def test_task_that_has_run_a_connection_has_none_afterwards(autojump_clock):
    transport = MemoryTransport()
    transport.put(Remote(1000))
    await run_connection(Connection(transport, Options()), bind_handler(Seeing), None)
    with pytest.raises(StateError, match="for callbacks"):
        current_connection()


async def test_callbacks_see_the_connection_they_belong_to(autojump_clock):
    request = Request("GET", "/seen")
    async with open_test_connection(Seeing, request=request) as peer:
        await peer.send("id", "peer", "handler", "subprotocol", "is_closing")
        assert peer.received() == [str(peer.connection.id), "a test", "Seeing", "None", "False"]
        assert peer.connection.request is request


async def test_ids_are_unique(autojump_clock):
    async with open_test_connection(Seeing) as one, open_test_connection(Seeing) as other:
        assert one.connection.id != other.connection.id


async def test_nursery_is_refused_once_the_connection_has_ended(autojump_clock):
    async with open_test_connection(Seeing) as peer:
        await peer.close()
        with pytest.raises(StateError, match="only while its callbacks run"):
            _ = peer.connection.nursery


async def test_closing_is_one_event_for_all_who_ask(autojump_clock):
    async with open_test_connection(Seeing) as peer:
        assert peer.connection.closing is peer.connection.closing


async def test_closing_is_set_as_soon_as_a_shutdown_begins(autojump_clock):
    async with open_test_connection(Seeing) as peer:
        closing = peer.connection.closing
        peer.connection.shutdown_nowait(deadline=trio.current_time() + 1)
        assert closing.is_set()


async def test_closing_is_set_for_who_asks_late(autojump_clock):
    async with open_test_connection(Seeing) as peer:
        await peer.close()
        with trio.fail_after(1):
            await peer.connection.closing.wait()


async def test_closing_is_set_for_who_has_waited(autojump_clock, nursery):
    async with open_test_connection(Seeing) as peer:
        nursery.start_soon(peer.connection.closing.wait)
        assert not peer.connection.closing.is_set()
        await peer.close()
        assert peer.connection.closing.is_set()


async def test_counters_count_what_arrived(autojump_clock):
    async with open_test_connection(Seeing) as peer:
        await peer.send("id", "id")
        assert peer.connection.messages_received == 2
        assert peer.connection.bytes_received > 0


async def test_repr_names_handler_and_peer(autojump_clock):
    async with open_test_connection(Seeing) as peer:
        assert repr(peer.connection) == f"<Connection {peer.connection.id} of Seeing with a test>"


# The end, seen by another task


async def test_other_tasks_learn_of_the_end_and_its_reason(autojump_clock, nursery):
    reasons = []

    async def monitor():
        reasons.append(await peer.connection.wait_ended())

    async with open_test_connection(Seeing) as peer:
        nursery.start_soon(monitor)
        await peer.close(3000, "done")
        assert reasons == [Remote(3000, "done")]
        assert await peer.connection.wait_ended() == Remote(3000, "done")


async def test_everyone_who_waits_learns_of_the_end(autojump_clock):
    with trio.fail_after(5):
        async with trio.open_nursery() as waiting, open_test_connection(Seeing) as peer:
            waiting.start_soon(peer.connection.wait_ended)
            waiting.start_soon(peer.connection.wait_ended)
            await wait_all_tasks_blocked()
            await peer.close()


async def test_end_is_told_when_terminate_has_run(autojump_clock):
    class Slow(Seeing):
        async def terminate(self, reason, connection):
            assert connection.reason is None
            await trio.sleep(3)

    async with open_test_connection(Slow) as peer:
        start = trio.current_time()
        await peer.close()
        await peer.connection.wait_ended()
        assert trio.current_time() == start + 3


async def test_cancelled_connection_ends_as_a_shutdown(autojump_clock):
    async with open_test_connection(Seeing) as peer:
        pass
    assert peer.connection.reason == Shutdown()


async def test_items_the_handler_never_got_are_kept(autojump_clock):
    class Stopping(Seeing):
        async def handle_info(self, info, state):
            await trio.sleep(1)
            return Stop(NORMAL, state)

    async with open_test_connection(Stopping, mailbox_size=2) as peer:
        for item in "abcd":
            await peer.connection.mailbox.send(item)
        await peer.drop()
        await peer.wait_ended()
        assert peer.connection.unhandled == ("b", "c", "d")
