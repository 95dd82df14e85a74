"""Any stream as a wire: what it can, and what a cancelled send costs it."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import memory_stream_pair

from trio_websock import ConnectionLost
from trio_websock.hosts.stream_wire import StreamWire, wire_for
from trio_websock.hosts.wire import SocketWire


async def test_socket_stream_gives_up_its_socket():
    ours, theirs = socket.socketpair()
    wire = wire_for(trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
    assert isinstance(wire, SocketWire)
    assert wire.peer == "local peer"
    theirs.send(b"x")
    assert await wire.receive() == b"x"
    await wire.aclose()
    theirs.close()


# Any other stream


@pytest.fixture
def stream_pair():
    ours, theirs = memory_stream_pair()
    return wire_for(ours), theirs


async def test_stream_carries_bytes_both_ways(stream_pair):
    wire, theirs = stream_pair
    assert isinstance(wire, StreamWire)
    await theirs.send_all(b"in")
    assert await wire.receive() == b"in"
    await wire.send_all([b"o", b"ut"])
    assert await theirs.receive_some() == b"out"


async def test_broken_stream_is_a_lost_connection(stream_pair):
    wire, theirs = stream_pair
    await theirs.aclose()
    with pytest.raises(ConnectionLost):
        await wire.send_all([b"x"])
    await wire.aclose()
    with pytest.raises(ConnectionLost):
        await wire.receive()


async def test_cancelled_flush_breaks_a_stream_instead_of_tearing_a_frame(stream_pair):
    wire, theirs = stream_pair
    wire.write_nowait([b"frame"])
    with trio.CancelScope() as scope:
        scope.cancel()
        await wire.flush_some()
    wire.write_nowait([b"next"])
    assert wire.flush_nowait()
    await wire.aclose()
    assert await theirs.receive_some() == b""


async def test_flush_of_nothing_is_a_checkpoint(stream_pair):
    wire, _ = stream_pair
    with trio.testing.assert_checkpoints():
        await wire.flush_some()


async def test_aborted_stream_is_closed(stream_pair):
    wire, theirs = stream_pair
    wire.send_eof_nowait()
    wire.abort()
    assert await theirs.receive_some() == b""


class FailingInTwoTasks(trio.abc.Stream):
    """Its ``aclose`` is cancelled in one task and fails in another, which is one group of both."""

    async def send_all(self, data):
        raise NotImplementedError

    wait_send_all_might_not_block = receive_some = send_all

    async def aclose(self):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fail)
            await trio.sleep_forever()

    async def _fail(self):
        raise ZeroDivisionError


async def test_no_way_to_fail_in_aclose_gets_through():
    await wire_for(FailingInTwoTasks()).aclose()
