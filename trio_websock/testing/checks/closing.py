"""Chapter "Closing": who sends which close frame, who waits for whom, and who ends the stream."""

from __future__ import annotations

import math
from typing import Any

import trio
import trio.testing

from trio_websock import NORMAL, FrameError, InvalidPayload, Normal, Push, Remote, Stop, upgrade

from ..scripted_peer import binary, close, frame, ping, pong, text, upgrade_request
from ..stage import Capability, Checks, Stage, Witness
from .witnesses import Echo, Noting

__all__ = ["CHECKS"]

CHECKS = Checks("closing")


class Stopper(Noting):
    """Stops at the first message."""

    def handle_in(self, message: Any, state: Any) -> Any:
        self.stage.note(message)
        return Stop(NORMAL, state)


# -- we close


@CHECKS.add()
async def we_wait_for_the_peers_close_before_we_end_the_stream(stage: Stage) -> None:
    async with stage.open(Stopper) as peer:
        await peer.send(text("stop"))
        await peer.expect(b"\x88\x02\x03\xe8")
        await peer.expect_quiet()
        await peer.send(close(1000))
        await peer.expect_end()
        await stage.expect_notes("stop", Normal())


@CHECKS.add(Capability.HALF_CLOSE)
async def the_end_of_the_stream_answers_our_close_as_well(stage: Stage) -> None:
    async with stage.open(Stopper) as peer:
        await peer.send(text("stop"))
        await peer.expect(b"\x88\x02\x03\xe8")
        await peer.send_eof()
        await peer.expect_end()
        await stage.expect_notes("stop", Normal())


@CHECKS.add()
async def an_unanswered_close_ends_the_stream_after_close_timeout(stage: Stage) -> None:
    async with stage.open(Stopper, close_timeout=stage.seconds(5)) as peer:
        await peer.send(text("stop"))
        await peer.expect(b"\x88\x02\x03\xe8")
        await peer.receive_until_gone()
        await stage.expect_notes("stop", Normal())


@CHECKS.add(Capability.VIRTUAL_TIME)
async def close_timeout_is_ten_seconds_by_default(stage: Stage) -> None:
    async with stage.open(Stopper) as peer:
        start = trio.current_time()
        await peer.send(text("stop"))
        await peer.expect(b"\x88\x02\x03\xe8")
        await peer.receive_until_gone()
        assert 10 <= trio.current_time() - start <= 10.1


@CHECKS.add(Capability.VIRTUAL_TIME)
async def a_peer_that_keeps_sending_does_not_outlast_close_timeout(stage: Stage) -> None:
    async with stage.open(Stopper, close_timeout=5) as peer:
        start = trio.current_time()
        await peer.send(text("stop"))
        await peer.expect(b"\x88\x02\x03\xe8")
        try:
            while True:
                await peer.send(text("more"))
                await trio.sleep(1)
        except trio.BrokenResourceError:
            pass
        assert 5 <= trio.current_time() - start <= 6.1


@CHECKS.add_each(
    {
        "data": (text("late"),),
        "a ping": (ping(b"late"),),
        "a pong": (pong(b"late"),),
        "an unfinished message": (frame(0x01, b"late"),),
        "a message over the limit": (binary(b"x" * 1_048_577),),
    }
)
async def after_our_close_no_callback_and_no_pong_for(stage: Stage, sent: bytes) -> None:
    async with stage.open(Stopper, close_timeout=math.inf) as peer:
        await peer.send(text("stop"))
        await peer.expect(b"\x88\x02\x03\xe8")
        await peer.send(sent, close(1000))
        await peer.expect_end()
        await stage.expect_notes("stop", Normal())
        stage.expect_no_note()


@CHECKS.add()
async def after_our_close_a_broken_protocol_is_nobodys_fault_any_more(stage: Stage) -> None:
    async with stage.open(Stopper, close_timeout=stage.seconds(10)) as peer:
        await peer.send(text("stop"))
        await peer.expect(b"\x88\x02\x03\xe8")
        await peer.send(frame(0x83, b"late"), close(1000))
        await peer.expect_end()
        await stage.expect_notes("stop", Normal())
        stage.expect_no_note()


@CHECKS.add()
async def the_peers_close_after_ours_is_found_behind_much_data(stage: Stage) -> None:
    async with stage.open(Stopper) as peer:
        await peer.send(text("stop"))
        await peer.expect(b"\x88\x02\x03\xe8")
        for _ in range(64):
            await peer.send(binary(b"x" * 65536))
        await peer.send(close(1000))
        await peer.expect_end()
        await stage.expect_notes("stop", Normal())


@CHECKS.add(Capability.CLOSING)
async def closes_that_cross_are_sent_once_each(stage: Stage) -> None:
    async with stage.open(Stopper) as peer:
        await peer.send(text("stop"), close(3000))
        await peer.expect(b"\x88\x02\x03\xe8")
        await peer.expect_end()
        await stage.expect_notes("stop", Normal())


# -- the peer closes


VALID = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)


@CHECKS.add_each({str(code): (code,) for code in VALID}, Capability.CLOSING)
async def the_reply_echoes_the_code_without_text(stage: Stage, code: int) -> None:
    async with stage.open(Witness) as peer:
        await peer.send(close(code, "words"))
        await peer.expect(b"\x88\x02" + code.to_bytes(2))
        await peer.expect_end()
        await stage.expect_notes(Remote(code, "words"))


