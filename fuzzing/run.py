"""Run a harness under atheris, guided by coverage.

::

    python -m fuzzing.run frames -max_total_time=600

What comes behind the name goes to libFuzzer. Inputs that reach new code are kept in ``build/fuzzing/NAME``, which
begins with those of ``corpus/NAME.txt``; an input that fails is written to the current directory and shown in the form
in which it is to be added there.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from .corpus import NAMES, read_corpus

__all__ = ["main"]

HARNESSES = (*NAMES, "connection")  # an input of the last is Hypothesis's own: the tree keeps none
KEPT = Path("build/fuzzing")


def main(arguments: list[str]) -> None:
    """Fuzz until libFuzzer ends the process."""
    import atheris

    if len(arguments) < 2 or arguments[1] not in HARNESSES:
        sys.exit(f"usage: python -m fuzzing.run {'|'.join(HARNESSES)} [libFuzzer's options]")
    name = arguments[1]
    with atheris.instrument_imports(include=["trio_websock", "fuzzing"]):
        harness = importlib.import_module(f"fuzzing.{name}")
    kept = KEPT / name
    kept.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(read_corpus(name).values() if name in NAMES else ()):
        kept.joinpath(f"seed-{number:03}").write_bytes(data)
    atheris.Setup([*arguments[:1], str(kept), *arguments[2:]], _showing(harness.check_input))
    atheris.Fuzz()


def _showing(check_input: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def test_one_input(data: bytes) -> None:
        try:
            check_input(data)
        except BaseException:
            traceback.print_exc()
            print(f"\n{data.hex()}  # what it shows\n", file=sys.stderr, flush=True)
            raise

    return test_one_input


if __name__ == "__main__":
    main(sys.argv)
