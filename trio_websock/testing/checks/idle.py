"""Chapter "Idle timeout": what keeps a connection alive, what does not, and keepalive pings.

On hosts with real sockets only what happens is checked; when it happens needs virtual time.
"""

from __future__ import annotations

import math
from typing import Any

import trio
import trio.testing

from trio_websock import Ok, Pong, Push, Timeout, current_connection

from ..scripted_peer import close, frame, ping, pong, text
from ..stage import Capability, Checks, Stage, Witness
from .witnesses import Echo

__all__ = ["CHECKS"]

CHECKS = Checks("idle timeout")

IDLE = b"\x88\x0e\x03\xe9idle timeout"
UNANSWERED = b"\x88\x0e\x03\xe9ping timeout"


async def expect_timeout(stage: Stage, peer: Any, earliest: float, latest: float) -> None:
    """Insist on the close of an idle connection, in virtual time between two moments from now."""
    start = trio.current_time()
    await peer.expect(IDLE)
    assert earliest <= trio.current_time() - start <= latest


@CHECKS.add()
async def a_silent_peer_is_closed_with_1001_and_words(stage: Stage) -> None:
    async with stage.open(Witness, timeout=stage.seconds(5)) as peer:
        await peer.expect(IDLE)
        await peer.send(close(1001))
        await peer.expect_end()
        assert isinstance(await stage.next_note(), Timeout)


@CHECKS.add()
async def a_silent_peer_is_dropped_after_timeout_and_close_timeout(stage: Stage) -> None:
    async with stage.open(Witness, timeout=stage.seconds(5), close_timeout=stage.seconds(5)) as peer:
        await peer.expect(IDLE)
        await peer.receive_until_gone()


@CHECKS.add(Capability.VIRTUAL_TIME)
async def the_timeout_is_sixty_seconds_by_default(stage: Stage) -> None:
    async with stage.open(Witness) as peer:
        await expect_timeout(stage, peer, 60, 66)


@CHECKS.add_each({"a tenth of a second": (0.1,), "a second": (1,), "an hour": (3600,)}, Capability.VIRTUAL_TIME)
async def it_fires_between_timeout_and_a_tenth_more(stage: Stage, seconds: float) -> None:
    async with stage.open(Witness, timeout=seconds) as peer:
        await expect_timeout(stage, peer, seconds, seconds * 1.1)


@CHECKS.add(Capability.VIRTUAL_TIME)
async def infinity_never_fires(stage: Stage) -> None:
    async with stage.open(Echo, timeout=math.inf) as peer:
        await trio.sleep(80_000)
        await peer.send(text("x"))
        await peer.expect(b"\x81\x01x")


@CHECKS.add_each(
    {
        "a message": (text("x"),),
        "a ping": (ping(),),
        "a pong": (pong(),),
        "a fragment": (frame(0x01, b"x"),),
        "a part of a frame": (text("Hello")[:-1],),
        "a part of a head": (b"\x81",),
    },
    Capability.VIRTUAL_TIME,
)
async def the_clock_starts_anew_at(stage: Stage, sent: bytes) -> None:
    async with stage.open(Witness, timeout=10) as peer:
        await trio.sleep(9)
        await peer.send(sent)
        if sent == ping():
            await peer.expect(b"\x8a\x00")
        await expect_timeout(stage, peer, 10, 11)


@CHECKS.add(Capability.VIRTUAL_TIME)
async def a_single_byte_now_and_then_keeps_a_connection_alive(stage: Stage) -> None:
    async with stage.open(Echo, timeout=10) as peer:
        sent = text("Hello")
        # The key goes with the first byte that it masks: where a client is asked, it never gets there.
        for piece in (sent[:1], sent[1:2], sent[2:7], *(sent[at : at + 1] for at in range(7, 11))):
            await trio.sleep(9)
            await peer.send(piece)
        await peer.expect(b"\x81\x05Hello")


class Mailed(Witness):
    """Gets mail every second, from a task of its own, and pushes it if told so."""

    push = True

    def init(self, args: Any) -> Any:
        connection = current_connection()
        connection.nursery.start_soon(self.send_mail, connection.mailbox)
        return Ok(0)

    async def send_mail(self, mailbox: trio.MemorySendChannel[Any]) -> None:
        while True:
            await trio.sleep(1)
            await mailbox.send("tick")

    def handle_info(self, info: Any, state: Any) -> Any:
        return Push(info, state) if self.push else Ok(state)


@CHECKS.add(Capability.VIRTUAL_TIME)
async def what_we_send_does_not_count(stage: Stage) -> None:
    async with stage.open(Mailed, timeout=5) as peer:
        start = trio.current_time()
        while await peer.receive_frame() == (0x81, b"tick"):
            pass
        assert 5 <= trio.current_time() - start <= 5.5


@CHECKS.add(Capability.VIRTUAL_TIME)
async def mail_does_not_count(stage: Stage) -> None:
    class Silent(Mailed):
        push = False

    async with stage.open(Silent, timeout=5) as peer:
        await expect_timeout(stage, peer, 5, 5.5)


# -- time inside callbacks


class Sleeper(Witness):
    """Sleeps in its callbacks for as long as the message says."""

    async def handle_in(self, message: Any, state: Any) -> Any:
        await trio.sleep(float(message))
        return Push("slept", state)


@CHECKS.add(Capability.VIRTUAL_TIME)
async def the_clock_stands_still_in_a_callback_and_starts_anew_after_it(stage: Stage) -> None:
    async with stage.open(Sleeper, timeout=5) as peer:
        await peer.send(text("100"))
        await peer.expect(b"\x81\x05slept")
        await expect_timeout(stage, peer, 5, 5.5)


