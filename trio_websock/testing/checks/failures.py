"""Chapter "Failures": exceptions of the application, a peer that is lost, a peer that does not read."""

from __future__ import annotations

import logging
from typing import Any

import trio
import trio.testing

from trio_websock import ConnectionLost, Error, Ok, Push, RemoteError, WriteTimeout, current_connection, upgrade

from ..scripted_peer import close, frame, pong, text
from ..stage import Capability, Checks, Stage, Witness
from .witnesses import Echo

__all__ = ["CHECKS"]

CHECKS = Checks("failures")


class Boom(Exception):
    """What the handlers here fail with."""


class Failing(Witness):
    """Fails in the callback that a check provokes; state 1 says that something succeeded before."""

    def handle_in(self, message: Any, state: Any) -> Any:
        if message == "mail":
            current_connection().mailbox.send_nowait("x")
            return Ok(1)
        raise Boom("in handle_in")

    def handle_control(self, frame: Any, state: Any) -> Any:
        if frame.payload == b"fine":
            return Ok(1)
        raise Boom("in handle_control")

    def handle_info(self, info: Any, state: Any) -> Any:
        raise Boom("in handle_info")


FAILING = {
    "handle_in": ("handle_in", text("x")),
    "handle_control": ("handle_control", pong()),
    "handle_info": ("handle_info", text("mail")),
}


@CHECKS.add_each(FAILING, also={"handle_control": Capability.CONTROL})
async def an_exception_closes_with_1011_and_is_given_to_terminate_from(stage: Stage, name: str, sent: bytes) -> None:
    async with stage.open(Failing) as peer:
        await peer.send(sent)
        error = await stage.expect_failure(peer, b"\x88\x02\x03\xf3", Boom)
        assert str(error) == f"in {name}"


@CHECKS.add_each(FAILING, also={"handle_control": Capability.CONTROL})
async def an_exception_is_logged_once_with_its_place_and_traceback_from(stage: Stage, name: str, sent: bytes) -> None:
    async with stage.open(Failing) as peer:
        await peer.send(sent)
        await stage.expect_failure(peer, b"\x88\x02\x03\xf3", Boom)
        (record,) = stage.logged(logging.WARNING)
        assert record.levelno == logging.ERROR
        assert record.exc_info
        assert isinstance(record.exc_info[1], Boom)
        assert "Failing" in record.getMessage()
        assert name in record.getMessage()


@CHECKS.add(Capability.CONTROL)
async def the_state_after_an_exception_is_that_of_the_last_success(stage: Stage) -> None:
    class Stateful(Failing):
        def terminate(self, reason: Any, state: Any) -> None:
            self.stage.note(state)

    async with stage.open(Stateful) as peer:
        await peer.send(pong(b"fine"), text("x"))
        await stage.expect_notes(1)


@CHECKS.add()
async def an_exception_of_a_coroutine_counts_the_same(stage: Stage) -> None:
    class Slow(Witness):
        async def handle_in(self, message: Any, state: Any) -> Any:
            await trio.lowlevel.checkpoint()
            raise Boom

    async with stage.open(Slow) as peer:
        await peer.send(text("x"))
        await stage.expect_failure(peer, b"\x88\x02\x03\xf3", Boom)


@CHECKS.add()
async def the_server_lives_on_after_a_failure(stage: Stage) -> None:
    class Fragile(Echo):
        def handle_in(self, message: Any, state: Any) -> Any:
            return super().handle_in(message, state) if message == "fine" else 1 / 0

    async with (
        stage.serve(lambda request: upgrade(Fragile(stage))) as server,
        await stage.connect(server) as before,
        await stage.connect(server) as failing,
        await stage.connect(server) as after,
    ):
        await before.open()
        await failing.open()
        await failing.send(text("bad"))
        await stage.expect_failure(failing, b"\x88\x02\x03\xf3", ZeroDivisionError)
        await after.open()
        for peer in (before, after):
            await peer.send(text("fine"))
            await peer.expect(b"\x81\x04fine")


# -- init and terminate


@CHECKS.add()
async def an_exception_in_init_closes_with_1011_after_the_101(stage: Stage) -> None:
    class Unborn(Witness):
        def init(self, args: Any) -> Any:
            raise Boom

    async with stage.open(Unborn) as peer:
        await peer.expect(b"\x88\x02\x03\xf3")
        await peer.send(close(1011))
        await peer.expect_end()
        stage.expect_no_note()
        (record,) = stage.logged(logging.ERROR)
        assert "init" in record.getMessage()


