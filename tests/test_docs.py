"""The documentation against the code: what a page lists is what there is."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

import trio_websock
from trio_websock import ClientOptions, Deflate, Options, Reconnect, ServerOptions
from trio_websock.testing import open_test_connection

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"^\| `(\w+)` \| `([^`]*)` \|", re.MULTILINE)


def section(page: str, heading: str) -> str:
    """The part of a page from a heading to the next heading."""
    return (DOCS / page).read_text().split(f"# {heading}\n")[1].split("\n#")[0]


def python_blocks(path: Path) -> list[str]:
    """The Python examples of a page."""
    return [code for language, code in FENCE.findall(path.read_text()) if language == "python"]


def as_function(code: str) -> str:
    """An example as the body of a function: part of a class is shown indented, perhaps with an await of its own."""
    return "async def example():\n" + re.sub("^", "    ", re.sub(r"\A(?=    )", "if True:\n", code), flags=re.M)


@pytest.mark.parametrize(
    ("heading", "dataclass"),
    [("Of a connection", Options), ("Compression", Deflate), ("Of a server", ServerOptions)],
)
def test_the_table_of_options_is_the_dataclass(heading: str, dataclass: type) -> None:
    table = ROW.findall(section("options.md", heading))
    assert table == [(field.name, repr(field.default)) for field in fields(dataclass)]


def test_the_table_of_the_client_s_options_is_the_dataclass() -> None:
    table = ROW.findall(section("client.md", "Connecting"))
    assert table == [(field.name, repr(field.default)) for field in fields(ClientOptions)]


def test_the_table_of_reconnect_is_the_dataclass() -> None:
    table = ROW.findall(section("client.md", "Connecting again"))
    # The codes are said in words.
    assert table == [(field.name, repr(field.default)) for field in fields(Reconnect) if field.name != "codes"]


@pytest.mark.parametrize("name", trio_websock.__all__)
def test_the_reference_has_every_public_name(name: str) -> None:
    assert re.search(rf"^\.\. (auto\w+|py:data):: {name}$", (DOCS / "reference.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_are_python(page: Path) -> None:
    for code in python_blocks(page):
        compile(as_function(code), page, "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_whole_program_can_be_imported_without_running(page: Path) -> None:
    for code in python_blocks(page):
        (function,) = ast.parse(as_function(code)).body
        assert isinstance(function, ast.AsyncFunctionDef)
        lines = [ast.unparse(statement) for statement in function.body]
        assert not [line for line in lines if line.startswith(("run(", "trio.run("))]


async def test_the_example_of_the_readme_counts() -> None:
    names: dict[str, type] = {}
    exec(python_blocks(ROOT / "README.md")[0], names)
    async with open_test_connection(names["Counter"]) as peer:
        await peer.send("a", "b")
        assert peer.received() == ["0: a", "1: b"]
