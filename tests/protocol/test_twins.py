"""The compiled codec and the pure one: which is in use, and that nobody can tell by what they do."""

from __future__ import annotations

import importlib
import itertools
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_websock import protocol
from trio_websock.errors import RemoteError
from trio_websock.protocol import machine, masking, scanning, serializing, twins
from trio_websock.protocol.frames import serialize_head
from trio_websock.protocol.machine import Limits, Machine, Role

ROOT = Path(__file__).parents[2]
KEY = b"\x37\xfa\x21\x3d"
LIMITS = Limits(max_message_size=400, max_frame_size=350, max_empty_fragments=3, validate_utf8=True)

try:
    compiled = importlib.import_module("trio_websock.protocol._compiled")
except ImportError:
    compiled = None
PURE = SimpleNamespace(
    apply_mask=masking.apply_mask,
    parse_messages=scanning.parse_messages,
    serialize_frames=serializing.serialize_frames,
)
PURE_AND_COMPILED = (PURE, compiled)
both = pytest.mark.skipif(compiled is None, reason="the package was built without its compiled module")

keys = st.binary(min_size=4, max_size=4)
# Mostly legal, and now and then anything: first byte, payload, key.
firsts = st.sampled_from([0x81, 0x82] * 8 + [0x01, 0x02, 0, 0x80, 0x88, 0x89, 0x8A, 0xC1, 0xC2]) | st.integers(0, 255)
texts = st.text(max_size=120).map(lambda text: text.encode())
payloads = texts | st.binary(max_size=300) | st.integers(0, 500).map(bytes)
frames = st.tuples(firsts, payloads, keys | st.none())


def choice(value: str) -> str:
    """What a new process says about the twins in use, with ``TRIO_WEBSOCK_NO_EXTENSIONS`` set so."""
    code = "from trio_websock.protocol import twins; print(twins.COMPILED, twins.parse_messages.__module__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TRIO_WEBSOCK_NO_EXTENSIONS": value},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def wire(parts: tuple[int, bytes, bytes | None]) -> bytes:
    first, payload, key = parts
    masked = payload if key is None else masking.apply_mask(payload, key)
    return serialize_head(first, len(payload), key) + masked


def outcome(function, *arguments: object) -> object:
    """What came of a call, or how it failed."""
    try:
        return function(*arguments)
    except (ValueError, TypeError) as exc:
        return type(exc), str(exc)


def conversation(monkeypatch: pytest.MonkeyPatch, twin, pieces: list[bytes], role: Role) -> object:
    """All that a machine with that twin has to say about what arrived."""
    monkeypatch.setattr(machine, "parse_messages", twin.parse_messages)
    monkeypatch.setattr(machine, "apply_mask", twin.apply_mask)
    target = Machine(role, LIMITS)
    arrived: list[object] = []
    for piece in pieces:
        target.receive_data(piece)
        arrived.append(target.next_batch(3))
        while target.has_backlog:
            arrived.append(target.next_batch(3))
    return arrived, verdict(target.failure), target.peer_close, target.finished


def verdict(failure: RemoteError | None) -> object:
    return failure and (type(failure), str(failure))


def test_the_room_tells_which_twins_are_in_use() -> None:
    assert protocol.COMPILED is twins.COMPILED is (twins.apply_mask is not masking.apply_mask)


def test_the_pure_twins_are_used_on_request() -> None:
    assert choice("1") == "False trio_websock.protocol.scanning"


@both
@pytest.mark.parametrize("value", ["", "0"])
def test_the_compiled_twins_are_used_where_there_are_any(value: str) -> None:
    assert choice(value) == "True trio_websock.protocol._compiled"


@both
def test_every_length_is_masked_alike() -> None:
    for size in range(301):
        data = bytes(i * 37 % 256 for i in range(size))
        assert compiled.apply_mask(data, KEY) == masking.apply_mask(data, KEY)


@both
@given(st.binary(max_size=5000), st.binary(max_size=6))
def test_anything_is_masked_or_refused_alike(data: bytes, key: bytes) -> None:
    assert outcome(compiled.apply_mask, data, key) == outcome(masking.apply_mask, data, key)


@both
@pytest.mark.parametrize("arguments", [(), (b"",), (b"", b"", b""), ("text", b"keys"), (b"data", 4), (None, b"keys")])
def test_arguments_of_another_type_are_refused_alike(arguments: tuple[object, ...]) -> None:
    pure, fast = (outcome(twin.apply_mask, *arguments) for twin in PURE_AND_COMPILED)
    assert pure[0] is fast[0] is TypeError


@both
@pytest.mark.parametrize("offset", range(9))
def test_every_length_at_every_alignment_is_scanned_alike(offset: int) -> None:
    for size in range(301):
        payload = bytes(i % 256 for i in range(size))
        data = bytes(offset) + wire((0x82, payload, KEY))
        for twin in PURE_AND_COMPILED:
            batch: list[object] = []
            assert twin.parse_messages(data, offset, True, 300, "strict", None, batch, 2) == len(data)
            assert batch == [payload]


