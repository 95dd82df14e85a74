from __future__ import annotations

import pytest
import trio
import trio.testing

from trio_websock.testing.host_checks import ALL_CHECKS, Capability, Check, missing_capabilities, run_check
from trio_websock.testing.stage import Stage


class NoHost:
    """Serves nothing."""

    name = "none"
    capabilities = frozenset({Capability.VIRTUAL_TIME})
    pace = 1.0

    def make_clock(self) -> trio.testing.MockClock:
        return trio.testing.MockClock(autojump_threshold=0)

    def open_server(self, app: object, **options: object) -> None:  # type: ignore[override]
        raise NotImplementedError


def check_that(run: object, *needs: Capability) -> Check:
    return Check("group", "name", frozenset(needs), run)  # type: ignore[arg-type]  # a function of a stage


def test_missing_is_what_the_check_needs_and_the_host_cannot_do() -> None:
    check = check_that(None, Capability.VIRTUAL_TIME, Capability.RESET)
    assert missing_capabilities(NoHost(), check) == {Capability.RESET}  # type: ignore[arg-type]


def test_a_claim_that_does_not_hold_raises() -> None:
    async def fails(stage: Stage) -> None:
        raise AssertionError("it does not hold")

    with pytest.raises(AssertionError, match="it does not hold"):
        run_check(NoHost(), check_that(fails))  # type: ignore[arg-type]


def test_a_check_runs_in_the_clock_of_its_host() -> None:
    async def sleeps(stage: Stage) -> None:
        await trio.sleep(1_000)

    run_check(NoHost(), check_that(sleeps))  # type: ignore[arg-type]


def test_a_check_that_waits_for_ever_fails() -> None:
    async def waits(stage: Stage) -> None:
        await trio.sleep_forever()

    with pytest.raises(trio.TooSlowError):
        run_check(NoHost(), check_that(waits))  # type: ignore[arg-type]


def test_there_are_checks_for_every_chapter_of_the_rulings() -> None:
    assert {check.group for check in ALL_CHECKS} == {
        "callbacks",
        "results",
        "failures",
        "closing",
        "idle timeout",
        "shutdown",
        "protocol errors",
        "compression",
        "upgrade",
        "application",
    }
