"""RFC 6455 §5.2 and §5.3: what waits is serialized in few pieces, by either twin."""

from __future__ import annotations

import importlib

import pytest

from trio_websock.protocol import serializing
from trio_websock.protocol.serializing import CHUNK_SIZE

try:
    compiled = importlib.import_module("trio_websock.protocol._compiled")
except ImportError:
    TWINS = {"pure": serializing}
else:
    TWINS = {"pure": serializing, "compiled": compiled}

KEY = b"\x37\xfa\x21\x3d"
HELLO = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"  # the example of §5.7


@pytest.fixture(params=TWINS)
def serialize(request):
    return TWINS[request.param].serialize_frames


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x82\x00"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (65535, b"\x82\x7e\xff\xff"),
        (65536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_length_has_its_shortest_form(serialize, size: int, head: bytes) -> None:
    assert b"".join(serialize([(0x2, bytes(size))], None)) == head + bytes(size)


def test_a_clients_frame_is_masked(serialize) -> None:
    assert serialize([(0x1, b"Hello")], KEY) == [HELLO]


def test_each_frame_has_its_own_key(serialize) -> None:
    assert serialize([(0x1, b"Hello"), (0x1, b"Hello")], KEY + bytes(4)) == [HELLO + b"\x81\x85\0\0\0\0Hello"]


def test_a_compressed_message_keeps_its_mark(serialize) -> None:
    assert serialize([(0x41, b"x")], None) == [b"\xc1\x01x"]


@pytest.mark.parametrize("keys", [None, KEY])
def test_bytes_made_before_stay_as_they_are(serialize, keys: bytes | None) -> None:
    frame = b"\x81\x02hi"
    assert serialize([frame], keys)[0] is frame


def test_small_frames_share_a_chunk(serialize) -> None:
    assert serialize([(0x1, b"a"), b"\x81\x01b", (0x9, b"")], None) == [b"\x81\x01a\x81\x01b\x89\x00"]


def test_chunk_ends_before_it_grows_large(serialize) -> None:
    frame = bytes(CHUNK_SIZE // 2)
    assert [len(chunk) for chunk in serialize([frame] * 5, None)] == [CHUNK_SIZE, CHUNK_SIZE, CHUNK_SIZE // 2]


def test_large_payload_is_not_copied_and_keeps_its_place(serialize) -> None:
    large = bytes(CHUNK_SIZE + 1)
    before, head, payload, after = serialize([(0x1, b"a"), (0x2, large), (0x1, b"b")], None)
    assert (before, head[:2], after) == (b"\x81\x01a", b"\x82\x7f", b"\x81\x01b")
    assert payload is large


def test_a_large_masked_payload_follows_its_head(serialize) -> None:
    (chunk,) = serialize([(0x2, bytes(CHUNK_SIZE + 1))], KEY)
    assert chunk[:18] == b"\x82\xff" + (CHUNK_SIZE + 1).to_bytes(8, "big") + KEY + KEY


def test_nothing_is_nothing(serialize) -> None:
    assert serialize([], None) == []


def test_every_frame_needs_a_key(serialize) -> None:
    with pytest.raises(ValueError, match="keys of 4 bytes came: expected 8"):
        serialize([(0x1, b""), (0x1, b"")], KEY)
