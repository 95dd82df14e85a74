"""A whole connection, wire included, in memory and virtual time."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_websock import ConnectionLost, Error, FrameError, Ok, Push, Reason, WriteTimeout
from trio_websock.testing.scripted_peer import close, frame, ping, text
from trio_websock.testing.served_peer import open_scripted_peer


class Echo:
    """Echoes, and keeps what ``terminate`` was told."""

    def __init__(self) -> None:
        self.ended: list[object] = []

    def init(self, args: Any) -> Any:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Any:
        return Push(message, state)

    def terminate(self, reason: Reason, state: None) -> None:
        self.ended.append(reason.cause if isinstance(reason, Error) else reason)


async def test_every_byte_is_the_scripts(autojump_clock: MockClock) -> None:
    async with open_scripted_peer(Echo()) as peer:
        await peer.open()
        await peer.send(text("hello"), ping(b"p"))
        await peer.expect(b"\x8a\x01p")
        await peer.expect(b"\x81\x05hello")
        await peer.send(close(1000))
        await peer.expect(b"\x88\x02\x03\xe8")
        await peer.expect_end()


async def test_end_of_the_stream_inside_a_frame_is_a_lost_connection(autojump_clock: MockClock) -> None:
    handler = Echo()
    async with open_scripted_peer(handler) as peer:
        await peer.open()
        await peer.send(text("hello")[:4])
        await peer.send_eof()
        await peer.expect_end()
    assert isinstance(handler.ended[0], ConnectionLost)


async def test_reset_is_a_lost_connection(autojump_clock: MockClock) -> None:
    handler = Echo()
    async with open_scripted_peer(handler) as peer:
        await peer.open()
        await peer.abort()
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(handler.ended[0], ConnectionLost)


async def test_half_a_message_waits_for_its_other_half_until_the_idle_timeout(autojump_clock: MockClock) -> None:
    async with open_scripted_peer(Echo(), timeout=60) as peer:
        await peer.open()
        await peer.send(frame(0x01, b"half"))
        await peer.expect(b"\x88\x0e\x03\xe9idle timeout")
    assert trio.current_time() >= 60


async def test_rules_may_be_broken(autojump_clock: MockClock) -> None:
    handler = Echo()
    async with open_scripted_peer(handler) as peer:
        await peer.open()
        await peer.send(frame(0x83, b"reserved"))
        await peer.expect(b"\x88\x02\x03\xea")
    assert isinstance(handler.ended[0], FrameError)


async def test_peer_that_does_not_read_is_dropped_after_write_timeout(autojump_clock: MockClock) -> None:
    handler = Echo()
    async with open_scripted_peer(handler, buffer_size=1000, write_timeout=5) as peer:
        await peer.open()
        await peer.flood(text("x" * 500))
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(handler.ended[0], WriteTimeout)


async def test_slow_reader_gets_everything_in_its_own_time(autojump_clock: MockClock) -> None:
    async with open_scripted_peer(Echo(), buffer_size=10, write_timeout=5) as peer:
        await peer.open()
        await peer.send(text("x" * 100), close(1000))
        assert await peer.receive_slowly(10, pause=4) == b"\x81\x64" + b"x" * 100 + b"\x88\x02\x03\xe8"


async def test_what_cannot_be_served_is_refused() -> None:
    with pytest.raises(TypeError):
        async with open_scripted_peer(object()):
            raise AssertionError("the block has begun")
