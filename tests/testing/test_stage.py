from __future__ import annotations

import logging

import pytest
import trio

from trio_websock import Error, Normal
from trio_websock.testing.host_checks import Capability
from trio_websock.testing.stage import Check, Checks, Host, Stage


class NoHost:
    """Serves nothing; for checks that never ask it to."""

    name = "none"
    capabilities = frozenset({Capability.VIRTUAL_TIME})
    pace = 0.5

    def make_clock(self) -> None:
        raise NotImplementedError

    def open_server(self, app: object, **options: object) -> None:  # type: ignore[override]
        raise NotImplementedError


@pytest.fixture
def stage() -> Stage:
    host: Host = NoHost()  # type: ignore[assignment]  # as much of one as is needed here
    return Stage(host)


def play(stage: Stage, checks: Checks) -> None:
    for check in checks:
        trio.run(stage.play, check)


def test_a_check_is_named_after_its_function_and_group() -> None:
    checks = Checks("group", Capability.FRAMING)

    @checks.add(Capability.RESET)
    async def this_is_so(stage: Stage) -> None: ...

    (check,) = checks
    assert (str(check), check.needs) == ("group: this is so", {Capability.FRAMING, Capability.RESET})


def test_each_case_is_a_check_of_its_own_with_its_own_arguments(stage: Stage) -> None:
    checks = Checks("group")
    seen = []

    @checks.add_each({"one": (1, "a"), "two": (2, "b")})
    async def this_holds_for(stage: Stage, number: int, letter: str) -> None:
        seen.append((number, letter))

    play(stage, checks)
    assert [check.name for check in checks] == ["this holds for [one]", "this holds for [two]"]
    assert seen == [(1, "a"), (2, "b")]


def test_seconds_go_by_the_pace_of_the_host(stage: Stage) -> None:
    assert stage.seconds(10) == 5


async def test_notes_are_expected_in_their_order(stage: Stage) -> None:
    stage.note("a")
    stage.note("b")
    with pytest.raises(AssertionError, match="expected 'b': noted 'a'"):
        await stage.expect_notes("b", "a")


async def test_a_note_that_nobody_asked_for_is_found(stage: Stage) -> None:
    stage.expect_no_note()
    stage.note("a")
    with pytest.raises(AssertionError, match="noted 'a'"):
        stage.expect_no_note()


async def test_an_expected_error_gives_its_cause(stage: Stage) -> None:
    cause = ValueError()
    stage.note(Error(cause))
    assert await stage.expect_error(ValueError) is cause


@pytest.mark.parametrize("noted", [Normal(), Error("a string"), Error(KeyError())])
async def test_another_end_is_no_expected_error(stage: Stage, noted: object) -> None:
    stage.note(noted)
    with pytest.raises(AssertionError, match="expected an Error with ValueError"):
        await stage.expect_error(ValueError)


def test_what_is_logged_during_a_check_is_kept_and_the_logger_left_as_it_was(stage: Stage) -> None:
    async def log(stage: Stage) -> None:
        logging.getLogger("some.where").debug("quiet")
        logging.getLogger("some.where").warning("loud")

    before = logging.getLogger().level, list(logging.getLogger().handlers)
    trio.run(stage.play, Check("group", "name", frozenset(), log))
    assert [record.getMessage() for record in stage.logged(logging.INFO)] == ["loud"]
    assert (logging.getLogger().level, logging.getLogger().handlers) == before
