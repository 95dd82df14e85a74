"""Keepalive pings: sent only if asked for, judged by what has arrived."""

from __future__ import annotations

import math

import trio

from trio_websock import Ok, Ping, Pong, Push, Timeout
from trio_websock.testing.connection import open_test_connection


class Quiet:
    def init(self, args):
        return Ok(0)

    async def handle_in(self, message, state):
        await trio.sleep(int(message))
        return Push(message, state)


def open_quiet(**options):
    return open_test_connection(Quiet, timeout=math.inf, answers_pings=False, **options)


async def test_no_pings_are_sent_by_default(autojump_clock):
    async with open_quiet() as peer:
        await trio.sleep(1000)
        assert peer.received() == []


async def test_unanswered_ping_ends_with_1001(autojump_clock):
    async with open_quiet(ping_interval=50, ping_timeout=20) as peer:
        start = trio.current_time()
        await peer.connection.closing.wait()
        assert trio.current_time() == start + 70
        assert await peer.wait_ended() == Timeout("ping timeout")
        assert peer.close_sent == (1001, "ping timeout")


async def test_peer_that_stays_silent_after_that_is_waited_for_no_longer_than_close_timeout(autojump_clock):
    async with open_quiet(ping_interval=50, ping_timeout=20, close_timeout=5, answers_close=False) as peer:
        start = trio.current_time()
        with trio.fail_after(1000):
            await peer.connection.wait_ended()
        assert trio.current_time() == start + 75


async def test_pings_go_on_while_they_are_answered(autojump_clock):
    async with open_quiet(ping_interval=50, ping_timeout=20) as peer:
        await trio.sleep(51)
        for number in range(1, 10):
            [ping] = peer.received()
            assert ping == Ping(number.to_bytes(4, "big"))
            await trio.sleep(10)
            await peer.send(Pong(ping.payload))
            await trio.sleep(40)


async def test_a_pong_that_is_read_some_time_after_the_thread_was_blocked_is_in_time(autojump_clock):
    async with open_quiet(ping_interval=50, ping_timeout=20) as peer:
        await trio.sleep(51)
        [ping] = peer.received()
        autojump_clock.jump(1000)  # as a callback does that blocks the thread
        await trio.sleep(10)
        await peer.send(Pong(ping.payload))
        await trio.sleep(15)
        assert not peer.connection.is_closing


async def test_a_peer_that_stays_silent_after_the_thread_was_blocked_is_given_up(autojump_clock):
    async with open_quiet(ping_interval=50, ping_timeout=20) as peer:
        await trio.sleep(51)
        autojump_clock.jump(1000)
        await peer.connection.closing.wait()
        assert await peer.wait_ended() == Timeout("ping timeout")


async def test_any_byte_proves_the_peer_alive(autojump_clock):
    async with open_quiet(ping_interval=50, ping_timeout=20) as peer:
        for _ in range(50):
            await trio.sleep(17)
            peer.transport.touch()
        assert not peer.connection.is_closing


async def test_timeout_longer_than_the_interval_counts_from_the_first_unanswered_ping(autojump_clock):
    async with open_quiet(ping_interval=10, ping_timeout=35) as peer:
        start = trio.current_time()
        await peer.connection.closing.wait()
        assert trio.current_time() == start + 45


async def test_latency_is_that_of_the_last_answered_ping(autojump_clock):
    async with open_quiet(ping_interval=50, ping_timeout=20) as peer:
        assert peer.connection.latency is None
        await trio.sleep(53)
        [ping] = peer.received()
        await peer.send(Pong(b"not asked for"))
        assert peer.connection.latency is None
        await peer.send(Pong(ping.payload))
        assert peer.connection.latency == 3


async def test_peer_is_not_judged_while_we_do_not_read(autojump_clock):
    async with open_quiet(ping_interval=50, ping_timeout=20, read_ahead_messages=1) as peer:
        await peer.send("300", "0")
        peer.transport.put("0")
        await trio.sleep(299)
        assert not peer.connection.is_closing


async def test_no_ping_is_queued_behind_output_the_peer_does_not_take(autojump_clock):
    async with open_quiet(ping_interval=5, ping_timeout=4, write_timeout=1000) as peer:
        peer.transport.take(0)
        await peer.send("0")
        await trio.sleep(98)
        peer.transport.take()
        await trio.sleep(1)
        assert peer.received() == ["0"]
