"""What can be installed beside: wherever an error, a docstring or a page names an extra, there is one of that name."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])

# As pip takes them, the package by its name or by its directory; and as prose has them: the extra `cli`.
NAMED = re.compile(
    r"(?:\btrio-websock|(?<=[ '\"])\.)\[([\w, .-]+)\]|\bextra,? `+(?:trio-websock\[)?([\w.-]+)", re.IGNORECASE
)


def texts() -> list[Path]:
    """Every file in which somebody may be told to install something."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md"), *ROOT.glob("trio_websock/**/*.py")]


def extras_named_in(text: str) -> set[str]:
    """The names of all extras that ``text`` speaks of."""
    found = (listed or alone for listed, alone in NAMED.findall(text))
    return {name.strip() for names in found for name in names.split(",")}


@pytest.mark.parametrize("path", texts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_extra_that_is_named_exists(path: Path) -> None:
    assert extras_named_in(path.read_text()) <= EXTRAS


def test_every_extra_is_named_somewhere() -> None:
    assert {name for path in texts() for name in extras_named_in(path.read_text())} == EXTRAS


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("(pip install 'trio-websock[proxy]')", {"proxy"}),
        (".venv/bin/pip install '.[asgi,cli]'", {"asgi", "cli"}),
        ("Install the extra, `trio-websock[trio-websocket]`", {"trio-websocket"}),
        ("the extra `cli`", {"cli"}),
        ("request.headers['x']", set()),
    ],
)
def test_an_extra_is_found_in(text: str, named: set[str]) -> None:
    assert extras_named_in(text) == named
