"""Bytes in and out of real sockets and streams: nothing torn, nothing lost."""

from __future__ import annotations

import errno
import importlib
import socket
import sys

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock import ConnectionLost
from trio_websock.hosts.readiness import Watch
from trio_websock.hosts.wire import RECEIVE_SIZE, SocketWire

wires = importlib.import_module("wires")

LARGE = wires.LARGE
pair = wires.pair
read_all = wires.read_all
read_while = wires.read_while


def fill(wire):
    """Queue more than the kernel takes; what was queued."""
    wire.write_nowait([LARGE])
    assert not wire.flush_nowait()
    return LARGE


class Starved(socket.socket):
    """A socket whose kernel runs out of memory when told to."""

    is_starved = False

    def send(self, data):
        if self.is_starved:
            raise OSError(errno.ENOBUFS, "no buffer space available")
        return super().send(data)


@pytest.mark.parametrize("flush", ["flush_nowait", "flush_some"])
async def test_nothing_follows_what_an_error_has_torn(flush):
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    sock = Starved(fileno=ours.detach())
    wire = SocketWire(sock)
    with theirs:
        data = fill(wire)
        sock.is_starved = True
        torn = read_all(theirs)
        if flush == "flush_nowait":
            wire.flush_nowait()
        else:
            with pytest.raises(ConnectionLost):
                await wire.flush_some()
        sock.is_starved = False
        wire.send_nowait([b"more"])
        assert len(torn + read_all(theirs)) < len(data)
        with trio.fail_after(5):
            assert await wire.receive() == b""
        wire.abort()


async def test_received_bytes_are_those_sent_and_counted(pair):
    wire, theirs = pair
    theirs.send(b"hello")
    assert await wire.receive() == b"hello"
    assert wire.received_size == 5


async def test_end_of_the_stream_is_empty(pair):
    wire, theirs = pair
    theirs.close()
    assert await wire.receive() == b""


async def test_what_has_come_is_had_without_waiting(pair):
    wire, theirs = pair
    theirs.send(b"hello")
    assert (wire.receive_nowait(), wire.receive_nowait(), wire.received_size) == (b"hello", None, 5)


async def test_what_a_reset_left_is_a_lost_connection_without_waiting_too(pair):
    wire, _ = pair
    wire._socket.close()
    with pytest.raises(ConnectionLost, match="nothing more can be read"):
        wire.receive_nowait()


async def test_reset_is_a_lost_connection():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        wire = SocketWire(listener.accept()[0])
        SocketWire(theirs).abort()
        with pytest.raises(ConnectionLost):
            await wire.receive()
        await wire.aclose()


async def test_always_readable_socket_lets_other_tasks_run(pair):
    wire, theirs = pair
    theirs.send(b"x" * RECEIVE_SIZE * 2)
    async with trio.open_nursery() as nursery:
        turns = []
        nursery.start_soon(count_turns, turns)
        await wire.receive()
        await wire.receive()
        assert turns
        nursery.cancel_scope.cancel()


async def count_turns(turns):
    while True:
        turns.append(1)
        await trio.lowlevel.checkpoint()


async def test_small_chunks_leave_together_and_in_order(pair):
    wire, theirs = pair
    wire.write_nowait([b"a", b"b"])
    wire.write_nowait([b"c"])
    assert wire.unsent_size == 3
    assert wire.flush_nowait()
    assert read_all(theirs) == b"abc"


async def test_large_and_small_chunks_keep_their_order(pair):
    wire, theirs = pair
    chunks = [b"head", b"x" * 200_000, b"", b"head", b"y" * 200_000]
    wire.write_nowait(chunks)
    assert await read_while(theirs, wire) == b"".join(chunks)


async def test_cancelled_wait_loses_and_repeats_nothing(pair):
    wire, theirs = pair
    data = fill(wire)
    with trio.CancelScope() as scope:
        scope.cancel()
        await wire.flush_some()
    assert scope.cancelled_caught
    assert await read_while(theirs, wire) == data


@pytest.mark.skipif(sys.platform != "linux", reason="every wait is the task's own where there is no epoll")
async def test_what_comes_to_a_socket_that_was_read_empty_is_given_away_while_the_task_sleeps(pair):
    wire, theirs = pair
    theirs.send(b"a request")
    await wire.receive()
    takers = []

    def take(data):
        takers.append(trio.lowlevel.current_task().name)
        return True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.receive_each, take)
        await wait_all_tasks_blocked()
        for piece in (b"a", b"b"):
            theirs.send(piece)
            await wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    assert len(takers) == 2
    assert not any("receive_each" in name for name in takers)


