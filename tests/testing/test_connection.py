"""The kit for applications' tests: a handler, a peer in the test's hands, and virtual time."""

from __future__ import annotations

import math

import pytest
import trio

from trio_websock import Binary, ConnectionLost, Ok, Ping, Push, Remote, Request, Text, current_connection
from trio_websock.testing.connection import open_test_connection


class Echo:
    def init(self, args):
        return Push(f"hello {args}", None)

    def handle_in(self, message, state):
        return Push(message, state)

    def handle_info(self, info, state):
        return Push(Ping(info), state)


async def test_init_has_run_when_the_block_begins(autojump_clock):
    async with open_test_connection(Echo, "world") as peer:
        assert peer.received() == ["hello world"]


async def test_messages_of_every_form_are_sent_and_received(autojump_clock):
    async with open_test_connection(Echo) as peer:
        peer.received()
        await peer.send("a", b"b", Text("c"), Binary(b"d"))
        assert peer.received() == ["a", b"b", "c", b"d"]


async def test_received_tells_only_what_is_new(autojump_clock):
    async with open_test_connection(Echo) as peer:
        peer.received()
        assert peer.received() == []


async def test_posted_items_reach_the_mailbox(autojump_clock):
    async with open_test_connection(Echo) as peer:
        await peer.post(b"x")
        assert peer.received()[1:] == [Ping(b"x")]


async def test_messages_of_the_handshakes_packet_come_first(autojump_clock):
    async with open_test_connection(Echo, first=["early"]) as peer:
        assert peer.received()[1:] == ["early"]


async def test_close_of_the_peer_ends_the_connection(autojump_clock):
    async with open_test_connection(Echo) as peer:
        assert peer.close_sent is None
        await peer.close(3000, "done")
        assert await peer.wait_ended() == Remote(3000, "done")
        assert peer.close_sent == (3000, "")


async def test_dropped_connection_is_lost(autojump_clock):
    async with open_test_connection(Echo) as peer:
        await peer.drop()
        assert isinstance((await peer.wait_ended()).cause, ConnectionLost)


async def test_timeouts_pass_in_virtual_time(autojump_clock):
    async with open_test_connection(Echo, timeout=3600) as peer:
        await peer.wait_ended()
        assert peer.close_sent == (1001, "idle timeout")


async def test_request_is_the_connections(autojump_clock):
    class Seeing(Echo):
        def init(self, args):
            return Push(current_connection().request.path, None)

    async with open_test_connection(Seeing, request=Request("GET", "/here")) as peer:
        assert peer.received() == ["/here"]


async def test_options_are_checked(autojump_clock):
    with pytest.raises(TypeError, match="unknown"):
        async with open_test_connection(Echo, unknown=1):
            pass


async def test_connection_is_over_behind_the_block(autojump_clock):
    ended = []

    class Ending(Echo):
        def terminate(self, reason, state):
            ended.append(reason)

    async with open_test_connection(Ending, timeout=math.inf):
        pass
    assert len(ended) == 1


async def test_failure_of_the_test_itself_comes_out(autojump_clock):
    with pytest.RaisesGroup(AssertionError):
        async with open_test_connection(Echo):
            raise AssertionError("a failing test")


async def test_handler_that_hangs_does_not_hold_the_test(autojump_clock):
    class Hanging(Echo):
        async def handle_in(self, message, state):
            await trio.sleep_forever()
            return Ok(state)

    async with open_test_connection(Hanging) as peer:
        await peer.send("x")
