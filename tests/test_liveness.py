"""A busy handler is no dead connection: what goes on while a callback runs for half a minute, or blocks the thread."""

from __future__ import annotations

import importlib
import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock import (
    ConnectionLost,
    Error,
    Ok,
    Options,
    Ping,
    Pong,
    Push,
    Remote,
    Timeout,
    WriteTimeout,
    current_connection,
)
from trio_websock.behaviour.handler import bind_handler
from trio_websock.connection import Connection
from trio_websock.hosts.stream import StreamTransport
from trio_websock.hosts.wire import SocketWire
from trio_websock.nursery import run_connection
from trio_websock.protocol.machine import Machine, Role
from trio_websock.testing.connection import open_test_connection

slow = importlib.import_module("slow")
ways = importlib.import_module("ways")
Slow, KEY, wired = slow.Slow, slow.KEY, slow.wired


class Echo:
    def init(self, args):
        return Ok(None)

    def handle_in(self, message, state):
        return Push(message, state)


PING, PONG = b"\x89\x81" + KEY + b"p", b"\x8a\x01p"
CLOSE = b"\x88\x82" + KEY + b"\x03\xe8"
LOST = Error(ConnectionLost("gone"))


class SlowWithControl(Slow):
    handle_control = Slow.handle_in


class SlowInit(Slow):
    async def init(self, args):
        return await self.handle_in("init", None)


