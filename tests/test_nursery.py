"""The life of a connection: how it begins, what ends it, and that its exit is always the same."""

from __future__ import annotations

import importlib
import logging
import math

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock import (
    DISCONNECTED,
    NORMAL,
    RESTART,
    ConnectionLost,
    Error,
    FrameError,
    Normal,
    Ok,
    Options,
    Ping,
    Push,
    Remote,
    ResultError,
    Shutdown,
    Stop,
    Timeout,
    WriteTimeout,
    current_connection,
)
from trio_websock.behaviour.handler import bind_handler
from trio_websock.connection import Connection
from trio_websock.nursery import run_connection
from trio_websock.testing.connection import open_test_connection
from trio_websock.testing.memory_transport import MemoryTransport

stray = importlib.import_module("stray")


class Echo:
    """Echoes, and notes every call; tests override what they are about."""

    def __init__(self):
        self.calls = []
        type(self).last = self

    def init(self, args):
        self.calls.append("init")
        return Ok(0)

    def handle_in(self, message, count):
        self.calls.append(message)
        return Push(message, count + 1)

    def handle_info(self, info, count):
        self.calls.append(info)
        return Push(f"info {info}", count)

    def terminate(self, reason, count):
        self.calls.append(("terminate", reason, count))


def terminations(handler=Echo):
    return [call for call in handler.last.calls if isinstance(call, tuple)]


# What ends a connection


@pytest.mark.parametrize(
    ("reason", "code", "told"),
    [(NORMAL, 1000, Normal()), (RESTART, 1012, Normal()), (DISCONNECTED, 1000, Normal()), ("bad", 1011, Error("bad"))],
)
async def test_stop_sends_the_close_frame_of_its_reason(reason, code, told, autojump_clock):
    class Stopping(Echo):
        def handle_in(self, message, count):
            return Stop(reason, 7)

    async with open_test_connection(Stopping) as peer:
        await peer.send("x")
        assert peer.close_sent == (code, "")
        assert terminations(Stopping) == [("terminate", told, 7)]


async def test_peers_close_is_echoed_and_told(autojump_clock):
    async with open_test_connection(Echo) as peer:
        await peer.close(3001, "bye")
        assert peer.close_sent == (3001, "")
        assert terminations() == [("terminate", Remote(3001, "bye"), 0)]


async def test_empty_close_of_the_peer_stays_empty(autojump_clock):
    async with open_test_connection(Echo) as peer:
        await peer.close(None)
        assert peer.close_sent == (None, "")
        assert await peer.wait_ended() == Remote(None)


async def test_lost_connection_gets_no_close_frame(autojump_clock):
    async with open_test_connection(Echo) as peer:
        await peer.drop()
        assert peer.transport.close is None
        assert isinstance(terminations()[0][1].cause, ConnectionLost)


async def test_protocol_error_of_the_peer_is_answered_with_its_code_and_logged_in_one_line(autojump_clock, caplog):
    caplog.set_level(logging.INFO)
    fault = Error(FrameError("reserved opcode 3", "RFC 6455 §5.2"))
    async with open_test_connection(Echo) as peer:
        peer.transport.put(fault)
        assert await peer.wait_ended() is fault
        assert peer.close_sent == (1002, "")
        assert peer.transport.is_half_closed
    assert [record.exc_info for record in caplog.records] == [None]


async def test_silence_ends_with_1001_between_the_timeout_and_a_tenth_more(autojump_clock):
    async with open_test_connection(Echo, timeout=100) as peer:
        start = trio.current_time()
        await peer.connection.closing.wait()
        assert 100 <= trio.current_time() - start <= 110
        assert await peer.wait_ended() == Timeout()
        assert peer.close_sent == (1001, "idle timeout")


async def test_exception_in_a_callback_closes_with_1011_and_is_logged_once(autojump_clock, caplog):
    class Raising(Echo):
        def handle_in(self, message, count):
            raise RuntimeError("inside")

    async with open_test_connection(Raising, raise_handler_errors=False) as peer:
        await peer.send("x")
        assert peer.close_sent == (1011, "")
        assert isinstance(terminations(Raising)[0][1].cause, RuntimeError)
    assert [record.getMessage() for record in caplog.records] == ["Raising.handle_in failed, peer a test"]


