"""Which callbacks cannot be suspended, and what becomes of them."""

from __future__ import annotations

import functools
from types import FunctionType, ModuleType
from typing import Any

import pytest

from trio_websock.behaviour.awaitless import finish
from trio_websock.behaviour.handler import bind_handler
from trio_websock.behaviour.results import Ok, Push


async def _without(message: object, state: object) -> Ok[None]:
    return Ok(None)


async def _nested(message: object, state: object) -> Ok[None]:
    async def inner() -> None:
        await _without(message, state)

    inner().close()
    return Ok(None)


@pytest.mark.parametrize("handle_in", [_without, _nested])
def test_callback_whose_own_code_has_no_await_is_known(handle_in: FunctionType) -> None:
    callbacks = bind_handler(_module(handle_in)).open()
    assert callbacks.is_prompt
    assert handle_in.__code__ in callbacks.awaitless


async def _awaits(message: object, state: object) -> Ok[None]:
    return await _without(message, state)


async def _iterates(messages: Any, state: object) -> Ok[None]:
    async for _ in messages:
        pass
    return Ok(None)


async def _collects(messages: Any, state: object) -> Push[None]:
    return Push([message async for message in messages], None)


async def _enters(message: Any, state: object) -> Ok[None]:
    async with message:
        return Ok(None)


@pytest.mark.parametrize("handle_in", [_awaits, _iterates, _collects, _enters, functools.partial(_without)])
def test_callback_that_may_be_suspended_is_not_taken_for_one_that_is_not(handle_in: object) -> None:
    callbacks = bind_handler(_module(handle_in)).open()
    assert not callbacks.awaitless
    assert not callbacks.is_prompt


def _module(handle_in: object) -> ModuleType:
    module = ModuleType("handlers")
    vars(module).update(init=lambda args: Ok(None), handle_in=handle_in)
    return module


def test_finished_coroutine_gives_what_it_returns() -> None:
    assert finish(_without("x", None)) == Ok(None)


async def _raises() -> None:
    raise StopIteration


def test_finished_coroutine_raises_what_it_would_raise_if_awaited() -> None:
    with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
        finish(_raises())
