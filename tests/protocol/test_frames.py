"""RFC 6455 §5.2 and §5.5: what stands before a payload, and what a close frame carries."""

from __future__ import annotations

import pytest

from trio_websock.codes import Opcode, is_sendable
from trio_websock.errors import FrameError, InvalidPayload
from trio_websock.protocol.frames import (
    SMALL_HEADS,
    Head,
    PeerClose,
    parse_close,
    parse_head,
    serialize_close,
    serialize_head,
)

KEY = b"\x37\xfa\x21\x3d"

# Legal heads, read by the parser and written by the serializer: bytes, first byte, opcode, FIN, RSV1, length, key.
HEADS = [
    (b"\x81\x05", Opcode.TEXT, True, False, 5, None),
    (b"\x81\x85" + KEY, Opcode.TEXT, True, False, 5, KEY),
    (b"\x01\x03", Opcode.TEXT, False, False, 3, None),
    (b"\x80\x02", Opcode.CONTINUATION, True, False, 2, None),
    (b"\x00\x00", Opcode.CONTINUATION, False, False, 0, None),
    (b"\x89\x05", Opcode.PING, True, False, 5, None),
    (b"\x8a\x85" + KEY, Opcode.PONG, True, False, 5, KEY),
    (b"\x88\x7d", Opcode.CLOSE, True, False, 125, None),
    (b"\x82\x7e\x00\x7e", Opcode.BINARY, True, False, 126, None),
    (b"\x82\x7e\x01\x00", Opcode.BINARY, True, False, 256, None),
    (b"\x82\xfe\xff\xff" + KEY, Opcode.BINARY, True, False, 65535, KEY),
    (b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", Opcode.BINARY, True, False, 65536, None),
    (b"\x02\xff\x7f\xff\xff\xff\xff\xff\xff\xff" + KEY, Opcode.BINARY, False, False, 2**63 - 1, KEY),
    (b"\xc1\x07", Opcode.TEXT, True, True, 7, None),
    (b"\x42\x87" + KEY, Opcode.BINARY, False, True, 7, KEY),
]

# Illegal heads: bytes as short as they can be judged, whether the peer masks, whether RSV1 is allowed, the clause.
FAULTS = {
    "a masked frame from a server": (b"\x81\x80", False, False, "RFC 6455 §5.1"),
    "an unmasked frame from a client": (b"\x81\x00", True, False, "RFC 6455 §5.1"),
    "RSV1 without compression": (b"\xc1\x80", True, False, "RFC 6455 §5.2"),
    "RSV2": (b"\xa1\x80", True, True, "RFC 6455 §5.2"),
    "RSV3": (b"\x91\x80", True, True, "RFC 6455 §5.2"),
    "RSV3 on a continuation": (b"\x10\x80", True, True, "RFC 6455 §5.2"),
    "RSV1 on a continuation": (b"\x40\x80", True, True, "RFC 7692 §6.1"),
    "RSV1 on a ping": (b"\xc9\x80", True, True, "RFC 7692 §6.1"),
    "RSV1 on a close": (b"\xc8\x80", True, True, "RFC 7692 §6.1"),
    "a fragmented ping": (b"\x09\x80", True, False, "RFC 6455 §5.5"),
    "a fragmented close": (b"\x08\x80", True, False, "RFC 6455 §5.5"),
    "a ping of 126 bytes": (b"\x89\xfe", True, False, "RFC 6455 §5.5"),
    "a close of 64 KiB": (b"\x88\xff", True, False, "RFC 6455 §5.5"),
    "a length of 125 in two bytes": (b"\x82\xfe\x00\x7d", True, False, "RFC 6455 §5.2"),
    "a length of 65535 in eight bytes": (b"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff", True, False, "RFC 6455 §5.2"),
    "a length with the top bit": (b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00", True, False, "RFC 6455 §5.2"),
} | {
    f"opcode {opcode:#x}": (bytes((0x80 | opcode, 0x80)), True, True, "RFC 6455 §5.2")
    for opcode in (3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF)
}

CLOSES = [
    (b"", PeerClose(None, "")),
    (b"\x03\xe8", PeerClose(1000, "")),
    (b"\x03\xe9going", PeerClose(1001, "going")),
    (b"\x03\xf4", PeerClose(1012, "")),
    (b"\x0f\xa0\xc3\xa4", PeerClose(4000, "ä")),
    (b"\x13\x87" + b"x" * 123, PeerClose(4999, "x" * 123)),
]


class TestHead:
    @pytest.mark.parametrize(("data", "opcode", "fin", "rsv1", "length", "key"), HEADS)
    @pytest.mark.parametrize("tail", [b"", b"\xff\xff\xff\xff"])
    def test_a_legal_head_is_parsed(self, data, opcode, fin, rsv1, length, key, tail) -> None:
        head = parse_head(b"before" + data + tail, 6, key is not None, True)
        assert head == Head(opcode, fin, rsv1, length, key, len(data))

    @pytest.mark.parametrize(("data", "opcode", "fin", "rsv1", "length", "key"), HEADS)
    def test_less_than_a_head_is_waited_for(self, data, opcode, fin, rsv1, length, key) -> None:
        assert [parse_head(data[:size], 0, key is not None, True) for size in range(len(data))] == [None] * len(data)

    @pytest.mark.parametrize(("data", "opcode", "fin", "rsv1", "length", "key"), HEADS)
    def test_the_same_head_is_serialized(self, data, opcode, fin, rsv1, length, key) -> None:
        assert serialize_head(fin << 7 | rsv1 << 6 | opcode, length, key) == data

    @pytest.mark.parametrize(("first", "heads"), SMALL_HEADS.items())
    def test_the_table_of_small_heads_is_what_the_serializer_writes(self, first, heads) -> None:
        assert list(heads) == [serialize_head(first, length) for length in range(126)]

    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_broken_rule_is_named_as_soon_as_it_shows(self, fault: str) -> None:
        data, expect_mask, allow_rsv1, section = FAULTS[fault]
        with pytest.raises(FrameError) as caught:
            parse_head(data, 0, expect_mask, allow_rsv1)
        assert (caught.value.section, caught.value.close_code) == (section, 1002)

    @pytest.mark.parametrize("fault", FAULTS)
    def test_nothing_is_blamed_a_byte_earlier(self, fault: str) -> None:
        data, expect_mask, allow_rsv1, _ = FAULTS[fault]
        assert parse_head(data[:-1], 0, expect_mask, allow_rsv1) is None

    def test_the_message_says_what_came_and_what_was_expected(self) -> None:
        with pytest.raises(FrameError, match=r"a ping frame that is fragmented came: expected a whole frame"):
            parse_head(b"\x09\x80", 0, True, False)


class TestClose:
    @pytest.mark.parametrize(("payload", "close"), CLOSES)
    def test_a_legal_close_is_parsed(self, payload: bytes, close: PeerClose) -> None:
        assert parse_close(payload) == close

    @pytest.mark.parametrize(("payload", "close"), CLOSES)
    def test_the_same_close_is_serialized(self, payload: bytes, close: PeerClose) -> None:
        assert serialize_close(close.code, close.text.encode()) == payload

    def test_half_a_code_is_a_fault(self) -> None:
        with pytest.raises(FrameError, match="1 byte came"):
            parse_close(b"\x03")

    @pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
    def test_a_code_that_may_not_travel_is_a_fault(self, code: int) -> None:
        with pytest.raises(FrameError, match=f"close code {code} came"):
            parse_close(code.to_bytes(2, "big"))

    def test_exactly_the_sendable_codes_are_taken(self) -> None:
        taken = set()
        for code in range(65536):
            try:
                taken.add(parse_close(code.to_bytes(2, "big")).code)
            except FrameError:
                continue
        assert taken == {code for code in range(65536) if is_sendable(code)}

    def test_text_that_is_not_utf8_is_an_invalid_payload(self) -> None:
        with pytest.raises(InvalidPayload) as caught:
            parse_close(b"\x03\xe8\xff")
        assert caught.value.close_code == 1007
