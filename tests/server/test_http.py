"""Requests as they come over a wire: in pieces, one behind the other, and cut off."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from trio_websock import ConnectionLost
from trio_websock.hosts.stream_wire import StreamWire
from trio_websock.hosts.wire import SocketWire
from trio_websock.server.body import body_for
from trio_websock.server.head import BadRequest
from trio_websock.server.http import HttpChannel
from trio_websock.testing import MemoryStream, open_memory_streams

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"


def open_channel() -> tuple[HttpChannel, MemoryStream]:
    client, server = open_memory_streams()
    return HttpChannel(StreamWire(server), 100, 10), client


async def target_of(channel: HttpChannel) -> str | None:
    head = await channel.receive_head()
    return None if head is None else head.target


@pytest.mark.parametrize("data", [GET, b"\r\n\r\n" + GET], ids=["bare", "behind empty lines"])
async def test_a_head_may_come_byte_by_byte(data: bytes, nursery: trio.Nursery) -> None:
    channel, client = open_channel()

    async def drip() -> None:
        for i in range(len(data)):
            await client.send_all(data[i : i + 1])

    nursery.start_soon(drip)
    assert await target_of(channel) == "/a"


@pytest.mark.parametrize(
    ("data", "is_whole"),
    [
        (b"", False),
        (GET[:-1], False),
        (GET, True),
        (GET + b"\x81", True),
        (b"\r\n\r\n", False),
        (b"\r\n\r\n" + GET[:-1], False),
        (b"\r\n\r\n" + GET, True),
    ],
    ids=repr,
)
async def test_whether_a_head_is_there_is_told_without_waiting_and_loses_nothing(data: bytes, is_whole: bool) -> None:
    ours, theirs = socket.socketpair()
    channel = HttpChannel(SocketWire(ours), 100, 10)
    theirs.send(data)
    assert (channel.has_whole_head(), channel.take_leftover()) == (is_whole, data)
    channel.wire.abort()
    theirs.close()


async def test_what_comes_behind_a_head_is_kept() -> None:
    channel, client = open_channel()
    await client.send_all(GET + b"\x81\x80")
    await target_of(channel)
    assert channel.take_leftover() == b"\x81\x80"


async def test_pipelined_heads_come_one_by_one() -> None:
    channel, client = open_channel()
    await client.send_all(GET + GET.replace(b"/a", b"/c"))
    assert [await target_of(channel), await target_of(channel)] == ["/a", "/c"]


@pytest.mark.parametrize("data", [b"", GET[:-1]])
async def test_a_client_that_leaves_before_a_whole_head_is_no_fault(data: bytes) -> None:
    channel, client = open_channel()
    await client.send_all(data)
    await client.aclose()
    assert await target_of(channel) is None


async def test_only_a_part_of_a_head_counts_as_begun() -> None:
    channel, client = open_channel()
    await client.send_all(b"\r\n\r\n")
    await client.aclose()
    await target_of(channel)
    assert not channel.has_partial_head


@pytest.mark.parametrize("data", [b"GET /" + b"a" * 96, b"GET / HTTP/1.1\r\nA: " + b"a" * 96 + b"\r\n\r\n"])
async def test_a_head_over_the_limit_is_answered_431(data: bytes) -> None:
    channel, client = open_channel()
    await client.send_all(data)
    with pytest.raises(BadRequest) as caught:
        await channel.receive_head()
    assert (caught.value.status, caught.value.reason) == (431, "expected a request head of at most 100 bytes")


async def test_a_head_at_the_limit_is_taken_whatever_comes_behind_it() -> None:
    channel, client = open_channel()
    await client.send_all(GET[:-4] + b"\r\nA: " + b"a" * (100 - len(GET) - 5) + b"\r\n\r\n" + b"x" * 1000)
    assert await target_of(channel) == "/a"


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\nHost: a\n\n", b" GET", b"\x81\x80", b"1" + GET]
)
async def test_what_will_never_be_a_head_is_refused_at_once(data: bytes) -> None:
    channel, client = open_channel()
    await client.send_all(data)
    with pytest.raises(BadRequest) as caught:
        await channel.receive_head()
    assert caught.value.status == 400


async def test_a_body_is_read_and_what_comes_behind_it_is_kept() -> None:
    channel, client = open_channel()
    await client.send_all(POST + b"hi" + GET)
    head = await channel.receive_head()
    assert head is not None
    body = channel.announced_body(head)
    await channel.receive_body(body)
    assert (body.content(), await target_of(channel)) == (b"hi", "/a")


async def test_an_end_inside_a_body_is_a_lost_connection() -> None:
    channel, client = open_channel()
    await client.send_all(POST + b"h")
    await client.aclose()
    head = await channel.receive_head()
    assert head is not None
    body = channel.announced_body(head)
    await channel.receive_body(body)
    with pytest.raises(ConnectionLost):
        await channel.receive_body(body)


async def test_lingering_reads_on_until_the_client_has_left() -> None:
    channel, client = open_channel()
    await client.send_all(b"x" * 1000)
    await client.aclose()
    await channel.linger()
    assert channel.wire.received_size == 1000


async def test_lingering_lasts_a_second_at_most(autojump_clock: trio.testing.MockClock) -> None:
    channel, client = open_channel()
    await channel.linger()
    assert trio.current_time() == pytest.approx(1.0)
    await client.aclose()


async def test_lingering_ends_with_a_reset(autojump_clock: trio.testing.MockClock) -> None:
    channel, client = open_channel()
    client.reset()
    start = trio.current_time()
    await channel.linger()
    assert trio.current_time() == start


# While a request is being answered.


async def test_a_client_that_has_reset_its_connection_is_gone(autojump_clock: trio.testing.MockClock) -> None:
    channel, client = open_channel()
    client.reset()
    with trio.fail_after(1):
        await channel.wait_gone()


async def test_a_body_nobody_wants_is_read_for_a_second_at_most(autojump_clock: trio.testing.MockClock) -> None:
    channel, client = open_channel()
    await client.send_all(b"hel")
    assert not await channel.discard_body(body_for(5, 5))
    assert trio.current_time() == pytest.approx(1)
