"""The loop: callbacks one at a time, and output that never waits behind them."""

from __future__ import annotations

import contextvars
import itertools
import math
import signal
import sys
import types

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock import (
    NORMAL,
    ConnectionLost,
    Error,
    FrameError,
    Ok,
    Options,
    Ping,
    Pong,
    Push,
    Remote,
    Reply,
    Stop,
    UpgradeRefused,
    WriteTimeout,
    broadcast,
    current_connection,
)
from trio_websock.behaviour.handler import bind_handler
from trio_websock.codes import Opcode
from trio_websock.connection import Connection
from trio_websock.dispatch import Dispatcher
from trio_websock.nursery import run_connection
from trio_websock.testing.connection import open_test_connection
from trio_websock.testing.memory_transport import MemoryTransport


class Echo:
    def init(self, args):
        return Ok(0)

    def handle_in(self, message, state):
        return Push(message, state)


class AsyncEcho:
    async def init(self, args):
        return Ok(0)

    async def handle_in(self, message, state):
        return Push(message, state)


module_echo = types.ModuleType("module_echo")
module_echo.init = lambda args: Ok(0)
module_echo.handle_in = lambda message, state: Push(message, state)


@pytest.mark.parametrize("handler", [Echo, AsyncEcho, Echo(), module_echo], ids=["sync", "async", "instance", "module"])
async def test_handler_may_be_of_any_kind(handler, autojump_clock):
    async with open_test_connection(handler) as peer:
        await peer.send("a", b"b")
        assert peer.received() == ["a", b"b"]


async def test_callback_may_return_any_awaitable(autojump_clock):
    class Later:
        def __await__(self):
            yield from trio.sleep(1).__await__()
            return Push("later", 0)

    class Deferring(Echo):
        def handle_in(self, message, state):
            return Later()

    transport = MemoryTransport()  # not a test connection's, whose witness awaits on behalf of the handler
    transport.put("x", Remote(1000))
    await run_connection(Connection(transport, Options()), bind_handler(Deferring), None)
    assert transport.taken == [(Opcode.TEXT, b"later"), (1000, b"")]


async def test_callbacks_never_overlap(autojump_clock):
    running = []

    class Slow(Echo):
        async def handle_in(self, message, state):
            running.append(message)
            assert len(running) == 1
            await trio.sleep(1)
            running.remove(message)
            return Push(message, state)

        handle_info = handle_in

    async with open_test_connection(Slow) as peer:
        await peer.send("a", "b")
        await peer.post("c")
        await trio.sleep(4)
        assert peer.received() == ["a", "b", "c"]


async def test_all_callbacks_that_await_run_in_one_task(autojump_clock):
    tasks = set()

    class Noting(AsyncEcho):
        async def handle_in(self, message, state):
            tasks.add(trio.lowlevel.current_task())
            await trio.lowlevel.checkpoint()
            return Ok(state)

        handle_info = handle_in

        def terminate(self, reason, state):
            tasks.add(trio.lowlevel.current_task())

    async with open_test_connection(Noting) as peer:
        await peer.send("a")
        await peer.post("b")
        await peer.close()
    assert len(tasks) == 1


async def test_exception_thrown_in_at_a_checkpoint_can_be_caught_there(autojump_clock):
    class Bounded(Echo):
        async def handle_in(self, message, state):
            with trio.move_on_after(1):
                await trio.sleep_forever()
            await trio.sleep(1)
            return Push("moved on", state)

    async with open_test_connection(Bounded) as peer:
        await peer.send("x")
        await trio.sleep(3)
        assert peer.received() == ["moved on"]


async def test_await_that_is_not_trios_fails_where_it_is_and_can_be_caught_there(autojump_clock):
    class Foreign:
        def __await__(self):
            yield "for another event loop"

    class Mistaken(Echo):
        async def handle_in(self, message, state):
            with pytest.raises(TypeError, match="for another event loop"):
                await Foreign()
            await trio.sleep(1)
            return Push("moved on", state)

    async with open_test_connection(Mistaken) as peer:
        await peer.send("x")
        await trio.sleep(2)
        assert peer.received() == ["moved on"]


