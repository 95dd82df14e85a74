"""How a connection ended: one noted ending, a new error each time, and close frames that may be sent."""

from __future__ import annotations

import pytest

from trio_websock import ConnectionLost, Error, MessageError
from trio_websock.client.ending import Ending, checked_close, ending_for


def test_the_error_says_what_is_known_and_why():
    cause = ConnectionLost("reset")
    error = Ending(3000, "text", "peer", cause).error()
    assert (error.code, error.text, error.closed_by, error.__cause__) == (3000, "text", "peer", cause)


def test_each_error_is_a_new_one():
    ending = Ending(1000, "", "us")
    assert ending.error() is not ending.error()


def test_what_is_lost_is_closed_by_nobody():
    cause = ConnectionLost("reset")
    assert ending_for(Error(cause)) == (Ending(None, "", "nobody", cause), None)


def test_a_close_is_a_code_and_text_in_utf8():
    assert checked_close(3000, "ü") == (3000, b"\xc3\xbc")


@pytest.mark.parametrize(("code", "text"), [(1005, ""), (1000, "ü" * 62), (1000, None), (None, "")])
def test_a_close_that_may_not_travel_is_refused(code, text):
    with pytest.raises(MessageError):
        checked_close(code, text)
