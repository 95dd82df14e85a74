"""Events of an ASGI response as bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_websock import LocalError, StateError
from trio_websock.server.asgi_response import AsgiResponse

Pairs = Iterable[tuple[bytes, bytes]]


def start(status: int = 200, headers: Pairs = ()) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def sent(
    *events: dict[str, Any], method: str = "GET", version: str = "1.1", closes: bool = False
) -> tuple[bytes, AsgiResponse]:
    """Everything that goes over the wire, but the date."""
    response = AsgiResponse(method, version)
    data = b"".join(b"".join(response.serialize(event, closes=closes)) for event in events)
    return re.sub(rb"Date: [^\r]*\r\n", b"", data), response


def test_a_whole_body_gets_its_length() -> None:
    data, response = sent(start(headers=[(b"a", b"b")]), body(b"page"))
    assert data == b"HTTP/1.1 200 OK\r\na: b\r\nContent-Length: 4\r\n\r\npage"
    assert response.is_complete


def test_a_body_in_pieces_is_sent_in_chunks() -> None:
    data, _ = sent(start(), body(b"he", more=True), body(b"", more=True), body(b"llo"))
    assert data == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"


def test_nothing_is_said_before_there_is_a_body() -> None:
    data, response = sent(start())
    assert (data, response.has_begun) == (b"", False)


def test_a_first_empty_piece_sends_the_head() -> None:
    data, _ = sent(start(), body(more=True))
    assert data == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_pieces_with_a_known_length_are_sent_as_they_are() -> None:
    data, _ = sent(start(headers=[(b"content-length", b"5")]), body(b"he", more=True), body(b"llo"))
    assert data == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def test_a_client_that_knows_no_chunks_reads_to_the_end_of_the_connection() -> None:
    data, response = sent(start(), body(b"he", more=True), body(b"llo"), version="1.0")
    assert data == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"
    assert response.closes


@pytest.mark.parametrize(
    ("events", "framing"),
    [
        ([start(), body(b"page")], b"Content-Length: 4\r\n"),
        ([start(headers=[(b"content-length", b"4")]), body()], b"Content-Length: 4\r\n"),
        ([start(), body()], b""),
        ([start(), body(b"pa", more=True), body(b"ge")], b""),
    ],
)
def test_head_is_answered_with_a_head(events: list[dict[str, Any]], framing: bytes) -> None:
    data, _ = sent(*events, method="HEAD")
    assert data == b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n"


@pytest.mark.parametrize(("status", "line"), [(204, b"204 No Content"), (304, b"304 Not Modified")])
def test_a_status_without_a_body_has_none(status: int, line: bytes) -> None:
    data, response = sent(start(status), body(b"lost"))
    assert data == b"HTTP/1.1 " + line + b"\r\n\r\n"
    assert not response.closes


def test_304_may_say_how_long_the_body_would_be_and_204_may_not() -> None:
    headers = [(b"content-length", b"4")]
    assert b"Content-Length: 4" in sent(start(304, headers), body())[0]
    assert b"Content-Length" not in sent(start(204, headers), body())[0]


@pytest.mark.parametrize(
    ("closes", "headers"),
    [(True, []), (True, [(b"connection", b"keep-alive")]), (False, [(b"Connection", b"a, Close")])],
)
def test_a_connection_that_ends_says_so_once(closes: bool, headers: Pairs) -> None:
    data, response = sent(start(headers=headers), body(), closes=closes)
    assert re.findall(rb"(?i)connection: .*?\r\n", data) == [b"Connection: close\r\n"]
    assert response.closes


def test_a_connection_header_that_changes_nothing_is_passed_on() -> None:
    data, response = sent(start(426, [(b"upgrade", b"h2c"), (b"connection", b"upgrade")]), body())
    assert b"\r\nconnection: upgrade\r\n" in data
    assert not response.closes


def test_a_date_of_the_application_is_the_only_one() -> None:
    response = AsgiResponse("GET", "1.1")
    response.serialize(start(headers=[(b"date", b"today")]), closes=False)
    assert b"".join(response.serialize(body(), closes=False)).lower().count(b"date: ") == 1


def test_the_transfer_coding_is_the_servers_to_choose() -> None:
    data, _ = sent(start(headers=[(b"transfer-encoding", b"chunked")]), body(b"page"))
    assert b"chunked" not in data


@pytest.mark.parametrize(
    "headers",
    [
        [(b"a", b"b\r\nc: d")],
        [(b"a b", b"")],
        [(b":status", b"200")],
        [(b"", b"")],
        [("a", "b")],
        [b"ab"],
        [(b"a", b"b", b"c")],
        [(b"content-length", b"-1")],
        [(b"content-length", b"4, 4")],
        [(b"content-length", b"4"), (b"content-length", b"5")],
    ],
)
def test_headers_that_may_not_be_sent_are_refused_and_another_answer_is_possible(headers: Any) -> None:
    response = AsgiResponse("GET", "1.1")
    with pytest.raises(LocalError):
        response.serialize(start(headers=headers), closes=False)
    assert response.serialize(start(500), closes=False) == []


def test_what_is_no_header_is_told_without_its_value() -> None:
    with pytest.raises(LocalError, match=r"both bytes, not str and str$"):
        AsgiResponse("GET", "1.1").serialize(start(headers=[("cookie", "secret")]), closes=False)  # type: ignore[list-item]


@pytest.mark.parametrize("status", [None, "200", 199, 101, 600])
def test_a_status_that_may_not_be_sent_is_refused(status: Any) -> None:
    with pytest.raises(LocalError, match="integer from 200 to 599"):
        sent(start(status))


@pytest.mark.parametrize("status", [200, 599])
def test_a_status_at_the_edge_of_what_may_be_sent_is_sent(status: int) -> None:
    assert sent(start(status), body())[0].startswith(b"HTTP/1.1 %d" % status)


@pytest.mark.parametrize("data", ["text", None, 5])
def test_a_body_that_is_no_bytes_is_refused(data: Any) -> None:
    with pytest.raises(LocalError, match="must be bytes"):
        sent(start(), body(data))


@pytest.mark.parametrize(
    "events", [[body(b"12345")], [body(b"123")], [body(b"12", more=True), body(b"345", more=True)], [body()]]
)
def test_a_body_of_another_length_than_announced_is_refused(events: list[dict[str, Any]]) -> None:
    with pytest.raises(LocalError, match="Content-Length is 4, but the body has"):
        sent(start(headers=[(b"content-length", b"4")]), *events)


@pytest.mark.parametrize(
    "events",
    [
        [body()],
        [start(), start()],
        [start(), body(), body()],
        [start(), body(), start()],
        [{"type": "http.response.push"}],
        [start(), {"type": "http.response.trailers", "headers": []}],
        [{}],
        [None],
        [5],
    ],
)
def test_an_event_at_the_wrong_time_is_refused(events: list[Any]) -> None:
    with pytest.raises(StateError):
        sent(*events)


def test_a_body_may_be_any_kind_of_bytes() -> None:
    data, _ = sent(start(), body(memoryview(b"he"), more=True), body(bytearray(b"llo")))  # type: ignore[arg-type]
    assert data.endswith(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")


def test_what_may_be_left_out_has_its_default() -> None:
    data, response = sent({"type": "http.response.start", "status": 299}, {"type": "http.response.body"})
    assert data == b"HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n"
    assert response.is_complete


def read_by_h11(data: bytes, method: str) -> tuple[bytes, bool]:
    """The body as a foreign client reads it, and whether the connection may go on."""
    client, body = h11.Connection(h11.CLIENT), b""
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            client.receive_data(b"")
        elif isinstance(event, h11.Data):
            body += event.data
    return body, client.their_state is not h11.MUST_CLOSE and client.their_state is not h11.CLOSED


@given(
    pieces=st.lists(st.binary(max_size=20), min_size=1, max_size=5),
    method=st.sampled_from(["GET", "HEAD"]),
    version=st.sampled_from(["1.0", "1.1"]),
    status=st.sampled_from([200, 204, 304, 404]),
    tells_length=st.booleans(),
)
def test_a_foreign_client_reads_what_was_sent(
    pieces: list[bytes], method: str, version: str, status: int, tells_length: bool
) -> None:
    whole = b"".join(pieces)
    headers = [(b"content-length", str(len(whole)).encode())] if tells_length else []
    events = [body(piece, more=True) for piece in pieces[:-1]] + [body(pieces[-1])]
    data, response = sent(start(status, headers), *events, method=method, version=version)
    is_empty = method == "HEAD" or status in (204, 304)
    assert read_by_h11(data, method) == (b"" if is_empty else whole, not response.closes)
