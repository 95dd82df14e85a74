"""Options of a client: what is allowed, and what is refused before anything is opened."""

from __future__ import annotations

import inspect
import math
from dataclasses import fields

import pytest
import trio

from trio_websock import ClientOptions, OptionError, Options
from trio_websock.client.options import ClientKeywords, HandlerKeywords, split_client_keywords


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("headers", {"X": "a\r\nY: b"}),
        ("headers", {"X Y": "a"}),
        ("headers", {"Upgrade": "h2c"}),
        ("headers", [("sec-websocket-key", "x")]),
        ("headers", {"Content-Length": "1"}),
        ("headers", "X: a"),
        ("headers", ["X: a"]),
        ("headers", 5),
        ("headers", {"X": 1}),
        ("path", 5),
        ("path", ""),
        ("path", b"/tmp/x"),
        ("authorization", ("a:b", "c")),
        ("authorization", ("a",)),
        ("authorization", "with space"),
        ("authorization", 7),
        ("authorization", ("a", "\udcff")),
        ("ssl_context", "yes"),
        ("stream", object()),
        ("connect_timeout", 0),
        ("connect_timeout", math.nan),
        ("connect_timeout", True),
        ("max_redirects", -1),
        ("max_redirects", 1.5),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(name, value):
    with pytest.raises(OptionError, match=name):
        ClientOptions(**{name: value})


def test_a_refused_authorization_is_not_told():
    with pytest.raises(OptionError) as caught:
        ClientOptions(authorization="top secret")
    assert "secret" not in str(caught.value)


def test_the_value_of_a_refused_header_is_not_told():
    with pytest.raises(OptionError, match="X-Token") as caught:
        ClientOptions(headers={"X-Token": "top secret\n"})
    assert "secret" not in str(caught.value)


def test_headers_that_are_none_are_refused_without_their_values():
    with pytest.raises(OptionError, match=r"headers must be a mapping or a list of \(name, value\) pairs") as caught:
        ClientOptions(headers="X-Token: secret")
    assert "secret" not in str(caught.value)


def test_a_stream_and_a_path_are_one_too_many():
    stream, _ = trio.testing.memory_stream_pair()
    with pytest.raises(TypeError, match="not both"):
        ClientOptions(stream=stream, path="/tmp/x")


def test_a_server_may_be_silent_but_is_asked():
    _, options = split_client_keywords({}, ClientKeywords)
    assert (options.timeout, options.ping_interval) == (math.inf, 20)


def test_limits_are_those_of_a_server():
    _, options = split_client_keywords({}, ClientKeywords)
    assert options.max_message_size == Options().max_message_size


@pytest.mark.parametrize("name", ["origins", "mailbox_size", "port", "nonsense"])
def test_an_option_that_means_nothing_here_is_a_type_error(name):
    with pytest.raises(TypeError, match=name):
        split_client_keywords({name: 1}, ClientKeywords)


def test_a_handler_has_a_mailbox():
    _, options = split_client_keywords({"mailbox_size": 7}, HandlerKeywords)
    assert options.mailbox_size == 7


def test_the_keywords_are_the_fields():
    client = {field.name for field in fields(ClientOptions)}
    connection = {field.name for field in fields(Options)} - {"origins"}
    assert set(HandlerKeywords.__annotations__) == client | connection


def test_a_subprotocol_is_required_of_a_server_only_where_one_is_offered():
    with pytest.raises(OptionError, match=r"require_subprotocol.*subprotocols"):
        split_client_keywords({"require_subprotocol": True, "subprotocols": []}, ClientKeywords)
    _, options = split_client_keywords({"require_subprotocol": True, "subprotocols": ["a"]}, ClientKeywords)
    assert options.require_subprotocol


def test_every_option_is_explained():
    doc = inspect.getdoc(ClientOptions) or ""
    assert [field.name for field in fields(ClientOptions) if f"\n    {field.name}: " not in doc] == []
