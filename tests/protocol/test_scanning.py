"""RFC 6455 §5.2 and RFC 7692 §6.2: whole frames, taken many at a time, by either twin."""

from __future__ import annotations

import importlib

import pytest

from trio_websock.protocol import scanning

try:
    compiled = importlib.import_module("trio_websock.protocol._compiled")
except ImportError:
    TWINS = {"pure": scanning}
else:
    TWINS = {"pure": scanning, "compiled": compiled}

HELLO = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"  # the example of §5.7
HEAD_126 = b"\x82\xfe\x00\x7e\x00\x00\x00\x00"

# What is not taken, behind one message that is.
LEFT = {
    "nothing": b"",
    "half a head": HELLO[:5],
    "half a payload": HELLO[:-1],
    "half an extended length": b"\x81\xfe\x00",
    "an extended length without a key": HEAD_126[:6],
    "an extended length and half its payload": HEAD_126 + b"x" * 125,
    "a length that is not in its shortest form": b"\x81\xfe\x00\x7d" + bytes(4) + b"x" * 125,
    "a length of eight bytes": b"\x82\xff" + (5).to_bytes(8, "big") + bytes(4) + b"Hello",
    "an unmasked frame": b"\x81\x05Hello" + bytes(8),
    "a fragment": b"\x01" + HELLO[1:],
    "a continuation": b"\x80" + HELLO[1:],
    "a ping": b"\x89" + HELLO[1:],
    "a close": b"\x88\x80" + bytes(4),
    "a compressed message": b"\xc1" + HELLO[1:],
    "a message over the limit": b"\x82\xfe\x00\xc9" + bytes(4) + b"x" * 201,
}


@pytest.fixture(params=TWINS)
def parse(request):
    return TWINS[request.param].parse_messages


def test_a_masked_text_is_taken(parse) -> None:
    batch = []
    assert parse(HELLO, 0, True, 200, "strict", None, batch, 9) == len(HELLO)
    assert batch == ["Hello"]


def test_an_unmasked_text_is_taken(parse) -> None:
    batch = []
    assert parse(b"\x81\x05Hello", 0, False, 200, "strict", None, batch, 9) == 7
    assert batch == ["Hello"]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 4095, 4096, 4097, 65535])
@pytest.mark.parametrize(("first", "expected"), [(b"\x82", bytes), (b"\x81", str)])
def test_any_length_of_two_bytes_is_taken(parse, size: int, first: bytes, expected: type) -> None:
    head = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    batch = []
    parse(first + head + b"\x01\x02\x03\x04" + bytes(size), 0, True, 1 << 40, "strict", None, batch, 9)
    payload = (b"\x01\x02\x03\x04" * (size // 4 + 1))[:size]
    assert batch == [payload if expected is bytes else payload.decode()]


@pytest.mark.parametrize("left", LEFT)
def test_what_is_not_whole_and_plain_is_left(parse, left: str) -> None:
    batch = []
    assert parse(HELLO + LEFT[left], 0, True, 200, "strict", None, batch, 9) == len(HELLO)
    assert batch == ["Hello"]


@pytest.mark.parametrize(("first", "is_text"), [(b"\xc1", True), (b"\xc2", False)])
def test_a_compressed_message_is_what_inflate_makes_of_it(parse, first: bytes, is_text: bool) -> None:
    batch = []
    data = first + HELLO[1:]
    assert parse(data, 0, True, 200, "strict", lambda *came: came, batch, 9) == len(data)
    assert batch == [(b"Hello", is_text)]


def test_a_compressed_message_that_is_not_masked_is_what_inflate_makes_of_it(parse) -> None:
    batch = []
    assert parse(b"\xc2\x05Hello", 0, False, 200, "strict", lambda *came: came, batch, 9) == 7
    assert batch == [(b"Hello", False)]


def test_a_compressed_message_ends_the_scan(parse) -> None:
    batch = []
    data = HELLO + b"\xc1" + HELLO[1:]
    assert parse(data + HELLO, 0, True, 200, "strict", lambda payload, _: payload, batch, 9) == len(data)
    assert batch == ["Hello", b"Hello"]


@pytest.mark.parametrize("first", [b"\x41", b"\xc0", b"\xc8", b"\xc9", b"\xe1", b"\xd2"])
def test_no_other_frame_is_given_to_inflate(parse, first: bytes) -> None:
    assert parse(first + HELLO[1:], 0, True, 200, "strict", lambda payload, _: payload, [], 9) == 0


def test_what_inflate_raises_passes(parse) -> None:
    batch = []
    with pytest.raises(ZeroDivisionError):
        parse(HELLO + b"\xc1" + HELLO[1:], 0, True, 200, "strict", lambda *_: 1 / 0, batch, 9)
    assert batch == ["Hello"]


def test_a_masked_frame_is_left_where_none_is_expected(parse) -> None:
    assert parse(HELLO, 0, False, 200, "strict", None, [], 9) == 0


def test_nothing_longer_than_two_bytes_can_say_is_taken_whatever_the_limit(parse) -> None:
    data = b"\x82\xff" + (65536).to_bytes(8, "big") + bytes(4 + 65536)
    assert parse(data, 0, True, 1 << 40, "strict", None, [], 9) == 0


@pytest.mark.parametrize("most", [-1, 0, 1, 2, 3])
def test_the_batch_grows_no_longer_than_it_may(parse, most: int) -> None:
    batch = ["before"]
    position = parse(HELLO * 5, 0, True, 200, "strict", None, batch, most)
    assert len(batch) == max(1, most)
    assert position == (len(batch) - 1) * len(HELLO)


def test_the_scan_begins_at_the_position(parse) -> None:
    batch = []
    assert parse(b"xyz" + HELLO, 3, True, 200, "strict", None, batch, 9) == 14
    assert batch == ["Hello"]


def test_messages_before_text_that_is_not_utf_8_are_in_the_batch(parse) -> None:
    batch = []
    with pytest.raises(UnicodeDecodeError, match="position 1: invalid start byte") as caught:
        parse(b"\x81\x01a\x81\x03b\xffc", 0, False, 200, "strict", None, batch, 9)
    assert batch == ["a"]
    assert (caught.value.object, caught.value.encoding, caught.value.start) == (b"b\xffc", "utf-8", 1)


def test_text_is_decoded_as_the_name_of_the_errors_says(parse) -> None:
    batch = []
    parse(b"\x81\x01\xff", 0, False, 200, "surrogateescape", None, batch, 9)
    assert batch == ["\udcff"]


@pytest.mark.parametrize("position", [-1, 12, 1 << 40])
def test_a_position_outside_the_buffer_is_refused(parse, position: int) -> None:
    with pytest.raises(ValueError, match=f"position {position} came: expected one within 11 bytes"):
        parse(HELLO, position, True, 200, "strict", None, [], 9)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (HELLO, 0, True, 200, "strict", [], 9),
        ("a text", 0, True, 200, "strict", None, [], 9),
        (HELLO, "0", True, 200, "strict", None, [], 9),
        (HELLO, 0, True, "200", "strict", None, [], 9),
        (HELLO, 0, True, 200, b"strict", None, [], 9),
        (HELLO, 0, True, 200, "strict", None, None, 9),
        (HELLO, 0, True, 200, "strict", None, [], "9"),
        (b"\xc1" + HELLO[1:], 0, True, 200, "strict", "no function", [], 9),
    ],
)
def test_an_argument_of_another_type_is_refused(parse, arguments: tuple[object, ...]) -> None:
    with pytest.raises(TypeError):
        parse(*arguments)
