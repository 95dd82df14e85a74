"""The laws of the house, read from the source: who may import whom, and how large a thing may grow.

Every ``import`` counts, wherever it stands: at the top, inside a function or under ``TYPE_CHECKING``.
"""

from __future__ import annotations

import ast
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "trio_websock"
FACE = "trio_websock"

VOCABULARY = {"codes", "errors", "headers", "messages", "option_checks", "options", "request", "response"}
COMMANDS = {"cli", "__main__"}
PURE = {"vocabulary", "behaviour", "protocol"}

# Which other rooms a room may import: always rooms below it, and never one beside it on its floor.
BELOW = {
    "vocabulary": set[str](),
    "behaviour": {"vocabulary"},
    "protocol": {"vocabulary"},
    "runtime": {"vocabulary", "behaviour"},
    "hosts": {"vocabulary", "behaviour", "protocol", "runtime"},
    "server": {"vocabulary", "behaviour", "protocol", "runtime", "hosts"},
    "client": {"vocabulary", "behaviour", "protocol", "runtime", "hosts"},
    "pubsub": {"vocabulary", "behaviour", "runtime"},
    "testing": {"vocabulary", "behaviour", "protocol", "runtime", "hosts", "server", "client", "pubsub"},
    "command": {"vocabulary", "behaviour", "protocol", "runtime", "hosts", "server", "client", "pubsub"},
}

# Packages from outside, by the room that may know them; the stdlib is open to all, but see IMPURE.
OUTSIDE = {
    "runtime": {"trio"},
    "hosts": {"trio"},
    "server": {"trio", "httptools"},
    "client": {"trio", "httptools"},
    "pubsub": {"trio"},
    "testing": {"trio"},
    "command": {"trio"},
}
IMPURE = {"asyncio", "http", "selectors", "socket", "socketserver", "ssl", "subprocess", "threading"}

# What a floor below its own may still name. The types of serve()'s options are Trio's and the stdlib's own.
EXCEPTIONS = {
    "options": {"trio", "socket", "ssl"},
    "option_checks": {"ssl"},
    "hosts.trio_websocket": {"trio_websocket"},
    "hosts.asgi": {"anyio"},
    "hosts.asgi_crew": {"anyio"},
    "client.tunnel": {"python_socks"},
    "command.editor": {"prompt_toolkit"},
    "testing.pytest_plugin": {"pytest"},
}

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
FORBIDDEN_NAMES = {"base", "common", "core", "helpers", "impl", "manager", "util", "utils"}


def modules() -> list[str]:
    """Every module but the face and the rooms' own faces, as ``protocol.frames``."""
    paths = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")]
    return sorted(".".join(path.parts) for path in paths if path.name != "__init__")


# Modules without a test file of their own, and what covers them.
UNMIRRORED = {
    "transport": "an abstract port: hosts/test_conformance.py runs every implementation",
    **{name: "a chapter of the conformance suite" for name in modules() if name.startswith("testing.checks.")},
}


def faces() -> list[str]:
    """The rooms' own ``__init__`` files, as ``protocol.__init__``."""
    paths = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.glob("*/**/__init__.py")]
    return sorted(".".join(path.parts) for path in paths)


def room_of(module: str) -> str:
    """The room a module belongs to; what lies loose beside the vocabulary is the runtime."""
    first, _, rest = module.partition(".")
    if rest:
        return first
    if first in COMMANDS:
        return "command"
    return "vocabulary" if first in VOCABULARY else "runtime"


def source_of(module: str) -> Path:
    """The file of ``module``."""
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


@cache
def tree_of(module: str) -> ast.Module:
    """The parsed source of ``module``."""
    return ast.parse(source_of(module).read_text())


def imported_names(module: str) -> Iterator[str]:
    """Everything ``module`` imports, absolute: a package, a module, or a name in one."""
    package = [FACE, *module.split(".")[:-1]]
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def resolve(name: str) -> str:
    """The module of ours in which ``name`` is found; ``""`` is the face itself."""
    parts = name.split(".")[1:]
    while parts:
        path = PACKAGE.joinpath(*parts)
        if path.with_suffix(".py").exists() or path.with_suffix(".pyi").exists():  # the latter: a compiled module
            return ".".join(parts)
        if (path / "__init__.py").exists():
            return ".".join([*parts, "__init__"])
        parts.pop()
    return ""


def ours(module: str) -> set[str]:
    """The modules of ours that ``module`` imports."""
    return {resolve(name) for name in imported_names(module) if name.split(".")[0] == FACE}