async def test_batch_is_handed_over_in_one_go(autojump_clock):
    async with open_test_connection(Echo) as peer:
        flushes = []
        flush = peer.transport.flush_nowait
        peer.transport.flush_nowait = lambda: flushes.append(peer.transport.unsent_size) or flush()
        await peer.send("a", "b", "c")
        assert flushes == [9]  # three messages of three bytes with their heads


async def test_no_callback_runs_while_much_output_waits_for_the_peer(autojump_clock):
    handled = []

    class Flooding(Echo):
        def handle_in(self, message, state):
            handled.append(message)
            return Push(b"x" * 100_000, state)

    async with open_test_connection(Flooding, write_timeout=math.inf) as peer:
        peer.transport.take(0)
        await peer.send("a", "b")
        assert handled == ["a"]
        peer.transport.take()
        await wait_all_tasks_blocked()
        assert handled == ["a", "b"]


async def test_state_is_what_the_last_successful_callback_returned(autojump_clock, caplog):
    states = []

    class Counting(Echo):
        def handle_in(self, message, state):
            if message == "bad":
                return Push(object(), 99)
            return Ok(state + 1)

        def terminate(self, reason, state):
            states.append(state)

    async with open_test_connection(Counting, raise_handler_errors=False) as peer:
        await peer.send("a", "b", "bad")
    assert states == [2]


async def test_nothing_is_handled_behind_a_stop(autojump_clock):
    class Stopping(Echo):
        def handle_in(self, message, state):
            return Stop(NORMAL, state, messages=[message])

    async with open_test_connection(Stopping) as peer:
        await peer.send("a", "b")
        assert peer.received() == ["a"]
        assert peer.close_sent == (1000, "")


async def test_init_may_push_and_stop(autojump_clock):
    class Refusing(Echo):
        def init(self, args):
            return Stop(NORMAL, 0, close=(4001, args), messages="goodbye")

    async with open_test_connection(Refusing, "full") as peer:
        assert peer.received() == ["goodbye"]
        assert peer.close_sent == (4001, "full")


async def test_control_frames_reach_handle_control(autojump_clock):
    class Watching(Echo):
        def handle_control(self, frame, state):
            return Reply("ignored", f"{type(frame).__name__} {frame.payload!r}", state)

    async with open_test_connection(Watching) as peer:
        await peer.send(Ping(b"p"), Pong(b""))
        assert peer.received() == ["Ping b'p'", "Pong b''"]


async def test_messages_sent_counts_what_callbacks_pushed(autojump_clock):
    class Twice(Echo):
        def handle_in(self, message, state):
            return Push([message, message], current_connection().messages_sent)

    async with open_test_connection(Twice) as peer:
        await peer.send("a", "b")
        assert peer.connection.messages_sent == 4
        assert peer.connection.messages_received == 2


@pytest.mark.parametrize(
    "failure",
    [FrameError("RSV1 came", "RFC 6455 §5.2"), UpgradeRefused(403, "no"), ConnectionLost("reset"), WriteTimeout()],
)
async def test_error_about_another_connection_is_an_exception_like_any_other(failure, autojump_clock):
    class Client(Echo):
        def handle_in(self, message, state):
            raise failure

    async with open_test_connection(Client, raise_handler_errors=False) as peer:
        await peer.send("x")
        assert peer.close_sent == (1011, "")
        assert await peer.wait_ended() == Error(failure)


async def test_plain_callback_sees_the_context_variables_of_init(autojump_clock):
    name = contextvars.ContextVar("name")

    class Named(Echo):
        async def init(self, args):
            name.set("the loop's")
            return Ok(0)

        def handle_in(self, message, state):
            return Push(name.get(), state)

    async with open_test_connection(Named) as peer:
        await peer.send("x")
        assert peer.received() == ["the loop's"]


async def test_what_a_plain_callback_leaves_to_await_runs_in_the_connections_task(autojump_clock):
    tasks = []

    class Later(Echo):
        async def init(self, args):
            tasks.append(trio.lowlevel.current_task())
            return Ok(0)

        def handle_in(self, message, state):
            return self.answer(message, state)

        async def answer(self, message, state):
            tasks.append(trio.lowlevel.current_task())
            return Push(message, state)

    async with open_test_connection(Later) as peer:
        await peer.send("x")
        assert peer.received() == ["x"]
    assert tasks[0] is tasks[1]


def tell_whether_the_loop_is_parked(state):
    loop = current_connection()._inbox.loop
    return Push("parked" if loop.task is not None else "woken", state)


