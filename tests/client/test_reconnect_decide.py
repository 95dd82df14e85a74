"""What an application has to say about an outage, and what goes on with the next connection."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import trio

from trio_websock import Again, ConnectFailed, Handler, Ok, OptionError, Outage, Reconnect, Remote, connect

sys.path.append(str(Path(__file__).parent))  # tests are no package

outages = importlib.import_module("outages")

URL = outages.URL
hang_up = outages.hang_up
never = outages.never
steady = outages.steady
CLOSE = outages.CLOSE


class Counter(Handler):
    """Counts messages from where its arguments say."""

    def init(self, count):
        return Ok(count)

    def handle_in(self, message, count):
        return Ok(count + 1)


def say(count, code):
    async def script(server):
        await server.open(b"\x81\x01x" * count)
        await close_with_frame(server, code)

    return script


async def close_with_frame(server, code):
    await server.send_frame(CLOSE, code.to_bytes(2, "big"))
    await server.receive_frame()
    await server.stream.aclose()


async def test_who_decides_is_told_everything(start_servers, autojump_clock):
    def decide(outage):
        outages.append(outage)
        return outage.proposal

    outages, opener = [], start_servers(hang_up, say(3, 1001), say(0, 4000))
    await connect(URL, Counter, 10, stream=opener, reconnect=steady(decide=decide))
    first, *others = outages
    assert isinstance(first.cause, ConnectFailed)
    assert (first.state, first.args, first.attempts, first.proposal) == (None, 10, 1, Again(5))
    assert others == [Outage(Remote(1001), 13, 10, 2, Again(10)), Outage(Remote(4000), 10, 10, 3, None)]


async def test_the_state_may_go_on_with_the_next_connection(start_servers, autojump_clock):
    def decide(outage):
        outages.append((outage.state, outage.args))
        return outage.proposal

    outages, opener = [], start_servers(hang_up, say(3, 1001), hang_up, say(2, 1001), say(1, 1000))
    reconnect = steady(keep_state=True, decide=decide)
    await connect(URL, Counter, 10, stream=opener, reconnect=reconnect)
    assert outages == [(None, 10), (13, 13), (13, 13), (15, 15), (16, 16)]


async def test_without_a_state_the_arguments_stay(start_servers, autojump_clock):
    class Picky(Handler):
        def init(self, args):
            given.append(args)
            if len(given) == 2:
                raise ValueError("not today")
            return Ok(f"state {len(given)}")

        def handle_in(self, message, state):
            return Ok(state)

    given, opener = [], start_servers(say(0, 1001), say(0, 1001), say(0, 1000))
    reconnect = Reconnect(keep_state=True, decide=lambda outage: Again() if len(given) < 3 else None)
    await connect(URL, Picky, "first", stream=opener, reconnect=reconnect)
    assert given == ["first", "state 1", "state 1"]


async def test_what_is_decided_wins_over_the_state(start_servers, autojump_clock):
    outages = []

    def decide(outage):
        outages.append(outage.args)
        return Again(args=100) if len(outages) == 1 else outage.proposal

    opener = start_servers(say(3, 1001), hang_up, say(1, 1000))
    await connect(URL, Counter, 0, stream=opener, reconnect=Reconnect(keep_state=True, decide=decide))
    assert outages == [3, 100, 101]


async def test_who_decides_has_the_last_word(start_servers, autojump_clock):
    def decide(outage):
        return Again(0.5) if outage.cause == Remote(4000) else None

    opener = start_servers(say(0, 4000), say(0, 4000), say(0, 1001), never)
    assert await connect(URL, Counter, stream=opener, reconnect=Reconnect(decide=decide)) == Remote(1001)
    assert trio.current_time() == 1


async def test_a_decision_may_take_its_time_and_change_what_is_asked_for(start_servers, autojump_clock):
    def ask(heads):
        async def script(server):
            heads.append(await server.receive_head())
            await server.stream.aclose()

        return script

    async def decide(outage):
        await trio.sleep(100)
        return Again(1, url="ws://example.com/resume", options={"authorization": "fresh"}) if len(heads) == 1 else None

    heads = []
    opener = start_servers(ask(heads), ask(heads))
    with pytest.raises(ConnectFailed):
        await connect(URL, Counter, stream=opener, authorization="stale", reconnect=Reconnect(decide=decide))
    assert trio.current_time() == 201
    first, second = heads
    assert first.startswith("GET / ")
    assert "Authorization: Bearer stale" in first
    assert second.startswith("GET /resume ")
    assert "Authorization: Bearer fresh" in second


@pytest.mark.parametrize("decision", [True, 5, "yes"])
async def test_a_decision_that_is_none_is_an_error(start_servers, decision, autojump_clock):
    reconnect = Reconnect(decide=lambda outage: decision)
    with pytest.raises(TypeError, match="Again"):
        await connect(URL, Counter, 0, stream=start_servers(say(0, 1001)), reconnect=reconnect)


async def test_an_option_of_a_decision_is_checked(start_servers, autojump_clock):
    reconnect = Reconnect(decide=lambda outage: Again(options={"timeout": 0}))
    with pytest.raises(OptionError, match="timeout"):
        await connect(URL, Counter, 0, stream=start_servers(say(0, 1001)), reconnect=reconnect)


async def test_a_place_that_is_none_is_refused_before_anything_is_waited_for(start_servers, autojump_clock):
    reconnect = Reconnect(decide=lambda outage: Again(1000, url="ftp://example.com"))
    start = trio.current_time()
    with pytest.raises(OptionError, match="url"):
        await connect(URL, Counter, 0, stream=start_servers(say(0, 1001)), reconnect=reconnect)
    assert trio.current_time() - start < 1000


async def test_what_a_decision_raises_keeps_its_context_and_shows_no_group(start_servers, autojump_clock):
    def decide(outage):
        try:
            return {}["token"]
        except KeyError:
            raise ValueError("no token")  # noqa: B904  # so that there is a context

    with pytest.raises(ValueError, match="no token") as caught:
        await connect(URL, Counter, 0, stream=start_servers(hang_up), reconnect=Reconnect(decide=decide))
    assert isinstance(caught.value.__context__, KeyError)
