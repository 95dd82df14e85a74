"""TLS between two wires: real certificates, real records."""

from __future__ import annotations

import importlib
import socket
import ssl

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock import ConnectionLost, Ok, Options
from trio_websock.behaviour.handler import bind_handler
from trio_websock.connection import Connection
from trio_websock.hosts.stream import StreamTransport
from trio_websock.hosts.stream_wire import StreamWire
from trio_websock.hosts.tls import TlsWire
from trio_websock.hosts.wire import SocketWire
from trio_websock.nursery import run_connection
from trio_websock.protocol.machine import Limits, Machine, Role
from trio_websock.testing.memory_listener import open_memory_streams

certificates = importlib.import_module("certificates")

RECORD_HEAD = b"\x17\x03\x03\x01\x00"  # 256 bytes of application data follow

LIMITS = Limits(max_message_size=2**20, max_frame_size=None, max_empty_fragments=10, validate_utf8=True)


class Quiet:
    def init(self, args):
        return Ok(None)

    def handle_in(self, message, state):
        return Ok(state)


@pytest.fixture(scope="module")
def contexts():
    """A server's context, and one of a client that trusts it."""
    return certificates.localhost_contexts()


@pytest.fixture
async def raw(contexts):
    """Both ends before the handshake, and the sockets below."""
    ours, theirs = socket.socketpair()
    server = TlsWire(SocketWire(ours), contexts[0], server_side=True)
    inner = SocketWire(theirs)
    client = TlsWire(inner, contexts[1], server_side=False, server_hostname="localhost")
    yield server, client, inner
    server.abort()
    client.abort()


@pytest.fixture
async def pair(raw):
    server, client, inner = raw
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.handshake)
        nursery.start_soon(client.handshake)
    return server, client, inner


async def test_bytes_pass_both_ways(pair):
    server, client, _ = pair
    await client.send_all([b"to the ", b"server"])
    assert await server.receive() == b"to the server"
    await server.send_all([b"to the client"])
    assert await client.receive() == b"to the client"
    assert server.scheme == "https"
    assert server.client is None


async def test_bytes_of_an_unfinished_record_count_as_received(pair, nursery):
    server, _, inner = pair
    before = server.received_size
    nursery.start_soon(server.receive)
    inner.write_nowait([RECORD_HEAD + b"a few of 256 bytes"])
    inner.flush_nowait()
    await wait_all_tasks_blocked()
    assert server.received_size == before + 5 + 18


async def test_large_output_passes_whole(pair, nursery):
    server, client, _ = pair
    data = bytes(range(256)) * 8192
    nursery.start_soon(server.send_all, [data])
    received = bytearray()
    while len(received) < len(data):
        received += await client.receive()
    assert received == data


async def test_cancelled_flush_tears_no_record(pair, nursery):
    server, client, _ = pair
    data = bytes(range(256)) * 16384
    server.write_nowait([data])
    assert not server.flush_nowait()
    with trio.CancelScope() as scope:
        scope.cancel()
        await server.flush_some()
    nursery.start_soon(server.send_all, [b"and more"])
    received = bytearray()
    while len(received) < len(data) + 8:
        received += await client.receive()
    assert received == data + b"and more"
    assert server.unsent_size == 0


async def test_close_notify_is_the_end_of_the_stream(pair):
    server, client, _ = pair
    await client.aclose()
    assert await server.receive() == b""


async def test_end_is_told_while_reading_goes_on(pair):
    server, client, _ = pair
    server.send_eof_nowait()
    assert await client.receive() == b""


async def test_stream_cut_off_without_close_notify_is_a_lost_connection(pair):
    server, _, inner = pair
    await inner.aclose()
    with pytest.raises(ConnectionLost):
        await server.receive()


async def test_bytes_before_a_broken_record_are_still_received(pair):
    server, client, inner = pair
    client.write_nowait([b"good"])
    inner.write_nowait([b"this is no record, and longer than the head of one"])
    client.flush_nowait()
    assert await server.receive() == b"good"
    with pytest.raises(ConnectionLost):
        await server.receive()