def foreign(module: str) -> set[str]:
    """The packages that ``module`` imports and that are not ours."""
    return {name.split(".")[0] for name in imported_names(module)} - {FACE, "__future__"}


def code_lines(node: ast.AST) -> set[int]:
    """The lines of a function that hold code: no docstring, no comment, no blank line."""
    body = node.body[1:] if ast.get_docstring(node) else node.body  # type: ignore[attr-defined]
    return {line for part in body for child in ast.walk(part) for line in lines_of(child)}


def lines_of(node: ast.AST) -> range:
    """The lines of a node that is not itself a block."""
    if isinstance(node, ast.stmt) and hasattr(node, "body"):
        return range(node.lineno, node.body[0].lineno if node.body else node.lineno + 1)
    return range(getattr(node, "lineno", 0), (getattr(node, "end_lineno", None) or -1) + 1)


@pytest.mark.parametrize("module", modules() + faces())
def test_imports_point_down(module: str) -> None:
    room = room_of(module)
    rooms = {room_of(other) for other in ours(module) - {""}}
    assert rooms <= BELOW[room] | {room}


@pytest.mark.parametrize("module", modules() + faces())
def test_nobody_imports_the_face(module: str) -> None:
    assert "" not in ours(module) or room_of(module) in {"testing", "command"}


def test_there_is_no_import_cycle() -> None:
    graph = {module: ours(module) - {"", module} for module in modules() + faces()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        pytest.fail(" -> ".join(exc.args[1]))


@pytest.mark.parametrize("module", modules() + faces())
def test_only_the_packages_of_its_floor_are_imported(module: str) -> None:
    known = sys.stdlib_module_names | OUTSIDE.get(room_of(module), set()) | EXCEPTIONS.get(module, set())
    assert foreign(module) <= known


@pytest.mark.parametrize("module", [name for name in modules() + faces() if room_of(name) in PURE])
def test_pure_rooms_know_no_input_or_output(module: str) -> None:
    assert not foreign(module) & IMPURE - EXCEPTIONS.get(module, set())


def test_options_name_trio_only_as_a_type() -> None:
    runtime = [node for node in tree_of("options").body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in runtime for alias in node.names}
    assert not names & {"trio", "socket"}


@pytest.mark.parametrize("module", [name for name in modules() if room_of(name) == "hosts"])
def test_only_our_own_stream_host_knows_the_wire_format(module: str) -> None:
    # Whom to upgrade is every host's business, and no matter of frames.
    knows = any(room_of(other) == "protocol" for other in ours(module) - {"protocol.upgrade"})
    assert not knows or module == "hosts.stream"


def test_trio_websocket_is_imported_by_its_host_alone() -> None:
    importers = {module for module in modules() + faces() if "trio_websocket" in foreign(module)}
    assert importers <= {"hosts.trio_websocket"}


def is_mirrored(module: str) -> bool:
    # The checks of testing/checks are tests themselves: hosts/test_conformance.py runs every one of them.
    return module not in UNMIRRORED and not module.startswith("testing.checks.")


@pytest.mark.parametrize("module", [name for name in modules() if is_mirrored(name)])
def test_each_module_has_its_test_file(module: str) -> None:
    *room, name = module.split(".")
    assert TESTS.joinpath(*room, f"test_{name.strip('_')}.py").exists()


def test_the_list_of_modules_without_a_test_file_is_current() -> None:
    assert set(UNMIRRORED) <= set(modules())


@pytest.mark.parametrize("module", modules())
def test_a_module_is_named_after_its_station(module: str) -> None:
    assert not FORBIDDEN_NAMES & set(module.split("."))


@pytest.mark.parametrize("module", modules() + faces())
def test_no_file_is_too_long_to_read(module: str) -> None:
    with tokenize.open(source_of(module)) as source:
        assert sum(1 for _ in source) <= MAX_FILE_LINES


@pytest.mark.parametrize("module", modules() + faces())
def test_no_function_is_too_long_to_read(module: str) -> None:
    functions = [node for node in ast.walk(tree_of(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    too_long = [node.name for node in functions if len(code_lines(node)) > MAX_FUNCTION_LINES]
    assert not too_long


@pytest.mark.parametrize("module", [name for name in modules() if name not in {"behaviour.handler"}])
def test_handle_is_a_word_of_the_behaviour(module: str) -> None:
    defined = {node.name for node in ast.walk(tree_of(module)) if isinstance(node, ast.FunctionDef)}
    callbacks = {"handle_in", "handle_control", "handle_info"}
    assert not {name for name in defined if name.lstrip("_").startswith("handle_")} - callbacks
