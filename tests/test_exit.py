"""The exit of a connection: the close frame is out, then ``terminate``, then the peer has its time."""

from __future__ import annotations

import math

import trio

from trio_websock import NORMAL, Error, FrameError, Ok, Push, Remote, Stop
from trio_websock.testing.connection import open_test_connection


class Echo:
    """Echoes; ``stop`` stops. Notes what it is told at the end."""

    def __init__(self):
        self.calls = []
        type(self).last = self

    def init(self, args):
        return Ok(0)

    def handle_in(self, message, count):
        return Stop(NORMAL, count) if message == "stop" else Push(message, count + 1)


async def test_terminate_past_the_deadline_gets_as_far_as_its_first_checkpoint(autojump_clock, caplog):
    class Endless(Echo):
        async def handle_in(self, message, count):
            await trio.sleep_forever()

        async def terminate(self, reason, count):
            self.calls.append("before")
            await trio.lowlevel.checkpoint()
            self.calls.append("after")

    async with open_test_connection(Endless) as peer:
        await peer.send("x")
        peer.connection.shutdown_nowait(deadline=-math.inf)
        await peer.wait_ended()
    assert Endless.last.calls == ["before"]


async def test_deadline_brought_forward_reaches_a_terminate_that_is_running(autojump_clock, caplog):
    class Slow(Echo):
        async def terminate(self, reason, count):
            await trio.sleep(9)

    async with open_test_connection(Slow, terminate_timeout=10) as peer:
        await peer.close()
        start = trio.current_time()
        peer.connection.shutdown_nowait(deadline=start + 2)
        await peer.wait_ended()
        assert trio.current_time() == start + 2


async def test_peer_that_never_answers_the_close_is_left_after_close_timeout(autojump_clock):
    class Stopping(Echo):
        def handle_in(self, message, count):
            return Stop(NORMAL, count)

    async with open_test_connection(Stopping, close_timeout=4, answers_close=False) as peer:
        start = trio.current_time()
        await peer.send("x")
        await peer.wait_ended()
        assert trio.current_time() == start + 4
        assert peer.transport.is_closed


async def test_terminate_runs_after_the_close_frame_was_handed_over(autojump_clock):
    class Watching(Echo):
        def handle_in(self, message, count):
            return Stop(NORMAL, count)

        def terminate(self, reason, count):
            self.calls.append(list(transport.taken))

    async with open_test_connection(Watching) as peer:
        transport = peer.transport
        await peer.send("x")
    assert Watching.last.calls[-1] == [(1000, b"")]


async def test_hanging_terminate_is_cut_off_after_terminate_timeout(autojump_clock, caplog):
    class Hanging(Echo):
        async def terminate(self, reason, count):
            await trio.sleep_forever()

    async with open_test_connection(Hanging, terminate_timeout=3) as peer:
        start = trio.current_time()
        await peer.close()
        await peer.wait_ended()
        assert trio.current_time() == start + 3


async def test_exception_in_terminate_is_logged_and_changes_nothing(autojump_clock, caplog):
    class Raising(Echo):
        def terminate(self, reason, count):
            raise RuntimeError("late")

    async with open_test_connection(Raising, raise_handler_errors=False) as peer:
        await peer.close()
        assert await peer.wait_ended() == Remote(1000)
    assert [record.getMessage() for record in caplog.records] == ["Raising.terminate failed, peer a test"]


async def test_peer_that_broke_the_protocol_has_a_second_to_read_the_close_frame(autojump_clock):
    async with open_test_connection(Echo, close_timeout=10, answers_close=False) as peer:
        start = trio.current_time()
        peer.transport.put(Error(FrameError("reserved opcode 3", "RFC 6455 §5.2")))
        await peer.wait_ended()
        assert peer.transport.is_half_closed
        assert trio.current_time() == start + 1


async def test_peer_of_a_handler_that_failed_has_all_of_close_timeout(autojump_clock, caplog):
    class Raising(Echo):
        def handle_in(self, message, count):
            raise RuntimeError("inside")

    async with open_test_connection(Raising, close_timeout=10, answers_close=False, raise_handler_errors=False) as peer:
        start = trio.current_time()
        await peer.send("x")
        await peer.wait_ended()
        assert trio.current_time() == start + 10
        assert not peer.transport.is_half_closed


async def test_output_is_handed_over_before_the_end_while_the_peer_still_takes_it(autojump_clock):
    async with open_test_connection(Echo, write_timeout=30) as peer:
        peer.transport.take(0)
        await peer.send("last words", "stop")
        peer.transport.take()
        await peer.close()
        await peer.wait_ended()
        assert peer.received() == ["last words"]
        assert peer.close_sent == (1000, "")


async def test_failing_transport_does_not_keep_terminate_from_running(autojump_clock, caplog):
    class Noting(Echo):
        def terminate(self, reason, count):
            self.calls.append(reason)

    def fail(*args):
        raise RuntimeError("a fault of the host")

    async with open_test_connection(Noting) as peer:
        peer.transport.send_close_nowait = fail
        await peer.close()
        await peer.wait_ended()
        assert Noting.last.calls == [Remote(1000)]
        assert peer.transport.is_aborted
    assert "unexpected failure" in caplog.text
