"""The page of promises against the tree: what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/promises.md").read_text()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", PAGE))))
def test_a_file_that_the_page_names_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", PAGE))))
def test_a_test_that_the_page_names_exists(name: str) -> None:
    assert any(f"def {name}(" in path.read_text() for path in ROOT.glob("tests/**/*.py"))


@pytest.mark.parametrize("number", range(1, 10))
def test_each_law_has_its_section(number: int) -> None:
    assert re.search(rf"^## {number}\. ", PAGE, re.MULTILINE)
