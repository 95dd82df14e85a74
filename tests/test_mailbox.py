"""How other tasks, and threads, talk to a connection."""

from __future__ import annotations

import math
import socket
import threading

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock import Ok, Options, Push, Remote, current_connection
from trio_websock.behaviour.handler import bind_handler
from trio_websock.codes import Opcode
from trio_websock.connection import Connection
from trio_websock.hosts.stream import StreamTransport
from trio_websock.hosts.wire import SocketWire
from trio_websock.nursery import run_connection
from trio_websock.protocol.machine import Limits, Machine, Role
from trio_websock.testing.connection import open_test_connection
from trio_websock.testing.memory_transport import MemoryTransport


class Told:
    """Pushes what its mailbox brings; a number makes it sleep so many seconds first."""

    def init(self, args):
        return Ok([])

    def handle_in(self, message, state):
        return Push(message, state)

    async def handle_info(self, info, state):
        if isinstance(info, int):
            await trio.sleep(info)
        return Push(str(info), state)


async def test_mailbox_is_a_trio_memory_channel(autojump_clock):
    async with open_test_connection(Told) as peer:
        assert isinstance(peer.connection.mailbox, trio.MemorySendChannel)


async def test_items_come_in_the_order_they_were_sent(autojump_clock):
    async with open_test_connection(Told) as peer:
        for item in "abc":
            peer.connection.mailbox.send_nowait(item)
        await wait_all_tasks_blocked()
        assert peer.received() == ["a", "b", "c"]


@pytest.fixture
async def connected(nursery):
    """A connection over a pair of sockets, and the peer's."""
    ours, theirs = socket.socketpair()
    machine = Machine(
        Role.SERVER, Limits(max_message_size=99, max_frame_size=9, max_empty_fragments=1, validate_utf8=True)
    )
    connection = Connection(StreamTransport(SocketWire(ours), machine, None), Options())
    with theirs:
        nursery.start_soon(run_connection, connection, bind_handler(Told), None)
        yield connection, theirs
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("_throw", range(10))  # which of two tasks that are due runs first is Trio's throw of the dice
async def test_frame_does_not_overtake_an_item_that_was_sent_before_it(connected, _throw):
    connection, theirs = connected
    sender = connection.mailbox
    theirs.send(b"\x81\x85\0\0\0\0first")
    await wait_all_tasks_blocked(0.01)
    sender.send_nowait("item")
    theirs.send(b"\x81\x85\0\0\0\0frame")
    await wait_all_tasks_blocked(0.01)
    assert theirs.recv(99) == b"\x81\x05first\x81\x04item\x81\x05frame"


@pytest.mark.parametrize("is_first", [False, True])
@pytest.mark.parametrize(("arrival", "answer"), [("frame", (Opcode.TEXT, b"frame")), (Remote(1000), (1000, b""))])
async def test_item_sent_right_before_the_reader_reads_is_not_overtaken(arrival, answer, is_first, autojump_clock):
    class Reading(MemoryTransport):
        async def receive(self, max_messages):
            batch = await super().receive(max_messages)
            connection.mailbox.send_nowait("item")
            return batch

    transport = Reading()
    connection = Connection(transport, Options())
    assert is_first or connection.mailbox  # which opens it
    with trio.move_on_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_connection, connection, bind_handler(Told), None)
            await wait_all_tasks_blocked()
            transport.put(arrival)
    assert transport.taken[:2] == [(Opcode.TEXT, b"item"), answer]


async def test_handler_that_sends_to_itself_on_and_on_leaves_others_their_turns(autojump_clock):
    class Counting(Told):
        def handle_info(self, info, state):
            if info < 1000:
                current_connection().mailbox.send_nowait(info + 1)
            return Push(str(info), state)

    async with open_test_connection(Counting) as peer:
        peer.connection.mailbox.send_nowait(1)
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        assert 1 < len(peer.received()) < 100


@pytest.mark.parametrize(("arrival", "answer"), [("frame", (Opcode.TEXT, b"frame")), (Remote(1000), (1000, b""))])
async def test_handler_that_sends_to_itself_on_and_on_gets_to_know_what_the_peer_says(arrival, answer, autojump_clock):
    class Endless(Told):
        def handle_info(self, info, state):
            current_connection().mailbox.send_nowait(info)
            return Ok(state)

    async with open_test_connection(Endless) as peer:
        peer.connection.mailbox.send_nowait("again")
        await trio.lowlevel.checkpoint()
        peer.transport.put(arrival)
        for _ in range(50):
            await trio.lowlevel.checkpoint()
        assert peer.transport.taken == [answer]


async def test_items_sent_before_a_frame_arrived_are_handled_before_it(autojump_clock):
    async with open_test_connection(Told, timeout=math.inf) as peer:
        await peer.post(100)
        for item in "abc":
            peer.connection.mailbox.send_nowait(item)
        await peer.send("frame")
        await trio.sleep(101)
        assert peer.received() == ["100", "a", "b", "c", "frame"]


