"""RFC 6455 §5.4 and §8.1: fragments, limits and text."""

from __future__ import annotations

import tracemalloc

import pytest

from trio_websock.codes import Opcode
from trio_websock.errors import FrameError, MessageTooBig, PolicyViolation, RemoteError
from trio_websock.protocol.assembly import Assembler, Limits
from trio_websock.protocol.deflate import DeflateParameters, PerMessageDeflate
from trio_websock.protocol.frames import Head, Role

TEXT, BINARY, MORE = Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION


def limits(**changes: object) -> Limits:
    defaults = {"max_message_size": 1024, "max_frame_size": None, "max_empty_fragments": 3, "validate_utf8": True}
    return Limits(**(defaults | changes))


def assembler(deflate: PerMessageDeflate | None = None, **changes: object) -> Assembler:
    return Assembler(limits(**changes), deflate)


def head(opcode: Opcode, length: int, fin: bool, compressed: bool = False) -> Head:
    return Head(opcode, fin, compressed, length, None, 2)


def frame(target: Assembler, opcode: Opcode, payload: bytes, fin: bool = True, compressed: bool = False):
    target.open_frame(head(opcode, len(payload), fin, compressed))
    return target.receive_piece(payload, fin)


class TestFragments:
    def test_a_whole_text_is_a_str(self) -> None:
        assert frame(assembler(), TEXT, b"gr\xc3\xbcn") == "grün"

    def test_a_whole_binary_is_bytes(self) -> None:
        assert frame(assembler(), BINARY, b"\xff\x00") == b"\xff\x00"

    def test_fragments_give_nothing_before_the_last(self) -> None:
        target = assembler()
        assert frame(target, BINARY, b"a", fin=False) is None
        assert frame(target, MORE, b"b", fin=False) is None
        assert frame(target, MORE, b"c") == b"abc"

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_an_empty_message_is_a_message(self, opcode: Opcode) -> None:
        assert frame(assembler(), opcode, b"") == ("" if opcode is TEXT else b"")

    def test_the_result_of_a_fragmented_binary_is_immutable(self) -> None:
        target = assembler()
        frame(target, BINARY, b"a", fin=False)
        assert type(frame(target, MORE, b"b")) is bytes

    def test_one_message_follows_the_other(self) -> None:
        target = assembler()
        frame(target, TEXT, b"a", fin=False)
        frame(target, MORE, b"")
        assert frame(target, BINARY, b"b") == b"b"

    def test_a_stray_continuation_is_a_fault(self) -> None:
        with pytest.raises(FrameError, match="continuation frame came: expected text or binary"):
            frame(assembler(), MORE, b"")

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_a_new_message_inside_a_message_is_a_fault(self, opcode: Opcode) -> None:
        target = assembler()
        frame(target, BINARY, b"a", fin=False)
        with pytest.raises(FrameError, match="expected a continuation"):
            frame(target, opcode, b"b")


class TestLimits:
    def test_a_message_of_exactly_the_limit_passes(self) -> None:
        assert frame(assembler(), BINARY, bytes(1024)) == bytes(1024)

    def test_a_message_over_the_limit_fails_before_its_payload(self) -> None:
        with pytest.raises(MessageTooBig, match="a message of at least 1025 bytes came: expected at most 1024"):
            assembler().open_frame(head(BINARY, 1025, fin=True))

    def test_fragments_over_the_limit_fail_before_the_payload_that_is_too_much(self) -> None:
        target = assembler()
        frame(target, BINARY, bytes(1000), fin=False)
        with pytest.raises(MessageTooBig) as caught:
            target.open_frame(head(MORE, 25, fin=True))
        assert caught.value.close_code == 1009

    def test_no_limit_takes_any_size(self) -> None:
        assembler(max_message_size=None).open_frame(head(BINARY, 2**40, fin=True))

    def test_a_frame_over_its_own_limit_fails_before_its_payload(self) -> None:
        with pytest.raises(MessageTooBig, match="a frame of 11 bytes came: expected at most 10"):
            assembler(max_frame_size=10).open_frame(head(BINARY, 11, fin=True))

    def test_frames_of_exactly_their_limit_pass(self) -> None:
        target = assembler(max_frame_size=10)
        frame(target, BINARY, bytes(10), fin=False)
        assert frame(target, MORE, bytes(10)) == bytes(20)

    def test_the_stated_number_of_empty_fragments_passes(self) -> None:
        target = assembler()
        for opcode in (TEXT, MORE, MORE):
            frame(target, opcode, b"", fin=False)
        assert frame(target, MORE, b"") == ""

    def test_one_empty_fragment_more_is_a_violation(self) -> None:
        target = assembler()
        for opcode in (TEXT, MORE, MORE):
            frame(target, opcode, b"", fin=False)
        with pytest.raises(PolicyViolation, match="more than 3 empty fragments") as caught:
            frame(target, MORE, b"", fin=False)
        assert caught.value.close_code == 1008

    def test_empty_fragments_are_counted_anew_in_each_message(self) -> None:
        target = assembler()
        for _ in range(5):
            for opcode in (TEXT, MORE, MORE):
                frame(target, opcode, b"", fin=False)
            assert frame(target, MORE, b"x") == "x"

    def test_memory_grows_with_the_bytes_and_not_with_the_fragments(self) -> None:
        target = assembler(max_message_size=None)
        frame(target, TEXT, b"x", fin=False)
        tracemalloc.start()
        for _ in range(50_000):
            frame(target, MORE, b"x", fin=False)
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert size < 200_000


