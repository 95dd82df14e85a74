"""Chapter "Callbacks", second part: in which order they run, and never two at once."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from trio_websock import (
    Ok,
    Ping,
    Pong,
    Push,
    Remote,
    current_connection,
    upgrade,
)

from ..scripted_peer import ScriptedPeer, binary, close, ping, pong, text, upgrade_request
from ..stage import Capability, Checks, Stage, Witness
from .witnesses import Echo, Noting

__all__ = ["CHECKS"]

CHECKS = Checks("callbacks")


# -- order


@CHECKS.add()
async def callbacks_never_overlap(stage: Stage) -> None:
    class Slow(Witness):
        async def handle_in(self, message: Any, state: Any) -> Any:
            self.stage.note(f"{message} in")
            await self.stage.gate.wait()
            self.stage.note(f"{message} out")
            return Ok(state)

    async with stage.open(Slow) as peer:
        await peer.send(text("a"), text("b"))
        await stage.expect_notes("a in")
        await trio.testing.wait_all_tasks_blocked()
        stage.expect_no_note()
        stage.gate.set()
        await stage.expect_notes("a out", "b in", "b out")


@CHECKS.add(Capability.CONTROL)
async def callbacks_run_in_the_order_of_arrival(stage: Stage) -> None:
    async with stage.open(Noting) as peer:
        await peer.send(text("1"), ping(b"2"), binary(b"3"), pong(b"4"), text("5"), close(1000))
        await stage.expect_notes("1", Ping(b"2"), b"3", Pong(b"4"), "5", Remote(1000, ""))


class SelfSender(Noting):
    """Has sent itself two messages before ``init`` returns."""

    def init(self, args: Any) -> Any:
        current_connection().mailbox.send_nowait("mail 1")
        current_connection().mailbox.send_nowait("mail 2")
        return Push("ready", 0)


@CHECKS.add(Capability.PIPELINING)
async def frames_pipelined_behind_the_handshake_come_after_the_output_of_init(stage: Stage) -> None:
    class Greeter(Echo):
        def init(self, args: Any) -> Any:
            return Push("first", 0)

    async with (
        stage.serve(lambda request: upgrade(Greeter(stage))) as server,
        await stage.connect(server) as peer,
    ):
        await peer.send(upgrade_request(peer.authority), text("second"), ping(b"third"), close(1000))
        await peer.expect_status(101)
        first = await peer.receive_frame()
        rest = [await peer.receive_frame(), await peer.receive_frame()]
        assert first == (0x81, b"first") or rest[0] == (0x81, b"first")  # the pong of a ping need not wait for init
        assert (0x81, b"second") in rest
        await peer.expect(b"\x88\x02\x03\xe8")


@CHECKS.add(Capability.PIPELINING)
async def frames_pipelined_behind_the_handshake_come_before_mail_from_init(stage: Stage) -> None:
    async with (
        stage.serve(lambda request: upgrade(SelfSender(stage))) as server,
        await stage.connect(server) as peer,
    ):
        await peer.send(upgrade_request(peer.authority), text("a"), text("b"))
        await stage.expect_notes("a", "b", "mail 1", "mail 2")


@CHECKS.add()
async def mail_from_init_comes_before_data_that_arrives_later(stage: Stage) -> None:
    async with stage.open(SelfSender) as peer:
        await peer.expect(b"\x81\x05ready")
        await peer.send(text("data"))
        await stage.expect_notes("mail 1", "mail 2", "data")


@CHECKS.add(Capability.READ_AHEAD, Capability.CONTROL)
async def pings_are_answered_while_init_runs(stage: Stage) -> None:
    class Slow(Noting):
        async def init(self, args: Any) -> Any:
            await self.stage.gate.wait()
            return Push("ready", 0)

    async with stage.open(Slow) as peer:
        await peer.send(ping(b"p"))
        await peer.expect(b"\x8a\x01p")
        stage.gate.set()
        await peer.expect(b"\x81\x05ready")
        await stage.expect_notes(Ping(b"p"))


@CHECKS.add(Capability.READ_AHEAD, Capability.CLOSING)
async def the_peers_close_is_noticed_while_init_runs(stage: Stage) -> None:
    class Slow(Witness):
        async def init(self, args: Any) -> Any:
            await current_connection().closing.wait()
            self.stage.note("noticed")
            return Push("still", 0)

    async with stage.open(Slow) as peer:
        await peer.send(close(3000))
        await peer.expect(b"\x81\x05still\x88\x02\x0b\xb8")
        await stage.expect_notes("noticed", Remote(3000, ""))


class Busy(Noting):
    """``"busy"`` holds the loop until the gate opens."""

    async def handle_in(self, message: Any, state: Any) -> Any:
        self.stage.note(message)
        if message == "busy":
            self.stage.note(current_connection().mailbox)
            await self.stage.gate.wait()
        return Ok(state)


@CHECKS.add(Capability.READ_AHEAD, Capability.CONTROL)
async def a_frame_that_arrives_before_mail_during_a_callback_comes_first(stage: Stage) -> None:
    async with stage.open(Busy) as peer:
        await peer.send(text("busy"))
        await stage.expect_notes("busy")
        mailbox = await stage.next_note()
        await peer.send(text("frame"), ping(b"p"))
        await peer.expect(b"\x8a\x01p")  # so the frame before it has arrived
        await mailbox.send("mail")
        await trio.testing.wait_all_tasks_blocked()
        stage.gate.set()
        await stage.expect_notes("frame", Ping(b"p"), "mail")


@CHECKS.add(Capability.READ_AHEAD, Capability.CONTROL)
async def mail_that_arrives_before_a_frame_during_a_callback_comes_first(stage: Stage) -> None:
    async with stage.open(Busy) as peer:
        await peer.send(text("busy"))
        await stage.expect_notes("busy")
        mailbox = await stage.next_note()
        await mailbox.send("mail")
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(text("frame"), ping(b"p"))
        await peer.expect(b"\x8a\x01p")
        stage.gate.set()
        await stage.expect_notes("mail", "frame", Ping(b"p"))


@CHECKS.add(Capability.READ_AHEAD, Capability.CONTROL)
async def self_sent_mail_comes_after_the_frames_that_had_already_arrived(stage: Stage) -> None:
    class Sender(Busy):
        async def handle_in(self, message: Any, state: Any) -> Any:
            result = await super().handle_in(message, state)
            current_connection().mailbox.send_nowait(f"mail of {message}")
            return result

    async with stage.open(Sender) as peer:
        await peer.send(text("busy"), text("a"), text("b"), ping(b"p"))
        await stage.expect_notes("busy")
        await stage.next_note()
        await peer.expect(b"\x8a\x01p")
        stage.gate.set()
        await stage.expect_notes("a", "b", Ping(b"p"), "mail of busy", "mail of a", "mail of b")


# -- the mailbox


@CHECKS.add()
async def handle_info_gets_what_other_tasks_send_and_may_push(stage: Stage) -> None:
    class Listener(Witness):
        def init(self, args: Any) -> Any:
            self.stage.note(current_connection().mailbox)
            return Ok(0)

        def handle_info(self, info: Any, state: Any) -> Any:
            return Push(f"{info} {state}", state + 1)

    async with stage.open(Listener) as peer:
        mailbox = await stage.next_note()
        await mailbox.send({"any": "object"})
        await mailbox.clone().send(None)
        await peer.expect(b"\x81\x13{'any': 'object'} 0\x81\x06None 1")


@CHECKS.add(Capability.CLOSING)
async def the_connection_lives_on_when_the_application_closes_its_mailbox(stage: Stage) -> None:
    class Deaf(Echo):
        def init(self, args: Any) -> Any:
            current_connection().mailbox.close()
            return Ok(0)

    async with stage.open(Deaf) as peer:
        await peer.send(text("a"), ping(b"p"), text("b"), close(1000))
        frames = sorted([await peer.receive_frame() for _ in range(3)])
        assert frames == [(0x81, b"a"), (0x81, b"b"), (0x8A, b"p")]
        await peer.expect(b"\x88\x02\x03\xe8")
        await stage.expect_notes(Remote(1000, ""))


@CHECKS.add(Capability.READ_AHEAD, Capability.CLOSING)
async def mail_queued_before_the_peers_close_is_handled_before_it(stage: Stage) -> None:
    class Mailed(Busy):
        def handle_info(self, info: Any, state: Any) -> Any:
            return Push(info, state)

    async with stage.open(Mailed) as peer:
        await peer.send(text("busy"))
        await stage.expect_notes("busy")
        mailbox = await stage.next_note()
        await mailbox.send("mail")
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(close(1000))
        await trio.testing.wait_all_tasks_blocked()
        stage.gate.set()
        await peer.expect(b"\x81\x04mail\x88\x02\x03\xe8")
        await stage.expect_notes(Remote(1000, ""))


@CHECKS.add(Capability.READ_AHEAD)
async def mail_that_fills_the_mailbox_is_handled_before_the_peers_close(stage: Stage) -> None:
    async with stage.open(Busy, mailbox_size=2) as peer:
        await peer.send(text("busy"))
        await stage.expect_notes("busy")
        mailbox = await stage.next_note()
        for number in range(4):
            await mailbox.send(number)
            await trio.testing.wait_all_tasks_blocked()
        await peer.send(close(1000))
        await trio.testing.wait_all_tasks_blocked()
        stage.gate.set()
        await stage.expect_notes(0, 1, 2, 3, Remote(1000, ""))


@CHECKS.add()
async def mail_to_a_handler_without_handle_info_is_an_error(stage: Stage) -> None:
    class Unprepared(Witness):
        def init(self, args: Any) -> Any:
            current_connection().mailbox.send_nowait("mail")
            return Ok(0)

    async with stage.open(Unprepared) as peer:
        await stage.expect_failure(peer, b"\x88\x02\x03\xf3", TypeError)


@CHECKS.add()
async def a_full_mailbox_makes_senders_wait(stage: Stage) -> None:
    class Flooded(Witness):
        def init(self, args: Any) -> Any:
            self.stage.note(current_connection().mailbox)
            return Ok(0)

        async def handle_info(self, info: Any, state: Any) -> Any:
            await self.stage.gate.wait()
            self.stage.note(info)
            return Ok(state)

    async with stage.open(Flooded, mailbox_size=4) as peer:
        mailbox = await stage.next_note()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_numbers, mailbox, 20)
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            stage.gate.set()
        await stage.expect_notes(*range(20))
        await peer.send(close(1000))
        await peer.expect(b"\x88\x02\x03\xe8")


async def send_numbers(mailbox: trio.MemorySendChannel[int], count: int) -> None:
    """Send 0, 1, 2 and so on, waiting while there is no room."""
    for number in range(count):
        await mailbox.send(number)


@CHECKS.add(Capability.CLOSING)
async def the_mailbox_of_a_connection_that_ended_is_broken(stage: Stage) -> None:
    class Listener(Witness):
        def init(self, args: Any) -> Any:
            self.stage.note(current_connection().mailbox)
            return Ok(0)

    async with stage.open(Listener) as peer:
        mailbox = await stage.next_note()
        await peer.send(close(1000))
        await peer.expect(b"\x88\x02\x03\xe8")
        await peer.expect_end()
        try:
            mailbox.send_nowait("late")
        except trio.BrokenResourceError:
            return
        raise AssertionError("the mailbox outlived its connection")


@CHECKS.add(Capability.READ_AHEAD, Capability.VIRTUAL_TIME)
async def a_peer_that_sends_faster_than_we_handle_has_to_wait(stage: Stage) -> None:
    async with stage.open(Busy) as peer:
        await peer.send(text("busy"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_many, peer, binary(b"x" * 1000), 1000)
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            stage.gate.set()


async def send_many(peer: ScriptedPeer, data: bytes, count: int) -> None:
    """Send the same bytes again and again."""
    for _ in range(count):
        await peer.send(data)