async def test_an_exception_alone_in_a_group_is_told_without_the_group(autojump_clock, caplog):
    class Raising(Echo):
        async def handle_in(self, message, count):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.fail)

        async def fail(self):
            raise KeyError("inside")

    async with open_test_connection(Raising, raise_handler_errors=False) as peer:
        await peer.send("x")
        assert isinstance((await peer.wait_ended()).cause, KeyError)


async def test_every_end_is_told_at_debug_level(autojump_clock, caplog):
    caplog.set_level(logging.DEBUG, "trio_websock.connection")
    async with open_test_connection(Echo) as peer:
        await peer.drop()
        await peer.wait_ended()
        await wait_all_tasks_blocked()
    assert caplog.messages == [f"{peer.connection!r} has ended: {peer.reason!r}"]


async def test_bad_result_closes_with_1011_and_sends_nothing_of_it(autojump_clock, caplog):
    class Bad(Echo):
        def handle_in(self, message, count):
            return Push(["fine", 5], 99)

    async with open_test_connection(Bad, raise_handler_errors=False) as peer:
        await peer.send("x")
        assert peer.received() == []
    assert isinstance(peer.reason.cause, ResultError)
    assert terminations(Bad) == [("terminate", peer.reason, 0)]


async def test_failed_init_is_not_terminated(autojump_clock, caplog):
    class Failing(Echo):
        def init(self, args):
            self.calls.append("init")
            raise RuntimeError("no")

    async with open_test_connection(Failing, raise_handler_errors=False) as peer:
        await wait_all_tasks_blocked()
        assert peer.close_sent == (1011, "")
    assert Failing.last.calls == ["init"]


async def test_failing_task_of_the_nursery_cancels_the_running_callback_and_ends_as_an_error(autojump_clock, caplog):
    class Spawning(Echo):
        async def handle_in(self, message, count):
            current_connection().nursery.start_soon(self.fail)
            try:
                await trio.sleep_forever()
            finally:
                self.calls.append("cancelled")

        async def fail(self):
            await trio.sleep(1)
            raise KeyError("task")

    async with open_test_connection(Spawning, raise_handler_errors=False) as peer:
        await peer.send("x")
        assert isinstance((await peer.wait_ended()).cause, KeyError)
        assert peer.close_sent == (1011, "")
    assert Spawning.last.calls[1] == "cancelled"


class Overruling(Echo):
    """A task of its nursery fails while a callback shields itself; tests say how that ends."""

    async def handle_in(self, message, count):
        current_connection().nursery.start_soon(self.fail)
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        return self.end(count)

    async def fail(self):
        await trio.sleep(1)
        raise KeyError("task")


@pytest.mark.parametrize("reason", [NORMAL, "bad"])
async def test_failing_task_is_not_overruled_by_the_result_of_the_callback_it_cancels(reason, autojump_clock, caplog):
    class Stopping(Overruling):
        def end(self, count):
            return Stop(reason, count)

    async with open_test_connection(Stopping, raise_handler_errors=False) as peer:
        await peer.send("x")
        assert isinstance((await peer.wait_ended()).cause, KeyError)
        assert peer.close_sent == (1011, "")


async def test_failing_task_and_the_exception_of_the_callback_it_cancels_are_told_as_a_group(autojump_clock, caplog):
    class Raising(Overruling):
        def end(self, count):
            raise ValueError("clean-up")

    async with open_test_connection(Raising, raise_handler_errors=False) as peer:
        await peer.send("x")
        cause = (await peer.wait_ended()).cause
    assert [type(one) for one in cause.exceptions] == [ValueError, KeyError]
    assert [record.exc_info[0] for record in caplog.records] == [ValueError, KeyError]


async def test_two_failing_tasks_are_told_as_a_group(autojump_clock, caplog):
    class Spawning(Echo):
        def init(self, args):
            for name in ("a", "b"):
                current_connection().nursery.start_soon(self.fail, name)
            return Ok(0)

        async def fail(self, name):
            try:
                await trio.sleep(1)
            finally:
                raise KeyError(name)

    async with open_test_connection(Spawning, raise_handler_errors=False) as peer:
        reason = await peer.wait_ended()
    assert isinstance(reason.cause, ExceptionGroup)
    assert len(reason.cause.exceptions) == 2


