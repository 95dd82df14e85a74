"""URLs: what is a WebSocket's, where it leads, and what is refused."""

from __future__ import annotations

import pytest

from trio_websock import OptionError
from trio_websock.client.address import Address, parse_url, resolve_redirect


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "target"),
    [
        ("ws://example.com", "ws", "example.com", 80, "/"),
        ("wss://example.com/", "wss", "example.com", 443, "/"),
        ("WS://EXAMPLE.com:8000/a/b?c=d&e", "ws", "example.com", 8000, "/a/b?c=d&e"),
        ("ws://[::1]:9/x", "ws", "::1", 9, "/x"),
        ("ws://h?q", "ws", "h", 80, "/?q"),
        ("ws://h/grüße?ä=%20", "ws", "h", 80, "/gr%C3%BC%C3%9Fe?%C3%A4=%20"),
        ("ws://bücher.example/", "ws", "xn--bcher-kva.example", 80, "/"),
    ],
)
def test_a_url_says_where_to_connect_and_what_to_ask_for(url, scheme, host, port, target):
    assert parse_url(url) == Address(scheme, host, port, target)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.com/", "ws:// or wss://"),
        ("example.com", "ws:// or wss://"),
        ("ws://h/a#b", "'#'"),
        ("ws://h/#", "'#'"),
        ("ws:///path", "host"),
        ("ws://h:0/", "65535"),
        ("ws://h:99999/", "Port out of range"),
        ("ws://[::1/", "URL"),
        ("ws://h/a b", "spaces"),
        ("ws://h/\r\nX: y", "control characters"),
        (f"ws://{'ü' * 70}.example/", "host name"),
        (b"ws://h/", "a str"),
        ("ws://h/\udcff", "Unicode"),
        ("ws://a%3Ab:c@h/", "colon"),
    ],
)
def test_what_is_no_url_of_a_websocket_is_refused(url, expected):
    with pytest.raises(OptionError, match=expected):
        parse_url(url)


@pytest.mark.parametrize(
    "url", ["me:secret@h", "ws://me:secret/2@h/", "ws://me:x/secret@h:y", "ws:me:secret@h", "ws://h?a=secret#"]
)
def test_not_even_a_url_gone_wrong_tells_the_password(url):
    with pytest.raises(OptionError) as caught:
        parse_url(url)
    assert "secret" not in f"{caught.value} {caught.value.value}"


@pytest.mark.parametrize(
    ("url", "shown"), [("ws://u:p@h/a?token=t", "ws://h/a?…"), ("ws://h", "ws://h/"), ("ws://h/@me", "ws://h/@me")]
)
def test_what_is_shown_has_neither_credentials_nor_tokens(url, shown):
    assert parse_url(url).shown == shown


def test_an_error_does_not_tell_the_password():
    with pytest.raises(OptionError) as caught:
        parse_url("ws://me:secret@example.com/#")
    assert "secret" not in str(caught.value)


def test_user_and_password_are_decoded():
    assert parse_url("ws://me%40home:p%3Aw@h/").credentials == ("me@home", "p:w")


def test_a_user_may_have_no_password():
    assert parse_url("ws://me@h/").credentials == ("me", "")


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("ws://h", "h"),
        ("ws://h:80", "h"),
        ("wss://h:80", "h:80"),
        ("wss://h:443", "h"),
        ("ws://[::1]:8000", "[::1]:8000"),
    ],
)
def test_the_host_header_leaves_the_default_port_out(url, header):
    assert parse_url(url).host_header == header


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/other", "ws://h:8000/other"),
        ("sibling?x", "ws://h:8000/a/sibling?x"),
        ("//else.where/x", "ws://else.where/x"),
        ("https://else.where/x#fragment", "wss://else.where/x"),
        ("HTTP://else.where", "ws://else.where/"),
        ("wss://else.where/x", "wss://else.where/x"),
    ],
)
def test_a_redirect_leads_on(location, url):
    assert resolve_redirect(parse_url("ws://h:8000/a/b"), location).url == url


def test_a_redirect_to_another_scheme_is_refused():
    with pytest.raises(OptionError, match="ws://"):
        resolve_redirect(parse_url("ws://h/"), "ftp://h/")


def test_another_port_is_another_origin():
    assert not parse_url("ws://h/").shares_origin(parse_url("ws://h:81/"))
    assert parse_url("ws://h/").shares_origin(parse_url("ws://h:80/x"))