async def test_items_sent_in_the_moment_of_the_peers_close_stay_in_order(autojump_clock):
    for _ in range(30):  # in which order Trio runs two tasks that are ready is left to chance
        async with open_test_connection(Told) as peer:
            peer.transport.put(Remote(1000))
            await trio.lowlevel.checkpoint()
            for item in "ab":
                peer.connection.mailbox.send_nowait(item)
            await wait_all_tasks_blocked()
            assert [*peer.received(), *peer.connection.unhandled] == ["a", "b"]


async def test_full_mailbox_makes_its_sender_wait(autojump_clock):
    async with open_test_connection(Told, mailbox_size=2, timeout=math.inf) as peer, trio.open_nursery() as nursery:
        await peer.post(100)
        sent = []

        async def send_many():
            for number in range(10):
                await peer.connection.mailbox.send(str(number))
                sent.append(number)

        nursery.start_soon(send_many)
        await wait_all_tasks_blocked()
        assert len(sent) == 4  # two in the channel, two moved to the inbox
        await trio.sleep(101)
        assert len(sent) == 10


async def test_sender_learns_that_the_connection_has_ended(autojump_clock):
    async with open_test_connection(Told) as peer:
        mailbox = peer.connection.mailbox.clone()
        await peer.close()
        with pytest.raises(trio.BrokenResourceError):
            await mailbox.send("late")
        with pytest.raises(trio.BrokenResourceError):
            mailbox.send_nowait("late")


async def test_every_item_is_handled_refused_or_kept_as_unhandled(autojump_clock):
    async with open_test_connection(Told, mailbox_size=1, timeout=math.inf) as peer, trio.open_nursery() as nursery:
        await peer.post(5)
        refused = []

        async def send(item):
            await trio.sleep(ord(item) - ord("a"))
            try:
                await peer.connection.mailbox.send(item)
            except trio.BrokenResourceError:
                refused.append(item)

        await peer.close()  # noticed now, answered when what was sent before it is done
        for item in "abcdefgh":
            nursery.start_soon(send, item)
        await trio.sleep(10)
        assert peer.received() == ["5"]
        assert sorted([*refused, *peer.connection.unhandled]) == list("abcdefgh")
        assert refused


async def test_connection_lives_on_when_the_application_closes_its_mailbox(autojump_clock):
    class Closing(Told):
        async def init(self, args):
            await current_connection().mailbox.aclose()
            return Ok([])

    async with open_test_connection(Closing) as peer:
        await peer.send("still here")
        assert peer.received() == ["still here"]


async def test_threads_send_through_trio_from_thread():
    async with open_test_connection(Told) as peer:
        await trio.to_thread.run_sync(trio.from_thread.run, peer.connection.mailbox.send, "from a thread")
        await wait_all_tasks_blocked()
        assert peer.received() == ["from a thread"]


async def test_a_thread_may_be_the_first_to_ask_for_the_mailbox():
    async with open_test_connection(Told) as peer:
        await trio.to_thread.run_sync(
            lambda: trio.from_thread.run_sync(peer.connection.mailbox.send_nowait, "from a thread")
        )
        assert await peer.receive() == "from a thread"


async def test_another_trio_run_may_be_the_first_to_ask_for_the_mailbox():
    async def ask(connection):
        return connection.mailbox

    async with open_test_connection(Told) as peer:
        mailbox = await trio.to_thread.run_sync(trio.run, ask, peer.connection)
        mailbox.send_nowait("from here")
        assert await peer.receive() == "from here"


async def test_threads_that_ask_for_the_mailbox_at_once_get_the_same():
    async with open_test_connection(Told) as peer:
        barrier = threading.Barrier(8)
        found = []

        def ask():
            barrier.wait()
            found.append(peer.connection.mailbox)

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(trio.to_thread.run_sync, ask)
        assert {id(mailbox) for mailbox in found} == {id(peer.connection.mailbox)}
        peer.connection.mailbox.send_nowait("once")
        assert await peer.receive() == "once"


async def test_handler_without_handle_info_ends_as_an_error_that_says_so(autojump_clock, caplog):
    class Deaf:
        def init(self, args):
            return Ok(None)

        def handle_in(self, message, state):
            return Ok(None)

    async with open_test_connection(Deaf, raise_handler_errors=False) as peer:
        await peer.post("hello")
        assert peer.close_sent == (1011, "")
        assert "was sent 'hello' but has no handle_info" in str((await peer.wait_ended()).cause)


async def test_everything_sent_before_the_peers_close_is_handled_before_it(autojump_clock):
    async with open_test_connection(Told, mailbox_size=2, timeout=math.inf) as peer:
        await peer.post(5)
        for item in "abcd":
            await peer.connection.mailbox.send(item)  # two in the inbox, two in the channel
        await peer.close()
        await trio.sleep(6)
        assert peer.received() == ["5", "a", "b", "c", "d"]
        assert peer.connection.unhandled == ()
