"""The application's choice, or what is negotiated."""

from __future__ import annotations

import pytest

from trio_websock import Headers, Options, Request, StateError, UpgradeRefused
from trio_websock.hosts.subprotocol import choose_subprotocol

OFFER = Request("GET", "/", Headers({"Sec-WebSocket-Protocol": "a, b"}))


def test_what_the_application_chose_wins() -> None:
    assert choose_subprotocol(OFFER, "a", Options(subprotocols=["b"])) == "a"


def test_without_a_choice_it_is_negotiated() -> None:
    assert choose_subprotocol(OFFER, None, Options(subprotocols=["c", "b"])) == "b"


def test_a_choice_that_was_not_offered_is_the_applications_fault() -> None:
    with pytest.raises(StateError, match=r"chose subprotocol 'c'; offered were \['a', 'b'\]"):
        choose_subprotocol(OFFER, "c", Options())


def test_a_client_without_the_one_that_is_required_is_refused() -> None:
    with pytest.raises(UpgradeRefused):
        choose_subprotocol(OFFER, None, Options(subprotocols=["c"], require_subprotocol=True))