class Blocking(Slow):
    """Holds up the whole thread, and every other task with it, for as many seconds as it is told."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def handle_in(self, message, state):
        self.clock.jump(float(message))
        return Ok(state)

    handle_info = handle_in


async def in_init(peer):
    pass  # it is running already


async def in_handle_in(peer):
    await peer.send("x")


async def in_handle_info(peer):
    await peer.post("x")


async def in_handle_control(peer):
    await peer.send(Ping(b""))


BUSY = [(SlowInit, in_init), (Slow, in_handle_in), (Slow, in_handle_info), (SlowWithControl, in_handle_control)]
busy = pytest.mark.parametrize(
    ("handler", "begin"),
    [
        pytest.param(way(handler), begin, id=f"{begin.__name__.replace('_', ' ', 1)}, {way.__name__}")
        for handler, begin in BUSY
        for way in (ways.prompt, ways.awaiting)
    ],
)


# On the wire


@pytest.mark.parametrize(
    ("handler", "first"), [(SlowInit, b""), (Slow, b"\x81\x80" + KEY)], ids=["in init", "in handle_in"]
)
async def test_ping_is_answered_at_once_while_a_callback_runs(wired, handler, first, autojump_clock):
    peer, _ = wired(handler, leftover=first)
    await trio.sleep(10)
    await peer.send_all(PING)
    assert await peer.receive_some() == PONG
    assert trio.current_time() < 11


async def test_pings_are_answered_during_the_whole_of_a_long_callback(wired, autojump_clock):
    handler = Slow()
    peer, _ = wired(handler, leftover=b"\x81\x80" + KEY)
    for _ in range(29):
        await trio.sleep(1)
        await peer.send_all(PING)
        assert await peer.receive_some() == PONG
    assert not handler.done


async def test_ping_behind_messages_that_wait_is_answered_before_they_are_handled(wired, autojump_clock):
    peer, _ = wired(Slow, leftover=b"\x81\x80" + KEY)
    await peer.send_all(b"\x81\x80" + KEY + b"\x81\x80" + KEY + PING)
    assert await peer.receive_some() == PONG
    assert trio.current_time() < 1


# The peer's end is noticed


@busy
@pytest.mark.parametrize("end", [Remote(1000), LOST], ids=["close", "loss"])
async def test_peers_end_is_noticed_while_a_callback_runs(handler, begin, end, autojump_clock):
    async with open_test_connection(handler) as peer:
        await begin(peer)
        start = trio.current_time()
        await trio.sleep(10)
        peer.transport.put(end)
        await peer.connection.closing.wait()
        assert trio.current_time() == start + 10
        assert await peer.wait_ended() == end
        assert trio.current_time() == start + 30


@busy
@pytest.mark.parametrize("end", [Remote(1000), LOST], ids=["close", "loss"])
async def test_peers_end_cancels_a_running_callback_if_asked_to(handler, begin, end, autojump_clock):
    async with open_test_connection(handler, cancel_on_disconnect=True) as peer:
        await begin(peer)
        start = trio.current_time()
        await trio.sleep(10)
        peer.transport.put(end)
        assert await peer.wait_ended() == end
        assert trio.current_time() == start + 10


async def test_callback_for_what_came_together_with_the_peers_close_knows_of_it(wired, autojump_clock):
    class Noting(Slow):
        def handle_in(self, message, state):
            self.done.append(current_connection().is_closing)
            return Ok(state)

    handler = Noting()
    peer, connection = wired(handler)
    await peer.send_all(b"\x81\x80" + KEY + CLOSE)
    await connection.wait_ended()
    assert handler.done == [True]


async def test_peers_close_cancels_init_that_it_came_before_if_asked_to(wired, autojump_clock):
    class Opening(Slow):
        async def init(self, args):
            await trio.sleep(30)
            return Ok(None)

    _, connection = wired(Opening(), leftover=CLOSE, cancel_on_disconnect=True)
    assert await connection.wait_ended() == Remote(1000)
    assert trio.current_time() == 0


async def test_nothing_that_waits_is_handled_behind_a_callback_that_the_peers_end_has_cancelled(wired, autojump_clock):
    called = []

    class Noting(Slow):
        def handle_in(self, message, state):
            called.append(message)
            return super().handle_in(message, state)

    peer, connection = wired(Noting(), cancel_on_disconnect=True)
    await peer.send_all(b"\x81\x81" + KEY + b"a" + b"\x81\x81" + KEY + b"b")
    await wait_all_tasks_blocked()
    await peer.aclose()
    await connection.wait_ended()
    assert called == ["a"]


async def test_no_callback_is_cancelled_for_a_peer_that_is_there(wired, autojump_clock):
    handler = Slow()
    peer, _ = wired(handler, cancel_on_disconnect=True)
    await peer.send_all(b"\x81\x81" + KEY + b"a")
    await trio.sleep(31)
    assert handler.done == [("a", 30)]


async def test_what_was_pushed_is_out_before_the_next_callback_waits(wired, autojump_clock):
    class Mixed(Slow):
        async def handle_in(self, message, state):
            await trio.sleep(len(message))
            return Push(message, state)

    peer, _ = wired(Mixed())
    await wait_all_tasks_blocked()
    await peer.send_all(b"\x81\x80" + KEY + b"\x81\x81" + KEY + b"a")
    assert await peer.receive_some() == b"\x81\x00"
    assert trio.current_time() == 0


async def test_peers_close_cancels_a_callback_that_was_called_and_has_not_begun_to_wait(wired, autojump_clock):
    class Closing(Slow):
        def handle_in(self, message, state):
            return Ok(state)

        def handle_info(self, peer, state):
            peer.receive_now(CLOSE)
            return super().handle_in("info", state)

    wires = [wired(Closing(), cancel_on_disconnect=True) for _ in range(20)]  # tasks due together run in any order
    mailboxes = [connection.mailbox for _, connection in wires]
    await wait_all_tasks_blocked()
    for (peer, _), mailbox in zip(wires, mailboxes, strict=True):
        mailbox.send_nowait(peer)
    for _, connection in wires:
        await connection.wait_ended()
    assert trio.current_time() == 0


async def test_peers_close_is_noticed_behind_messages_that_wait(autojump_clock):
    handler = Slow()
    async with open_test_connection(handler) as peer:
        await peer.send("a", "b")
        await peer.close()
        assert peer.connection.closing.is_set()
        assert await peer.wait_ended() == Remote(1000)
        assert [message for message, _ in handler.done] == ["a", "b"]


async def test_peer_that_stops_reading_is_noticed_while_a_callback_runs(autojump_clock):
    class Pushing(Slow):
        async def handle_in(self, message, state):
            if message == "output":
                return Push("output", state)
            await trio.sleep(30)
            return Ok(state)

    async with open_test_connection(Pushing, write_timeout=5, read_ahead_messages=2) as peer:
        peer.transport.take(0)
        start = trio.current_time()
        await peer.send("output", "slow", "so many", "that nothing more is read")
        await peer.connection.closing.wait()
        assert trio.current_time() == start + 5
        assert isinstance((await peer.wait_ended()).cause, WriteTimeout)
        assert trio.current_time() == start + 30


# A busy handler kills nobody


@busy
async def test_no_idle_timeout_while_a_callback_runs(handler, begin, autojump_clock):
    async with open_test_connection(handler, timeout=10) as peer:
        await begin(peer)
        start = trio.current_time()
        await peer.connection.closing.wait()
        assert 30 + 9.5 <= trio.current_time() - start <= 30 + 11
        assert await peer.wait_ended() == Timeout()


async def test_no_idle_timeout_while_messages_wait(autojump_clock):
    async with open_test_connection(Slow, timeout=10) as peer:
        await peer.send("a", "b", "c")
        await peer.post("d")
        await trio.sleep(4 * 30 + 9)
        assert not peer.connection.is_closing


async def test_no_idle_timeout_while_the_read_ahead_is_full(autojump_clock):
    async with open_test_connection(Slow, timeout=10, read_ahead_messages=1) as peer:
        await peer.send("a", "b", "c")
        await trio.sleep(3 * 30 + 9)
        assert not peer.connection.is_closing


async def test_no_idle_timeout_while_output_waits(autojump_clock):
    class Pushing(Slow):
        def handle_info(self, info, state):
            return Push("output", state)

    async with open_test_connection(Pushing, timeout=10, write_timeout=1000) as peer:
        peer.transport.take(0)
        await peer.post("x")
        await trio.sleep(900)
        peer.transport.take()
        await trio.sleep(9)
        assert not peer.connection.is_closing


@ways.EACH_WAY
@pytest.mark.parametrize("begin", [in_handle_in, in_handle_info])
async def test_no_idle_timeout_because_a_callback_blocked_the_thread(begin, way, autojump_clock):
    class Blocking(Slow):
        def handle_in(self, message, state):
            autojump_clock.jump(1000)
            return Ok(state)

        handle_info = handle_in

    async with open_test_connection(way(Blocking), timeout=10) as peer:
        await trio.sleep(9)
        await begin(peer)
        await trio.sleep(9)
        assert not peer.connection.is_closing
        await trio.sleep(3)
        assert peer.connection.is_closing


@ways.EACH_WAY
async def test_no_idle_timeout_because_another_connection_blocked_the_thread(way, autojump_clock):
    async with (
        open_test_connection(way(Blocking(autojump_clock)), timeout=10) as other,
        open_test_connection(Slow, timeout=10) as peer,
    ):
        await other.send("1000")
        await trio.sleep(9)
        assert not peer.connection.is_closing
        await trio.sleep(3)
        assert peer.connection.is_closing


@ways.EACH_WAY
async def test_no_write_timeout_because_a_callback_blocked_the_thread(way, autojump_clock):
    class Pushing(Slow):
        async def handle_in(self, message, state):
            if message == "output":
                return Push(["one", "two"], state)
            await trio.sleep(1)
            peer.transport.take(1)  # the peer goes on reading in the meantime
            autojump_clock.jump(1000)
            return Ok(state)

    async with open_test_connection(way(Pushing), write_timeout=30) as peer:
        peer.transport.take(0)
        start = trio.current_time()
        await peer.send("output", "block")
        await trio.sleep_until(start + 1001 + 29)
        assert peer.received() == ["one"]
        peer.transport.take()
        await trio.sleep(2)
        assert peer.received() == ["two"]
        assert not peer.connection.is_closing


# Keepalive


async def answer_pings(peer):
    """A peer that has nothing to say but answers every ping a second later."""
    while True:
        await trio.sleep(1)
        for frame in peer.received():
            peer.transport.put(Pong(frame.payload))


async def test_keepalive_pings_go_on_while_a_callback_runs(autojump_clock):
    async with open_test_connection(Slow, ping_interval=10, ping_timeout=5, answers_pings=False) as peer:
        await peer.send("x")
        await trio.sleep(14)
        assert peer.received() == [Ping(b"\0\0\0\1")]


async def test_peer_that_answers_pings_is_never_timed_out_by_slow_callbacks(autojump_clock, nursery):
    async with open_test_connection(Slow, ping_interval=4, ping_timeout=3, answers_pings=False) as peer:
        nursery.start_soon(answer_pings, peer)
        for _ in range(10):
            await peer.send("x")
        await trio.sleep(305)
        assert not peer.connection.is_closing
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("cancels", [False, True], ids=["runs on", "cancelled"])
async def test_unanswered_ping_is_noticed_while_a_callback_runs(cancels, autojump_clock):
    async with open_test_connection(
        Slow, ping_interval=10, ping_timeout=5, cancel_on_disconnect=cancels, answers_pings=False
    ) as peer:
        start = trio.current_time()
        await peer.send("x")
        await peer.connection.closing.wait()
        assert trio.current_time() == start + 15
        assert await peer.wait_ended() == Timeout("ping timeout")
        assert trio.current_time() >= start + (15 if cancels else 30)
        assert cancels == (trio.current_time() < start + 30)


async def test_no_ping_timeout_if_the_pong_came_while_the_thread_was_blocked(wired, autojump_clock):
    peers = [wired(Slow, ping_interval=10, ping_timeout=5) for _ in range(20)]  # tasks due together run in any order
    await trio.sleep(11)
    for peer, _ in peers:
        peer.receive_now(b"\x8a\x84" + KEY + b"\0\0\0\1")
    autojump_clock.jump(1000)
    await trio.sleep(4)
    assert not any(connection.is_closing for _, connection in peers)


async def test_a_peer_is_not_silent_whose_message_came_while_the_thread_was_blocked(nursery, mock_clock):
    ours, theirs = socket.socketpair()
    connection = Connection(
        StreamTransport(SocketWire(ours), Machine(Role.SERVER, slow.LIMITS), None), Options(timeout=100)
    )
    with theirs:
        nursery.start_soon(run_connection, connection, bind_handler(Echo), None)
        await wait_all_tasks_blocked(0.01)
        theirs.send(b"\x81\x81" + KEY + b"x")
        mock_clock.jump(107)  # later than the silence is judged, and not so late that it is known for a blocked thread
        await trio.lowlevel.wait_readable(theirs)
        assert theirs.recv(99) == b"\x81\x01x"
        mock_clock.jump(3)  # until the last look is over
        await wait_all_tasks_blocked(0.01)
        assert not connection.is_closing
        nursery.cancel_scope.cancel()


async def answer_every_ping(peer):
    while frame := await peer.receive_some():
        await peer.send_all(b"\x8a\x84" + KEY + frame[2:])


async def test_no_ping_timeout_if_the_pong_is_in_the_kernel_when_the_time_is_over(nursery, mock_clock):
    pairs = [socket.socketpair() for _ in range(10)]  # tasks that are due together run in any order
    options = Options(ping_interval=10, ping_timeout=5)
    connections = [
        Connection(StreamTransport(SocketWire(ours), Machine(Role.SERVER, slow.LIMITS), None), options)
        for ours, _ in pairs
    ]
    for connection in connections:
        nursery.start_soon(run_connection, connection, bind_handler(Echo), None)
    await wait_all_tasks_blocked(0.01)
    mock_clock.jump(10)
    await wait_all_tasks_blocked(0.01)
    for _, theirs in pairs:
        theirs.send(b"\x8a\x84" + KEY + theirs.recv(99)[2:])
    mock_clock.jump(5)
    await wait_all_tasks_blocked(0.01)
    assert not any(connection.is_closing for connection in connections)
    nursery.cancel_scope.cancel()
    for _, theirs in pairs:
        theirs.close()


@pytest.mark.parametrize("seconds", [14, 15, 20, 21])
async def test_no_ping_timeout_before_the_reader_has_read_again(seconds, wired, autojump_clock, nursery):
    class Working(Slow):
        async def handle_in(self, message, state):
            await trio.sleep(seconds)
            return Ok(state)

    peers = [wired(Working, ping_interval=10, ping_timeout=5, read_ahead_messages=1) for _ in range(20)]
    for peer, _ in peers:  # the order in which tasks that are due together run differs among so many
        await peer.send_all((b"\x81\x80" + KEY) * 2)
        nursery.start_soon(answer_every_ping, peer)
    await trio.sleep(60)
    assert not any(connection.is_closing for _, connection in peers)
