"""Any stream as a wire: what it can, and what a cancelled send costs it."""

from __future__ import annotations

import socket
import ssl

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

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


# A stream that fails in its own way


class StreamError(Exception):
    """As a stream of an application may have its own."""


class Failing(trio.abc.Stream):
    """Fails to receive when told to, and to send at once or, without an error, never gets there."""

    def __init__(self, receive_error=None, send_error=None):
        self.receive_error, self.send_error = receive_error, send_error
        self.fail = trio.Event()

    async def receive_some(self, max_bytes=None):
        await self.fail.wait()
        raise self.receive_error

    async def send_all(self, data):
        if self.send_error is not None:
            raise self.send_error
        await trio.sleep_forever()

    async def wait_send_all_might_not_block(self):
        await trio.sleep_forever()

    async def aclose(self):
        await trio.lowlevel.checkpoint()


ORDINARY = [OSError("cable"), ssl.SSLError("torn"), trio.BrokenResourceError("reset"), trio.ClosedResourceError("ours")]
FAULTS = [StreamError("its own"), ZeroDivisionError("a bug")]


@pytest.mark.parametrize("error", ORDINARY + FAULTS, ids=repr)
async def test_whatever_a_stream_raises_on_receiving_is_a_lost_connection(error, caplog):
    stream = Failing(receive_error=error)
    stream.fail.set()
    with pytest.raises(ConnectionLost, match=str(error)) as caught:
        await wire_for(stream).receive()
    assert caught.value.__cause__ is error
    assert [record.exc_info[1] for record in caplog.records] == [error for fault in FAULTS if error is fault]


@pytest.mark.parametrize("error", ORDINARY + FAULTS, ids=repr)
async def test_whatever_a_stream_raises_on_sending_is_a_lost_connection(error, caplog):
    with pytest.raises(ConnectionLost, match=str(error)) as caught:
        await wire_for(Failing(send_error=error)).send_all([b"x"])
    assert caught.value.__cause__ is error
    assert [record.exc_info[1] for record in caplog.records] == [error for fault in FAULTS if error is fault]


async def test_cancellation_beside_an_error_goes_on_alone(caplog):
    class FailingCancelled(Failing):
        async def receive_some(self, max_bytes=None):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.fail_cancelled)
                await trio.sleep_forever()

        async def fail_cancelled(self):
            try:
                await trio.sleep_forever()
            finally:
                raise StreamError("on the way out")

    with trio.CancelScope() as scope:
        scope.cancel()
        await wire_for(FailingCancelled()).receive()
    assert scope.cancelled_caught
    assert len(caplog.records) == 1


async def test_stream_that_fails_both_ways_is_logged_once(caplog):
    stream = Failing(*FAULTS)
    stream.fail.set()
    wire = wire_for(stream)
    for use in (wire.send_all([b"x"]), wire.receive(), wire.receive()):
        with pytest.raises(ConnectionLost):
            await use
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("end", ["send", "abort", "aclose"])
async def test_nobody_waits_for_input_once_the_stream_is_gone(end, nursery):
    wire = wire_for(Failing(send_error=OSError("cable")))

    async def receive():
        with pytest.raises(ConnectionLost, match="nothing more can be read: the stream is gone"):
            await wire.receive()

    async with trio.open_nursery() as receiving:
        receiving.start_soon(receive)
        await wait_all_tasks_blocked()
        if end == "send":
            with pytest.raises(ConnectionLost):
                await wire.send_all([b"x"])
        elif end == "abort":
            wire.abort()
        else:
            await wire.aclose()


@pytest.mark.parametrize("end", ["receive", "abort", "aclose"])
async def test_output_waits_no_longer_once_its_stream_is_gone(end, nursery, autojump_clock):
    stream = Failing(receive_error=OSError("cable"))
    wire = wire_for(stream)

    async def send():
        with pytest.raises(ConnectionLost, match="nothing more can be sent"):
            await wire.send_all([b"x"])

    async def receive():
        with pytest.raises(ConnectionLost):
            await wire.receive()

    async with trio.open_nursery() as sending:
        sending.start_soon(send)
        await wait_all_tasks_blocked()
        stream.fail.set()
        if end == "receive":
            await receive()
        elif end == "abort":
            wire.abort()
        else:
            await wire.aclose()
    assert trio.current_time() == 0