class TestText:
    @pytest.mark.parametrize("payload", [b"\xff", b"\xc3", b"a\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80"])
    def test_a_whole_text_that_is_not_utf8_is_refused(self, payload: bytes) -> None:
        with pytest.raises(UnicodeDecodeError):
            frame(assembler(), TEXT, payload)

    def test_a_code_point_may_be_split_over_fragments(self) -> None:
        target = assembler()
        frame(target, TEXT, b"\xf0\x9f", fin=False)
        frame(target, MORE, b"\x98", fin=False)
        assert frame(target, MORE, b"\x80") == "😀"

    def test_a_message_that_ends_inside_a_code_point_is_refused(self) -> None:
        target = assembler()
        frame(target, TEXT, b"\xf0\x9f", fin=False)
        with pytest.raises(UnicodeDecodeError):
            frame(target, MORE, b"\x98")

    def test_a_fragment_that_cannot_become_valid_is_refused_at_once(self) -> None:
        with pytest.raises(UnicodeDecodeError):
            frame(assembler(), TEXT, b"ok \xff", fin=False)

    def test_a_piece_of_an_unfinished_frame_is_refused_at_once(self) -> None:
        target = assembler()
        target.open_frame(head(TEXT, 100, fin=True))
        with pytest.raises(UnicodeDecodeError):
            target.receive_piece(b"\xc0", last=False)

    def test_binary_is_never_decoded(self) -> None:
        target = assembler()
        frame(target, BINARY, b"\xff", fin=False)
        assert frame(target, MORE, b"\xc0") == b"\xff\xc0"

    def test_without_validation_text_is_decoded_with_surrogate_escapes(self) -> None:
        target = assembler(validate_utf8=False)
        frame(target, TEXT, b"a\xff", fin=False)
        assert frame(target, MORE, b"\xc3") == "a\udcff\udcc3"


class TestCompressed:
    # 7 bytes for 5: what is compared with the limit must be what comes out.
    HELLO = b"\xf2\x48\xcd\xc9\xc9\x07\x00"

    def compressed(self, **changes: object) -> Assembler:
        return assembler(PerMessageDeflate(DeflateParameters(), Role.SERVER), **changes)

    def test_a_compressed_text_is_inflated_and_decoded(self) -> None:
        assert frame(self.compressed(), TEXT, self.HELLO, compressed=True) == "Hello"

    def test_a_plain_message_passes_beside_compressed_ones(self) -> None:
        assert frame(self.compressed(), TEXT, b"plain") == "plain"

    def test_a_compressed_message_may_travel_in_fragments(self) -> None:
        target = self.compressed()
        frame(target, TEXT, self.HELLO[:3], fin=False, compressed=True)
        assert frame(target, MORE, self.HELLO[3:]) == "Hello"

    def test_the_size_that_counts_is_the_inflated_one(self) -> None:
        assert frame(self.compressed(max_message_size=5), TEXT, self.HELLO, compressed=True) == "Hello"

    def test_a_message_that_inflates_over_the_limit_fails(self) -> None:
        with pytest.raises(MessageTooBig, match="inflates to more than 4 bytes"):
            frame(self.compressed(max_message_size=4), TEXT, self.HELLO, compressed=True)

    def test_a_binary_that_inflates_over_the_limit_fails(self) -> None:
        with pytest.raises(MessageTooBig):
            frame(self.compressed(max_message_size=4), BINARY, self.HELLO, compressed=True)

    def test_the_limit_holds_over_fragments(self) -> None:
        target = self.compressed(max_message_size=4)
        frame(target, TEXT, self.HELLO[:4], fin=False, compressed=True)
        with pytest.raises(MessageTooBig):
            frame(target, MORE, self.HELLO[4:], fin=False)

    @pytest.mark.parametrize("size", [1, 6])
    def test_text_that_is_not_utf8_is_the_fault_even_if_there_is_too_much_of_it(self, size: int) -> None:
        data = b"\xfa\x5f\x01\x03\x00\x00"  # FF and nine times the letter x
        target = self.compressed(max_message_size=4)
        target.open_frame(head(TEXT, len(data), True, compressed=True))
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        with pytest.raises(UnicodeDecodeError):
            [target.receive_piece(piece, last=False) for piece in pieces]

    @pytest.mark.parametrize(("opcode", "validate_utf8"), [(BINARY, True), (TEXT, False)])
    def test_too_much_of_what_need_not_be_utf8_is_too_big(self, opcode: Opcode, validate_utf8: bool) -> None:
        data = b"\xfa\x5f\x01\x03\x00\x00"  # as above
        with pytest.raises(MessageTooBig):
            frame(self.compressed(max_message_size=4, validate_utf8=validate_utf8), opcode, data, compressed=True)

    def test_without_a_limit_everything_is_inflated(self) -> None:
        assert frame(self.compressed(max_message_size=None), TEXT, self.HELLO, compressed=True) == "Hello"

    def test_every_fault_is_a_remote_error_with_its_section(self) -> None:
        with pytest.raises(RemoteError, match=r"RFC 6455 §10\.4"):
            frame(self.compressed(max_message_size=4), TEXT, self.HELLO, compressed=True)
