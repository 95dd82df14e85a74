"""The documentation against the code: what a page lists is what there is."""

from __future__ import annotations

import ast
import re
from collections.abc import Awaitable, Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trio_websock
from trio_websock import (
    NORMAL,
    ClientOptions,
    Deflate,
    Handler,
    Headers,
    Ok,
    Options,
    Push,
    Reconnect,
    Request,
    Server,
    ServerOptions,
    Shutdown,
    Stop,
    UpgradeRefused,
    broadcast,
    serve,
)
from trio_websock.cli import main
from trio_websock.testing import TestApplication, open_test_connection

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
WORD = re.compile(r"(?<!-)--[a-z][a-z-]*")
ROW = re.compile(r"^\| `(\w+)` \| `([^`]*)` \|", re.MULTILINE)


def section(page: str, heading: str) -> str:
    """The part of a page from a heading to the next heading."""
    return (DOCS / page).read_text().split(f"# {heading}\n")[1].split("\n#")[0]


def python_blocks(path: Path) -> list[str]:
    """The Python examples of a page."""
    return [code for language, code in FENCE.findall(path.read_text()) if language == "python"]


def example(page: Path, part: str) -> str:
    """The only example of a page that has ``part`` in it."""
    (code,) = [code for code in python_blocks(page) if part in code]
    return code


def names_of(*examples: str) -> dict[str, Any]:
    """What examples define that stand in one module."""
    names: dict[str, Any] = {}
    for code in examples:
        exec(code, names)
    return names


def prices_from(server: Server) -> Callable[[], Awaitable[None]]:
    """The client's first example, for the prices of another server."""
    code = example(DOCS / "client.md", "class Prices")
    main: Callable[[], Awaitable[None]] = names_of(code.replace("wss://example.com", f"ws://127.0.0.1:{server.port}"))[
        "main"
    ]
    return main


def tutorial_recipe() -> TestApplication:
    """The tutorial's application that asks for a cookie, with the chat that it lets people into."""
    tutorial = DOCS / "tutorial.md"
    chat, init = example(tutorial, "class Chat(Handler)"), example(tutorial, "def init(self, name)")
    names = names_of(chat, f"class Chat(Chat):\n{init}", example(tutorial, "SimpleCookie"))
    return TestApplication(names["app"])


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


def test_the_table_of_the_command_s_options_is_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    offered = set(WORD.findall(capsys.readouterr().out)) - {"--help", "--version"}
    assert set(WORD.findall(section("command.md", "Serving"))) == offered


def test_the_table_of_loggers_is_what_logs() -> None:
    table = re.findall(r"^\| `(trio_websock\.\w+)`", section("closing.md", "What is logged"), re.MULTILINE)
    sources = [path.read_text() for path in ROOT.glob("trio_websock/**/*.py")]
    assert set(table) == {name for code in sources for name in re.findall(r'getLogger\("(.+?)"\)', code)}


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
    names = names_of(example(ROOT / "README.md", "class Counter"))
    async with open_test_connection(names["Counter"]) as peer:
        await peer.send("a", "b")
        assert peer.received() == ["0: a", "1: b"]


ANYBODY = Request("GET", "/", Headers(()))


class Stuck(Handler[None, str]):
    """Keeps up with nothing."""

    def init(self, args: object) -> Ok[None]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Ok[None]:
        return Ok(state)

    async def handle_info(self, info: str, state: None) -> Ok[None]:
        await trio.sleep_forever()


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
    await prices_from(server)()
    assert set(capsys.readouterr().out.splitlines()) == {"17", "18", "the feed is gone: Remote(code=1000, text='')"}


async def test_the_client_s_example_ends_with_its_handler(nursery: trio.Nursery) -> None:
    server = await nursery.start(partial(serve, Feed("17", "a lot"), port=0))
    await prices_from(server)()


async def test_the_tutorial_s_recipe_lets_in_who_has_logged_in() -> None:
    async with tutorial_recipe().open("/chat", headers={"Cookie": "theme=dark; session=kept-secret"}) as peer:
        await peer.send("hello")
        assert peer.received() == ["Ada: hello"]


@pytest.mark.parametrize("cookie", ["", "session=guessed", "session", "a,b=1"])
async def test_the_tutorial_s_recipe_keeps_out_who_has_not(cookie: str) -> None:
    with pytest.raises(UpgradeRefused) as refused:
        async with tutorial_recipe().open("/chat", headers={"Cookie": cookie}):
            pass
    assert (refused.value.status, refused.value.reason) == (401, "log in first")


async def test_the_process_model_s_recipe_gives_up_who_does_not_keep_up(autojump_clock: MockClock) -> None:
    recipe = example(DOCS / "process-model.md", "cancel_scope")
    async with (
        open_test_connection(names_of(example(DOCS / "tutorial.md", "class Chat(Handler)"))["Chat"], ANYBODY) as other,
        open_test_connection(Stuck, mailbox_size=1) as stuck,
        open_test_connection(Stuck) as ended,
    ):
        await ended.drop()
        for _ in range(4):
            room = [other.connection, stuck.connection, ended.connection]
            exec(recipe, {"broadcast": broadcast, "room": room, "item": "news"})
            await other.settle()
        assert other.received() == ["news"] * 4
        assert stuck.reason == Shutdown()


def test_the_typed_example_of_the_tutorial_is_typed(tmp_path: Path) -> None:
    mypy = pytest.importorskip("mypy.api")
    (tmp_path / "counter.py").write_text(example(DOCS / "tutorial.md", "Handler[int, None]"))
    report, errors, status = mypy.run(["--strict", f"--cache-dir={tmp_path}", str(tmp_path / "counter.py")])
    assert status == 0, report + errors
