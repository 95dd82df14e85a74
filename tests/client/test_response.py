"""The server's answer: whole, in pieces, interim, cut, and not HTTP at all."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import trio
import trio.testing

from trio_websock import ConnectionLost, HandshakeError
from trio_websock.client.response import MAX_BODY_SIZE, MAX_HEAD_SIZE, receive_response
from trio_websock.hosts.stream_wire import StreamWire
from trio_websock.testing.memory_listener import open_memory_streams

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


async def answer(*chunks, ends=True):
    """What the client makes of ``chunks``."""
    ours, theirs = open_memory_streams(1024 * 1024)
    for chunk in chunks:
        await theirs.send_all(chunk)
    if ends:
        await theirs.send_eof()
    return await receive_response(StreamWire(ours))


async def test_what_follows_a_101_is_left_over():
    response, leftover = await answer(SWITCH + b"\x81\x00")
    assert (response.status, response.reason, leftover) == (101, "Switching Protocols", b"\x81\x00")


async def test_what_follows_a_101_may_be_more_than_a_head_may_be(nursery):
    async def say():
        await theirs.send_all(SWITCH[:-2])
        await trio.testing.wait_all_tasks_blocked()
        await theirs.send_all(SWITCH[-2:] + b"x" * MAX_HEAD_SIZE)

    ours, theirs = open_memory_streams(1024 * 1024)
    nursery.start_soon(say)
    response, _ = await receive_response(StreamWire(ours))
    assert response.status == 101


@pytest.mark.parametrize(("more", "is_refused"), [(0, False), (1, True)])
async def test_a_head_has_its_limit_however_it_comes(more, is_refused):
    field = b"X: " + b"y" * (MAX_HEAD_SIZE + more - len(SWITCH) - 5) + b"\r\n\r\n"
    with pytest.raises(HandshakeError) if is_refused else nullcontext():
        await answer(SWITCH[:-2] + field)


async def test_an_answer_may_come_byte_by_byte():
    ours, theirs = open_memory_streams()
    async with trio.open_nursery() as nursery:

        async def trickle():
            for byte in SWITCH:
                await theirs.send_all(bytes([byte]))

        nursery.start_soon(trickle)
        response, leftover = await receive_response(StreamWire(ours))
    assert response.headers["upgrade"] == "websocket"
    assert leftover == b""


@pytest.mark.parametrize("status", [100, 103, 199])
async def test_interim_answers_are_passed_over(status):
    response, _ = await answer(b"HTTP/1.1 %d x\r\nLink: x\r\n\r\n" % status + SWITCH)
    assert response.status == 101
    assert "link" not in response.headers


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 5\r\n\r\nsorry",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nso\r\n3\r\nrry\r\n0\r\n\r\n",
        b"\r\nsorry",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\nsorry",
    ],
)
@pytest.mark.parametrize("status", [200, 299, 300, 403])
async def test_a_refusal_has_its_body(body, status):
    response, _ = await answer(b"HTTP/1.1 %d x\r\n" % status + body)
    assert (response.status, response.body) == (status, b"sorry")


async def test_a_refusal_may_come_from_a_server_that_speaks_http_1_0():
    response, _ = await answer(b"HTTP/1.0 403 Forbidden\r\n\r\nsorry")
    assert (response.status, response.body) == (403, b"sorry")


async def test_a_body_that_does_not_end_is_given_up(autojump_clock):
    response, _ = await answer(b"HTTP/1.1 500 \r\nContent-Length: 9\r\n\r\nso", ends=False)
    assert (response.status, response.body) == (500, b"so")


async def test_a_long_body_is_cut():
    response, _ = await answer(b"HTTP/1.1 500 \r\n\r\n" + b"x" * 200_000, ends=False)
    assert len(response.body) == MAX_BODY_SIZE


async def test_a_malformed_body_does_not_hide_the_refusal():
    response, _ = await answer(b"HTTP/1.1 404 \r\nTransfer-Encoding: chunked\r\n\r\nnonsense")
    assert response.status == 404


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 101\r\n\r\n",
        b"HTTP/1.1 1o1\r\n\r\n",
        b"HTTP/1.1 101 x\r\nbad header\r\n\r\n",
        b"HTTP/1.0 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 x\r\nX: " + b"y" * 70_000,
    ],
)
async def test_garbage_is_a_handshake_error(garbage):
    with pytest.raises(HandshakeError):
        await answer(garbage, ends=False)


@pytest.mark.parametrize("beginning", [b"", b"HTTP", SWITCH[:-1]])
async def test_an_answer_that_breaks_off_is_a_lost_connection(beginning):
    with pytest.raises(ConnectionLost):
        await answer(beginning)