async def test_cancelling_the_own_nursery_ends_as_a_shutdown(autojump_clock):
    class Leaving(Echo):
        async def handle_in(self, message, count):
            current_connection().nursery.cancel_scope.cancel()
            await trio.sleep_forever()

    async with open_test_connection(Leaving) as peer:
        await peer.send("x")
        assert peer.close_sent == (1001, "")
        assert terminations(Leaving) == [("terminate", Shutdown(), 0)]


async def test_cancelled_connection_says_goodbye_terminates_once_and_passes_the_cancellation_on(autojump_clock):
    transport = MemoryTransport()
    with trio.move_on_after(1) as scope:
        await run_connection(Connection(transport, Options()), bind_handler(Echo), None)
    assert scope.cancelled_caught
    assert transport.taken == [(1001, b"")]
    assert terminations() == [("terminate", Shutdown(), 0)]


async def test_cancelled_connection_has_terminate_timeout_for_a_close_frame_that_the_peer_does_not_take(autojump_clock):
    transport = MemoryTransport()
    transport.take(0)
    with trio.move_on_at(trio.current_time() + 1) as scope:
        await run_connection(Connection(transport, Options(terminate_timeout=3)), bind_handler(Echo), None)
    assert trio.current_time() == scope.deadline + 3
    assert len(terminations()) == 1


async def test_connection_cancelled_when_it_was_ending_anyway_tells_the_reason_terminate_was_told(autojump_clock):
    scope = trio.CancelScope()

    class Stopping(Echo):
        def handle_in(self, message, count):
            scope.cancel()
            return Stop(NORMAL, count)

    with scope:
        async with open_test_connection(Stopping) as peer:
            await peer.send("x")
    assert (peer.connection.reason, terminations(Stopping)) == (Normal(), [("terminate", Normal(), 0)])


async def leak():
    raise await stray.stray_cancelled()


async def leak_in_a_made_group():
    raise BaseExceptionGroup("of a callback", [await stray.stray_cancelled()])


@pytest.mark.parametrize("leak", [leak, leak_in_a_made_group])
async def test_escaped_cancelled_of_a_scope_the_handler_opened_is_an_error(leak, autojump_clock, caplog):
    class Leaking(Echo):
        async def handle_in(self, message, count):
            await leak()

    async with open_test_connection(Leaking, raise_handler_errors=False) as peer:
        await peer.send("x")
        assert peer.close_sent == (1011, "")
        assert isinstance(terminations(Leaking)[0][1].cause, trio.Cancelled)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@stray.TOLD_BY_TRIO
@pytest.mark.parametrize("leak", [leak, leak_in_a_made_group])
async def test_escaped_cancelled_of_a_task_of_the_nursery_is_an_error(leak, autojump_clock, caplog):
    class Starting(Echo):
        def handle_in(self, message, count):
            current_connection().nursery.start_soon(leak)
            return Ok(count)

    async with open_test_connection(Starting, raise_handler_errors=False) as peer:
        await peer.send("x")
        assert peer.close_sent == (1011, "")
        assert isinstance(terminations(Starting)[0][1].cause, trio.Cancelled)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_own_cancellation_beside_a_failure_in_a_group_goes_on(autojump_clock, caplog):
    class Failing(Echo):
        async def handle_in(self, message, count):
            try:
                await trio.sleep_forever()
            except trio.Cancelled as exc:
                raise BaseExceptionGroup("of a callback", [exc, ValueError("on the way out")]) from None

    with trio.CancelScope() as scope:
        async with open_test_connection(Failing, raise_handler_errors=False) as peer:
            await peer.send("x")
            scope.cancel()
    assert scope.cancelled_caught
    assert peer.close_sent == (1011, "")
    assert isinstance(terminations(Failing)[0][1].cause, ValueError)


# Shutdown


