"""One connection from the dial to the exit status, over memory: what is told, and with which status it ends."""

from __future__ import annotations

import math
import os
import signal
from functools import partial

import pytest
import trio

from trio_websock import (
    NORMAL,
    Binary,
    Ok,
    OptionError,
    Ping,
    Pong,
    Push,
    Response,
    Stop,
    current_connection,
    serve_stream,
    upgrade,
)
from trio_websock.command.events import Closed, Failed, Noted, Opened, Pinged, Ponged, Received
from trio_websock.command.exchange import ExitStatus, run_exchange
from trio_websock.command.orders import Close, Note, Refuse, Send, SendPing
from trio_websock.command.plan import Plan
from trio_websock.testing.memory_listener import open_memory_streams


class Server:
    """Echoes; ``close CODE`` closes, ``ping`` pings, ``pong`` sends a pong that nobody asked for."""

    def init(self, args):
        return Ok(None)

    def handle_in(self, message, state):
        match str(message).split():
            case ["close", code]:
                return Stop(NORMAL, state, int(code))
            case ["ping"]:
                return Push([Ping(b"p"), "pinged"], state)
            case ["pong"]:
                return Push([Pong(b"unasked"), Pong(b"four"), "ponged"], state)
        return Push(message, state)


class Voice(list):
    """Keeps the events it is told."""

    tell = list.append

    async def wait_room(self):
        await trio.lowlevel.checkpoint()


class Script:
    """A source of orders that are known from the start; a function is awaited instead."""

    def __init__(self, orders):
        self.orders = orders

    async def run(self, perform):
        for order in self.orders:
            await (order() if callable(order) else perform(order))


async def wait_blocked():
    await trio.testing.wait_all_tasks_blocked()


async def interrupt(number=signal.SIGINT):
    os.kill(os.getpid(), number)
    await trio.sleep_forever()


def plan_for(stream, *, count=None, wait=0.0, is_interactive=False, **options):
    flags = {"is_binary": False, "is_json": False, "is_verbose": False, "is_interactive": is_interactive}
    options = {"stream": stream, **options}
    return Plan("ws://h/", "ws://h/", options, messages=None, count=count, wait=wait, **flags)


@pytest.fixture
def exchange(nursery):
    """``status, events = await exchange(*orders, **plan)`` with a server at the other end."""

    async def exchange(*orders, handler=Server, **plan):
        ours, theirs = open_memory_streams()
        nursery.start_soon(serve_stream, theirs, handler)
        voice = Voice()
        return await run_exchange(plan_for(ours, **plan), Script(orders), voice), voice

    return exchange


def told(events, kind):
    return [event for event in events if isinstance(event, kind)]


def messages(events):
    return [event.message for event in told(events, Received)]


async def test_what_is_sent_and_comes_is_told(exchange, autojump_clock):
    status, events = await exchange(Send("a"), Send(Binary(b"b")), count=2, wait=math.inf)
    assert status == ExitStatus.CLEAN
    assert [type(event) for event in events] == [Opened, Received, Received, Closed]
    assert messages(events) == ["a", b"b"]
    assert (events[-1].ending.code, events[-1].ending.closed_by) == (1000, "us")


async def test_what_was_chosen_and_answered_is_told(exchange, autojump_clock):
    app = lambda request: upgrade(Server, subprotocols=["chat"], headers={"X-A": "b"})  # noqa: E731
    _, [opened, _] = await exchange(handler=app, subprotocols=["chat"])
    assert (opened.url, opened.subprotocol, opened.response.headers["x-a"]) == ("ws://h/", "chat", "b")


# How long it lasts


async def test_answers_are_waited_for_as_long_as_planned(exchange, autojump_clock):
    start = trio.current_time()
    await exchange(wait=7)
    assert trio.current_time() - start == pytest.approx(7)


async def test_enough_messages_end_the_waiting(exchange, autojump_clock):
    start = trio.current_time()
    status, _ = await exchange(Send("a"), count=1, wait=7)
    assert (status, trio.current_time() - start) == (ExitStatus.CLEAN, 0)


async def test_enough_messages_do_not_cut_the_input_off(exchange, autojump_clock):
    _, events = await exchange(Send("a"), wait_blocked, Send("b"), wait_blocked, count=1)
    assert messages(events) == ["a", "b"]


async def test_fewer_messages_than_wanted_are_a_status_of_their_own(exchange, autojump_clock):
    status, _ = await exchange(Send("a"), count=2, wait=7)
    assert status == ExitStatus.INCOMPLETE


# How it ends


@pytest.mark.parametrize(
    ("code", "status"), [(1000, ExitStatus.CLEAN), (1001, ExitStatus.CLEAN), (4000, ExitStatus.CLOSED_ABNORMALLY)]
)
async def test_the_server_s_code_is_the_status(exchange, autojump_clock, code, status):
    given, events = await exchange(Send(f"close {code}"), wait=math.inf)
    assert given == status
    assert (events[-1].ending.code, events[-1].ending.closed_by) == (code, "peer")


async def test_a_server_that_vanishes_is_an_abnormal_end(nursery, autojump_clock):
    ours, theirs = open_memory_streams()
    nursery.start_soon(serve_stream, theirs, Server)
    voice = Voice()
    assert await run_exchange(plan_for(ours, wait=9), Script([theirs.aclose]), voice) == ExitStatus.CLOSED_ABNORMALLY
    assert voice[-1].ending.closed_by == "nobody"


