"""Bodies of plain requests: whole, in pieces, with a tail, and too large."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from trio_websock.server.body import body_for
from trio_websock.server.head import BadRequest

CHUNKED = {
    "one chunk": b"5\r\nhello\r\n0\r\n\r\n",
    "several chunks": b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    "an extension": b"5;a=b\r\nhello\r\n0\r\n\r\n",
    "trailers": b"5\r\nhello\r\n0\r\nA: b\r\n\r\n",
    "upper case and leading zeros": b"0005\r\nhello\r\n000\r\n\r\n",
}


def test_no_body_is_complete_from_the_start() -> None:
    assert body_for(0, 10).is_complete


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_a_sized_body_takes_its_bytes_and_no_more(size: int) -> None:
    body, rest = body_for(5, 10), b"helloGET /"
    pieces = [rest[i : i + size] for i in range(0, len(rest), size)]
    leftover = b"".join(piece if body.is_complete else body.receive_data(piece) for piece in pieces)
    assert (body.content(), leftover) == (b"hello", b"GET /")


@pytest.mark.parametrize("data", CHUNKED.values(), ids=CHUNKED.keys())
@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_chunked_body_ends_at_its_last_chunk(data: bytes, size: int) -> None:
    body, rest = body_for(None, 10), data + b"GET /\n"
    pieces = [rest[i : i + size] for i in range(0, len(rest), size)]
    leftover = b"".join(piece if body.is_complete else body.receive_data(piece) for piece in pieces)
    assert (body.content(), leftover) == (b"hello", b"GET /\n")


def test_line_feeds_inside_chunks_are_content() -> None:
    body = body_for(None, 10)
    body.receive_data(b"4\r\n\n\r\n\n\r\n0\r\n\r\n")
    assert body.content() == b"\n\r\n\n"


def test_line_feeds_inside_a_chunk_do_not_make_it_dearer() -> None:
    calls: Counter[str] = Counter()
    body = body_for(None, 10_000)
    body.receive_data(b"10")  # how long it is may come in pieces
    sys.setprofile(lambda frame, event, arg: calls.update([event]))
    body.receive_data(b"00\r\n" + b"\n" * 0x1000 + b"\r\n0\r\n\r\n")
    sys.setprofile(None)
    assert calls.total() < 0x1000


@pytest.mark.parametrize("piece_size", [1, 7, 1000])
def test_the_size_of_a_chunk_is_known_however_it_is_written(piece_size: int) -> None:
    content = b"0\r\n\r\n" * 50
    data = b"0" * 30 + b"64;0=0\r\n" + content[:100] + b"\r\n096\r\n" + content[100:] + b"\r\n00;5\r\n\r\n"
    body = body_for(None, 1000)
    for start in range(0, len(data), piece_size):
        assert not body.is_complete
        assert body.receive_data(data[start : start + piece_size]) == b""
    assert (body.is_complete, body.content()) == (True, content)


def test_a_long_chunk_ends_where_its_size_says() -> None:
    body = body_for(None, 100)
    assert body.receive_data(b"64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\nGET /\n") == b"GET /\n"


def test_a_sized_body_over_the_limit_is_refused_before_it_comes() -> None:
    with pytest.raises(BadRequest) as caught:
        body_for(11, 10)
    assert (caught.value.status, caught.value.reason) == (413, "expected a body of at most 10 bytes")


def test_a_chunked_body_over_the_limit_is_refused_when_it_is_passed() -> None:
    body = body_for(None, 10)
    body.receive_data(b"a\r\n0123456789\r\n")
    with pytest.raises(BadRequest) as caught:
        body.receive_data(b"1\r\n0")
    assert caught.value.status == 413


def test_a_body_that_is_within_the_limit_may_come_in_chunks_of_one_byte() -> None:
    body = body_for(None, 1000)
    body.receive_data(b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n")
    assert len(body.content()) == 1000


def test_endless_framing_around_few_bytes_is_refused() -> None:
    body = body_for(None, 10)
    with pytest.raises(BadRequest, match="expected a body of at most 10 bytes"):
        body.receive_data(b"1;" + b"x" * 100_000)


@pytest.mark.parametrize("data", [b"x\r\n", b"-1\r\n", b"5\r\nhello!\r\n", b"5\nhello\r\n", b"\r\n", b"1 \r\n"])
def test_broken_chunks_are_answered_400(data: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        body_for(None, 10).receive_data(data)
    assert caught.value.status == 400