@both
@given(
    st.lists(frames, max_size=5).map(lambda parts: b"".join(map(wire, parts))) | st.binary(max_size=40),
    st.integers(-1, 40),
    st.booleans(),
    st.integers(-1, 400),
    st.sampled_from(["strict", "surrogateescape"]),
    st.sampled_from([None, lambda *came: came]),
    st.integers(-1, 6),
)
def test_any_buffer_is_scanned_or_refused_alike(buffer, position, masked, longest, errors, inflate, most) -> None:
    batches: list[list[object]] = [[], []]
    pure, fast = (
        outcome(twin.parse_messages, buffer, position, masked, longest, errors, inflate, batch, most)
        for twin, batch in zip(PURE_AND_COMPILED, batches, strict=True)
    )
    assert pure == fast
    assert batches[0] == batches[1]


FIRSTS = [0x1, 0x2, 0x8, 0x9, 0xA, 0x41]
SIZES = [0, 1, 125, 126, 127, 0xFFFF - 4, 0xFFFF, 0x10000 - 4, 0x10000, 0x10001, 100_000]
outgoing = st.tuples(st.sampled_from(FIRSTS), st.integers(0, 300) | st.sampled_from(SIZES)) | st.integers(0, 300)


def made(kind: tuple[int, int] | int, number: int) -> tuple[int, bytes] | bytes:
    """The frame that is described: what it is and how long, or only how long if its bytes have been made before."""
    octet = bytes((number % 251,))
    return octet * kind if isinstance(kind, int) else (kind[0], octet * kind[1])


@both
@given(st.lists(outgoing, max_size=8), st.booleans())
def test_any_frames_are_serialized_alike(kinds, masked: bool) -> None:
    waiting = [made(kind, number) for number, kind in enumerate(kinds)]
    keys = bytes(i * 41 % 256 for i in range(4 * len(waiting))) if masked else None
    pure, fast = (twin.serialize_frames(waiting, keys) for twin in PURE_AND_COMPILED)
    assert pure == fast
    assert [any(chunk is frame for frame in waiting) for chunk in pure] == [
        any(chunk is frame for frame in waiting) for chunk in fast
    ]


@both
@pytest.mark.parametrize("masked", [False, True])
def test_every_length_is_serialized_alike(masked: bool) -> None:
    for size in range(301):
        waiting = [(0x2, bytes(i % 256 for i in range(size)))]
        assert len({tuple(twin.serialize_frames(waiting, KEY if masked else None)) for twin in PURE_AND_COMPILED}) == 1


@both
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), TypeError),
        (([],), TypeError),
        (([(1, b"")], b"key"), ValueError),
        (([], KEY), ValueError),
        (([(1, b"")], "keys"), (TypeError, ValueError)),
        (([(1, "text")], None), TypeError),
        (([(-1, b"")], None), ValueError),
        (([(0x101, b"")], None), ValueError),
        (([(2**64, b"")], None), ValueError),
        (([(1,)], None), (TypeError, ValueError)),
        (([("1", b"")], None), TypeError),
        (([None], None), TypeError),
    ],
)
def test_what_cannot_be_serialized_is_refused_by_both(arguments, error) -> None:
    for twin in PURE_AND_COMPILED:
        with pytest.raises(error):
            twin.serialize_frames(*arguments)


class Fickle:
    """Like an int, as long as nobody looks twice."""

    def __init__(self) -> None:
        self.answers = iter((1,))

    def __index__(self) -> int:
        return next(self.answers)


@both
def test_compiled_serializer_takes_nothing_for_an_int_that_runs_code_of_its_own() -> None:
    with pytest.raises(TypeError):
        compiled.serialize_frames([(Fickle(), b"payload")], None)


@both
@settings(max_examples=300)
@given(st.lists(frames, min_size=1, max_size=6), st.lists(st.integers(0, 400), max_size=8), st.sampled_from(Role))
def test_a_conversation_in_any_pieces_goes_alike(parts, cuts, role: Role) -> None:
    data = b"".join(map(wire, parts))
    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    with pytest.MonkeyPatch.context() as monkeypatch:
        pure, fast = (conversation(monkeypatch, twin, pieces, role) for twin in PURE_AND_COMPILED)
        assert pure == fast


@both
@pytest.mark.parametrize("first_cut", range(24))
def test_two_frames_in_every_three_pieces_go_alike(monkeypatch, first_cut: int) -> None:
    data = wire((0x81, "grüße".encode(), KEY)) + wire((0x82, b"abcd", b"\x01\x02\x03\x04"))
    for second_cut in range(first_cut, len(data) + 1):
        pieces = [data[:first_cut], data[first_cut:second_cut], data[second_cut:]]
        pure, fast = (conversation(monkeypatch, twin, pieces, Role.SERVER) for twin in PURE_AND_COMPILED)
        assert pure == fast
        assert [message for batch in fast[0] for message in batch] == ["grüße", b"abcd"]
