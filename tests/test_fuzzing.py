"""Every input in ``fuzzing/seeds``, run as an ordinary test: what a fuzzer once found stays found."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))  # the harnesses are no part of the package

corpus = importlib.import_module("fuzzing.corpus")
frames = importlib.import_module("fuzzing.frames")

INPUTS = [
    pytest.param(name, data, id=f"{name}: {title}")
    for name in corpus.NAMES
    for title, data in corpus.read_corpus(name).items()
]


@pytest.mark.parametrize(("name", "data"), INPUTS)
def test_an_input_keeps_every_invariant(name: str, data: bytes) -> None:
    importlib.import_module(f"fuzzing.{name}").check_input(data)


@pytest.mark.parametrize("name", corpus.NAMES)
def test_the_empty_input_keeps_every_invariant(name: str) -> None:
    importlib.import_module(f"fuzzing.{name}").check_input(b"")


# The harness would notice: an oracle that is always content proves nothing.


@pytest.mark.parametrize(
    "output",
    [
        b"\x01\x01a",  # a fragment
        b"\x81\x81\x00\x00\x00\x00a",  # masked
        b"\x82\x7e\x00\x01a",  # not the shortest form
        b"\xc1\x01a",  # RSV1
        b"\x82\x02a",  # half a frame
    ],
)
def test_a_frame_that_a_server_may_not_send_is_noticed(output: bytes) -> None:
    with pytest.raises(AssertionError):
        list(frames.split_frames(output, frames.Role.SERVER, compressed=False))


def test_bytes_are_counted_however_deep_they_lie() -> None:
    assert frames.kept_size([b"123", {"key": (bytearray(b"4567"),)}]) == 7
