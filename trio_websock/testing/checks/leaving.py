"""Chapter "Callbacks", third part: a peer that leaves while one runs, and ``terminate``."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from trio_websock import (
    NORMAL,
    ConnectionLost,
    Normal,
    Ok,
    Push,
    Remote,
    Reply,
    Stop,
    current_connection,
)

from ..scripted_peer import close, ping, pong, text
from ..stage import Capability, Checks, Stage, Witness
from .witnesses import Echo, Noting

__all__ = ["CHECKS"]

CHECKS = Checks("callbacks")


# -- a peer that leaves while a callback runs


class Watching(Witness):
    """Waits for the peer to leave, then for the gate."""

    async def handle_in(self, message: Any, state: Any) -> Any:
        await current_connection().closing.wait()
        self.stage.note("noticed")
        await self.stage.gate.wait()
        return Push("last words", state)


@CHECKS.add(Capability.READ_AHEAD, Capability.CLOSING)
async def the_peers_close_is_noticed_at_once_and_answered_after_the_callback(stage: Stage) -> None:
    async with stage.open(Watching) as peer:
        await peer.send(text("x"), close(1001))
        await stage.expect_notes("noticed")
        await peer.expect_quiet()
        stage.gate.set()
        await peer.expect(b"\x81\x0alast words\x88\x02\x03\xe9")
        await stage.expect_notes(Remote(1001, ""))


@CHECKS.add(Capability.READ_AHEAD, Capability.CLOSING)
async def what_arrived_before_the_peers_close_is_handled_before_it_is_answered(stage: Stage) -> None:
    class Slow(Echo):
        async def handle_in(self, message: Any, state: Any) -> Any:
            await self.stage.gate.wait()
            return super().handle_in(message, state)

    async with stage.open(Slow) as peer:
        await peer.send(text("a"), text("b"), close(1000))
        await peer.expect_quiet()
        stage.gate.set()
        await peer.expect(b"\x81\x01a\x81\x01b\x88\x02\x03\xe8")


@CHECKS.add(Capability.READ_AHEAD)
async def the_end_of_the_stream_is_noticed_at_once(stage: Stage) -> None:
    async with stage.open(Watching) as peer:
        await peer.send(text("x"))
        await peer.aclose()
        await stage.expect_notes("noticed")


@CHECKS.add(Capability.READ_AHEAD)
async def a_callback_runs_on_when_the_peer_is_gone(stage: Stage) -> None:
    class Thorough(Watching):
        async def handle_in(self, message: Any, state: Any) -> Any:
            await super().handle_in(message, state)
            self.stage.note("done")
            return Ok(state)

    async with stage.open(Thorough) as peer:
        await peer.send(text("x"))
        await peer.aclose()
        await stage.expect_notes("noticed")
        stage.gate.set()
        await stage.expect_notes("done")
        await stage.expect_error(ConnectionLost)


class Endless(Witness):
    """Its callback ends only by cancellation."""

    async def handle_in(self, message: Any, state: Any) -> Any:
        self.stage.note("started")
        try:
            await trio.sleep_forever()
        finally:
            self.stage.note("cancelled")


@CHECKS.add(Capability.READ_AHEAD)
async def cancel_on_disconnect_cancels_the_callback_when_the_peer_closes(stage: Stage) -> None:
    async with stage.open(Endless, cancel_on_disconnect=True) as peer:
        await peer.send(text("x"))
        await stage.expect_notes("started")
        await peer.send(close(1000))
        await peer.expect(b"\x88\x02\x03\xe8")
        await stage.expect_notes("cancelled", Remote(1000, ""))


@CHECKS.add(Capability.READ_AHEAD)
async def cancel_on_disconnect_cancels_the_callback_when_the_stream_ends(stage: Stage) -> None:
    async with stage.open(Endless, cancel_on_disconnect=True) as peer:
        await peer.send(text("x"))
        await stage.expect_notes("started")
        await peer.aclose()
        await stage.expect_notes("cancelled")
        await stage.expect_error(ConnectionLost)


# -- terminate


@CHECKS.add()
async def terminate_comes_after_the_close_frame_and_before_the_end_of_the_stream(stage: Stage) -> None:
    class Slow(Witness):
        async def terminate(self, reason: Any, state: Any) -> None:
            self.stage.note(reason)
            await self.stage.gate.wait()

    async with stage.open(Slow) as peer:
        await peer.send(close(1000))
        await peer.expect(b"\x88\x02\x03\xe8")
        await stage.expect_notes(Remote(1000, ""))
        await trio.testing.wait_all_tasks_blocked()
        stage.gate.set()
        await peer.expect_end()


class Reluctant(Witness):
    """Fails in a callback or in a task, and then terminates only when the gate opens."""

    async def handle_in(self, message: Any, state: Any) -> Any:
        if message == "callback":
            raise ValueError(message)
        current_connection().nursery.start_soon(self.fail, message)
        await trio.sleep_forever()

    async def fail(self, message: Any) -> None:
        raise ValueError(message)

    async def terminate(self, reason: Any, state: Any) -> None:
        await self.stage.gate.wait()
        self.stage.note("terminated")


@CHECKS.add_each({"a callback": (text("callback"),), "a task": (text("task"),)})
async def a_slow_terminate_does_not_hold_back_the_close_after_a_failure_of(stage: Stage, sent: bytes) -> None:
    async with stage.open(Reluctant) as peer:
        await peer.send(sent)
        await peer.expect(b"\x88\x02\x03\xf3")
        stage.expect_no_note()
        stage.gate.set()
        await stage.expect_notes("terminated")


@CHECKS.add(Capability.CONTROL)
async def terminate_gets_the_newest_state_of_any_callback(stage: Stage) -> None:
    class Counter(Witness):
        def handle_in(self, message: Any, state: Any) -> Any:
            return Ok(state + 1)

        def handle_control(self, frame: Any, state: Any) -> Any:
            return Push([], state + 10)

        def handle_info(self, info: Any, state: Any) -> Any:
            return Reply(None, [], state + 100)

        def init(self, args: Any) -> Any:
            current_connection().mailbox.send_nowait("mail")
            return Ok(1000)

        def terminate(self, reason: Any, state: Any) -> None:
            self.stage.note(state)

    async with stage.open(Counter) as peer:
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(text("a"), pong(), text("b"), close(1000))
        await stage.expect_notes(1112)


@CHECKS.add()
async def the_result_of_terminate_is_ignored(stage: Stage) -> None:
    class Talkative(Witness):
        def terminate(self, reason: Any, state: Any) -> Any:
            return Push("ignored", state)

    async with stage.open(Talkative) as peer:
        await peer.send(close(1000))
        await peer.expect(b"\x88\x02\x03\xe8")
        await peer.expect_end()


@CHECKS.add(Capability.CLOSING)
async def terminate_is_called_once_when_both_sides_close(stage: Stage) -> None:
    class Stopper(Witness):
        def handle_in(self, message: Any, state: Any) -> Any:
            return Stop(NORMAL, state)

    async with stage.open(Stopper) as peer:
        await peer.send(text("stop"), close(1001))
        await peer.expect(b"\x88\x02\x03\xe8")
        await peer.expect_end()
        await stage.expect_notes(Normal())
        await trio.testing.wait_all_tasks_blocked()
        stage.expect_no_note()


@CHECKS.add()
async def no_callback_runs_after_terminate(stage: Stage) -> None:
    class Stopper(Noting):
        def handle_in(self, message: Any, state: Any) -> Any:
            self.stage.note(message)
            current_connection().mailbox.send_nowait("mail")
            return Stop(NORMAL, state)

    async with stage.open(Stopper) as peer:
        await peer.send(text("stop"), text("more"), ping(b"p"))
        await peer.receive_frame()  # the pong may have been on its way: the close, or one before it
        await peer.send(text("late"), pong(), close(1000))
        while await peer.receive_exactly(1):
            pass
        await stage.expect_notes("stop", Normal())
        stage.expect_no_note()


class Plain:
    """Only what a handler must have."""

    def init(self, args: Any) -> Any:
        return Ok(0)

    def handle_in(self, message: Any, state: Any) -> Any:
        return Push(message, state)


@CHECKS.add()
async def a_handler_without_terminate_will_do(stage: Stage) -> None:
    async with stage.serve(Plain) as server, await stage.connect(server) as peer:
        await peer.open()
        await peer.send(close(1000))
        await peer.expect(b"\x88\x02\x03\xe8")
        await peer.expect_end()