async def test_shutdown_lets_the_running_callback_finish_and_sends_its_output(autojump_clock):
    class Slow(Echo):
        async def handle_in(self, message, count):
            await trio.sleep(5)
            return Push("done", count + 1)

    async with open_test_connection(Slow) as peer:
        await peer.send("x", "never handled")
        peer.connection.shutdown_nowait(deadline=trio.current_time() + 15)
        assert await peer.wait_ended() == Shutdown()
        assert peer.received() == ["done"]
        assert peer.close_sent == (1001, "")
        assert terminations(Slow) == [("terminate", Shutdown(), 1)]


async def test_shutdown_for_a_restart_says_1012(autojump_clock):
    async with open_test_connection(Echo) as peer:
        peer.connection.shutdown_nowait(restart=True, deadline=trio.current_time() + 15)
        await peer.wait_ended()
        assert peer.close_sent == (1012, "")


@pytest.mark.parametrize("restart", [False, True])
async def test_deadline_cancels_a_callback_that_will_not_end_and_drops_the_peer(restart, autojump_clock):
    class Endless(Echo):
        async def handle_in(self, message, count):
            await trio.sleep_forever()

    async with open_test_connection(Endless) as peer:
        await peer.send("x")
        deadline = trio.current_time() + 15
        peer.connection.shutdown_nowait(restart=restart, deadline=deadline)
        assert await peer.wait_ended() == Shutdown(restart=restart)
        assert trio.current_time() == deadline
        assert peer.transport.is_aborted


# Slow peers and busy handlers


async def test_peer_that_takes_nothing_is_dropped_after_write_timeout(autojump_clock):
    async with open_test_connection(Echo, write_timeout=30, timeout=math.inf) as peer:
        peer.transport.take(0)
        start = trio.current_time()
        await peer.send("x")
        reason = await peer.wait_ended()
        assert isinstance(reason.cause, WriteTimeout)
        assert trio.current_time() == start + 30
        assert peer.transport.is_aborted


async def test_write_timeout_counts_from_what_was_taken_last(autojump_clock):
    async with open_test_connection(Echo, write_timeout=30, timeout=math.inf) as peer:
        peer.transport.take(0)
        await peer.send("one", "two")
        await trio.sleep(20)
        peer.transport.take(1)
        await trio.sleep(20)
        assert peer.reason is None
        peer.transport.take()
        await wait_all_tasks_blocked()
        assert peer.received() == ["one", "two"]


async def test_idle_clock_stands_still_while_a_callback_runs(autojump_clock):
    class Slow(Echo):
        async def handle_in(self, message, count):
            await trio.sleep(500)
            return Push("still here", count)

    async with open_test_connection(Slow, timeout=100) as peer:
        await peer.send("x")
        await trio.sleep(501)
        assert peer.received() == ["still here"]
        start = trio.current_time()
        assert await peer.wait_ended() == Timeout()
        assert 98 <= trio.current_time() - start <= 120


async def test_idle_clock_is_not_reset_by_the_mailbox(autojump_clock):
    async with open_test_connection(Echo, timeout=100) as peer:
        start = trio.current_time()
        while peer.close_sent is None:
            await peer.post("tick")
            await trio.sleep(9)
        assert 100 <= trio.current_time() - start <= 119


async def test_idle_clock_is_reset_by_bytes_of_an_unfinished_message(autojump_clock):
    async with open_test_connection(Echo, timeout=100) as peer:
        for _ in range(10):
            await trio.sleep(90)
            peer.transport.touch()
        assert not peer.connection.is_closing


async def test_silence_behind_a_part_of_a_message_ends_as_any_other(autojump_clock):
    async with open_test_connection(Echo, timeout=100) as peer:
        await trio.sleep(50)
        peer.transport.touch()
        start = trio.current_time()
        await peer.connection.closing.wait()
        assert 100 <= trio.current_time() - start <= 110


async def test_peers_close_is_noticed_while_a_callback_runs_but_answered_after_it(autojump_clock):
    class Slow(Echo):
        async def handle_in(self, message, count):
            await current_connection().closing.wait()
            self.calls.append("noticed")
            return Push("last words", count)

    async with open_test_connection(Slow) as peer:
        await peer.send("x")
        await peer.close()
        assert peer.received() == ["last words"]
        assert peer.close_sent == (1000, "")
    assert Slow.last.calls[1] == "noticed"


