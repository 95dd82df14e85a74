"""What is read ahead while a callback is busy, and that it is bounded."""

from __future__ import annotations

import importlib
import zlib

import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock.protocol.deflate import DeflateParameters, PerMessageDeflate
from trio_websock.protocol.machine import Role
from trio_websock.testing.connection import open_test_connection

slow = importlib.import_module("slow")
Slow, KEY, wired = slow.Slow, slow.KEY, slow.wired


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


async def test_read_ahead_may_be_as_good_as_unbounded(wired, autojump_clock):
    handler = Slow()
    peer, _ = wired(handler, read_ahead_messages=2**80)
    await peer.send_all(b"\x81\x81" + KEY + bytes((KEY[0] ^ ord("x"),)))
    await trio.sleep(31)
    assert [message for message, _ in handler.done] == ["x"]


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
