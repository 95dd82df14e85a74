"""Options by name: merged, sorted into the two halves, and what is said of names that are none."""

from __future__ import annotations

from typing import Any

import pytest

from trio_websock.errors import OptionError
from trio_websock.options import CONNECTION_NAMES, SERVER_NAMES, Options, check_names, split_keywords


def test_merging_wins_over_what_stood_there() -> None:
    merged = Options(timeout=30, mailbox_size=5).merged({"timeout": 90})
    assert (merged.timeout, merged.mailbox_size) == (90, 5)


def test_merging_leaves_the_original_alone() -> None:
    options = Options(timeout=30)
    options.merged({"timeout": 90})
    assert options.timeout == 30


def test_merging_nothing_costs_nothing() -> None:
    options = Options()
    assert options.merged({}) is options


def test_merging_checks_values() -> None:
    with pytest.raises(OptionError, match="timeout must be"):
        Options().merged({"timeout": -1})


@pytest.mark.parametrize("name", ["time_out", "port", "grace"])
def test_merging_refuses_what_is_no_option_of_a_connection(name: Any) -> None:
    with pytest.raises(TypeError, match=f"'{name}' is not an option; the options are: cancel_on_disconnect, "):
        Options().merged({name: 5})


def test_keywords_go_to_the_half_they_belong_to() -> None:
    server, connection = split_keywords({"port": 0, "timeout": 5})
    assert (server.port, connection.timeout) == (0, 5)


def test_an_unknown_name_is_told_all_there_are() -> None:
    with pytest.raises(TypeError) as caught:
        split_keywords({"port": 0, "colour": "red"})  # type: ignore[typeddict-unknown-key]  # what is tested
    known = ", ".join(sorted(CONNECTION_NAMES | SERVER_NAMES))
    assert str(caught.value) == f"'colour' is not an option; the options are: {known}"


@pytest.mark.parametrize("known", [CONNECTION_NAMES, CONNECTION_NAMES | SERVER_NAMES])
@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("fullsweep_after", ""),
        ("max_heap_size", "max_message_size, mailbox_size and read_ahead_size"),
        ("active_n", "read_ahead_messages and read_ahead_size"),
    ],
)
def test_a_name_from_the_beam_is_told_what_serves_the_same_end(name: str, instead: str, known: frozenset[str]) -> None:
    with pytest.raises(TypeError, match=f"{name} is not an option here: .*{instead}"):
        check_names([name], known)


@pytest.mark.parametrize("name", ["max_message_size", "mailbox_size", "read_ahead_size", "read_ahead_messages"])
def test_what_serves_the_same_end_exists(name: str) -> None:
    assert name in CONNECTION_NAMES