class PlainTeller(Echo):
    def handle_in(self, message, state):
        return tell_whether_the_loop_is_parked(state)


class AwaitlessTeller(Echo):
    async def handle_in(self, message, state):
        return tell_whether_the_loop_is_parked(state)


class AwaitingTeller(Echo):
    async def handle_in(self, message, state):
        async with trio.Lock():
            return tell_whether_the_loop_is_parked(state)


@pytest.mark.parametrize(
    ("handler", "told"), [(PlainTeller, "parked"), (AwaitlessTeller, "parked"), (AwaitingTeller, "woken")]
)
async def test_only_a_callback_that_awaits_wakes_the_loop(handler, told, autojump_clock):
    async with open_test_connection(handler) as peer:
        await peer.send("x")
        assert peer.received() == [told]


async def test_large_answers_that_the_peer_takes_at_once_do_not_wake_the_loop(autojump_clock):
    was_parked = []

    class Generous(Echo):
        def handle_in(self, message, state):
            was_parked.append(current_connection()._inbox.loop.task is not None)
            return Push(b"x" * 100_000, state)

    async with open_test_connection(Generous) as peer:
        await peer.send("a", "b")
        assert was_parked == [True, True]


async def test_callback_without_an_await_leaves_the_next_one_that_has_one_to_the_loop(autojump_clock):
    tasks = []

    class Mixed(AsyncEcho):
        async def handle_info(self, info, state):
            tasks.append(trio.lowlevel.current_task())
            await trio.lowlevel.checkpoint()
            return Push(info, state)

        async def terminate(self, reason, state):
            tasks.append(trio.lowlevel.current_task())

    async with open_test_connection(Mixed) as peer:
        peer.connection.mailbox.send_nowait("info")
        await peer.send("x")
        assert peer.received() == ["info", "x"]
    assert tasks[0] is tasks[1]


async def test_callback_without_an_await_may_bring_a_shutdown_upon_its_connection(autojump_clock):
    class Hasty(AsyncEcho):
        async def handle_in(self, message, state):
            current_connection().shutdown_nowait(deadline=trio.current_time() + 1)
            return Push(message, state)

    async with open_test_connection(Hasty) as peer:
        await peer.send("a", "b")
        assert peer.received() == ["a"]
        assert peer.close_sent == (1001, "")


def cancel_or_raise(message, state):
    if "cancel" in message:
        current_connection().nursery.cancel_scope.cancel()
    if "raise" in message:
        raise KeyError
    return Ok(state)


class Hasty(Echo):
    def handle_in(self, message, state):
        return cancel_or_raise(message, state)


class AsyncHasty(Echo):
    async def handle_in(self, message, state):
        return cancel_or_raise(message, state)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("handler", [Hasty, AsyncHasty])
@pytest.mark.parametrize("messages", [["cancel and raise"], ["cancel", "raise"]])
async def test_failure_of_a_callback_is_told_though_it_cancelled_the_nursery(handler, messages, autojump_clock, caplog):
    async with open_test_connection(handler, raise_handler_errors=False) as peer:
        await peer.send(*messages)
        await peer.connection.wait_ended()
    assert [record.exc_info[0] for record in caplog.records] == [KeyError]


def press_ctrl_c_at(line):
    """A tracer that does so at that line, counted from 1, of those that are run in place of a parked loop."""
    lines = itertools.count(1)

    def trace(frame, event, arg):
        if frame.f_code is not Dispatcher._run_promptly.__code__:
            return None
        if event == "line" and next(lines) == line:
            sys.settrace(None)
            signal.raise_signal(signal.SIGINT)
        return trace

    return trace


def is_interrupted(line):
    async def post():
        async with open_test_connection(Ignoring) as peer:
            await wait_all_tasks_blocked()
            sys.settrace(press_ctrl_c_at(line))
            broadcast([peer.connection], "info")
            await wait_all_tasks_blocked()

    class Ignoring(Echo):
        def handle_info(self, info, state):
            return Ok(state)

    tracer = sys.gettrace()
    try:
        trio.run(post)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(tracer)
    return False


def test_ctrl_c_in_place_of_the_parked_loop_is_no_fault_of_trios():
    interrupted = list(itertools.takewhile(is_interrupted, itertools.count(1)))
    assert len(interrupted) > 3