async def test_disconnect_cancels_the_running_callback_if_asked_to(autojump_clock):
    class Slow(Echo):
        async def handle_in(self, message, count):
            await trio.sleep_forever()

    async with open_test_connection(Slow, cancel_on_disconnect=True) as peer:
        await peer.send("x")
        await peer.drop()
        assert isinstance((await peer.wait_ended()).cause, ConnectionLost)
        assert len(terminations(Slow)) == 1


async def test_what_came_with_the_peers_close_is_answered_where_no_callback_ran_to_be_cancelled(autojump_clock):
    async with open_test_connection(Echo, cancel_on_disconnect=True) as peer:
        await wait_all_tasks_blocked()
        peer.transport.put("a", "b", Remote(1000))
        await peer.wait_ended()
        assert peer.received() == ["a", "b"]


async def test_items_sent_before_the_peers_close_are_handled_where_no_callback_ran_to_be_cancelled(autojump_clock):
    async with open_test_connection(Echo, cancel_on_disconnect=True) as peer:
        await wait_all_tasks_blocked()
        peer.connection.mailbox.send_nowait("a")
        peer.connection.mailbox.send_nowait("b")
        peer.transport.put("c", Remote(1000))
        await peer.wait_ended()
        assert peer.received() == ["info a", "info b", "c"]


async def test_disconnect_during_init_leaves_nothing_to_terminate(autojump_clock):
    class Slow(Echo):
        async def init(self, args):
            await trio.sleep_forever()

    async with open_test_connection(Slow, cancel_on_disconnect=True) as peer:
        await peer.drop()
        await peer.wait_ended()
        assert terminations(Slow) == []


# Order


async def test_what_earlier_callbacks_pushed_is_out_before_a_later_one_suspends(autojump_clock):
    class Mixed(Echo):
        async def handle_in(self, message, count):
            if message == "slow":
                await trio.sleep(100)
            return Push(message, count)

    async with open_test_connection(Mixed, timeout=math.inf) as peer:
        peer.transport.put("fast", "slow")
        await trio.sleep(1)
        assert peer.received() == ["fast"]


async def test_pipelined_frames_come_before_what_init_sent_to_its_own_mailbox(autojump_clock):
    class SelfSending(Echo):
        def init(self, args):
            current_connection().mailbox.send_nowait("to myself")
            return Push("hello", 0)

    async with open_test_connection(SelfSending, first=["pipelined"]) as peer:
        assert peer.received() == ["hello", "pipelined", "info to myself"]


async def test_items_and_frames_are_handled_in_order_of_arrival(autojump_clock):
    class Slow(Echo):
        async def init(self, args):
            await trio.sleep(1)
            return Ok(0)

    async with open_test_connection(Slow) as peer:
        for number in range(3):
            await peer.send(f"frame {number}")
            await peer.post(number)
        await trio.sleep(2)
        assert peer.received() == ["frame 0", "info 0", "frame 1", "info 1", "frame 2", "info 2"]


async def test_control_frames_without_a_callback_are_passed_over(autojump_clock):
    async with open_test_connection(Echo) as peer:
        await peer.send(Ping(b"x"), "after")
        assert peer.received() == ["after"]


async def test_current_connection_is_known_to_tasks_of_the_nursery(autojump_clock):
    class Spawning(Echo):
        def init(self, args):
            current_connection().nursery.start_soon(self.report)
            return Ok(0)

        async def report(self):
            await current_connection().mailbox.send("from a task")

    async with open_test_connection(Spawning) as peer:
        assert peer.received() == ["info from a task"]


async def test_nursery_is_gone_in_terminate_and_its_tasks_with_it(autojump_clock):
    class Spawning(Echo):
        def init(self, args):
            current_connection().nursery.start_soon(self.wait)
            return Ok(0)

        async def wait(self):
            try:
                await trio.sleep_forever()
            finally:
                self.calls.append("task over")

    async with open_test_connection(Spawning) as peer:
        await peer.close()
    assert Spawning.last.calls == ["task over", ("terminate", Remote(1000), 0)]
