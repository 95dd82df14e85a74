"""Public names: each exists, is documented, and is listed by the room that owns it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import fields
from types import ModuleType
from typing import ForwardRef

import pytest

import trio_websock
from trio_websock import options

# Hosts for other libraries import them, and may be missing; __main__ runs when imported.
OPTIONAL = {"trio_websock.__main__", "trio_websock.hosts.trio_websocket"}


def modules() -> list[ModuleType]:
    """Every module of the package but the face."""
    found = pkgutil.walk_packages(trio_websock.__path__, "trio_websock.")
    return [importlib.import_module(info.name) for info in found if info.name not in OPTIONAL]


def documented_things(module: ModuleType) -> Iterator[tuple[str, object]]:
    """The classes and functions ``module`` exports, and their public methods and properties."""
    for name in module.__all__:
        thing = getattr(module, name)
        if getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(thing):
            yield from ((f"{name}.{member}", getattr(thing, member)) for member in public_members(thing))
        if inspect.isclass(thing) or inspect.isroutine(thing):
            yield name, thing


def public_members(cls: type) -> list[str]:
    """The methods and properties a class adds to those its bases name, which are documented there."""
    is_code = (property, staticmethod, classmethod)
    known = {name for base in cls.__mro__[1:] for name in {**vars(base), **inspect.get_annotations(base)}}
    return [
        name
        for name, member in vars(cls).items()
        if not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, is_code)) and name not in known
    ]


MODULES = [pytest.param(module, id=module.__name__.removeprefix("trio_websock.")) for module in modules()]


@pytest.mark.parametrize("name", trio_websock.__all__)
def test_a_public_name_exists(name: str) -> None:
    assert hasattr(trio_websock, name)


@pytest.mark.parametrize("name", trio_websock.__all__)
def test_a_public_name_is_listed_by_the_room_that_owns_it(name: str) -> None:
    owners = [module for module in modules() if name in getattr(module, "__all__", ())]
    assert any(getattr(module, name) is getattr(trio_websock, name) for module in owners)


def test_the_face_shows_nothing_it_does_not_list() -> None:
    shown = {name for name, thing in vars(trio_websock).items() if not inspect.ismodule(thing)}
    assert {name for name in shown if not name.startswith("_")} - {"annotations"} <= set(trio_websock.__all__)


@pytest.mark.parametrize("module", [trio_websock, *MODULES])
def test_all_is_free_of_repetition(module: ModuleType) -> None:
    names = list(getattr(module, "__all__", ()))
    assert len(names) == len(set(names))


@pytest.mark.parametrize("module", MODULES)
def test_a_module_lists_its_public_names_and_says_its_station(module: ModuleType) -> None:
    is_face = hasattr(module, "__path__")
    assert is_face or (module.__doc__ and all(hasattr(module, name) for name in module.__all__))


@pytest.mark.parametrize("module", [case for case in MODULES if hasattr(case.values[0], "__all__")])
def test_everything_public_has_a_docstring(module: ModuleType) -> None:
    assert [name for name, thing in documented_things(module) if not inspect.getdoc(thing)] == []


@pytest.mark.parametrize(
    ("keywords", "dataclasses"),
    [
        (options.ConnectionKeywords, [options.Options]),
        (options.ServerKeywords, [options.Options, options.ServerOptions]),
    ],
)
def test_keywords_are_the_fields_of_their_dataclasses(keywords: type, dataclasses: list[type]) -> None:
    expected = {field.name: spelled(field.type) for dataclass in dataclasses for field in fields(dataclass)}
    assert {name: spelled(hint) for name, hint in keywords.__annotations__.items()} == expected


def spelled(hint: object) -> str:
    """An annotation as it is written."""
    return hint.__forward_arg__ if isinstance(hint, ForwardRef) else str(hint)


def test_the_keywords_of_a_stream_are_some_of_the_server_s() -> None:
    known = options.ServerKeywords.__annotations__
    keywords = options.StreamKeywords.__annotations__
    assert {name: known[name] for name in keywords} == keywords


def test_no_option_belongs_to_both_a_connection_and_a_server() -> None:
    assert not options.CONNECTION_NAMES & options.SERVER_NAMES


@pytest.mark.parametrize("dataclass", [options.Options, options.ServerOptions, options.Deflate])
def test_every_option_is_explained(dataclass: type) -> None:
    doc = inspect.getdoc(dataclass) or ""
    assert [field.name for field in fields(dataclass) if f"\n    {field.name}: " not in doc] == []
