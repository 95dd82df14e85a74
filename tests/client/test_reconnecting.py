"""A client that connects again, in virtual time: when it does, and when it does not."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import trio

from trio_websock import (
    DISCONNECTED,
    NORMAL,
    RESTART,
    ConnectFailed,
    Error,
    HandshakeError,
    Ok,
    Remote,
    Stop,
    UpgradeRejected,
    connect,
)

sys.path.append(str(Path(__file__).parent))  # tests are no package

outages = importlib.import_module("outages")

URL = outages.URL
Listener = outages.Listener
times = outages.times
close_with = outages.close_with
answer = outages.answer
hang_up = outages.hang_up
never = outages.never
steady = outages.steady


async def test_without_reconnect_the_first_end_is_the_end(start_servers, autojump_clock):
    noted = []
    assert await connect(URL, Listener, noted, stream=start_servers(close_with(1012), never)) == Remote(1012)
    assert times(noted, "init") == [0]


async def test_every_connection_begins_with_init_and_ends_with_terminate(start_servers, autojump_clock):
    noted, opener = [], start_servers(close_with(1001, after=20), close_with(1011, after=20), close_with(1000))
    assert await connect(URL, Listener, noted, stream=opener, reconnect=steady()) == Remote(1000)
    expected = [(0, "init"), (20, Remote(1001)), (25, "init"), (45, Remote(1011)), (50, "init"), (50, Remote(1000))]
    assert noted == expected


async def test_true_is_a_policy_with_chance_in_it(start_servers, autojump_clock):
    noted, opener = [], start_servers(close_with(1001), close_with(1000))
    await connect(URL, Listener, noted, stream=opener, reconnect=True)
    assert 0 <= times(noted, "init")[1] <= 5


async def test_attempts_in_a_row_wait_longer_and_longer(start_servers, autojump_clock):
    noted, opener = [], start_servers(close_with(1001), *[hang_up] * 5, close_with(1000))
    await connect(URL, Listener, noted, stream=opener, reconnect=steady())
    assert times(noted, "init") == [0, 5 + 10 + 20 + 40 + 60 + 60]


async def test_the_first_attempt_too_is_repeated(start_servers, autojump_clock):
    noted, opener = [], start_servers(hang_up, hang_up, close_with(1000))
    assert await connect(URL, Listener, noted, stream=opener, reconnect=steady()) == Remote(1000)
    assert times(noted, "init") == [15]


async def test_connections_that_do_not_last_count_as_failures(start_servers, autojump_clock):
    noted, opener = [], start_servers(*[close_with(1011, after=9)] * 3, close_with(1000))
    await connect(URL, Listener, noted, stream=opener, reconnect=steady())
    assert times(noted, "init") == [0, 9 + 5, 9 + 5 + 9 + 10, 9 + 5 + 9 + 10 + 9 + 20]


async def test_a_connection_that_lasts_begins_the_count_anew(start_servers, autojump_clock):
    noted, opener = [], start_servers(hang_up, hang_up, close_with(1011, after=10), hang_up, close_with(1000))
    await connect(URL, Listener, noted, stream=opener, reconnect=steady(max_attempts=2))
    assert times(noted, "init") == [15, 15 + 10 + 5 + 10]


async def test_when_attempts_are_used_up_the_last_error_is_raised(start_servers, autojump_clock):
    with pytest.raises(ConnectFailed, match="nobody listens"):
        await connect(URL, Listener, [], stream=start_servers(close_with(1001)), reconnect=steady(max_attempts=2))
    assert trio.current_time() == 15


async def test_when_attempts_are_used_up_the_last_reason_is_returned(start_servers, autojump_clock):
    opener = start_servers(hang_up, close_with(1001), close_with(1011))
    reason = await connect(URL, Listener, [], stream=opener, reconnect=steady(max_attempts=2))
    assert reason == Remote(1011)


async def test_a_restart_and_a_busy_server_are_told_apart(start_servers, autojump_clock):
    noted, opener = [], start_servers(close_with(1012, after=20), close_with(1013, after=20), close_with(1000))
    await connect(URL, Listener, noted, stream=opener, reconnect=steady(restart_delay=2, busy_delay=50))
    assert times(noted, "init") == [0, 22, 22 + 20 + 100]


async def test_a_server_that_says_when_is_obeyed(start_servers, autojump_clock):
    noted, opener = [], start_servers(answer(503, "Retry-After: 100"), answer(429, "Retry-After: 7"), close_with(1000))
    await connect(URL, Listener, noted, stream=opener, reconnect=steady())
    assert times(noted, "init") == [105 + 17]


@pytest.mark.parametrize("status", [301, 401, 403, 404, 501])
async def test_a_refusal_that_will_not_pass_is_raised(start_servers, status, autojump_clock):
    with pytest.raises(UpgradeRejected) as caught:
        await connect(URL, Listener, [], stream=start_servers(answer(status), never), reconnect=True)
    assert caught.value.response.status == status


async def test_an_answer_that_is_no_handshake_is_raised(start_servers, autojump_clock):
    async def babble(server):
        await server.receive_head()
        await server.stream.send_all(b"SSH-2.0\r\n\r\n")

    with pytest.raises(HandshakeError):
        await connect(URL, Listener, [], stream=start_servers(babble, never), reconnect=True)


@pytest.mark.parametrize(("reason", "count"), [(NORMAL, 1), (RESTART, 2), (DISCONNECTED, 2), ("my own", 1)])
async def test_a_handler_says_by_its_stop_whether_it_comes_back(start_servers, reason, count, autojump_clock):
    class Leaving(Listener):
        def init(self, noted):
            noted.append(1)
            return Stop(reason if len(noted) == 1 else NORMAL, noted)

        def terminate(self, reason, noted):
            pass

    noted = []
    await connect(URL, Leaving, noted, stream=start_servers(never, never), reconnect=True)
    assert len(noted) == count


async def test_a_handler_that_fails_does_not_come_back(start_servers, caplog, autojump_clock):
    class Failing(Listener):
        def init(self, noted):
            raise KeyError

    reason = await connect(URL, Failing, [], stream=start_servers(never, never), reconnect=True)
    assert isinstance(reason, Error)
    assert isinstance(reason.cause, KeyError)


async def test_a_class_gives_every_connection_an_instance(start_servers, autojump_clock):
    class Fresh(Listener):
        def init(self, noted):
            noted.append(self)
            return Ok(noted)

        def terminate(self, reason, noted):
            assert noted[-1] is self

    noted = []
    await connect(URL, Fresh, noted, stream=start_servers(close_with(1001), close_with(1000)), reconnect=True)
    assert len(set(noted)) == 2
