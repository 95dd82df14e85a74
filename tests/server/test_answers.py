"""Responses as bytes."""

from __future__ import annotations

import re

import pytest

from trio_websock import LocalError, Response
from trio_websock.server.answers import serialize_response, serialize_switch


def text_of(response: Response, *, is_head: bool = False, closes: bool = False) -> bytes:
    return re.sub(rb"Date: [^\r]*\r\n", b"", serialize_response(response, is_head=is_head, closes=closes))


def test_text_is_sent_as_utf_8() -> None:
    assert text_of(Response(200, "é")) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\n\xc3\xa9"
    )


def test_bytes_are_sent_as_octets() -> None:
    assert b"\r\nContent-Type: application/octet-stream\r\n" in text_of(Response(200, b"\0"))


def test_an_empty_body_has_a_length_and_no_type() -> None:
    assert text_of(Response(404)) == b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def test_a_content_type_of_the_application_wins() -> None:
    assert text_of(Response(200, "a", content_type="text/html")).count(b"Content-Type: text/html\r\n") == 1


def test_a_content_type_among_the_headers_is_not_doubled() -> None:
    assert text_of(Response(200, "a", {"content-type": "text/html"})).lower().count(b"content-type") == 1


def test_a_date_is_sent_in_the_fixed_form_of_http() -> None:
    date = rb"\r\nDate: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n"
    assert re.search(date, serialize_response(Response()))


def test_a_date_of_the_application_is_not_doubled() -> None:
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    answer = serialize_response(Response(200, b"", {"date": date}))
    assert (answer.lower().count(b"date:"), answer.count(date.encode())) == (1, 1)


def test_an_answer_to_head_has_the_length_but_not_the_body() -> None:
    assert text_of(Response(200, b"abc"), is_head=True).endswith(b"Content-Length: 3\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
def test_some_statuses_have_neither_body_nor_length(status: int) -> None:
    assert text_of(Response(status, b"abc")).count(b"\r\n") == 2
    assert text_of(Response(status, b"abc")).endswith(b"\r\n\r\n")


def test_a_status_without_a_name_is_sent_without_one() -> None:
    assert text_of(Response(299)).startswith(b"HTTP/1.1 299 \r\n")


def test_repeated_headers_of_the_application_travel() -> None:
    cookies = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
    assert b"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n" in text_of(Response(200, b"", cookies))


def test_the_end_of_the_connection_is_said_once() -> None:
    assert text_of(Response(), closes=True).count(b"Connection: close\r\n") == 1
    assert text_of(Response(200, b"", {"Connection": "close"}), closes=True).count(b"close\r\n") == 1


@pytest.mark.parametrize("value", ["a\r\nB: c", "a\nB: c", "a\rb", "a\0b", "\u20ac"])
def test_header_values_that_could_write_headers_are_refused(value: str) -> None:
    with pytest.raises(LocalError, match="A: its value may not be sent"):
        serialize_response(Response(200, b"", {"A": value}))


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "é"])
def test_header_names_that_are_no_tokens_are_refused(name: str) -> None:
    with pytest.raises(LocalError, match="is not the name of a header"):
        serialize_response(Response(200, b"", {name: "a"}))


def test_a_line_break_in_the_content_type_is_refused() -> None:
    with pytest.raises(LocalError):
        serialize_response(Response(200, b"a", content_type="text/html\r\nA: b"))


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
def test_framing_is_not_for_the_application(name: str) -> None:
    with pytest.raises(LocalError, match="is set by the server"):
        serialize_response(Response(200, b"", {name: "1"}))


def test_a_switch_names_what_was_agreed_on() -> None:
    assert serialize_switch("key=", "chat", "permessage-deflate", [("Set-Cookie", "a=1")]) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: key=\r\nSec-WebSocket-Protocol: chat\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate\r\nSet-Cookie: a=1\r\n\r\n"
    )


@pytest.mark.parametrize("name", ["Upgrade", "connection", "Sec-WebSocket-Accept", "Content-Length"])
def test_the_switch_itself_is_not_for_the_application(name: str) -> None:
    with pytest.raises(LocalError, match="is set by the server"):
        serialize_switch("key=", None, None, [(name, "1")])
