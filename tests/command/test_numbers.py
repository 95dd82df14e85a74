"""Numbers on a command line."""

from __future__ import annotations

import argparse
import math

import pytest

from trio_websock.command.numbers import number_type


@pytest.mark.parametrize("word", ["none", "inf", "None", "INF"])
def test_no_limit_has_two_names(word):
    assert number_type(int, "a whole number")(word) == math.inf


def test_number_is_of_the_kind_that_was_asked_for():
    assert number_type(float, "a number of seconds")("1.5") == 1.5


def test_complaint_names_what_came_and_what_was_expected():
    with pytest.raises(argparse.ArgumentTypeError, match=r"expected a whole number, not 'x'"):
        number_type(int, "a whole number")("x")
