"""The compiled codec against the pure one: C that reads strangers' bytes.

An input is six bytes of choices and a buffer. Both twins scan it from the same position, both take a mask off it, and
both make frames of its lines:

1. The same messages, the same position, the same error with the same words, the same chunks.
2. Nothing is read outside the buffer: that is for a build with a sanitizer to say; see the README.

Without the compiled module there is nothing to compare, and every input passes.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from trio_websock.messages import Incoming
from trio_websock.protocol import masking, scanning, serializing

from .choices import Choices

__all__ = ["check_input", "compiled"]

compiled: ModuleType | None
try:
    compiled = importlib.import_module("trio_websock.protocol._compiled")
except ImportError:
    compiled = None

LONGEST = (scanning.LONGEST, 0, 1, 125, 126, 1000, scanning.LONGEST + 1)
MOST = (64, 0, 1, 2)
ERRORS = ("strict", "surrogateescape")


def check_input(data: bytes) -> None:
    """Run one input; an ``AssertionError`` is a finding, and so is any other exception."""
    if compiled is None:
        return
    choices = Choices(data)
    masked, longest = choices.flag(), choices.one_of(LONGEST)
    errors, most, position = choices.one_of(ERRORS), choices.one_of(MOST), choices.below(256) - 4
    copies, key = 1 + choices.below(256) ** 2 // 64, choices.take(4)
    buffer = choices.rest()
    outcomes = [
        _scan(twin, buffer, max(position, 0) if position < 200 else -1, masked, longest, errors, most)
        for twin in (scanning, compiled)
    ]
    assert outcomes[0] == outcomes[1], outcomes
    lines = [line[1:] if masked else (line[0] & 0x7F, line[1:] * copies) for line in buffer.split(b"\n") if line]
    for keys in (None, (key * 256 * len(lines))[: 4 * len(lines)]):
        assert serializing.serialize_frames(lines, keys) == compiled.serialize_frames(lines, keys)
    for long in (buffer, buffer * copies):  # the pure twin has two ways, one for each size
        assert masking.apply_mask(long, key.ljust(4, b"k")) == compiled.apply_mask(long, key.ljust(4, b"k"))


def _inflate(payload: bytes, is_text: bool) -> bytes:
    return b"%d" % is_text + payload


def _scan(
    twin: ModuleType, buffer: bytes, position: int, masked: bool, longest: int, errors: str, most: int
) -> tuple[object, list[Incoming]]:
    """Where a scan ends, or how it fails, and what it has found."""
    batch: list[Incoming] = [b"what was there before"]
    try:
        end: object = twin.parse_messages(buffer, position, masked, longest, errors, _inflate, batch, most)
    except ValueError as exc:  # a position outside the buffer, or text that is not UTF-8
        end = (type(exc), str(exc))
    return end, batch
