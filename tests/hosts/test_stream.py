"""RFC 6455 over a wire: what is special to this host; the rest is in the conformance suite."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from trio_websock import ConnectionLost, Error, FrameError, Opcode, Ping, Remote
from trio_websock.hosts.stream import StreamTransport
from trio_websock.hosts.stream_wire import StreamWire
from trio_websock.hosts.wire import SocketWire
from trio_websock.protocol.machine import Limits, Machine, Role

LIMITS = Limits(max_message_size=1000, max_frame_size=None, max_empty_fragments=10, validate_utf8=True)
KEY = b"\0\0\0\0"  # masks nothing, so that the bytes below can be read


def text(payload):
    return b"\x81" + bytes([0x80 | len(payload)]) + KEY + payload


def open_pair(leftover=b""):
    ours, theirs = memory_stream_pair()
    return StreamTransport(StreamWire(ours), Machine(Role.SERVER, LIMITS), None, leftover), theirs


@pytest.fixture
def pair():
    return open_pair()


async def test_one_read_yields_all_its_messages(pair):
    transport, peer = pair
    await peer.send_all(text(b"a") + text(b"b"))
    assert await transport.receive(10) == ["a", "b"]


async def test_batch_is_cut_at_its_bound_and_the_rest_comes_next(pair):
    transport, peer = pair
    await peer.send_all(text(b"a") + text(b"b") + text(b"c"))
    assert await transport.receive(2) == ["a", "b"]
    with trio.testing.assert_checkpoints():
        assert await transport.receive(2) == ["c"]


async def test_unfinished_message_yields_nothing_but_counts(pair):
    transport, peer = pair
    await peer.send_all(text(b"abc")[:-1])
    assert await transport.receive(10) == []
    assert transport.received_size == 8


async def test_bytes_behind_the_handshake_are_had_without_waiting():
    transport, _ = open_pair(text(b"pipelined"))
    assert transport.receive_nowait(10) == ["pipelined"]


async def test_close_frame_is_the_last_arrival(pair):
    transport, peer = pair
    await peer.send_all(text(b"a") + b"\x88\x82" + KEY + b"\x03\xe8" + text(b"behind"))
    assert await transport.receive(10) == ["a", Remote(1000, "")]


async def test_fault_is_the_last_arrival(pair):
    transport, peer = pair
    await peer.send_all(text(b"a") + b"\x83\x80" + KEY)
    batch = await transport.receive(10)
    assert batch[0] == "a"
    assert isinstance(batch[1].cause, FrameError)


async def test_end_of_the_stream_without_a_close_is_a_lost_connection(pair):
    transport, peer = pair
    await peer.aclose()
    [ending] = await transport.receive(10)
    assert isinstance(ending, Error)
    assert isinstance(ending.cause, ConnectionLost)


async def test_reading_from_a_closed_wire_is_a_lost_connection(pair):
    transport, _ = pair
    await transport.aclose()
    [ending] = await transport.receive(10)
    assert isinstance(ending.cause, ConnectionLost)


async def test_pong_is_queued_when_the_ping_is_returned(pair):
    transport, peer = pair
    await peer.send_all(b"\x89\x81" + KEY + b"p")
    assert await transport.receive(10) == [Ping(b"p")]
    assert transport.unsent_size
    await transport.flush_some()
    assert await peer.receive_some() == b"\x8a\x01p"


async def test_pongs_do_not_pile_up_behind_output_that_is_stuck(pair):
    transport, peer = pair
    transport.send_nowait((Opcode.TEXT, b"stuck"))
    transport.flush_nowait()
    for number in range(1000):
        await peer.send_all(b"\x89\x82" + KEY + number.to_bytes(2, "big"))
        await transport.receive(10)
    while not transport.flush_nowait():
        await transport.flush_some()
    received = await peer.receive_some()
    assert len(received) < 500
    assert received.endswith(b"\x8a\x02" + (999).to_bytes(2, "big"))


async def test_nothing_is_unsent_once_flushed(pair):
    transport, peer = pair
    transport.send_nowait((Opcode.BINARY, b"x"))
    assert transport.unsent_size
    while not transport.flush_nowait():
        await transport.flush_some()
    assert transport.unsent_size == 0
    assert await peer.receive_some() == b"\x82\x01x"


@pytest.mark.parametrize(
    "last_words",
    [b"\x88\x80" + KEY, text(b"discarded") + b"\x88\x82" + KEY + b"\x03\xe8"],
    ids=["a close", "data, then a close"],
)
async def test_wait_closed_ends_with_the_peers_close(pair, last_words):
    transport, peer = pair
    transport.send_close_nowait(1000, b"")
    await peer.send_all(last_words)
    with trio.fail_after(1):
        await transport.wait_closed()


async def test_wait_closed_ends_with_the_stream(pair):
    transport, peer = pair
    transport.send_close_nowait(1000, b"")
    await peer.send_all(text(b"discarded"))
    await peer.aclose()
    with trio.fail_after(1):
        await transport.wait_closed()


async def test_wait_closed_after_a_fault_reads_to_the_end_of_the_stream(pair, nursery):
    transport, peer = pair
    await peer.send_all(b"\x83\x80" + KEY)
    await transport.receive(10)
    nursery.start_soon(transport.wait_closed)
    await peer.send_all(b"\x88\x80" + KEY)
    await wait_all_tasks_blocked()
    assert nursery.child_tasks
    await peer.aclose()
    await wait_all_tasks_blocked()
    assert not nursery.child_tasks


async def test_end_of_our_output_is_told_to_the_peer():
    ours, theirs = socket.socketpair()
    transport = StreamTransport(SocketWire(ours), Machine(Role.SERVER, LIMITS), None)
    transport.send_eof_nowait()
    with theirs:
        assert theirs.recv(1) == b""
    await transport.aclose()


async def test_wait_closed_ends_when_the_connection_is_lost(pair):
    transport, _ = pair
    transport.abort()
    with trio.fail_after(1):
        await transport.wait_closed()
    transport.send_eof_nowait()


async def test_wait_closed_ends_when_a_fault_behind_our_close_hides_the_peers(pair):
    transport, peer = pair
    transport.send_close_nowait(1000, b"")
    await peer.send_all(b"\x83\x80" + KEY)
    with trio.fail_after(1):
        await transport.wait_closed()
