"""The head of a request: what is understood, and what each fault is answered with."""

from __future__ import annotations

import pytest

from trio_websock.server.head import BadRequest, parse_head

HOST = b"Host: example.com\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST


def fault_of(data: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse_head(data)
    return caught.value


def test_method_target_and_version_are_as_sent() -> None:
    head = parse_head(b"PUT /a%20b?c=d HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (head.method, head.target, head.http_version) == ("PUT", "/a%20b?c=d", "1.1")


def test_header_values_lose_the_white_space_around_them() -> None:
    assert parse_head(GET + b"A: \t b c \t\r\n\r\n").headers["a"] == "b c"


def test_what_every_client_says_is_kept_once_for_all() -> None:
    data = b"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Version: 13\r\n\r\n"
    one, other = (parse_head(data).headers for _ in range(2))
    assert one["sec-websocket-version"] is other["sec-websocket-version"]
    assert one.pairs()[1][0] is other.pairs()[1][0]


def test_repeated_headers_are_kept_in_order() -> None:
    assert parse_head(GET + b"A: 1\r\na: 2\r\n\r\n").headers.get_all("A") == ["1", "2"]


def test_bytes_above_ascii_in_values_are_latin_1() -> None:
    assert parse_head(GET + b"A: \xe9\r\n\r\n").headers["a"] == "é"


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        (b"", 0),
        (b"Content-Length: 0\r\n", 0),
        (b"Content-Length: 12\r\n", 12),
        (b"Transfer-Encoding: Chunked\r\n", None),
    ],
)
def test_the_body_that_follows_is_announced(fields: bytes, size: int | None) -> None:
    assert parse_head(GET + fields + b"\r\n").content_length == size


@pytest.mark.parametrize(
    ("line", "fields", "keeps_alive"),
    [
        (b"GET / HTTP/1.1\r\n", b"", True),
        (b"GET / HTTP/1.1\r\n", b"Connection: close\r\n", False),
        (b"GET / HTTP/1.1\r\n", b"Connection: keep-alive, Close\r\n", False),
        (b"GET / HTTP/1.0\r\n", b"", False),
        (b"GET / HTTP/1.0\r\n", b"Connection: keep-alive\r\n", False),
    ],
)
def test_only_http_1_1_without_close_keeps_the_connection(line: bytes, fields: bytes, keeps_alive: bool) -> None:
    assert parse_head(line + HOST + fields + b"\r\n").keeps_alive is keeps_alive


def test_http_1_0_needs_no_host() -> None:
    assert parse_head(b"GET / HTTP/1.0\r\n\r\n").http_version == "1.0"