@pytest.mark.parametrize(("is_broken", "end"), [(False, b""), (True, "lost")], ids=["close_notify", "broken record"])
async def test_what_ends_the_stream_right_behind_the_last_bytes_is_told_with_them(is_broken, end, pair, nursery):
    server, client, inner = pair
    received = []

    async def read():
        try:
            await server.receive_each(lambda data: received.append(data) or bool(data))
        except ConnectionLost:
            received.append("lost")

    nursery.start_soon(read)
    await client.send_all([b"first"])  # from now on what comes is taken while the reader sleeps
    await wait_all_tasks_blocked()
    client.write_nowait([b"last"])
    if not is_broken:
        client._queue_close_notify()
    inner.write_nowait([RECORD_HEAD + bytes(256)])
    inner.flush_nowait()
    await wait_all_tasks_blocked()
    assert received == [b"first", b"last", end]


async def test_plain_text_instead_of_a_handshake_is_a_lost_connection(raw):
    server, _, inner = raw
    inner.write_nowait([b"GET / HTTP/1.1\r\n\r\n"])
    inner.flush_nowait()
    with pytest.raises(ConnectionLost, match="TLS handshake failed"):
        await server.handshake()


async def test_untrusted_certificate_is_a_lost_connection_for_both(contexts):
    ours, theirs = socket.socketpair()
    server = TlsWire(SocketWire(ours), contexts[0], server_side=True)
    stranger = ssl.create_default_context()
    client = TlsWire(SocketWire(theirs), stranger, server_side=False, server_hostname="localhost")
    refused = []

    async def shake(wire):
        try:
            await wire.handshake()
            await wire.receive()  # with TLS 1.3 the server learns of it only now
        except ConnectionLost as exc:
            refused.append(exc)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake, server)
        nursery.start_soon(shake, client)
    assert len(refused) == 2
    server.abort()
    client.abort()


async def test_nothing_is_sent_behind_the_end(pair):
    server, client, _ = pair
    server.send_eof_nowait()
    server.write_nowait([b"late"])
    await wait_all_tasks_blocked()
    assert await client.receive() == b""


async def test_a_record_that_is_slow_to_come_is_no_silence(contexts, autojump_clock, nursery):
    ours, theirs = open_memory_streams()
    server = TlsWire(StreamWire(ours), contexts[0], server_side=True)
    client = TlsWire(StreamWire(theirs), contexts[1], server_side=False, server_hostname="localhost")
    async with trio.open_nursery() as shaking:
        shaking.start_soon(server.handshake)
        shaking.start_soon(client.handshake)
    connection = Connection(StreamTransport(server, Machine(Role.SERVER, LIMITS), None), Options(timeout=10))
    nursery.start_soon(run_connection, connection, bind_handler(Quiet), None)
    await theirs.send_all(RECORD_HEAD)
    for _ in range(10):
        await trio.sleep(9)
        await theirs.send_all(b"slowly")
    assert not connection.is_closing
    await trio.sleep(11)
    assert connection.is_closing
    nursery.cancel_scope.cancel()


async def test_a_slow_record_of_tls_inside_of_tls_is_not_the_end(contexts, pair, nursery):
    """As with ``wss`` through a proxy that is spoken to over TLS itself."""
    outer_server, outer_client, inner = pair
    server = TlsWire(outer_server, contexts[0], server_side=True)
    client = TlsWire(outer_client, contexts[1], server_side=False, server_hostname="localhost")
    async with trio.open_nursery() as shaking:
        shaking.start_soon(server.handshake)
        shaking.start_soon(client.handshake)
    received = []

    def take(data):
        received.append(data)
        return data != b"at last"

    nursery.start_soon(server.receive_each, take)
    client.write_nowait([b"at last"])
    record = b"".join(inner._chunks)
    inner._forget_unsent()
    for at in range(0, len(record), 10):
        await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked()
        inner._socket.send(record[at : at + 10])
    await wait_all_tasks_blocked()
    assert received[-1] == b"at last"
