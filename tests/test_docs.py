"""The documentation against the code: what a page lists is what there is."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_websock
from trio_websock import NORMAL, ClientOptions, Deflate, Handler, Options, Push, Reconnect, ServerOptions, Stop, serve
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


def names_of(page: str, part: str, old: str = "", new: str = "") -> dict[str, Any]:
    """What the example of a page with that part in it defines, with something else in place of ``old``."""
    (code,) = [code for code in python_blocks(DOCS / page) if part in code]
    names: dict[str, Any] = {}
    exec(code.replace(old, new), names)
    return names


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
    names = names_of("../README.md", "class Counter")
    async with open_test_connection(names["Counter"]) as peer:
        await peer.send("a", "b")
        assert peer.received() == ["0: a", "1: b"]


class Feed(Handler[None, None]):
    """A feed that is over with its second price; not every price is JSON."""

    def __init__(self, *prices: str) -> None:
        self.first, self.last = prices

    def init(self, args: object) -> Push[None]:
        return Push(self.first, None)

    def handle_in(self, message: str | bytes, state: None) -> Stop[None]:
        return Stop(NORMAL, state, messages=self.last)


async def test_the_client_s_example_ends_with_its_feed(
    nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    server = await nursery.start(partial(serve, Feed("17", "18"), port=0))
    await names_of("client.md", "class Prices", "wss://example.com", f"ws://127.0.0.1:{server.port}")["main"]()
    assert set(capsys.readouterr().out.splitlines()) == {"17", "18", "the feed is gone: Remote(code=1000, text='')"}


async def test_the_client_s_example_ends_with_its_handler(nursery: trio.Nursery) -> None:
    server = await nursery.start(partial(serve, Feed("17", "a lot"), port=0))
    await names_of("client.md", "class Prices", "wss://example.com", f"ws://127.0.0.1:{server.port}")["main"]()
