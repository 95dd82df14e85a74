"""The inputs in the tree: ``seeds/NAME.txt``, one input a line, in hexadecimal, with what it is about.

In: a name. Out: inputs. What a fuzzer has found is added there by hand, with a name that says what it showed, and is
a test from then on.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["NAMES", "read_corpus"]

NAMES = ("frames", "deflate", "http_head", "twins")

SEEDS = Path(__file__).parent / "seeds"


def read_corpus(name: str) -> dict[str, bytes]:
    """Every input for a harness, by what it is about."""
    lines = (SEEDS / f"{name}.txt").read_text().splitlines()
    pairs = (line.partition("  # ")[::2] for line in lines if line and not line.startswith("#"))
    return {title: bytes.fromhex(data) for data, title in pairs}
