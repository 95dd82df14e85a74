"""Pings and their pongs: which answers which."""

from __future__ import annotations

from trio_websock import Ping, Pong
from trio_websock.client.pings import SentPings


async def test_a_pong_answers_its_ping_and_those_before(autojump_clock):
    pings = SentPings()
    first, second, third = (pings.add(payload) for payload in (b"1", b"2", b"3"))
    assert pings.notice(["text", Pong(b"2")]) == 0
    assert [sent.answered_after for sent in (first, second, third)] == [0, 0, None]


async def test_a_pong_nobody_waits_for_is_ignored():
    pings = SentPings()
    sent = pings.add(b"1")
    assert pings.notice([Pong(b"other")]) is None
    assert not sent.event.is_set()


async def test_a_forgotten_ping_is_not_waited_for():
    pings = SentPings()
    pings.forget(pings.add(b"1"))
    assert not pings


async def test_at_the_end_nobody_waits():
    pings = SentPings()
    sent = pings.add(b"1")
    pings.end()
    assert sent.event.is_set()
    assert sent.answered_after is None


def test_an_observer_is_told_each_ping_and_pong():
    pings = SentPings()
    assert not pings
    seen = []
    pings.observer = seen.append
    assert pings
    pings.notice([Ping(b"a"), "message", Pong(b"b")])
    assert seen == [Ping(b"a"), Pong(b"b")]
