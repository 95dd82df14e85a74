"""Whether pyright knows the type of every public name and of all it is made of.

``pyright --verifytypes`` judges everything that has no underscore, so also what our rooms show each other only. This
takes from its verdict what a user can get hold of: the names in ``trio_websock.__all__`` and
``trio_websock.testing.__all__``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from types import ModuleType
from typing import Any

import trio_websock
import trio_websock.testing

COMMAND = ["pyright", "--ignoreexternal", "--verifytypes", "trio_websock", "--outputjson"]


def homes(face: ModuleType) -> set[str]:
    """Where the classes and functions that ``face`` shows are defined, as pyright calls them."""
    things = [getattr(face, name) for name in getattr(face, "__all__", ())]
    return {f"{thing.__module__}.{thing.__qualname__}" for thing in things if hasattr(thing, "__qualname__")}


def is_public(symbol: dict[str, Any], public: set[str]) -> bool:
    """Whether the symbol is one of the public names, or a part of one."""
    name = symbol["name"]
    return not name.rpartition(".")[2].startswith("_") and any(f"{name}.".startswith(f"{home}.") for home in public)


def main() -> int:
    """Print what is not known; the exit status."""
    public = homes(trio_websock) | homes(trio_websock.testing)
    report = json.loads(subprocess.run(COMMAND, stdout=subprocess.PIPE, check=False).stdout)
    symbols = [symbol for symbol in report["typeCompleteness"]["symbols"] if is_public(symbol, public)]
    unknown = [symbol for symbol in symbols if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]]
    for symbol in unknown:
        print(symbol["name"], *(diagnostic["message"] for diagnostic in symbol["diagnostics"]), sep="\n    ")
    print(f"{len(symbols) - len(unknown)} of {len(symbols)} public symbols have a known type")
    return 1 if unknown or not symbols else 0


if __name__ == "__main__":
    sys.exit(main())
