"""The answer of a server as a value."""

from __future__ import annotations

import pytest

from trio_websock import HandshakeResponse, Headers


def test_an_answer_is_compared_by_what_it_says():
    assert HandshakeResponse(404, "Not Found") == HandshakeResponse(404, "Not Found")
    assert HandshakeResponse(404) != HandshakeResponse(403)


def test_an_answer_cannot_be_changed():
    with pytest.raises(AttributeError):
        HandshakeResponse(200).status = 101


def test_headers_are_found_in_any_case():
    assert HandshakeResponse(200, headers=Headers({"X-Why": "because"})).headers["x-why"] == "because"
