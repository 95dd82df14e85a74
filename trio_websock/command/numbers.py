"""Numbers on a command line, where "none" and "inf" say that there is no limit.

In: a word. Out: a number, or the complaint that argparse shows.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

__all__ = ["number_type"]

_T = TypeVar("_T", int, float)


def number_type(kind: Callable[[str], _T], what: str) -> Callable[[str], _T | float]:
    """A ``type`` for argparse that also takes "none" and "inf".

    Args:
        kind: ``int`` or ``float``.
        what: was expected, for the complaint.
    """

    def convert(text: str) -> _T | float:
        if text.lower() in ("none", "inf"):
            return float("inf")
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected {what}, not {text!r}") from None

    return convert
