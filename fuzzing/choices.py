"""From a fuzzer's bytes to decisions: how an input says what it is about.

In: one input. Out: small numbers read off its front, a way of cutting bytes into pieces, and the rest. Plain code and
no fuzzer's own, so that the inputs in the tree run as ordinary tests.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias, TypeVar

__all__ = ["Choices", "Cut", "whole"]

T = TypeVar("T")

Cut: TypeAlias = Callable[[bytes], Iterator[bytes]]
"""A way of cutting bytes into pieces; the same bytes are always cut in the same way."""

_STEPS = (1, 2, 3, 7, 16, 125)


class Choices:
    """Decisions, one byte each; all zero once the input is used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def below(self, count: int) -> int:
        """A number from 0 to ``count`` - 1."""
        byte = self._data[self._position : self._position + 1]
        self._position += 1
        return byte[0] % count if byte else 0

    def flag(self) -> bool:
        return bool(self.below(2))

    def one_of(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def take(self, size: int) -> bytes:
        """The next bytes as they are; fewer at the end of the input."""
        taken = self._data[self._position : self._position + size]
        self._position += size
        return taken

    def cut(self) -> Cut:
        """Steps of one size, or, for a byte above those, sizes at random from the byte as their seed."""
        number = self.below(256)
        if number < len(_STEPS):
            return lambda data: _steps(data, _STEPS[number])
        return lambda data: _sizes(data, number)

    def rest(self) -> bytes:
        """What the input is really about."""
        return self._data[self._position :]


def whole(data: bytes) -> Iterator[bytes]:
    """The way of cutting that does not."""
    yield data


def _steps(data: bytes, step: int) -> Iterator[bytes]:
    for start in range(0, len(data), step):
        yield data[start : start + step]


def _sizes(data: bytes, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    start = 0
    while start < len(data):
        size = rng.choice((1, 2, 5, 14, 60, 300, 2000))
        yield data[start : start + size]
        start += size
