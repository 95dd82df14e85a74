"""The kit for applications' tests: a handler, a peer in the test's hands, and virtual time."""

from __future__ import annotations

import math
from collections.abc import Awaitable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints

from trio_websock import (
    NORMAL,
    Binary,
    ConnectionLost,
    Error,
    FrameError,
    Handler,
    MessageError,
    MessageTooBig,
    Normal,
    Ok,
    OptionError,
    Ping,
    Pong,
    Push,
    Reason,
    Remote,
    Request,
    Result,
    ResultError,
    Shutdown,
    StateError,
    Stop,
    Text,
    Timeout,
    WriteTimeout,
    current_connection,
)
from trio_websock.testing.connection import TestConnection, open_test_connection


class Echo(Handler[int, bytes]):
    def init(self, args: object) -> Result[int]:
        return Push(f"hello {args}", 0)

    def handle_in(self, message: str | bytes, state: int) -> Result[int] | Awaitable[Result[int]]:
        return Stop(NORMAL, state) if message == "stop" else Push(message, state + 1)

    def handle_info(self, info: bytes, state: int) -> Result[int]:
        return Push(Ping(info), state)


async def test_connection_under_test_shows_where_it_stands(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo, "world", raise_handler_errors=False) as peer:
        assert repr(peer) == "<TestConnection of Echo: the connection is open; not received yet: ['hello world']>"
        peer.received()
        await peer.close(4000)
    assert repr(peer) == (
        "<TestConnection of Echo: the connection ended by Remote(code=4000, text=''), "
        "with close frame 4000 ''; not received yet: []>"
    )


# What the peer does


async def test_init_has_run_when_the_block_begins(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo, "world") as peer:
        assert peer.received() == ["hello world"]


