"""What goes wrong at the very end of a connection stays its own affair, and costs neither ``terminate`` nor order."""

from __future__ import annotations

import importlib
from functools import partial

import outcome
import pytest
import trio
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from trio_websock import (
    NORMAL,
    Normal,
    Ok,
    Options,
    Push,
    Remote,
    Shutdown,
    Stop,
    WriteTimeout,
    current_connection,
    serve,
    upgrade,
)
from trio_websock.behaviour.handler import bind_handler
from trio_websock.connection import Connection
from trio_websock.hosts.stream import StreamTransport
from trio_websock.hosts.stream_wire import StreamWire
from trio_websock.nursery import run_connection
from trio_websock.protocol.machine import Limits, Machine, Role
from trio_websock.testing.connection import open_test_connection
from trio_websock.testing.memory_transport import MemoryTransport

stray = importlib.import_module("stray")

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
KEY = b"\0\0\0\0"  # masks nothing, so that the bytes below can be read
CLOSE = b"\x88\x82" + KEY + b"\x03\xe8"


class Boom(Exception):
    pass


def raise_boom():
    raise Boom


class Quiet:
    def init(self, args):
        return Ok(None)

    def handle_in(self, message, state):
        return Ok(state)


async def test_close_frame_reaches_a_peer_that_is_busy_sending(autojump_clock, nursery, caplog):
    class Failing(Quiet):
        def handle_in(self, message, state):
            current_connection().nursery.start_soon(self.fail)
            return Ok(state)

        async def fail(self):
            raise_boom()

    ours, theirs = lockstep_stream_pair()
    limits = Limits(max_message_size=None, max_frame_size=None, max_empty_fragments=10, validate_utf8=True)
    transport = StreamTransport(StreamWire(ours), Machine(Role.SERVER, limits), None)
    nursery.start_soon(run_connection, Connection(transport, Options()), bind_handler(Failing), None)
    await theirs.send_all((b"\x81\x81" + KEY + b"x") * 50_000)
    assert await theirs.receive_some() == b"\x88\x02\x03\xf3"
    assert trio.current_time() < 1


@pytest.fixture
async def start(nursery):
    yield lambda application: nursery.start(partial(serve, application, port=0, grace=0))
    nursery.cancel_scope.cancel()


async def test_stray_cancelled_in_terminate_goes_no_further(autojump_clock, caplog):
    class Leaking(Quiet):
        async def terminate(self, reason, state):
            raise await stray.stray_cancelled()

    transport = MemoryTransport()
    transport.put(Remote(1000))
    # A nursery would take what escapes for a cancellation of its own, and the rest of this test with it.
    ended = await outcome.acapture(run_connection, Connection(transport, Options()), bind_handler(Leaking), None)
    assert ended == outcome.Value(Remote(1000))
    assert not transport.is_aborted
    assert "Leaking.terminate" in caplog.text


async def test_terminate_that_fails_while_it_is_cut_off_changes_nothing(autojump_clock, caplog):
    class Failing(Quiet):
        async def terminate(self, reason, state):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                try:
                    await trio.sleep_forever()
                finally:
                    raise Boom

    async with open_test_connection(Failing, terminate_timeout=3) as peer:
        await peer.close()
        assert await peer.wait_ended() == Remote(1000)
        assert not peer.transport.is_aborted
    assert "Failing.terminate failed" in caplog.text
    assert "unexpected" not in caplog.text


async def test_constructor_that_raises_ends_like_an_init_that_raises(autojump_clock, caplog):
    class Unmade(Quiet):
        def __init__(self):
            raise Boom

        def terminate(self, reason, state):
            raise AssertionError

    async with open_test_connection(Unmade, raise_handler_errors=False) as peer:
        reason = await peer.wait_ended()
        assert isinstance(reason.cause, Boom)
        assert peer.close_sent == (1011, "")
    assert "Unmade" in caplog.text


async def test_transport_that_fails_to_close_is_aborted_and_harms_nobody_else(autojump_clock, caplog):
    transport = MemoryTransport()
    transport.aclose = raise_boom
    transport.put(Remote(1000))
    reason = await run_connection(Connection(transport, Options()), bind_handler(Quiet), None)
    assert isinstance(reason.cause, Boom)
    assert transport.is_aborted
    assert "unexpected failure" in caplog.text


