"""What an application function may answer: values that are checked where they are made."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Any

import pytest

from trio_websock.errors import OptionError, StateError
from trio_websock.options import Options
from trio_websock.request import Headers
from trio_websock.response import RESPONSE_FIELDS, Response, check_field, encoded_fields, refusal, unavailable, upgrade


class Echo:
    def init(self, args: object) -> None: ...
    def handle_in(self, message: object, state: object) -> None: ...


def test_a_response_has_defaults_for_everything() -> None:
    response = Response()
    assert (response.status, response.body, dict(response.headers), response.content_type) == (200, b"", {}, None)


@pytest.mark.parametrize("status", [200, 404, 599, HTTPStatus.NOT_FOUND])
def test_a_status_that_may_be_sent(status: int) -> None:
    assert Response(status).status == status


@pytest.mark.parametrize("status", [0, 100, 101, 199, 600, -200, True, 200.0, "200", None])
def test_a_status_that_may_not_be_sent(status: Any) -> None:
    with pytest.raises(ValueError, match="status must be an integer from 200 to 599") as caught:
        Response(status)
    assert str(caught.value).endswith(f"not {status!r}")


@pytest.mark.parametrize("body", ["text", b"bytes", bytearray(b"bytes"), memoryview(b"bytes"), "", b""])
def test_a_body_that_may_be_sent(body: Any) -> None:
    assert Response(200, body).body == body


@pytest.mark.parametrize("body", [None, 5, ["a"], {"a": 1}])
def test_a_body_that_may_not_be_sent(body: Any) -> None:
    with pytest.raises(TypeError, match=f"body must be str or bytes, not {type(body).__name__}"):
        Response(200, body)


@pytest.mark.parametrize("headers", [{"X-A": "1"}, [("X-A", "1")], Headers({"X-A": "1"})])
@pytest.mark.parametrize(
    "make", [lambda headers: Response(headers=headers), lambda headers: upgrade(Echo, headers=headers)]
)
def test_headers_are_a_mapping_or_pairs(make: Any, headers: Any) -> None:
    assert make(headers).headers == Headers([("x-a", "1")])


def test_a_response_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Response().status = 404  # type: ignore[misc]  # what is tested


def test_an_upgrade_says_handler_and_args() -> None:
    wish = upgrade(Echo, "lobby")
    assert (wish.handler, wish.args, wish.keywords, wish.subprotocol) == (Echo, "lobby", {}, None)


def test_an_upgrade_carries_only_the_options_it_was_given() -> None:
    assert upgrade(Echo, None, timeout=30, compress=True).keywords == {"timeout": 30, "compress": True}


def test_an_upgrade_may_choose_its_subprotocol() -> None:
    assert upgrade(Echo, subprotocol="chat").subprotocol == "chat"


def test_an_option_of_an_upgrade_is_checked_at_once() -> None:
    with pytest.raises(OptionError, match="timeout must be a positive number of seconds"):
        upgrade(Echo, timeout=0)


@pytest.mark.parametrize("name", ["time_out", "port", "grace", "max_connections"])
def test_an_upgrade_refuses_what_is_no_option_of_a_connection(name: str) -> None:
    with pytest.raises(TypeError, match=f"'{name}' is not an option; the options are: cancel_on_disconnect"):
        upgrade(Echo, **{name: 5})


@pytest.mark.parametrize("name", ["fullsweep_after", "max_heap_size", "active_n"])
def test_an_upgrade_refuses_a_name_from_the_beam(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} is not an option here"):
        upgrade(Echo, **{name: 5})


@pytest.mark.parametrize("content_type", [5, b"text/html", ["text/html"]])
def test_a_content_type_that_is_no_text_is_refused(content_type: Any) -> None:
    with pytest.raises(TypeError, match=f"content_type must be str or None, not {type(content_type).__name__}"):
        Response(200, "x", content_type=content_type)


def test_a_body_that_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(ValueError, match=r"body must be encodable as UTF-8, not 'a\\ud800'"):
        Response(200, f"a{chr(0xD800)}")


@pytest.mark.parametrize(
    ("option", "value"), [("subprotocols", "chat"), ("origins", "https://example.com")], ids=["subprotocols", "origins"]
)
def test_an_iterator_among_the_options_is_not_lost_in_the_check(option: str, value: str) -> None:
    wish = upgrade(Echo, **{option: iter([value])})
    assert getattr(Options().merged(wish.keywords), option) == (value,)


def test_changing_a_list_among_the_options_changes_nothing() -> None:
    subprotocols = ["chat"]
    wish = upgrade(Echo, subprotocols=subprotocols)
    subprotocols.clear()
    assert wish.keywords == {"subprotocols": ("chat",)}


def test_a_response_made_of_another_keeps_repeated_headers() -> None:
    first = Response(headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    second = replace(first, status=404)
    assert Headers(second.headers).get_all("set-cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\n", "ä"])
def test_a_header_needs_a_name_that_is_a_token(name: str) -> None:
    with pytest.raises(StateError, match="is not the name of a header"):
        check_field(name, "a")


def test_a_value_that_may_not_be_sent_is_not_told() -> None:
    with pytest.raises(StateError, match="Set-Cookie") as caught:
        check_field("Set-Cookie", "secret\n")
    assert "secret" not in str(caught.value)


def test_headers_of_the_server_are_not_for_the_application() -> None:
    with pytest.raises(StateError, match="header Content-Length is set by the server"):
        check_field("Content-Length", "1", RESPONSE_FIELDS)


def test_encoded_headers_have_neither_capitals_nor_outer_spaces() -> None:
    assert encoded_fields([("X-A", " ä\t")]) == [(b"x-a", b"\xe4")]


def test_a_refusal_is_a_line_of_plain_text() -> None:
    assert refusal(400, "no", {"Retry-After": "5"}) == Response(400, "no\n", {"Retry-After": "5"})


def test_who_is_turned_away_is_told_when_to_come_again() -> None:
    assert unavailable("full") == refusal(503, "full", {"Retry-After": "5"})