@CHECKS.add(Capability.VIRTUAL_TIME)
async def the_clock_stands_still_while_messages_wait(stage: Stage) -> None:
    async with stage.open(Sleeper, timeout=5) as peer:
        await peer.send(text("4"), text("4"), text("4"))
        await peer.expect(b"\x81\x05slept\x81\x05slept\x81\x05slept")
        await expect_timeout(stage, peer, 5, 5.5)


@CHECKS.add(Capability.VIRTUAL_TIME)
async def the_clock_stands_still_while_init_runs(stage: Stage) -> None:
    class LateRiser(Witness):
        async def init(self, args: Any) -> Any:
            await trio.sleep(100)
            return Push("up", 0)

    async with stage.open(LateRiser, timeout=5) as peer:
        await peer.expect(b"\x81\x02up")
        await expect_timeout(stage, peer, 5, 5.5)


@CHECKS.add(Capability.VIRTUAL_TIME)
async def the_clock_stands_still_while_handle_info_runs(stage: Stage) -> None:
    class SlowReader(Mailed):
        async def handle_info(self, info: Any, state: Any) -> Any:
            await trio.sleep(100)
            return Push(info, state)

        async def send_mail(self, mailbox: trio.MemorySendChannel[Any]) -> None:
            await mailbox.send("tick")

    async with stage.open(SlowReader, timeout=5) as peer:
        await peer.expect(b"\x81\x04tick")
        await expect_timeout(stage, peer, 5, 5.5)


@CHECKS.add(Capability.VIRTUAL_TIME)
async def the_clock_stands_still_while_the_peer_does_not_read(stage: Stage) -> None:
    class Pushing(Witness):
        def handle_in(self, message: Any, state: Any) -> Any:
            return Push(b"x" * 1_000_000, state)

    async with stage.open(Pushing, timeout=5, write_timeout=100) as peer:
        await peer.send(text("x"))
        await trio.sleep(50)
        await peer.receive_frame()
        await expect_timeout(stage, peer, 5, 5.5)


# -- keepalive


@CHECKS.add(Capability.VIRTUAL_TIME)
async def no_pings_are_sent_by_default(stage: Stage) -> None:
    async with stage.open(Witness, timeout=1000) as peer:
        await expect_timeout(stage, peer, 1000, 1100)


@CHECKS.add()
async def ping_interval_sends_pings(stage: Stage) -> None:
    async with stage.open(Witness, ping_interval=stage.seconds(3)) as peer:
        for _ in range(3):
            first, payload = await peer.receive_frame()
            assert first == 0x89
            assert len(payload) <= 125
            await peer.send(pong(payload))


@CHECKS.add()
async def an_unanswered_ping_closes_with_1001_and_words(stage: Stage) -> None:
    async with stage.open(Witness, ping_interval=stage.seconds(3), ping_timeout=stage.seconds(3)) as peer:
        first, _ = await peer.receive_frame()
        assert first == 0x89
        while (came := await peer.receive_frame())[0] == 0x89:
            pass
        assert came == (0x88, UNANSWERED[2:])
        await peer.send(close(1001))
        await peer.expect_end()
        assert isinstance(await stage.next_note(), Timeout)


@CHECKS.add(Capability.VIRTUAL_TIME)
async def pings_come_at_their_interval_and_time_out_in_time(stage: Stage) -> None:
    async with stage.open(Witness, ping_interval=20, ping_timeout=7) as peer:
        start = trio.current_time()
        assert (await peer.receive_frame())[0] == 0x89
        assert 20 <= trio.current_time() - start <= 22
        start = trio.current_time()
        await peer.expect(UNANSWERED)
        assert 7 <= trio.current_time() - start <= 7.7


@CHECKS.add(Capability.VIRTUAL_TIME)
async def answered_pings_keep_a_connection_alive(stage: Stage) -> None:
    async with stage.open(Echo, timeout=30, ping_interval=20, ping_timeout=5) as peer:
        for _ in range(20):
            first, payload = await peer.receive_frame()
            assert first == 0x89
            await trio.sleep(4)
            await peer.send(pong(payload))


@CHECKS.add(Capability.VIRTUAL_TIME)
async def anything_that_arrives_answers_a_ping(stage: Stage) -> None:
    async with stage.open(Echo, timeout=30, ping_interval=20, ping_timeout=5) as peer:
        for _ in range(5):
            assert (await peer.receive_frame())[0] == 0x89
            await peer.send(text("x"))
            await peer.expect(b"\x81\x01x")


@CHECKS.add(Capability.VIRTUAL_TIME, Capability.READ_AHEAD)
async def a_pong_that_arrives_during_a_callback_counts(stage: Stage) -> None:
    async with stage.open(Sleeper, ping_interval=20, ping_timeout=5) as peer:
        await peer.send(text("100"))
        while (came := await peer.receive_frame())[0] == 0x89:
            await peer.send(pong(came[1]))
        assert came == (0x81, b"slept")


@CHECKS.add(Capability.VIRTUAL_TIME)
async def the_pongs_of_keepalive_reach_handle_control(stage: Stage) -> None:
    class Listening(Witness):
        def handle_control(self, frame: Any, state: Any) -> Any:
            self.stage.note(frame)
            return Ok(state)

    async with stage.open(Listening, ping_interval=20, ping_timeout=5) as peer:
        _, payload = await peer.receive_frame()
        await peer.send(pong(payload))
        await stage.expect_notes(Pong(payload))
