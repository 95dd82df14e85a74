from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing

from trio_websock.testing.memory_listener import MemoryListener, MemoryStream, open_memory_streams


async def open_pair() -> tuple[MemoryStream, MemoryStream]:
    return open_memory_streams()


async def open_stalling_pair() -> tuple[MemoryStream, MemoryStream]:
    pair = open_memory_streams(0)
    for stream in pair:
        await send_without_reader(stream, b"x")
    return pair


async def send_without_reader(stream: MemoryStream, data: bytes) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, data)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_its_streams_are_what_trio_calls_a_half_closeable_stream() -> None:
    await trio.testing.check_half_closeable_stream(open_pair, open_stalling_pair)


async def test_a_writer_waits_while_its_reader_does_not_read() -> None:
    ours, theirs = open_memory_streams(10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_all, b"x" * 11)
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        await theirs.receive_some(1)


async def test_a_cancelled_writer_has_sent_what_it_was_given() -> None:
    ours, theirs = open_memory_streams(0)
    await send_without_reader(ours, b"abc")
    assert await theirs.receive_some() == b"abc"


async def test_what_is_under_way_outlives_the_end_that_sent_it() -> None:
    ours, theirs = open_memory_streams()
    await ours.send_all(b"abc")
    await ours.aclose()
    assert [await theirs.receive_some(), await theirs.receive_some()] == [b"abc", b""]


async def test_a_writer_whose_bytes_were_all_read_does_not_mind_that_the_reader_left() -> None:
    ours, theirs = open_memory_streams(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_all, b"abc")
        assert await theirs.receive_some() == b"abc"
        await theirs.aclose()


async def test_a_reset_loses_what_is_under_way_and_breaks_both_directions() -> None:
    ours, theirs = open_memory_streams()
    await ours.send_all(b"abc")
    ours.reset()
    with pytest.raises(trio.BrokenResourceError):
        await theirs.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await theirs.send_all(b"x")


async def test_a_stream_that_was_reset_is_closed() -> None:
    ours, _ = open_memory_streams()
    ours.reset()
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_all(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await ours.receive_some()


async def test_a_reset_wakes_who_waits_at_the_other_end() -> None:
    ours, theirs = open_memory_streams(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_broken, theirs.receive_some)
        nursery.start_soon(expect_broken, partial(theirs.send_all, b"x"))
        await trio.testing.wait_all_tasks_blocked()
        ours.reset()


async def expect_broken(act: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(trio.BrokenResourceError):
        await act()


async def test_connect_and_accept_meet() -> None:
    async with MemoryListener() as listener:
        client = await listener.connect()
        server = await listener.accept()
        await client.send_all(b"abc")
        assert await server.receive_some() == b"abc"


async def test_nobody_connects_to_a_closed_listener() -> None:
    listener = MemoryListener()
    await listener.aclose()
    with pytest.raises(ConnectionRefusedError):
        await listener.connect()


async def test_a_closed_listener_accepts_nobody() -> None:
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(accept_nobody, listener))
        await trio.testing.wait_all_tasks_blocked()
        await listener.aclose()


async def accept_nobody(listener: MemoryListener) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()
