"""Chapter "Protocol errors": what no client may send, the limits, and what is allowed in spite of its looks."""

from __future__ import annotations

from typing import Any

from trio_websock import (
    FrameError,
    InvalidPayload,
    MessageTooBig,
    PolicyViolation,
    RemoteError,
    upgrade,
)

from ..scripted_peer import MASKING_KEY, ScriptedPeer, binary, close, frame, ping, text
from ..stage import Capability, Checks, Stage, Witness
from .witnesses import Echo, Noting

__all__ = ["CHECKS"]

CHECKS = Checks("protocol errors", Capability.FRAMING)

MEBIBYTE = 1024 * 1024


async def expect_fault(stage: Stage, peer: ScriptedPeer, frame: bytes, kind: type[RemoteError]) -> None:
    """Insist on ``frame``, the end of the stream at once, and ``kind`` for ``terminate``."""
    await peer.expect(frame)
    await peer.expect_end()
    error = await stage.expect_error(kind)
    assert error.close_code == int.from_bytes(frame[-2:])
    assert "RFC" in error.section


# -- frames

FORBIDDEN = {
    "an unmasked message": frame(0x81, b"x", masked=False),
    "an unmasked ping": frame(0x89, masked=False),
    "an unmasked close": frame(0x88, masked=False),
    "RSV1": frame(0xC1, b"x"),
    "RSV2": frame(0xA1, b"x"),
    "RSV3": frame(0x91, b"x"),
    "RSV1 on a ping": frame(0xC9),
    "RSV2 on a close": frame(0xA8),
    "RSV3 on a continuation": frame(0x01, b"a") + frame(0x90, b"b"),
    **{f"opcode {opcode:#x}": frame(0x80 | opcode, b"x") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "a stray continuation": frame(0x80, b"x"),
    "a stray unfinished continuation": frame(0x00, b"x"),
    "text within a message": frame(0x01, b"a") + frame(0x81, b"b"),
    "binary within a message": frame(0x02, b"a") + frame(0x02, b"b"),
    "a fragmented ping": frame(0x09),
    "a fragmented pong": frame(0x0A),
    "a fragmented close": frame(0x08),
    "a ping of 126 bytes": ping(b"x" * 126),
    "a pong of 126 bytes": frame(0x8A, b"x" * 126),
    "a close of 126 bytes": close(1000, "x" * 124),
    "a ping with a 16-bit length": frame(0x89, b"x", length=b"\x7e\x00\x01"),
    "125 bytes in 16 bits": frame(0x82, b"x" * 125, length=b"\x7e\x00\x7d"),
    "no bytes in 16 bits": frame(0x82, b"", length=b"\x7e\x00\x00"),
    "65535 bytes in 64 bits": frame(0x82, b"x" * 65535, length=b"\x7f\x00\x00\x00\x00\x00\x00\xff\xff"),
    "a 64-bit length with its top bit": frame(0x82, b"", length=b"\x7f\x80\x00\x00\x00\x00\x00\x00\x01"),
}


@CHECKS.add_each({name: (sent,) for name, sent in FORBIDDEN.items()})
async def close_with_1002(stage: Stage, sent: bytes) -> None:
    async with stage.open(Witness) as peer:
        await peer.send(sent)
        await expect_fault(stage, peer, b"\x88\x02\x03\xea", FrameError)


HEADS = {
    "an unmasked message": b"\x81\x05",
    "RSV1": b"\xc1\x85" + MASKING_KEY,
    "a reserved opcode": b"\x83\x85" + MASKING_KEY,
    "a stray continuation": b"\x80\x85" + MASKING_KEY,
    "text within a message": frame(0x01, b"a") + b"\x81\x85" + MASKING_KEY,
    "a fragmented ping": b"\x09\x85" + MASKING_KEY,
    "a ping of 126 bytes": b"\x89\xfe\x00\x7e" + MASKING_KEY,
    "125 bytes in 16 bits": b"\x82\xfe\x00\x7d" + MASKING_KEY,
    "a 64-bit length with its top bit": b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00" + MASKING_KEY,
}


@CHECKS.add_each({name: (head,) for name, head in HEADS.items()})
async def close_with_1002_as_soon_as_the_head_is_there(stage: Stage, head: bytes) -> None:
    async with stage.open(Witness) as peer:
        await peer.send(head)
        await expect_fault(stage, peer, b"\x88\x02\x03\xea", FrameError)


@CHECKS.add()
async def messages_complete_before_the_fault_are_still_answered(stage: Stage) -> None:
    async with stage.open(Echo) as peer:
        await peer.send(text("a"), binary(b"b"), frame(0x83))
        await peer.expect(b"\x81\x01a\x82\x01b")
        await expect_fault(stage, peer, b"\x88\x02\x03\xea", FrameError)


@CHECKS.add()
async def nothing_behind_the_fault_reaches_a_callback(stage: Stage) -> None:
    async with stage.open(Noting) as peer:
        await peer.send(frame(0x83), text("late"), ping(b"late"), close(1000))
        await peer.expect(b"\x88\x02\x03\xea")
        await peer.receive_until_gone()
        await stage.expect_error(FrameError)
        stage.expect_no_note()


@CHECKS.add()
async def frames_may_come_byte_by_byte(stage: Stage) -> None:
    async with stage.open(Echo) as peer:
        await peer.send_slowly(frame(0x01, b"Gr\xc3") + ping(b"p") + frame(0x80, b"\xbc\xc3\x9fe") + binary(b"x" * 130))
        await peer.expect(b"\x8a\x01p\x81\x07Gr\xc3\xbc\xc3\x9fe\x82\x7e\x00\x82", b"x" * 130)
        await peer.send_slowly(close(1000, "bye"))
        await peer.expect(b"\x88\x02\x03\xe8")


# -- text

NOT_UTF8 = {
    "a stray byte": b"ab\xff",
    "a stray continuation byte": b"ab\x80",
    "an overlong slash": b"\xc0\xaf",
    "an overlong zero": b"\xe0\x80\x80",
    "a surrogate": b"\xed\xa0\x80",
    "a code point over U+10FFFF": b"\xf4\x90\x80\x80",
    "a five-byte form": b"\xf8\x88\x80\x80\x80",
    "a code point cut short": b"ab\xe2\x82",
}


@CHECKS.add_each({name: (text(payload),) for name, payload in NOT_UTF8.items()})
async def text_closes_with_1007_for(stage: Stage, sent: bytes) -> None:
    async with stage.open(Witness) as peer:
        await peer.send(sent)
        await expect_fault(stage, peer, b"\x88\x02\x03\xef", InvalidPayload)


@CHECKS.add_each(
    {
        "an unfinished message": (frame(0x01, b"ab\xffcd"),),
        "an unfinished frame": (frame(0x81, b"ab\xffcd" + b"e" * 95)[:15],),
        "an unfinished frame of an unfinished message": (
            frame(0x01, b"ok") + frame(0x00, b"ab\xffcd" + b"e" * 95)[:15],
        ),
        "a code point spoilt by the next fragment": (frame(0x01, b"ok\xe2\x82") + frame(0x00, b"(("),),
    }
)
async def text_closes_with_1007_before_the_end_of(stage: Stage, sent: bytes) -> None:
    async with stage.open(Witness) as peer:
        await peer.send(sent)
        await expect_fault(stage, peer, b"\x88\x02\x03\xef", InvalidPayload)


@CHECKS.add_each(
    {
        "a code point split over fragments": (frame(0x01, b"\xe2\x82") + frame(0x80, b"\xac"), "€"),
        "a code point of three fragments": (frame(0x01, b"\xe2") + frame(0x00, b"\x82") + frame(0x80, b"\xac"), "€"),
        "empty fragments in a code point": (frame(0x01, b"\xe2\x82") + frame(0x00) + frame(0x80, b"\xac"), "€"),
        "U+10FFFF": (text("\U0010ffff"), "\U0010ffff"),
        "U+FFFF, which is no character": (text("\uffff"), "\uffff"),
        "a NUL": (text("\0"), "\0"),
        "a byte order mark": (text("\ufeffx"), "\ufeffx"),
        "binary that is not UTF-8": (binary(b"\xff\x80"), b"\xff\x80"),
    }
)
async def is_allowed(stage: Stage, sent: bytes, message: object) -> None:
    async with stage.open(Noting) as peer:
        await peer.send(sent)
        await stage.expect_notes(message)


@CHECKS.add()
async def text_may_be_anything_without_validate_utf8(stage: Stage) -> None:
    async with stage.open(Echo, validate_utf8=False) as peer:
        await peer.send(text(b"ab\xffcd"), frame(0x01, b"\xe2\x82"), frame(0x80, b"("))
        await peer.expect(b"\x81\x05ab\xffcd\x81\x03\xe2\x82(")


# -- sizes


@CHECKS.add()
async def a_message_is_as_long_as_max_message_size_at_most(stage: Stage) -> None:
    async with stage.open(Echo, max_message_size=10) as peer:
        await peer.send(binary(b"0123456789"))
        await peer.expect(b"\x82\x0a0123456789")
        await peer.send(binary(b"0123456789a"))
        await expect_fault(stage, peer, b"\x88\x02\x03\xf1", MessageTooBig)


@CHECKS.add()
async def max_message_size_is_a_mebibyte_by_default(stage: Stage) -> None:
    async with stage.open(Echo) as peer:
        await peer.send(binary(b"x" * MEBIBYTE))
        assert await peer.receive_frame() == (0x82, b"x" * MEBIBYTE)
        await peer.send(b"\x82\xff\x00\x00\x00\x00\x00\x10\x00\x01" + MASKING_KEY)
        await expect_fault(stage, peer, b"\x88\x02\x03\xf1", MessageTooBig)


@CHECKS.add()
async def max_message_size_counts_bytes_and_not_characters(stage: Stage) -> None:
    async with stage.open(Echo, max_message_size=10) as peer:
        await peer.send(text("üüüüü"), text("üüüüüx"))
        await peer.expect(b"\x81\x0a", "üüüüü".encode())
        await expect_fault(stage, peer, b"\x88\x02\x03\xf1", MessageTooBig)


@CHECKS.add_each(
    {
        "one frame": ({"max_message_size": 10}, b"\x82\x8b"),
        "the last fragment": ({"max_message_size": 10}, frame(0x02, b"012345") + b"\x80\x85"),
        "a fragment between": ({"max_message_size": 10}, frame(0x02, b"012345") + frame(0x00, b"6") + b"\x00\x84"),
        "a frame over max_frame_size": ({"max_frame_size": 10}, b"\x82\x8b"),
        "a fragment over max_frame_size": ({"max_frame_size": 10}, frame(0x02, b"0123456789") + b"\x00\x8b"),
        "the largest length there is": ({"max_message_size": 10}, b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff"),
    }
)
async def closes_with_1009_at_the_head_of(stage: Stage, options: dict[str, Any], sent: bytes) -> None:
    async with stage.open(Witness, **options) as peer:
        await peer.send(sent, MASKING_KEY)
        await expect_fault(stage, peer, b"\x88\x02\x03\xf1", MessageTooBig)


@CHECKS.add()
async def max_frame_size_leaves_the_message_alone(stage: Stage) -> None:
    async with stage.open(Echo, max_frame_size=4) as peer:
        await peer.send(frame(0x02, b"0123"), frame(0x00, b"4567"), frame(0x80, b"89"))
        await peer.expect(b"\x82\x0a0123456789")


@CHECKS.add()
async def control_frames_do_not_count_for_the_limits(stage: Stage) -> None:
    async with stage.open(Echo, max_frame_size=4, max_message_size=4) as peer:
        await peer.send(frame(0x02, b"01"), ping(b"x" * 125), frame(0x80, b"23"))
        await peer.expect(b"\x8a\x7d", b"x" * 125, b"\x82\x040123")


@CHECKS.add()
async def none_is_no_limit(stage: Stage) -> None:
    async with stage.open(Noting, max_message_size=None) as peer:
        await peer.send(binary(b"x" * (3 * MEBIBYTE)))
        assert await stage.next_note() == b"x" * (3 * MEBIBYTE)


@CHECKS.add()
async def an_upgrade_may_set_limits_of_its_own(stage: Stage) -> None:
    async with (
        stage.serve(lambda request: upgrade(Witness(stage), max_message_size=3), max_message_size=10) as server,
        await stage.connect(server) as peer,
    ):
        await peer.open()
        await peer.send(binary(b"0123"))
        await expect_fault(stage, peer, b"\x88\x02\x03\xf1", MessageTooBig)


# -- fragments


@CHECKS.add()
async def empty_fragments_are_fine_up_to_their_number(stage: Stage) -> None:
    async with stage.open(Echo) as peer:
        await peer.send(frame(0x01, b"a"), frame(0x00) * 1024, frame(0x80, b"b"))
        await peer.expect(b"\x81\x02ab")


@CHECKS.add()
async def an_endless_stream_of_empty_fragments_closes_with_1008(stage: Stage) -> None:
    async with stage.open(Witness) as peer:
        await peer.send(frame(0x01, b"a"), frame(0x00) * 1025)
        await expect_fault(stage, peer, b"\x88\x02\x03\xf0", PolicyViolation)


@CHECKS.add()
async def empty_fragments_are_counted_for_each_message_anew(stage: Stage) -> None:
    async with stage.open(Echo) as peer:
        for _ in range(3):
            await peer.send(frame(0x01, b"a"), frame(0x00) * 1024, frame(0x80, b"b"))
            await peer.expect(b"\x81\x02ab")


@CHECKS.add()
async def many_small_fragments_are_fine(stage: Stage) -> None:
    async with stage.open(Noting, max_message_size=None) as peer:
        await peer.send(frame(0x02, b"x" * 64), frame(0x00, b"x" * 64) * 65534, frame(0x80, b"x" * 64))
        assert await stage.next_note() == b"x" * (65536 * 64)


@CHECKS.add()
async def many_pings_are_fine(stage: Stage) -> None:
    async with stage.open(Echo) as peer:
        await peer.send(ping(b"p") * 50, text("x"))
        await peer.expect(b"\x8a\x01p" * 50, b"\x81\x01x")