@CHECKS.add()
async def a_bad_result_of_init_closes_with_1011_after_the_101(stage: Stage) -> None:
    class Unborn(Witness):
        def init(self, args: Any) -> Any:
            return args

    async with stage.open(Unborn) as peer:
        await peer.expect(b"\x88\x02\x03\xf3")
        await peer.send(close(1011))
        await peer.expect_end()
        stage.expect_no_note()
        assert len(stage.logged(logging.ERROR)) == 1


@CHECKS.add(Capability.CLOSING)
async def an_exception_in_terminate_is_logged_and_changes_nothing(stage: Stage) -> None:
    class Sore(Witness):
        def terminate(self, reason: Any, state: Any) -> None:
            raise Boom

    async with stage.open(Sore) as peer:
        await peer.send(close(1000))
        await peer.expect(b"\x88\x02\x03\xe8")
        await peer.expect_end()
        (record,) = stage.logged(logging.WARNING)
        assert "terminate" in record.getMessage()


# -- tasks of the connection's nursery


class Working(Witness):
    """Starts the tasks that ``work`` names, and then waits in a callback."""

    async def handle_in(self, message: Any, state: Any) -> Any:
        for number in range(int(message)):
            current_connection().nursery.start_soon(self.work, number)
        try:
            await trio.sleep_forever()
        finally:
            self.stage.note("cancelled")

    async def work(self, number: int) -> None:
        await self.stage.gate.wait()
        raise Boom(number)


@CHECKS.add()
async def a_task_that_fails_cancels_the_callback_and_closes_with_1011(stage: Stage) -> None:
    async with stage.open(Working) as peer:
        await peer.send(text("1"))
        await trio.testing.wait_all_tasks_blocked()
        stage.gate.set()
        await peer.expect(b"\x88\x02\x03\xf3")
        await peer.send(close(1011))
        await peer.expect_end()
        await stage.expect_notes("cancelled")
        await stage.expect_error(Boom)
        assert len(stage.logged(logging.ERROR)) == 1


@CHECKS.add()
async def several_tasks_that_fail_are_given_to_terminate_as_a_group(stage: Stage) -> None:
    class Clumsy(Working):
        async def work(self, number: int) -> None:
            try:
                await trio.sleep_forever() if number else await super().work(number)
            finally:
                raise Boom(number)

    async with stage.open(Clumsy) as peer:
        stage.gate.set()
        await peer.send(text("2"))
        await peer.expect(b"\x88\x02\x03\xf3")
        await stage.expect_notes("cancelled")
        group = await stage.expect_error(ExceptionGroup)
        assert len(group.exceptions) == 2


@CHECKS.add_each({"alone": (False,), "in a group": (True,)})
async def a_cancelled_that_escapes_from_a_scope_of_the_handler_is_an_error(stage: Stage, is_grouped: bool) -> None:
    class Leaky(Witness):
        async def handle_in(self, message: Any, state: Any) -> Any:
            with trio.CancelScope() as scope:
                scope.cancel()
                try:
                    await trio.lowlevel.checkpoint()
                except trio.Cancelled as exc:
                    escaped = exc
            raise BaseExceptionGroup("of the handler", [escaped]) if is_grouped else escaped

    async with stage.open(Leaky) as peer:
        await peer.send(text("x"))
        await stage.expect_failure(peer, b"\x88\x02\x03\xf3", trio.Cancelled)


# -- a peer that is lost


LOST = {
    "between messages": (b"",),
    "in the head of a frame": (b"\x81",),
    "in a frame": (text("Hello")[:-2],),
    "in a message": (frame(0x01, b"Hel"),),
}


@CHECKS.add_each(LOST)
async def a_lost_connection_is_an_error_and_not_logged(stage: Stage, sent: bytes) -> None:
    async with stage.open(Witness) as peer:
        await peer.send(sent)
        await peer.aclose()
        await stage.expect_error(ConnectionLost)
        assert stage.logged(logging.INFO) == []


@CHECKS.add_each(LOST, Capability.HALF_CLOSE)
async def nothing_is_sent_to_a_peer_whose_stream_ended(stage: Stage, sent: bytes) -> None:
    async with stage.open(Witness) as peer:
        await peer.send(sent)
        await peer.send_eof()
        await peer.expect_end()
        await stage.expect_error(ConnectionLost)


@CHECKS.add(Capability.HALF_CLOSE)
async def what_arrived_before_the_stream_ended_is_handled(stage: Stage) -> None:
    async with stage.open(Echo) as peer:
        await peer.send(text("a"), text("b"))
        await peer.send_eof()
        await peer.expect(b"\x81\x01a\x81\x01b")
        await peer.expect_end()
        await stage.expect_error(ConnectionLost)


