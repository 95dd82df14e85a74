"""How long a client may take: nothing is cancelled before something is waited for, and then it is in time."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trio_websock.server.patience import Patience


async def test_what_waits_for_nothing_is_never_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    patience = Patience(deadline=trio.current_time())
    with patience:
        await trio.lowlevel.checkpoint()
        await trio.sleep(1)
    assert not patience.is_exhausted


async def test_waiting_ends_at_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    patience = Patience(deadline=trio.current_time() + 5)
    with patience:
        patience.begin()
        await trio.sleep_forever()
    assert (trio.current_time(), patience.is_exhausted) == (5, True)


@pytest.mark.parametrize("begins_first", [True, False], ids=["while waiting", "before that"])
async def test_the_deadline_may_be_moved(begins_first: bool, autojump_clock: trio.testing.MockClock) -> None:
    patience = Patience(deadline=trio.current_time() + 5)
    with patience:
        if begins_first:
            patience.begin()
        patience.extend(trio.current_time() + 7)
        patience.begin()
        await trio.sleep_forever()
    assert trio.current_time() == 7


@pytest.mark.parametrize("begins_first", [True, False], ids=["while waiting", "before that"])
async def test_what_was_cancelled_ends_at_once_and_gets_no_more_time(
    begins_first: bool, autojump_clock: trio.testing.MockClock
) -> None:
    patience = Patience()
    with patience:
        if begins_first:
            patience.begin()
        patience.cancel()
        patience.extend(trio.current_time() + 7)
        patience.begin()
        await trio.sleep_forever()
    assert (trio.current_time(), patience.is_exhausted) == (0, True)


async def fail_in(patience: Patience, *, begins: bool) -> None:
    with patience:
        if begins:
            patience.begin()
        raise KeyError


@pytest.mark.parametrize("begins", [True, False], ids=["while waiting", "before that"])
async def test_an_exception_passes(begins: bool) -> None:
    patience = Patience()
    with pytest.raises(KeyError):
        await fail_in(patience, begins=begins)
    assert not patience.is_exhausted
