"""Callbacks that no connection could ever be served by are refused when serving starts, not at the first client."""

from __future__ import annotations

import functools
import types
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from trio_websock.behaviour.handler import bind_handler
from trio_websock.behaviour.results import Ok


def init(args: object) -> Ok[None]:
    return Ok(None)


def handle_in(message: object, state: object) -> Ok[None]:
    return Ok(None)


def module_with(**callbacks: object) -> ModuleType:
    module = ModuleType("chat")
    vars(module).update({"init": init, "handle_in": handle_in} | callbacks)
    return module


class Sound:
    def init(self, args: object) -> Ok[None]:
        return Ok(None)

    def handle_in(self, message: object, state: object) -> Ok[None]:
        return Ok(None)


SHAPES: list[Callable[[type], object]] = [lambda handler: handler, lambda handler: handler()]


@pytest.mark.parametrize("shape", SHAPES, ids=["class", "instance"])
@pytest.mark.parametrize(
    ("callback", "function", "given"),
    [
        ("init", lambda self: Ok(None), "args"),
        ("init", lambda: Ok(None), "args"),
        ("handle_in", lambda self, message: Ok(None), "message, state"),
        ("handle_in", lambda message, state: Ok(None), "message, state"),
        ("handle_in", lambda self, message, opcode, state: Ok(None), "message, state"),
        ("handle_in", lambda self, message, state, *, extra: Ok(None), "message, state"),
        ("handle_control", lambda self, state: Ok(None), "frame, state"),
        ("handle_info", lambda self, info: Ok(None), "info, state"),
        ("terminate", lambda self, reason: None, "reason, state"),
        ("terminate", staticmethod(lambda self, reason, state: None), "reason, state"),
        ("terminate", classmethod(lambda reason, state: None), "reason, state"),
    ],
)
def test_a_callback_that_does_not_take_what_it_is_given_is_refused(
    shape: Callable[[type], object], callback: str, function: object, given: str
) -> None:
    handler = type("Chat", (Sound,), {callback: function})
    with pytest.raises(TypeError) as caught:
        bind_handler(shape(handler))
    assert str(caught.value).startswith(f"{callback} of handler Chat cannot be called with ({given}): ")


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(TypeError) as caught:
        bind_handler(type("Chat", (Sound,), {"init": lambda self: Ok(None)}))
    assert str(caught.value) == "init of handler Chat cannot be called with (args): its signature is (self)"


def test_a_module_has_functions_without_a_self() -> None:
    with pytest.raises(TypeError) as caught:
        bind_handler(module_with(terminate=lambda self, reason, state: None))
    expected = "terminate of handler chat cannot be called with (reason, state): its signature is (self, reason, state)"
    assert str(caught.value) == expected


def generator(self: object, message: object, state: object) -> Iterator[Ok[None]]:
    yield Ok(None)


async def async_generator(self: object, message: object, state: object) -> AsyncIterator[Ok[None]]:
    yield Ok(None)


@pytest.mark.parametrize("shape", SHAPES, ids=["class", "instance"])
@pytest.mark.parametrize("callback", ["handle_in", "handle_control", "handle_info", "terminate"])
@pytest.mark.parametrize("function", [generator, async_generator])
def test_a_callback_that_yields_is_refused_as_nobody_would_run_it(
    shape: Callable[[type], object], callback: str, function: object
) -> None:
    with pytest.raises(TypeError) as caught:
        bind_handler(shape(type("Chat", (Sound,), {callback: function})))
    assert str(caught.value) == f"{callback} of handler Chat is a generator: it must return its result, not yield it"


@types.coroutine
def old_coroutine(self: object, message: object, state: object) -> Any:
    yield
    return Ok(None)


def decorated(function: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(function)
    def wrapper(*args: object) -> object:
        return function(*args, "database")

    return wrapper


@decorated
def with_database(self: object, message: object, state: object, database: object) -> Ok[None]:
    return Ok(None)


@pytest.mark.parametrize("shape", SHAPES, ids=["class", "instance"])
@pytest.mark.parametrize(
    "function",
    [
        lambda self, *args: Ok(None),
        lambda *args: Ok(None),
        lambda self, message, state, more=None, *, extra=3, **rest: Ok(None),
        staticmethod(handle_in),
        classmethod(lambda cls, message, state: Ok(None)),
        functools.partialmethod(lambda self, extra, message, state: Ok(None), "extra"),
        functools.partial(handle_in),
        with_database,
        old_coroutine,
        dict,
    ],
)
def test_whatever_can_be_called_so_is_taken(shape: Callable[[type], object], function: object) -> None:
    handler = shape(type("Chat", (Sound,), {"handle_in": function}))
    assert bind_handler(handler).name == "Chat"


def test_functions_of_an_instance_have_no_self() -> None:
    assert bind_handler(SimpleNamespace(init=init, handle_in=handle_in)).name == "SimpleNamespace"


@dataclass
class Chosen(Sound):
    handle_in: Callable[[object, object], object] = handle_in


@dataclass(frozen=True)
class ChosenForEver(Sound):
    handle_in: Callable[[object, object], object] = handle_in


class Replaced(Sound):
    def __init__(self) -> None:
        setattr(self, "handle_in", handle_in)  # noqa: B010  # mypy: a method cannot be assigned to

    def handle_in(self) -> None:  # type: ignore[override]  # the point of the test
        raise AssertionError


@pytest.mark.parametrize("handler", [Chosen, ChosenForEver, Replaced])
def test_what_stands_in_a_class_is_not_looked_at_where_its_instances_get_their_own(handler: type) -> None:
    assert bind_handler(handler).open().handle_in("hi", None) == Ok(None)


class Wrapper:
    """Says that it is the function it wraps, as proxies of C's and of the library wrapt do."""

    __class__ = types.FunctionType  # type: ignore[assignment]  # the point of the test
    __code__ = (lambda message, state, database, session: None).__code__
    __defaults__ = None
    __kwdefaults__ = None

    def __call__(self, message: object, state: object) -> Ok[None]:
        return Ok(None)


@pytest.mark.parametrize("shape", SHAPES, ids=["class", "instance"])
def test_what_only_says_that_it_is_a_function_may_take_anything(shape: Callable[[type], object]) -> None:
    bind_handler(shape(type("Chat", (Sound,), {"handle_in": Wrapper()})))