async def test_ctrl_c_in_terminate_goes_on_and_the_connection_ends_as_a_shutdown(autojump_clock):
    class Interrupted(Quiet):
        def terminate(self, reason, state):
            raise KeyboardInterrupt

    transport = MemoryTransport()
    transport.put(Remote(1000))
    connection = Connection(transport, Options())
    with pytest.raises(KeyboardInterrupt):
        await run_connection(connection, bind_handler(Interrupted), None)
    assert transport.is_aborted
    assert connection.reason == Shutdown()


async def test_ctrl_c_in_a_callback_does_not_wait_for_the_peers_close(autojump_clock):
    class Interrupted(Quiet):
        def handle_in(self, message, state):
            raise KeyboardInterrupt

    transport = MemoryTransport()
    transport.put("x")
    start = trio.current_time()
    with pytest.raises(BaseExceptionGroup) as raised:
        await run_connection(Connection(transport, Options()), bind_handler(Interrupted), None)
    assert raised.group_contains(KeyboardInterrupt)
    assert transport.taken == [(1001, b"")]
    assert trio.current_time() == start


async def test_one_clients_stray_cancelled_does_not_end_the_others(start, caplog):
    async def application(request):
        if request.path == "/stray":
            raise await stray.stray_cancelled()
        return upgrade(Quiet(), None)

    server = await start(application)
    async with (
        await trio.open_tcp_stream("127.0.0.1", server.port) as stay,
        await trio.open_tcp_stream("127.0.0.1", server.port) as stray,
    ):
        await stay.send_all(HANDSHAKE)
        await stay.receive_some()
        await stray.send_all(HANDSHAKE.replace(b"/ ", b"/stray ", 1))
        assert (await stray.receive_some()).startswith(b"HTTP/1.1 500 ")
        await stay.send_all(CLOSE)
        assert await stay.receive_some() == b"\x88\x02\x03\xe8"


async def test_cancellation_while_the_peers_close_is_awaited_waits_no_longer(autojump_clock):
    class Stopping(Quiet):
        def handle_in(self, message, state):
            return Stop(NORMAL, state)

    async with open_test_connection(Stopping, answers_close=False) as peer:
        await peer.send("x")
        start = trio.current_time()
    assert trio.current_time() == start
    assert peer.connection.reason == Normal()
    assert peer.transport.is_closed


async def test_cancellation_is_not_held_up_by_a_peer_that_takes_a_little_now_and_then(autojump_clock, nursery):
    class Pushing(Quiet):
        def handle_in(self, message, state):
            return Push(["stuck"] * 1000, state)

    async def take_little(transport):
        while True:
            await trio.sleep(20)
            transport.take(1)

    async with open_test_connection(Pushing, write_timeout=30, terminate_timeout=10) as peer:
        peer.transport.take(0)
        await peer.send("x")
        nursery.start_soon(take_little, peer.transport)
        start = trio.current_time()
    assert trio.current_time() <= start + 2 * 30
    assert isinstance(peer.connection.reason.cause, WriteTimeout)
    nursery.cancel_scope.cancel()


async def test_stream_that_fails_to_close_harms_nobody():
    class Failing(trio.abc.Stream):
        async def send_all(self, data):
            pass

        async def wait_send_all_might_not_block(self):
            pass

        async def receive_some(self, max_bytes=None):
            return b""

        async def aclose(self):
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise trio.BrokenResourceError

    wire = StreamWire(Failing())
    wire.abort()
    await wait_all_tasks_blocked()
    await wire.aclose()


async def test_connection_that_a_task_has_failed_is_closing_though_output_still_waits_for_the_peer(autojump_clock):
    class Failing(Quiet):
        async def handle_in(self, message, state):
            current_connection().nursery.start_soon(fail_later)
            return Push(message, state)

    async def fail_later():
        await trio.sleep(0.5)
        raise Boom

    async with open_test_connection(Failing, write_timeout=30, raise_handler_errors=False) as peer:
        peer.transport.take(0)
        await peer.send("x" * 100_000)
        await trio.sleep(1)
        assert peer.connection.is_closing
        assert peer.connection.reason is None