async def test_what_a_full_read_has_left_is_given_away_though_nothing_more_comes(pair):
    wire, theirs = pair
    sizes = []

    def take(data):
        sizes.append(len(data))
        return len(sizes) < 3

    async def send():
        await wait_all_tasks_blocked()
        theirs.send(bytes(RECEIVE_SIZE + 1))

    theirs.send(b"x")
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wire.receive_each(take)
    assert sizes == [1, RECEIVE_SIZE, 1]


async def test_reset_that_the_kernel_tells_once_is_a_lost_connection_where_there_is_no_epoll(nursery):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        wire = SocketWire(listener.accept()[0])
    wire._watch = Watch(wire._fd)
    wire.watch.is_ready = False

    async def reset():
        await wait_all_tasks_blocked()
        SocketWire(theirs).abort()

    nursery.start_soon(reset)
    with pytest.raises(ConnectionLost, match="nothing more can be read"):
        await wire.receive_each(bool)
    await wire.aclose()


@pytest.mark.skipif(sys.platform != "linux", reason="nobody attends where there is no epoll")
async def test_dismissing_who_attends_to_the_socket_leaves_what_is_being_sent_alone(pair):
    wire, theirs = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.receive_each, bool)
        theirs.send(b"x")
        await wait_all_tasks_blocked()
        data = fill(wire)
        nursery.start_soon(wire.watch.attend)
        nursery.start_soon(wire.flush_some)
        await wait_all_tasks_blocked()
        wire.watch.dismiss()
        await wait_all_tasks_blocked()
        assert await read_while(theirs, wire) == data
        nursery.cancel_scope.cancel()


async def test_flush_to_a_peer_that_is_gone_is_a_lost_connection(pair):
    wire, theirs = pair
    fill(wire)
    theirs.close()
    with pytest.raises(ConnectionLost):  # noqa: PT012  # the kernel may take some before it notices
        while True:
            await wire.flush_some()
    assert wire.unsent_size == 0


async def test_output_to_a_peer_that_is_gone_is_forgotten(pair):
    wire, theirs = pair
    theirs.close()
    wire.write_nowait([b"x"])
    assert wire.flush_nowait()


async def test_send_all_waits_until_everything_is_taken(pair, nursery):
    wire, theirs = pair
    received = []

    async def read():
        while len(b"".join(received)) < 1 << 22:
            await trio.lowlevel.wait_readable(theirs)
            received.append(read_all(theirs))

    nursery.start_soon(read)
    await wire.send_all([b"z" * (1 << 22)])
    assert wire.unsent_size == 0


async def test_end_is_told_while_reading_goes_on(pair):
    wire, theirs = pair
    wire.send_eof_nowait()
    assert theirs.recv(1) == b""
    theirs.send(b"still here")
    assert await wire.receive() == b"still here"


async def note_loss(wait, lost):
    try:
        await wait()
    except ConnectionLost as exc:
        lost.append(exc)


async def test_abort_frees_a_waiting_reader_and_may_be_repeated(pair, nursery):
    wire, _ = pair
    lost = []
    nursery.start_soon(note_loss, wire.receive, lost)
    await wait_all_tasks_blocked()
    wire.abort()
    wire.abort()
    await wait_all_tasks_blocked()
    assert lost


async def test_closing_frees_who_waits_for_the_peer_to_take_output(pair, nursery):
    wire, _ = pair
    fill(wire)
    lost = []
    nursery.start_soon(note_loss, wire.flush_some, lost)
    await wait_all_tasks_blocked()
    await wire.aclose()
    await wait_all_tasks_blocked()
    assert lost


async def test_nothing_is_queued_on_a_closed_wire(pair):
    wire, _ = pair
    await wire.aclose()
    wire.write_nowait([b"x"])
    wire.send_eof_nowait()
    assert wire.flush_nowait()
    assert wire.flush_nowait()
    with pytest.raises(ConnectionLost):
        await wire.flush_some()
    with pytest.raises(ConnectionLost):
        await wire.receive()


async def test_abort_resets_a_tcp_connection():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        wire = SocketWire(listener.accept()[0])
        assert wire.client == theirs.getsockname()
        assert wire.peer == "{}:{}".format(*theirs.getsockname())
        wire.abort()
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)
        theirs.close()


async def test_address_told_by_accept_outlives_a_reset():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        name = theirs.getsockname()
        SocketWire(theirs).abort()
        wire = SocketWire(*listener.accept())
        assert wire.client == name
        wire.abort()


async def test_pair_of_numbers_is_no_host_and_port():
    ours, theirs = socket.socketpair()
    wire = SocketWire(ours, (2, 1234))  # as a VSOCK listener tells it
    assert wire.client is None
    wire.abort()
    theirs.close()