@CHECKS.add(Capability.RESET)
async def a_reset_is_a_lost_connection(stage: Stage) -> None:
    async with stage.open(Witness) as peer:
        await peer.abort()
        await stage.expect_error(ConnectionLost)
        assert stage.logged(logging.INFO) == []


@CHECKS.add(Capability.FRAMING)
async def a_broken_protocol_is_one_line_at_info_without_traceback(stage: Stage) -> None:
    async with stage.open(Witness) as peer:
        await peer.send(frame(0x83, b"x"))
        await stage.expect_failure(peer, b"\x88\x02\x03\xea", RemoteError)
        (record,) = stage.logged(logging.INFO)
        assert record.levelno == logging.INFO
        assert not record.exc_info
        assert "\n" not in record.getMessage()


# -- a peer that does not read

LARGE = 16 * 1024 * 1024  # bytes; more than the kernel buffers of any connection take


class Pushing(Witness):
    """Pushes more than fits, from a callback; notes when the next one runs."""

    def handle_in(self, message: Any, state: Any) -> Any:
        self.stage.note(message)
        return Push(b"x" * LARGE, state)

    def init(self, args: Any) -> Any:
        connection = current_connection()
        connection.nursery.start_soon(self.fail)
        return Ok(0)

    async def fail(self) -> None:
        await self.stage.gate.wait()
        raise Boom


@CHECKS.add()
async def a_frame_under_way_is_finished_before_1011(stage: Stage) -> None:
    async with stage.open(Pushing) as peer:
        await peer.send(text("x"))
        await stage.expect_notes("x")
        await trio.testing.wait_all_tasks_blocked()
        stage.gate.set()
        first, payload = await peer.receive_frame()
        assert (first, len(payload)) == (0x82, LARGE)
        await peer.expect(b"\x88\x02\x03\xf3")
        await stage.expect_error(Boom)


@CHECKS.add()
async def a_peer_that_does_not_read_is_dropped_after_write_timeout(stage: Stage) -> None:
    async with stage.open(Pushing, write_timeout=stage.seconds(5)) as peer:
        await peer.send(text("x"))
        await stage.expect_notes("x")
        await stage.expect_error(WriteTimeout)
        received = await peer.receive_until_gone()
        assert len(received) < LARGE


@CHECKS.add(Capability.RESET)
async def a_peer_that_does_not_read_is_dropped_by_a_reset(stage: Stage) -> None:
    async with stage.open(Pushing, write_timeout=stage.seconds(5)) as peer:
        await peer.send(text("x"))
        await stage.expect_notes("x")
        await stage.expect_error(WriteTimeout)
        await peer.expect_reset()


@CHECKS.add(Capability.VIRTUAL_TIME)
async def write_timeout_counts_from_the_last_byte_taken(stage: Stage) -> None:
    async with stage.open(Pushing, write_timeout=5, timeout=1000) as peer:
        await peer.send(text("x"))
        await stage.expect_notes("x")
        for _ in range(10):
            await trio.sleep(4)
            await peer.receive_exactly(100_000)
        start = trio.current_time()
        await stage.expect_error(WriteTimeout)
        assert 4.9 <= trio.current_time() - start <= 5.1


@CHECKS.add()
async def a_peer_that_does_not_read_slows_nobody_else(stage: Stage) -> None:
    class Either(Echo):
        def handle_in(self, message: Any, state: Any) -> Any:
            self.stage.note(message)
            return Push(b"x" * LARGE if message == "much" else message, state)

    async with (
        stage.serve(lambda request: upgrade(Either(stage)), write_timeout=stage.seconds(5)) as server,
        await stage.connect(server) as stalled,
        await stage.connect(server) as peer,
    ):
        await stalled.open()
        await peer.open()
        await stalled.send(text("much"))
        await stage.expect_notes("much")
        await peer.send(text("little"))
        await peer.expect(b"\x81\x06little")
        await stage.expect_notes("little")
        assert isinstance((await stage.expect_error(WriteTimeout)), WriteTimeout)


@CHECKS.add(Capability.READ_AHEAD)
async def no_further_callback_runs_while_output_waits(stage: Stage) -> None:
    async with stage.open(Pushing) as peer:
        await peer.send(text("1"), text("2"))
        await stage.expect_notes("1")
        await trio.testing.wait_all_tasks_blocked()
        stage.expect_no_note()
        await peer.receive_frame()
        await stage.expect_notes("2")


@CHECKS.add()
async def an_error_reason_keeps_the_object_it_was_given(stage: Stage) -> None:
    boom = Boom()

    class Failing(Witness):
        def handle_in(self, message: Any, state: Any) -> Any:
            raise boom

    async with stage.open(Failing) as peer:
        await peer.send(text("x"))
        await stage.expect_close(peer, b"\x88\x02\x03\xf3", Error(boom))