@CHECKS.add()
async def the_reply_to_an_empty_close_is_empty(stage: Stage) -> None:
    async with stage.open(Witness) as peer:
        await peer.send(close())
        await peer.expect(b"\x88\x00")
        await peer.expect_end()
        await stage.expect_notes(Remote(None, ""))


@CHECKS.add_each(
    {"no text": ("",), "123 bytes": ("x" * 123,), "code points of several bytes": ("Grüße, 10 €",)}, Capability.CLOSING
)
async def terminate_gets_the_text_of_the_peers_close(stage: Stage, words: str) -> None:
    async with stage.open(Witness) as peer:
        await peer.send(close(1000, words))
        await peer.expect(b"\x88\x02\x03\xe8")
        await stage.expect_notes(Remote(1000, words))


@CHECKS.add(Capability.CLOSING)
async def what_was_handled_is_flushed_before_the_reply(stage: Stage) -> None:
    async with stage.open(Echo) as peer:
        await peer.send(text("a"), binary(b"b"), close(1000))
        await peer.expect(b"\x81\x01a\x82\x01b\x88\x02\x03\xe8")
        await peer.expect_end()


@CHECKS.add()
async def what_follows_the_peers_close_is_ignored(stage: Stage) -> None:
    async with stage.open(Noting) as peer:
        await peer.send(close(1000), text("late"), ping(b"late"), frame(0x83))
        await peer.expect(b"\x88\x02\x03\xe8")
        await peer.receive_until_gone()
        await stage.expect_notes(Remote(1000, ""))
        stage.expect_no_note()


@CHECKS.add(Capability.PIPELINING)
async def a_close_before_our_101_has_left_is_a_clean_close(stage: Stage) -> None:
    class Greeter(Witness):
        def init(self, args: Any) -> Any:
            return Push("hi", 0)

    async with (
        stage.serve(lambda request: upgrade(Greeter(stage))) as server,
        await stage.connect(server) as peer,
    ):
        await peer.send(upgrade_request(peer.authority), close(1001))
        await peer.expect_status(101)
        await peer.expect(b"\x81\x02hi\x88\x02\x03\xe9")
        await peer.expect_end()
        await stage.expect_notes(Remote(1001, ""))


@CHECKS.add()
async def a_close_between_fragments_is_a_clean_close(stage: Stage) -> None:
    async with stage.open(Noting) as peer:
        await peer.send(frame(0x01, b"unfinished"), close(1000))
        await peer.expect(b"\x88\x02\x03\xe8")
        await peer.expect_end()
        await stage.expect_notes(Remote(1000, ""))


# -- the peer closes in a way nobody may

INVALID = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)


@CHECKS.add_each(
    {f"code {code}": (close(code),) for code in INVALID}
    | {"code 1005 and a text": (close(1005, "words"),), "one byte": (frame(0x88, b"\x03"),)},
    Capability.FRAMING,
)
async def a_close_is_answered_by_1002_with(stage: Stage, sent: bytes) -> None:
    async with stage.open(Witness) as peer:
        await peer.send(sent)
        await peer.expect(b"\x88\x02\x03\xea")
        await peer.expect_end()
        await stage.expect_error(FrameError)


@CHECKS.add_each(
    {
        "a stray byte": (close(1000, b"a\xff"),),
        "a code point cut short": (close(1000, b"a\xc3"),),
        "a surrogate": (close(1000, b"\xed\xa0\x80"),),
    },
    Capability.FRAMING,
)
async def the_text_of_a_close_is_answered_by_1007_with(stage: Stage, sent: bytes) -> None:
    async with stage.open(Witness) as peer:
        await peer.send(sent)
        await peer.expect(b"\x88\x02\x03\xef")
        await peer.expect_end()
        await stage.expect_error(InvalidPayload)


# -- after a broken protocol


@CHECKS.add(Capability.FRAMING)
async def after_a_fault_the_stream_ends_without_waiting_for_the_peer(stage: Stage) -> None:
    async with stage.open(Witness) as peer:
        await peer.send(frame(0x83))
        await peer.expect(b"\x88\x02\x03\xea")
        await peer.expect_end()


@CHECKS.add(Capability.FRAMING)
async def a_fault_with_much_data_behind_it_still_shows_its_close_frame(stage: Stage) -> None:
    async with stage.open(Witness) as peer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.send, frame(0x83), binary(b"x" * 4_000_000))
            await peer.expect(b"\x88\x02\x03\xea")
            nursery.cancel_scope.cancel()
        await stage.expect_error(FrameError)


@CHECKS.add(Capability.FRAMING, Capability.VIRTUAL_TIME)
async def a_fault_is_drained_for_a_second_at_most(stage: Stage) -> None:
    async with stage.open(Witness) as peer:
        start = trio.current_time()
        await peer.send(frame(0x83))
        await peer.expect(b"\x88\x02\x03\xea")
        try:
            while True:
                await peer.send(text("more"))
                await trio.sleep(0.1)
        except trio.BrokenResourceError:
            pass
        assert trio.current_time() - start <= 1.2