async def test_an_order_closes_with_its_code(exchange, autojump_clock):
    status, events = await exchange(Close(4000, "bye"), wait=math.inf)
    assert (status, events[-1].ending.code, events[-1].ending.text) == (ExitStatus.CLEAN, 4000, "bye")


async def test_a_close_that_may_not_be_is_told_and_nothing_closes(exchange, autojump_clock):
    _, events = await exchange(Close(1005), Send("a"), count=1, wait=math.inf, is_interactive=True)
    assert "1005" in told(events, Noted)[0].text
    assert messages(events) == ["a"]


async def test_a_close_of_the_server_amid_what_is_to_be_sent_is_remembered(exchange, autojump_clock):
    status, events = await exchange(Send("close 1000"), *[Send("a")] * 1000, wait=math.inf)
    assert (status, events[-1].ending.closed_by) == (ExitStatus.INCOMPLETE, "peer")


async def test_a_close_of_the_server_behind_all_that_was_sent_is_clean(exchange, autojump_clock):
    status, _ = await exchange(Send("close 1000"), trio.sleep_forever)
    assert status == ExitStatus.CLEAN


async def test_a_message_that_cannot_be_sent_is_told_and_remembered(exchange, autojump_clock):
    status, events = await exchange(Send("\udcff"))
    assert status == ExitStatus.INCOMPLETE
    assert told(events, Noted)


async def test_an_input_that_cannot_be_sent_is_wrong_usage(exchange, autojump_clock):
    status, events = await exchange(Refuse("not UTF-8"), wait=math.inf)
    assert status == ExitStatus.USAGE
    assert told(events, Noted) == [Noted("not UTF-8")]


async def test_a_note_is_told(exchange, autojump_clock):
    _, events = await exchange(Note("help"))
    assert told(events, Noted) == [Noted("help")]


# Pings and pongs


async def test_a_ping_of_the_server_is_told(exchange, autojump_clock):
    _, events = await exchange(Send("ping"), count=1, wait=math.inf)
    assert told(events, Pinged) == [Pinged(b"p")]


@pytest.mark.parametrize("payload", [b"", b"mine"])
async def test_a_pong_is_told_with_the_time_it_took(exchange, autojump_clock, payload):
    _, events = await exchange(SendPing(payload), wait_blocked)
    [pong] = told(events, Ponged)
    assert pong.latency == 0
    assert payload in (b"", pong.payload)


async def test_a_pong_that_nobody_asked_for_is_told_as_such(exchange, autojump_clock):
    _, events = await exchange(Send("pong"), count=1, wait=math.inf, ping_interval=None)
    assert told(events, Ponged) == [Ponged(b"unasked", None), Ponged(b"four", None)]


async def test_the_pongs_of_keepalive_are_told_as_such(exchange, autojump_clock):
    _, events = await exchange(wait=50)
    assert [(pong.latency, pong.is_keepalive) for pong in told(events, Ponged)] == [(0, True), (0, True)]


# No connection


async def test_a_refusal_is_told_with_a_status_of_its_own(exchange, autojump_clock):
    status, [failed] = await exchange(handler=lambda request: Response(403, "no"))
    assert status == ExitStatus.NO_CONNECTION
    assert isinstance(failed, Failed)
    assert failed.error.response.body == b"no"


async def test_an_option_that_is_not_allowed_comes_out_as_it_is():
    with pytest.raises(OptionError):
        await run_exchange(plan_for(None, max_redirects=-1), Script([]), Voice())


# Signals


@pytest.mark.parametrize(
    ("number", "code", "status"),
    [(signal.SIGINT, 1000, ExitStatus.INTERRUPTED), (signal.SIGTERM, 1001, ExitStatus.TERMINATED)],
)
async def test_a_signal_closes_in_good_order(exchange, number, code, status):
    given, events = await exchange(partial(interrupt, number), wait=math.inf)
    assert given == status
    assert (events[-1].ending.code, events[-1].ending.closed_by) == (code, "us")


async def test_a_signal_while_it_connects_ends_that():
    ours, _ = open_memory_streams()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(interrupt_once_blocked)
        assert await run_exchange(plan_for(ours), Script([]), Voice()) == ExitStatus.INTERRUPTED


async def interrupt_once_blocked():
    await trio.testing.wait_all_tasks_blocked()
    os.kill(os.getpid(), signal.SIGINT)


async def test_a_second_signal_waits_for_nobody(nursery):
    class Stubborn(Server):
        async def handle_in(self, message, state):
            os.kill(os.getpid(), signal.SIGINT)
            await current_connection().closing.wait()
            os.kill(os.getpid(), signal.SIGINT)
            await trio.sleep_forever()

    ours, theirs = open_memory_streams()
    nursery.start_soon(serve_stream, theirs, Stubborn)
    plan = plan_for(ours, wait=math.inf, close_timeout=math.inf)
    assert await run_exchange(plan, Script([Send("stay")]), Voice()) == ExitStatus.INTERRUPTED
    nursery.cancel_scope.cancel()


async def test_a_signal_ends_it_though_nobody_reads_what_came(nursery, autojump_clock):
    class Stalled(Voice):
        async def wait_room(self):
            os.kill(os.getpid(), signal.SIGTERM)
            await trio.sleep_forever()

    ours, theirs = open_memory_streams()
    nursery.start_soon(serve_stream, theirs, Server)
    voice = Stalled()
    with trio.fail_after(60):
        status = await run_exchange(plan_for(ours, wait=math.inf), Script([Send("stay")]), voice)
    assert (status, type(voice[-1])) == (ExitStatus.TERMINATED, Closed)
