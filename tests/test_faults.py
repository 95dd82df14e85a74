"""Which exceptions end where the application was called."""

from __future__ import annotations

import importlib
from contextlib import suppress

import pytest
import trio

from trio_websock.faults import is_by_child, split_fault

stray = importlib.import_module("stray")


async def test_an_exception_is_the_applications_own() -> None:
    exc = ValueError("no")
    assert split_fault(exc) == (exc, None)


@pytest.mark.parametrize("exc", [KeyboardInterrupt(), SystemExit()])
async def test_what_is_meant_for_the_program_goes_on(exc: BaseException) -> None:
    assert split_fault(exc) == (None, exc)


async def test_a_group_is_parted() -> None:
    fault, rest = split_fault(BaseExceptionGroup("", [ValueError("no"), KeyboardInterrupt()]))
    assert isinstance(fault, ExceptionGroup)
    assert isinstance(rest, BaseExceptionGroup)
    assert [type(exc) for exc in (*fault.exceptions, *rest.exceptions)] == [ValueError, KeyboardInterrupt]


async def test_a_cancellation_that_nobody_asked_for_is_a_fault() -> None:
    exc = await stray.stray_cancelled()
    assert split_fault(exc) == (exc, None)


async def test_a_cancellation_of_ours_goes_on() -> None:
    exc = await stray.stray_cancelled()
    with trio.CancelScope() as scope:
        scope.cancel()
        assert split_fault(exc) == (None, exc)
        await trio.lowlevel.checkpoint()


async def fail() -> None:
    raise ValueError("no")


@stray.TOLD_BY_TRIO
@pytest.mark.parametrize("fails", [True, False])
async def test_a_cancellation_says_whether_it_is_for_a_child_that_failed(fails: bool) -> None:
    with suppress(ExceptionGroup):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail) if fails else nursery.cancel_scope.cancel()
            with pytest.raises(trio.Cancelled) as caught:
                await trio.sleep_forever()
    assert is_by_child(caught.value) == fails
