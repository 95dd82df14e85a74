"""A watched handler does what the handler does, and what came of it is kept."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import trio

from trio_websock import NORMAL, Error, Normal, Ok, Options, Ping, Pong, Push, ResultError, StateError, Stop
from trio_websock.behaviour.handler import bind_handler
from trio_websock.testing.witness import WatchedHandler


class Counter:
    def init(self, args: Any) -> Any:
        return Ok(args)

    async def handle_in(self, message: str | bytes, count: int) -> Any:
        await trio.lowlevel.checkpoint()
        return Push(message, count + 1)

    async def handle_control(self, frame: Ping | Pong, count: int) -> Any:
        return Ok(count + 100)


class Brief:
    def init(self, args: Any) -> Any:
        return Ok(args)

    handle_in = Counter.handle_in


def watched(handler: object = Counter) -> WatchedHandler:
    return WatchedHandler(bind_handler(handler), Options())


def test_there_is_no_state_before_init() -> None:
    with pytest.raises(StateError, match="Counter has no state"):
        watched().state  # noqa: B018  # looking is what raises


async def test_newest_state_is_kept() -> None:
    watch = watched()
    watch.init(5)
    assert watch.state == 5
    assert await watch.handle_in("x", 5) == Push("x", 6)
    assert watch.state == 6


def test_plain_callback_stays_one() -> None:
    assert not inspect.isawaitable(watched().init(0))


def test_callback_without_an_await_needs_nobody_to_await_it() -> None:
    watch = watched()
    watch.init(0)
    assert watch.handle_control(Ping(b""), 7) == Ok(107)


def test_control_frames_nobody_wants_change_nothing() -> None:
    watch = watched(Brief)
    watch.init(0)
    assert watch.handle_control(Ping(b""), 7) == Ok(7)


def test_handler_without_terminate_is_told_nothing() -> None:
    watch = watched()
    watch.init(0)
    watch.terminate(Normal(), 0)
    assert watch.told == Normal()


class Failing(Counter):
    def handle_info(self, info: Any, count: int) -> Any:
        raise info

    async def handle_control(self, frame: Any, count: int) -> Any:
        raise KeyError("later")


async def test_first_failure_is_kept_and_passes() -> None:
    watch = watched(Failing)
    watch.init(0)
    first = ValueError("first")
    with pytest.raises(ValueError, match="first"):
        watch.handle_info(first, 0)
    with pytest.raises(KeyError):
        await watch.handle_control(Ping(b""), 0)
    assert watch.failure is first


async def test_failure_of_a_coroutine_is_kept_too() -> None:
    watch = watched(Failing)
    watch.init(0)
    with pytest.raises(KeyError) as caught:
        await watch.handle_control(Ping(b""), 0)
    assert watch.failure is caught.value


def test_bad_result_is_a_failure_and_leaves_the_state() -> None:
    class Bad(Counter):
        def handle_info(self, info: Any, count: int) -> Any:
            return Push(object(), 99)  # type: ignore[arg-type]  # what it is about

    watch = watched(Bad)
    watch.init(1)
    with pytest.raises(ResultError):
        watch.handle_info("x", 1)
    assert isinstance(watch.failure, ResultError)
    assert watch.state == 1


def test_stop_of_the_handler_is_told_from_a_failure() -> None:
    cause = ValueError()

    class Stopping(Counter):
        def handle_info(self, info: Any, count: int) -> Any:
            return Stop(info, count)

    watch = watched(Stopping)
    watch.init(0)
    watch.handle_info(NORMAL, 0)
    assert not watch.is_own_end(Normal())
    watch.handle_info(cause, 0)
    assert watch.is_own_end(Error(cause))
    assert not watch.is_own_end(Error(ValueError()))
