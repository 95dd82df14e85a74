"""What is read ahead while a callback is busy, and that it is bounded."""

from __future__ import annotations

import zlib

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from trio_websock import Ok, Options
from trio_websock.behaviour.handler import bind_handler
from trio_websock.connection import Connection
from trio_websock.hosts.stream import StreamTransport
from trio_websock.hosts.stream_wire import StreamWire
from trio_websock.nursery import run_connection
from trio_websock.protocol.deflate import DeflateParameters, PerMessageDeflate
from trio_websock.protocol.machine import Limits, Machine, Role
from trio_websock.testing.connection import open_test_connection

LIMITS = Limits(max_message_size=2**20, max_frame_size=None, max_empty_fragments=10, validate_utf8=True)
KEY = b"\0\0\0\0"  # masks nothing, so that the bytes below can be read


class Slow:
    """Takes half a minute for everything, and notes when it was done with what."""

    def __init__(self):
        self.done = []

    async def init(self, args):
        return Ok(None)

    async def handle_in(self, message, state):
        await trio.sleep(30)
        self.done.append((message, trio.current_time()))
        return Ok(state)

    handle_info = handle_in


@pytest.fixture
async def wired(nursery):
    """Run a handler over a stream in memory; the peer's end of the stream."""

    def run(handler, *, leftover=b"", deflate=None, **options):
        ours, theirs = memory_stream_pair()
        theirs.receive_now = ours.receive_stream.put_data  # arrives without a step of anybody's
        transport = StreamTransport(StreamWire(ours), Machine(Role.SERVER, LIMITS, deflate), None, leftover)
        connection = Connection(transport, Options(**options))
        nursery.start_soon(run_connection, connection, bind_handler(handler), None)
        return theirs, connection

    yield run
    nursery.cancel_scope.cancel()


async def test_read_ahead_is_bounded_in_messages(autojump_clock):
    handler = Slow()
    async with open_test_connection(handler, read_ahead_messages=5) as peer:
        await peer.send(*[str(number) for number in range(30)])
        await peer.send("30")
        assert peer.connection.messages_received <= 2 * 5
        await trio.sleep(31 * 30 + 1)
        assert [message for message, _ in handler.done] == [str(number) for number in range(31)]


async def test_read_ahead_is_bounded_in_bytes(autojump_clock):
    handler = Slow()
    async with open_test_connection(handler, read_ahead_size=1000) as peer:
        await peer.send("first")
        for number in range(30):
            await peer.send(str(number) * 400)
        assert peer.connection.messages_received <= 1 + 3
        await trio.sleep(31 * 30 + 1)
        assert len(handler.done) == 31


async def test_reading_goes_on_when_the_last_message_read_ahead_is_taken(autojump_clock):
    async with open_test_connection(Slow, read_ahead_messages=2) as peer:
        await peer.send("a", "b", "c", "d", "e")
        received = []
        for _ in range(4):
            received.append(peer.connection.messages_received)
            await trio.sleep(30)
        assert received == sorted(received)
        assert received[-1] > received[0]


async def test_peer_that_sends_on_is_pushed_back(wired, autojump_clock):
    peer, connection = wired(Slow, read_ahead_messages=1)
    for _ in range(100):
        await peer.send_all(b"\x82\xfe\xff\xff" + KEY + bytes(65535))
        await wait_all_tasks_blocked()
    assert connection.bytes_received < 4 * 2**16


async def test_read_ahead_is_bounded_although_messages_inflate(wired, autojump_clock):
    compressor = zlib.compressobj(wbits=-15)
    bomb = (compressor.compress(bytes(2**20)) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    deflate = PerMessageDeflate(DeflateParameters(client_no_context_takeover=True), Role.SERVER)
    peer, connection = wired(Slow, deflate=deflate, read_ahead_size=256 * 1024)
    await peer.send_all((b"\xc2\xfe" + len(bomb).to_bytes(2) + KEY + bomb) * 60)
    await wait_all_tasks_blocked()
    assert 1 <= connection.messages_received <= 3