@pytest.mark.parametrize("target", [b"/", b"*", b"http://example.com/a?b"])
def test_all_forms_of_target_are_understood(target: bytes) -> None:
    assert parse_head(b"OPTIONS " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n").target == target.decode()


MALFORMED = {
    "a folded line": b"A: b\r\n c\r\n",
    "a folded line with a tab": b"A: b\r\n\tc\r\n",
    "white space before the colon": b"A : b\r\n",
    "no colon": b"A\r\n",
    "an empty name": b": b\r\n",
    "a space in a name": b"A B: c\r\n",
    "a name beyond ASCII": b"\xc3\xa9: b\r\n",
    "NUL in a value": b"A: b\0c\r\n",
    "a control character in a value": b"A: b\x01c\r\n",
    "a bare line feed": b"A: b\nC: d\r\n",
    "a bare carriage return": b"A: b\rC: d\r\n",
    "a second Host": HOST,
    "two lengths that agree": b"Content-Length: 5\r\nContent-Length: 5\r\n",
    "two lengths that do not": b"Content-Length: 5\r\nContent-Length: 6\r\n",
    "a list of lengths": b"Content-Length: 5, 5\r\n",
    "a signed length": b"Content-Length: +5\r\n",
    "a negative length": b"Content-Length: -5\r\n",
    "an empty length": b"Content-Length:\r\n",
    "a hexadecimal length": b"Content-Length: 0x5\r\n",
    "a length no machine can hold": b"Content-Length: 99999999999999999999999999\r\n",
    "a length, then chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "chunks, then a length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "chunks, and then another coding": b"Transfer-Encoding: chunked, identity\r\n",
    "chunks twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_fields_are_answered_400(fields: bytes) -> None:
    fault = fault_of(GET + fields + b"\r\n")
    assert fault.status == 400
    assert "expected" in fault.reason or "came" in fault.reason


@pytest.mark.parametrize(
    "line",
    [
        b"\rGET / HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1",
        b"GET HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET a HTTP/1.1",
        b"GET /\nA: HTTP/1.1",  # a request line of HTTP/0.9, and a field that ends like one of HTTP/1.1
    ],
)
def test_malformed_request_lines_are_answered_400(line: bytes) -> None:
    assert fault_of(line + b"\r\n" + HOST + b"\r\n").status == 400


def test_http_1_1_needs_a_host() -> None:
    fault = fault_of(b"GET / HTTP/1.1\r\n\r\n")
    assert (fault.status, fault.reason) == (400, "expected exactly one Host header, 0 came (RFC 9112 §3.2)")


def test_chunks_are_not_for_http_1_0() -> None:
    assert fault_of(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").status == 400


def test_other_codings_under_the_chunks_are_answered_501() -> None:
    assert fault_of(GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n").status == 501


@pytest.mark.parametrize("coding", [b"gzip", b"xchunked", b"identity"])
def test_a_body_whose_end_nobody_could_tell_is_answered_400(coding: bytes) -> None:
    assert fault_of(GET + b"Transfer-Encoding: " + coding + b"\r\n\r\n").status == 400


@pytest.mark.parametrize("method", [b"BREW", b"get"])
def test_unknown_methods_are_answered_501(method: bytes) -> None:
    fault = fault_of(method + b" / HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (fault.status, fault.reason.split(" came")[0]) == (501, f"method {method.decode()}")


def test_unknown_methods_that_ask_for_a_websocket_are_answered_400() -> None:
    assert fault_of(b"BREW / HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\n\r\n").status == 400


def test_half_a_head_is_answered_400() -> None:
    assert fault_of(GET).status == 400


def test_connect_is_answered_501() -> None:
    assert fault_of(b"CONNECT example.com:80 HTTP/1.1\r\n" + HOST + b"\r\n").status == 501


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/1.2", b"HTTP/3", b"HTTP/0.9", b"RTSP/1.0"])
def test_other_versions_are_answered_505(version: bytes) -> None:
    fault = fault_of(b"GET / " + version + b"\r\n" + HOST + b"\r\n")
    assert (fault.status, version.decode() in fault.reason) == (505, True)


def test_the_preface_of_http_2_is_answered_505() -> None:
    assert fault_of(b"PRI * HTTP/2.0\r\n\r\n").status == 505


def test_the_preface_of_http_2_under_an_older_version_is_answered_400() -> None:
    assert fault_of(b"PRI * HTTP/1.0\r\n\r\n").status == 400


def test_a_request_line_without_a_version_is_answered_505() -> None:
    assert fault_of(b"GET /\r\n\r\n").status == 505


def test_too_many_fields_are_answered_431() -> None:
    assert len(parse_head(GET + b"A: b\r\n" * 255 + b"\r\n").headers.get_all("a")) == 255
    assert fault_of(GET + b"A: b\r\n" * 256 + b"\r\n").status == 431


def test_expect_100_continue_is_noted() -> None:
    assert parse_head(GET + b"Expect: 100-Continue\r\n\r\n").expects_continue


def test_other_expectations_are_answered_417() -> None:
    assert fault_of(GET + b"Expect: the-unexpected\r\n\r\n").status == 417


def test_an_expectation_of_http_1_0_is_ignored() -> None:
    assert not parse_head(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expects_continue