async def test_messages_of_every_form_are_sent_and_received(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        peer.received()
        await peer.send("a", b"b", Text("c"), Binary(b"d"), bytearray(b"e"))
        assert peer.received() == ["a", b"b", "c", b"d", b"e"]


async def test_control_frames_are_sent_and_seen_as_bytes(autojump_clock: MockClock) -> None:
    class Watching(Echo):
        def handle_control(self, frame: Ping | Pong, state: int) -> Result[int]:
            return Push(f"{frame}", state)

    async with open_test_connection(Watching) as peer:
        peer.received()
        await peer.send(Ping("p"), Pong())
        assert peer.received() == ["Ping(payload=b'p')", "Pong(payload=b'')"]


async def test_received_tells_only_what_is_new(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        peer.received()
        assert peer.received() == []


async def test_posted_items_reach_the_mailbox(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        await peer.post(b"x")
        assert peer.received()[1:] == [Ping(b"x")]


async def test_nothing_is_posted_to_a_connection_that_has_ended(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        await peer.close()
        with pytest.raises(trio.BrokenResourceError, match=r"ended by Remote\(code=1000, text=''\)"):
            await peer.post(b"x")


async def test_what_is_sent_to_a_connection_that_has_ended_reaches_nobody(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        await peer.send("stop")
        await peer.send("x")
        assert (peer.received(), peer.state) == (["hello None"], 0)


async def test_messages_of_the_handshakes_packet_come_first(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo, first=["early"]) as peer:
        assert peer.received()[1:] == ["early"]


async def test_close_of_the_peer_ends_the_connection(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        assert peer.close_sent is None
        await peer.close(3000, "done")
        assert await peer.wait_ended() == Remote(3000, "done")
        assert peer.close_sent == (3000, "")


async def test_dropped_connection_is_lost(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        await peer.send_part()
        await peer.drop()
        assert isinstance(cause_of(peer.reason), ConnectionLost)
        assert peer.close_sent is None


def cause_of(reason: Reason | None) -> object:
    assert isinstance(reason, Error)
    return reason.cause


async def test_what_is_sent_after_a_reset_reaches_nobody(autojump_clock: MockClock) -> None:
    class Slow(Echo):
        async def handle_in(self, message: str | bytes, state: int) -> Result[int]:
            await trio.sleep(1)
            return Push(message, state)

    async with open_test_connection(Slow) as peer:
        peer.received()
        await peer.send("x")
        await peer.reset()
        assert isinstance(cause_of(await peer.wait_ended()), ConnectionLost)
        assert peer.received() == []


async def test_fault_of_the_peer_closes_with_its_code_and_is_no_failure_of_the_handler(
    autojump_clock: MockClock,
) -> None:
    async with open_test_connection(Echo) as peer:
        await peer.break_protocol()
        assert isinstance(cause_of(peer.reason), FrameError)
        assert (peer.close_sent, peer.error) == ((1002, ""), None)


async def test_fault_of_the_peer_may_be_chosen(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        await peer.break_protocol(MessageTooBig("a message of 2 MiB", "RFC 6455 §7.4.1"))
        assert peer.close_sent == (1009, "")


async def test_peer_that_stops_reading_is_dropped_after_write_timeout(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo, write_timeout=30) as peer:
        peer.stop_reading(after=1)
        await peer.send("a", "b")
        assert not peer.is_reset
        await peer.advance(30)
        assert peer.is_reset
        assert isinstance(cause_of(peer.reason), WriteTimeout)
        assert peer.received()[1:] == ["a"]


async def test_peer_that_reads_again_gets_everything(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo, write_timeout=30) as peer:
        peer.stop_reading()
        await peer.send("a", "b")
        await peer.resume_reading()
        assert peer.received()[1:] == ["a", "b"]


async def test_peer_answers_a_close_at_once(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo, close_timeout=10) as peer:
        await peer.send("stop")
        assert (peer.reason, peer.close_sent) == (Normal(), (1000, ""))


async def test_peer_may_leave_a_close_unanswered(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo, close_timeout=10, answers_close=False) as peer:
        start = trio.current_time()
        await peer.send("stop")
        assert peer.reason is None
        await peer.wait_ended()
        assert trio.current_time() == start + 10


async def test_peer_answers_pings_as_long_as_it_is_there(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo, timeout=30, ping_interval=20, ping_timeout=10) as peer:
        await peer.advance(3600)
        assert peer.reason is None
        assert peer.connection.latency == 0
        await peer.reset()
        assert isinstance(cause_of(peer.reason), ConnectionLost)


async def test_answer_to_a_ping_is_shown_to_the_handler(autojump_clock: MockClock) -> None:
    class Asking(Echo):
        def handle_control(self, frame: Ping | Pong, state: int) -> Result[int]:
            return Push(f"{frame}", state)

    async with open_test_connection(Asking) as peer:
        peer.received()
        await peer.post(b"?")
        assert peer.received() == [Ping(b"?"), "Pong(payload=b'?')"]


async def test_peer_may_leave_pings_unanswered(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo, ping_interval=20, ping_timeout=10, answers_pings=False) as peer:
        assert await peer.wait_ended() == Timeout("ping timeout")
        assert trio.current_time() == 30


async def test_peer_that_reads_nothing_answers_nothing(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo, ping_interval=20, ping_timeout=10, write_timeout=300) as peer:
        peer.stop_reading()
        assert await peer.wait_ended() == Timeout("ping timeout")


@pytest.mark.parametrize(
    ("code", "text"), [(1005, ""), (999, ""), (1000, "x" * 124), (None, "x"), ("1000", ""), (1000, 7)]
)
async def test_close_frame_that_no_peer_may_send_is_refused(code: Any, text: Any, autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        with pytest.raises(MessageError):
            await peer.close(code, text)
        assert peer.reason is None


async def test_close_frame_of_the_peer_may_be_empty(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        await peer.close(None)
        assert (peer.reason, peer.close_sent) == (Remote(None), (None, ""))


@pytest.mark.parametrize("error", [ValueError("x"), FrameError, "x"])
async def test_fault_of_the_peer_has_to_be_one(error: Any, autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        with pytest.raises(TypeError, match="RemoteError"):
            await peer.break_protocol(error)


@pytest.mark.parametrize("after", [-1, "x", 1.5, None])
async def test_peer_stops_reading_after_a_number_of_messages(after: Any, autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        with pytest.raises(ValueError, match="after"):
            peer.stop_reading(after)


@pytest.mark.parametrize("grace", [-1, "x", None])
async def test_grace_is_a_number_of_seconds(grace: Any, autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        with pytest.raises(OptionError, match="grace"):
            await peer.shutdown(grace=grace)
        assert peer.reason is None


async def test_text_that_is_not_utf8_goes_both_ways_where_it_may(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo, validate_utf8=False, first=["\udcff"]) as peer:
        await peer.send(Text(b"\xfe"))
        assert peer.received()[1:] == ["\udcff", "\udcfe"]


# What is waited for


async def test_next_message_is_waited_for(autojump_clock: MockClock) -> None:
    class Late(Echo):
        async def handle_in(self, message: str | bytes, state: int) -> Result[int]:
            await trio.sleep(5)
            return Push(["a", b"b"], state)

    async with open_test_connection(Late) as peer:
        await peer.send("x")
        assert [await peer.receive() for _ in range(3)] == ["hello None", "a", b"b"]
        assert peer.received() == []


async def test_receiving_is_a_checkpoint_even_if_something_waits(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        with assert_checkpoints():
            assert await peer.receive() == "hello None"


async def test_failure_of_the_handler_is_raised_by_who_waits_for_a_message(autojump_clock: MockClock) -> None:
    class Late(Echo):
        async def handle_in(self, message: str | bytes, state: int) -> Result[int]:
            await trio.sleep(5)
            raise Boom

    async with open_test_connection(Late) as peer:
        await peer.receive()
        await peer.send("x")
        with pytest.raises(Boom):
            await peer.receive()


async def test_nothing_is_received_behind_a_close(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        await peer.send("stop")
        assert await peer.receive() == "hello None"
        with pytest.raises(trio.EndOfChannel, match=r"ended by Normal\(\), with close frame 1000 ''"):
            await peer.receive()


async def test_nothing_is_received_behind_a_close_that_is_not_answered_yet(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo, answers_close=False) as peer:
        await peer.receive()
        await peer.send("stop")
        with pytest.raises(trio.EndOfChannel, match="is ending, with close frame 1000 ''"):
            await peer.receive()


async def test_receiving_ends_when_the_connection_is_lost(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer, trio.open_nursery() as nursery:
        await peer.receive()
        nursery.start_soon(peer.drop)
        with pytest.raises(trio.EndOfChannel, match=r"ended by Error\(cause=ConnectionLost.'dropped by the test'"):
            await peer.receive()


async def test_timeouts_pass_in_virtual_time(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo, timeout=3600) as peer:
        assert await peer.wait_ended() == Timeout()
        assert peer.close_sent == (1001, "idle timeout")


async def test_bytes_of_an_unfinished_message_put_the_idle_timeout_off(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo, timeout=60) as peer:
        for _ in range(3):
            await peer.advance(50)
            await peer.send_part()
        assert peer.reason is None


async def test_time_passes_step_by_step(autojump_clock: MockClock) -> None:
    class Ticking(Echo):
        def init(self, args: object) -> Result[int]:
            current_connection().nursery.start_soon(self.tick)
            return Ok(0)

        async def tick(self) -> None:
            while True:
                await trio.sleep(1)
                await current_connection().mailbox.send(b"tick")

    async with open_test_connection(Ticking) as peer:
        await peer.advance(2.5)
        assert peer.received() == [Ping(b"tick")] * 2


def test_time_of_a_clock_without_autojump_passes_too() -> None:
    async def main() -> None:
        async with open_test_connection(Echo, timeout=60) as peer:
            await peer.advance(70)
            assert peer.reason == Timeout()

    clock = MockClock()
    trio.run(main, clock=clock)
    assert clock.autojump_threshold == math.inf


def test_real_time_does_not_pass_on_demand() -> None:
    async def main() -> None:
        async with open_test_connection(Echo) as peer:
            with pytest.raises(StateError, match="autojump_clock"):
                await peer.advance(1)

    trio.run(main)


# The handler's side


async def test_state_is_the_handlers_newest(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        await peer.send("a", "b")
        assert peer.state == 2


async def test_request_and_subprotocol_are_the_connections(autojump_clock: MockClock) -> None:
    class Seeing(Echo):
        def init(self, args: object) -> Result[int]:
            request = current_connection().request
            return Push(f"{request and request.path} {current_connection().subprotocol}", 0)

    async with open_test_connection(Seeing, request=Request("GET", "/here"), subprotocol="chat") as peer:
        assert peer.received() == ["/here chat"]


@pytest.mark.parametrize(("restart", "code"), [(False, 1001), (True, 1012)])
async def test_shutdown_of_the_server_is_graceful(restart: bool, code: int, autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        await peer.shutdown(restart=restart)
        assert (peer.reason, peer.close_sent) == (Shutdown(restart), (code, ""))


async def test_callback_is_cancelled_when_the_grace_is_over(autojump_clock: MockClock) -> None:
    class Hanging(Echo):
        async def handle_in(self, message: str | bytes, state: int) -> Result[int]:
            await trio.sleep_forever()

    async with open_test_connection(Hanging) as peer:
        await peer.send("x")
        await peer.shutdown(grace=5)
        assert peer.reason is None
        await peer.advance(5)
        assert isinstance(peer.reason, Shutdown)
        assert peer.is_reset


async def test_cancelled_connection_says_goodbye(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        await peer.cancel()
        assert (peer.reason, peer.close_sent) == (Shutdown(), (1001, ""))


async def test_options_are_checked(autojump_clock: MockClock) -> None:
    with pytest.raises(TypeError, match="'unknown' is not an option; the options are"):
        open_test_connection(Echo, unknown=1)  # type: ignore[call-overload]  # what it is about


async def test_messages_of_the_handshakes_packet_are_a_list(autojump_clock: MockClock) -> None:
    with pytest.raises(TypeError, match="'hello'"):
        async with open_test_connection(Echo, first="hello"):
            pass


async def test_incomplete_handler_is_refused(autojump_clock: MockClock) -> None:
    with pytest.raises(TypeError, match="has no init"):
        open_test_connection(object())


def test_application_function_is_sent_to_where_it_can_be_opened() -> None:
    def application(request: Request) -> None:
        raise AssertionError("it was asked")

    with pytest.raises(TypeError, match=r"application at .* is not a handler: .* TestApplication"):
        open_test_connection(application)


async def test_connection_is_over_behind_the_block(autojump_clock: MockClock) -> None:
    ended: list[Reason] = []

    class Ending(Echo):
        def terminate(self, reason: Reason, state: int) -> None:
            ended.append(reason)

    async with open_test_connection(Ending, timeout=math.inf):
        pass
    assert ended == [Shutdown()]


async def test_handler_that_hangs_does_not_hold_the_test(autojump_clock: MockClock) -> None:
    class Hanging(Echo):
        async def handle_in(self, message: str | bytes, state: int) -> Result[int]:
            await trio.sleep_forever()

    async with open_test_connection(Hanging) as peer:
        await peer.send("x")


# What fails


class Boom(Exception):
    pass


class Failing(Echo):
    def handle_in(self, message: str | bytes, state: int) -> Result[int]:
        raise Boom(message)


async def test_failure_of_the_test_itself_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    with pytest.raises(AssertionError, match="a failing test"):
        async with open_test_connection(Echo):
            raise AssertionError("a failing test")


async def test_exception_of_a_callback_is_raised_by_what_waited_for_it(autojump_clock: MockClock) -> None:
    async with open_test_connection(Failing) as peer:
        with pytest.raises(Boom, match="x"):
            await peer.send("x")
        assert peer.close_sent == (1011, "")


async def test_exception_of_a_callback_is_raised_once(autojump_clock: MockClock) -> None:
    async with open_test_connection(Failing) as peer:
        with pytest.raises(Boom):
            await peer.send("x")
        assert isinstance(await peer.wait_ended(), Error)


async def test_exception_of_init_is_raised_where_the_block_would_begin(autojump_clock: MockClock) -> None:
    class Unready(Echo):
        def init(self, args: object) -> Result[int]:
            raise Boom

    with pytest.raises(Boom):
        async with open_test_connection(Unready):
            raise AssertionError("the block has begun")


async def test_exception_of_the_constructor_is_logged_as_one(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    class Unmade(Echo):
        def __init__(self) -> None:
            raise Boom(current_connection().peer)

    with pytest.raises(Boom, match="a test"):
        async with open_test_connection(Unmade):
            raise AssertionError("the block has begun")
    assert caplog.messages == ["Unmade.__init__ failed, peer a test"]


async def test_exception_of_terminate_is_raised_at_the_end_of_the_block(autojump_clock: MockClock) -> None:
    class Unclean(Echo):
        def terminate(self, reason: Reason, state: int) -> None:
            raise Boom

    with pytest.raises(Boom):
        async with open_test_connection(Unclean):
            pass


async def test_bad_result_is_raised(autojump_clock: MockClock) -> None:
    class Bad(Echo):
        def handle_in(self, message: str | bytes, state: int) -> Any:
            return "a string"

    async with open_test_connection(Bad) as peer:
        with pytest.raises(ResultError, match="a string"):
            await peer.send("x")
        assert peer.state == 0


@pytest.mark.parametrize("failure", [Boom(), ConnectionLost("another connection")])
async def test_exception_of_a_task_of_the_nursery_is_raised(failure: Exception, autojump_clock: MockClock) -> None:
    class Spawning(Echo):
        def handle_in(self, message: str | bytes, state: int) -> Result[int]:
            current_connection().nursery.start_soon(self.fail)
            return Ok(state)

        async def fail(self) -> None:
            raise failure

    async with open_test_connection(Spawning) as peer:
        with pytest.raises(type(failure)) as caught:
            await peer.send("x")
        assert caught.value is failure


async def test_stop_with_an_error_is_the_handlers_wish_and_not_raised(autojump_clock: MockClock) -> None:
    class Refusing(Echo):
        def handle_in(self, message: str | bytes, state: int) -> Result[int]:
            return Stop(Boom(), state)

    async with open_test_connection(Refusing) as peer:
        await peer.send("x")
        assert isinstance(cause_of(peer.reason), Boom)
        assert peer.error is None


async def test_failure_that_is_expected_is_only_shown(autojump_clock: MockClock) -> None:
    async with open_test_connection(Failing, raise_handler_errors=False) as peer:
        await peer.send("x")
        assert isinstance(peer.error, Boom)
        assert peer.reason == Error(peer.error)


async def be_surprised(handler: type[Echo]) -> None:
    async with open_test_connection(handler) as peer:
        peer.transport.put("x")
        await trio.sleep(1)
        assert peer.received() == ["x"]


async def test_failing_test_is_told_that_the_handler_had_failed(autojump_clock: MockClock) -> None:
    with pytest.raises(AssertionError) as caught:
        await be_surprised(Failing)
    assert caught.value.__notes__ == ["The handler had failed: Boom('x')"]


async def test_stray_cancelled_does_not_get_through_the_test(autojump_clock: MockClock) -> None:
    class Leaking(Echo):
        async def handle_in(self, message: str | bytes, state: int) -> Result[int]:
            try:
                with trio.CancelScope() as scope:
                    scope.cancel()
                    try:
                        await trio.lowlevel.checkpoint()
                    except trio.Cancelled as exc:
                        leaked = exc
            finally:
                raise leaked

    async with open_test_connection(Leaking) as peer:
        with pytest.raises(RuntimeError, match="no Exception") as caught:
            await peer.send("x")
        assert isinstance(caught.value.__cause__, trio.Cancelled)


async def test_types_of_the_handler_are_those_of_its_connection(autojump_clock: MockClock) -> None:
    async with open_test_connection(Echo) as peer:
        typed: TestConnection[int, bytes] = peer
        await typed.post(b"x")
        assert typed.state + 1 == 1
