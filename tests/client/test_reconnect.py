"""The policy of a client that connects again: after what, how soon, and how often. Nothing waits here."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import partial

import pytest

from trio_websock import (
    DISCONNECTED,
    NORMAL,
    RESTART,
    Again,
    ConnectFailed,
    ConnectionLost,
    Error,
    FrameError,
    HandshakeError,
    HandshakeResponse,
    Headers,
    Normal,
    OptionError,
    ProxyFailed,
    Reconnect,
    Remote,
    Shutdown,
    Timeout,
    UpgradeRejected,
    WriteTimeout,
)
from trio_websock.behaviour.reasons import stop_outcome
from trio_websock.client.reconnect import read_retry_after

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
steady = partial(Reconnect, jitter=0)


def answer(status, **headers):
    return HandshakeResponse(status, headers=Headers({name.replace("_", "-"): text for name, text in headers.items()}))


def stopped(reason):
    """What ``connect`` is told after ``Stop(reason, ...)``."""
    return stop_outcome(reason)[0]


@pytest.mark.parametrize(
    "cause",
    [
        *(Remote(code) for code in (1001, 1011, 1012, 1013, 1014)),
        *(UpgradeRejected(answer(status)) for status in (408, 425, 429, 500, 502, 503, 504, 599)),
        Error(ConnectionLost("x")),
        Error(WriteTimeout("x")),
        Timeout(),
        Timeout("ping timeout"),
        ConnectFailed("x"),
        ProxyFailed("http://proxy", "nobody is there"),
        ProxyFailed("http://proxy", "it is busy", answer(503)),
        stopped(RESTART),
        stopped(DISCONNECTED),
    ],
    ids=repr,
)
def test_it_connects_again_after_what_may_pass(cause):
    assert Reconnect().allows(cause, 1)


@pytest.mark.parametrize(
    "cause",
    [
        *(Remote(code) for code in (None, 1000, 1002, 1003, 1007, 1008, 1009, 1010, 3000, 4000)),
        *(UpgradeRejected(answer(status)) for status in (200, 301, 400, 401, 403, 404, 426, 499, 501, 505, 600)),
        HandshakeError("a bad answer", "RFC 6455 §4.1"),
        ProxyFailed("http://proxy", "it wants a password", answer(407)),
        Error(FrameError("x", "§5")),
        Error(KeyError("of a callback")),
        Error("of a Stop"),
        Normal(),
        stopped(NORMAL),
        Shutdown(),
    ],
    ids=repr,
)
def test_it_is_over_after_what_was_meant_so_or_will_not_pass(cause):
    assert not Reconnect().allows(cause, 1)


def test_the_application_knows_its_own_codes():
    reconnect = Reconnect(codes={4000})
    assert reconnect.allows(Remote(4000), 1)
    assert not reconnect.allows(Remote(1001), 1)


def test_attempts_in_a_row_may_be_counted():
    reconnect = Reconnect(max_attempts=3)
    assert [reconnect.allows(Timeout(), attempts) for attempts in (1, 2, 3, 4)] == [True, True, True, False]


def test_delays_grow_up_to_their_limit():
    delays = [steady().delay_after(ConnectFailed("x"), attempts) for attempts in range(1, 7)]
    assert delays == [5, 10, 20, 40, 60, 60]


def test_delays_grow_as_they_are_told():
    reconnect = steady(initial_delay=1, factor=1.5, max_delay=3)
    assert [reconnect.delay_after(Timeout(), attempts) for attempts in range(1, 5)] == [1, 1.5, 2.25, 3]


@pytest.mark.parametrize(("initial", "expected"), [(5, 60), (0, 0)])
def test_the_millionth_attempt_waits_no_longer(initial, expected):
    assert steady(initial_delay=initial).delay_after(Timeout(), 1_000_000) == expected


@pytest.mark.parametrize(("jitter", "least"), [(1, 0), (0.5, 10), (0.1, 18)])
def test_chance_has_its_share_and_no_more(jitter, least):
    delays = [Reconnect(jitter=jitter).delay_after(Timeout(), 3) for _ in range(1000)]
    assert least <= min(delays) < max(delays) <= 20


def test_a_restart_is_waited_for_shortly_and_then_as_anything():
    reconnect = steady(restart_delay=1)
    assert [reconnect.delay_after(Remote(1012), attempts) for attempts in (1, 2, 3)] == [1, 10, 20]


def test_after_a_restart_not_all_come_back_at_once():
    delays = [Reconnect(restart_delay=8).delay_after(Remote(1012), 1) for _ in range(1000)]
    assert 0 <= min(delays) < 2 < 6 < max(delays) <= 8


def test_a_busy_server_is_spared():
    delays = [Reconnect().delay_after(Remote(1013), 1) for _ in range(1000)]
    assert 30 <= min(delays) < 40 < 50 < max(delays) <= 60


def test_a_server_that_stays_busy_is_spared_longer():
    assert [steady().delay_after(Remote(1013), attempts) for attempts in (1, 4, 5)] == [60, 70, 90]


def test_a_server_that_says_when_is_not_asked_before():
    cause = UpgradeRejected(answer(503, Retry_After="120"))
    assert [steady().delay_after(cause, attempts) for attempts in (1, 2)] == [125, 130]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("0", 0),
        ("Sat, 21 Nov 2026 12:01:00 GMT", 60),
        ("Sat, 21 Nov 2026 12:01:00 -0000", 60),
        ("Sat, 21 Nov 2026 14:01:00 +0200", 60),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0),
        ("Sat, 21 Nov 2099 12:00:00 GMT", 86400),
        ("9" * 400, 86400),
        ("", 0),
        ("soon", 0),
        ("-5", 0),
        ("1.5", 0),
        ("²", 0),
        ("Sat, 99 Nov 2026 12:00:00 GMT", 0),
        ("Sat, 21 Nov 2026 12:01:00 +99999999999999999999", 0),
        ("Sat, 21 Nov 99999999999999999999 12:01:00 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_moment(value, seconds):
    assert read_retry_after(answer(503, Retry_After=value), NOON) == seconds


def test_a_proxy_that_says_when_is_not_asked_before_either():
    cause = ProxyFailed("http://proxy", "it is busy", answer(503, Retry_After="77"))
    assert steady().delay_after(cause, 1) == 82


def test_a_proxy_that_is_not_there_says_nothing_of_when():
    assert steady(initial_delay=5).delay_after(ProxyFailed("http://proxy", "Connection refused"), 1) == 5


def test_without_retry_after_nothing_is_asked_for():
    assert read_retry_after(answer(503), NOON) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("initial_delay", -1),
        ("initial_delay", "1"),
        ("initial_delay", True),
        ("max_delay", math.nan),
        ("factor", 0.5),
        ("factor", math.inf),
        ("jitter", 1.5),
        ("jitter", -0.1),
        ("restart_delay", None),
        ("busy_delay", -1),
        ("reset_after", -1),
        ("max_attempts", 0),
        ("max_attempts", 1.5),
        ("codes", "1001"),
        ("codes", ""),
        ("codes", b""),
        ("codes", ["1001"]),
        ("codes", 1001),
        ("codes", None),
        ("codes", [[1001]]),
        ("codes", [5]),
        ("codes", [1006]),
        ("codes", [True]),
        ("keep_state", 1),
        ("decide", 7),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(name, value):
    with pytest.raises(OptionError, match=name):
        Reconnect(**{name: value})


@pytest.mark.parametrize("decide", [lambda: None, lambda outage, attempts: None])
def test_what_cannot_be_asked_about_an_outage_is_refused(decide):
    with pytest.raises(OptionError, match=r"decide must be a function that can be called with an Outage alone \("):
        Reconnect(decide=decide)


def test_codes_may_come_one_by_one():
    assert Reconnect(codes=(code for code in (1001, 4000))).codes == {1001, 4000}


@pytest.mark.parametrize("delay", [-1, "1", math.nan])
def test_a_delay_that_cannot_be_waited_is_refused(delay):
    with pytest.raises(OptionError, match="delay"):
        Again(delay)
