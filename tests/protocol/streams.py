"""Random streams of frames, valid and mutated, and what their bytes alone tell about them."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from hypothesis import strategies as st

from trio_websock.protocol.deflate import DeflateParameters
from trio_websock.protocol.frames import serialize_close, serialize_head
from trio_websock.protocol.machine import Role
from trio_websock.protocol.masking import apply_mask

KEY = b"\x37\xfa\x21\x3d"
TAIL = b"\x00\x00\xff\xff"


# What goes in.


class Data(NamedTuple):
    """A message in fragments, with a ping between them."""

    opcode: int
    payload: bytes
    cuts: list[int]
    ping: bytes | None
    compressed: bool


class Single(NamedTuple):
    """Any one frame, legal or not."""

    first: int
    payload: bytes
    masked: bool
    width: int


class Mutation(NamedTuple):
    """A change of the bytes of a stream."""

    kind: str
    place: float
    byte: int


payloads = st.one_of(
    st.text(max_size=30).map(str.encode),
    st.binary(max_size=130),
    st.sampled_from([b"", b"a" * 126, b"\xff", b"\xf0\x9f\x98", b"x" * 1000, b"z" * 9000, "grüße😀".encode() * 20]),
)
closes = st.builds(
    serialize_close,
    st.one_of(
        st.none(), st.sampled_from([999, 1000, 1001, 1004, 1005, 1006, 1012, 1014, 1015, 2999, 3000, 4999, 5000])
    ),
    st.one_of(st.just(b""), st.text(max_size=10).map(str.encode), st.just(b"\xff")),
)
datas = st.builds(
    Data,
    st.sampled_from([1, 2]),
    payloads,
    st.lists(st.integers(0, 60), max_size=3),
    st.one_of(st.none(), st.binary(max_size=5)),
    st.booleans(),
)
controls = st.builds(Single, st.sampled_from([0x89, 0x8A]), st.binary(max_size=125), st.just(True), st.just(0))
ends = st.builds(Single, st.just(0x88), closes, st.just(True), st.just(0))
oddities = st.builds(
    Single,
    st.one_of(st.integers(0, 255), st.sampled_from([0x00, 0x80, 0x01, 0x81, 0xC1, 0x41, 0xC0, 0x09, 0x88, 0x91])),
    st.one_of(payloads, closes),
    st.integers(0, 9).map(bool),
    st.sampled_from([0, 0, 0, 2, 8]),
)
steps = st.lists(st.one_of(datas, datas, datas, controls, oddities, ends), max_size=6)
mutations = st.lists(
    st.builds(
        Mutation,
        st.sampled_from(["flip", "replace", "delete", "insert", "cut"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 255),
    ),
    max_size=2,
)


def mutate(data: bytes, mutation: Mutation) -> bytes:
    at = int(len(data) * mutation.place)
    before, here, after = data[:at], data[at : at + 1], data[at + 1 :]
    changed = {
        "flip": before + bytes(byte ^ (1 << mutation.byte % 8) for byte in here) + after,
        "replace": before + bytes([mutation.byte]) + after,
        "delete": before + after,
        "insert": before + bytes([mutation.byte]) + here + after,
        "cut": before,
    }
    return changed[mutation.kind]


class Sender:
    """Writes the frames of the peer of ``role``, independently of what is under test but for the heads."""

    def __init__(self, role: Role, parameters: DeflateParameters | None) -> None:
        self.key = KEY if role is Role.SERVER else None
        self.deflate = parameters is not None
        bits, forgets = 15, False
        if parameters is not None and role is Role.SERVER:
            bits, forgets = parameters.client_max_window_bits, parameters.client_no_context_takeover
        elif parameters is not None:
            bits, forgets = parameters.server_max_window_bits, parameters.server_no_context_takeover
        self.forgets = forgets
        self.new = lambda: zlib.compressobj(6, zlib.DEFLATED, -bits)
        self.stream = self.new()

    def frame(self, first: int, payload: bytes, masked: bool = True, width: int = 0) -> bytes:
        key = self.key if masked else (None if self.key else KEY)
        head = serialize_head(first, len(payload), key)
        if width:
            mask, length = (0x80, key) if key else (0, b"")
            code = 126 if width == 2 else 127
            head = bytes((first, mask | code)) + len(payload).to_bytes(width, "big") + length
        return head + (apply_mask(payload, key) if key else payload)

    def compress(self, payload: bytes) -> bytes:
        data = (self.stream.compress(payload) + self.stream.flush(zlib.Z_SYNC_FLUSH))[:-4] or b"\x00"
        if self.forgets:
            self.stream = self.new()
        return data

    def write(self, step: Data | Single) -> bytes:
        if isinstance(step, Single):
            return self.frame(*step)
        compressed = step.compressed and self.deflate
        payload = self.compress(step.payload) if compressed else step.payload
        bounds = [0, *sorted(min(cut, len(payload)) for cut in step.cuts), len(payload)]
        pieces = [payload[start:end] for start, end in itertools.pairwise(bounds)]
        data = b""
        for index, piece in enumerate(pieces):
            first = (step.opcode | 0x40 * compressed if index == 0 else 0) | (0x80 if index == len(pieces) - 1 else 0)
            data += self.frame(first, piece)
            if step.ping is not None and index < len(pieces) - 1:
                data += self.frame(0x89, step.ping)
        return data


# What explains a difference: facts about a stream that its bytes alone tell.


def walk(data: bytes) -> Iterator[tuple[int, bool, bool, bytes]]:
    """Opcode, FIN, RSV1 and payload of each frame, naively; the last one may be cut short."""
    at = 0
    while at + 2 <= len(data):
        first, second = data[at : at + 2]
        at += 2
        length, width = second & 0x7F, {126: 2, 127: 8}.get(second & 0x7F, 0)
        if width:
            length = int.from_bytes(data[at : at + width], "big")
            at += width
        key = b"\x00" * 4
        if second & 0x80:
            key = data[at : at + 4].ljust(4, b"\x00")
            at += 4
        yield first & 15, first >= 0x80, bool(first & 0x40), apply_mask(data[at : at + length], key)
        at += length


def facts_about(data: bytes, deflate: bool) -> set[str]:
    facts: set[str] = set()
    compressed = in_message = False
    size, inflater = 0, zlib.decompressobj(-15)
    for opcode, fin, rsv1, payload in walk(data):
        if opcode >= 8:
            if in_message and compressed:
                facts.add("control inside a compressed message")
            if in_message and opcode == 8:
                facts.add("close inside a message")
            continue
        if opcode:
            compressed, size = rsv1 and deflate, 0
        in_message, size = not fin, size + len(payload)
        if compressed and fin and not size:
            facts.add("compressed message without a byte")
        try:
            inflater.decompress(payload + (TAIL if fin else b"") if compressed else b"")
        except zlib.error:
            # A later message may be judged by another stream; whatever ends in it does not happen to us.
            inflater = zlib.decompressobj(-15)
        if inflater.eof:
            facts.add("a deflate stream ends")
    return facts
