"""What a callback may return: values, cheap and frozen."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from trio_websock.behaviour.reasons import NORMAL
from trio_websock.behaviour.results import Ok, Push, Reply, Stop

RESULTS = [
    pytest.param(Ok(1), id="Ok"),
    pytest.param(Push("a", 1), id="Push"),
    pytest.param(Reply("term", "a", 1), id="Reply"),
    pytest.param(Stop(NORMAL, 1), id="Stop"),
]


@pytest.mark.parametrize(
    ("result", "names"),
    [
        pytest.param(Ok, ["state"], id="Ok(s)"),
        pytest.param(Push, ["messages", "state"], id="Push(m, s)"),
        pytest.param(Reply, ["term", "messages", "state"], id="Reply(term, m, s)"),
        pytest.param(Stop, ["reason", "state", "close", "messages"], id="Stop(r, s, close, messages)"),
    ],
)
def test_the_parts_of_a_result_stand_in_websocks_order(result: Any, names: list[str]) -> None:
    assert [field.name for field in fields(result)] == names


@pytest.mark.parametrize("kind", [Ok, Push, Reply, Stop])
def test_a_type_checker_allows_no_subclass_as_the_connection_allows_none(kind: type) -> None:
    assert kind.__dict__["__final__"]


def test_a_stop_needs_only_reason_and_state() -> None:
    assert Stop(NORMAL, 1) == Stop(NORMAL, 1, close=None, messages=())


@pytest.mark.parametrize("result", RESULTS)
def test_every_result_has_the_state(result: Any) -> None:
    assert result.state == 1


@pytest.mark.parametrize("result", RESULTS)
def test_a_result_is_frozen(result: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        result.state = 2


@pytest.mark.parametrize("result", RESULTS)
def test_a_result_has_no_dict(result: Any) -> None:
    assert not hasattr(result, "__dict__")


@pytest.mark.parametrize("make", [Ok, Push, Reply, Stop])
def test_a_result_without_its_state_cannot_be_made(make: Any) -> None:
    with pytest.raises(TypeError, match="missing"):
        make()


def test_results_of_different_kinds_are_never_equal() -> None:
    assert Push("a", 1) != Reply(None, "a", 1)
