"""Every way a connection can end, at every moment of its life: one ``terminate``, and nothing left behind.

A real server on real sockets: a pair of them and virtual time, or TCP where a reset is the point.
"""

from __future__ import annotations

import gc
import importlib
import logging
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_websock import (
    NORMAL,
    ConnectionLost,
    Error,
    FrameError,
    Normal,
    Remote,
    Shutdown,
    Stop,
    Timeout,
    WriteTimeout,
)
from trio_websock.testing import ScriptedPeer

lives = importlib.import_module("lives")
ways = importlib.import_module("ways")

WRITTEN = {"while writing": lives.STUCK, "while the loop waits for the peer": lives.HUGE}


# The endings


async def peer_closes(life):
    await life.stream.send_all(lives.CLOSE)


async def peer_ends_the_stream(life):
    await life.stream.send_eof()


async def peer_resets(life):
    await ScriptedPeer(life.stream).abort()
    if life.connection is not None and life.moment not in ("before init", "in terminate"):
        await life.connection.closing.wait()


async def peer_breaks_the_protocol(life):
    await life.stream.send_all(lives.RESERVED_OPCODE)


async def handler_stops(life):
    life.outcome = lambda: Stop(NORMAL, None)


async def callback_raises(life):
    life.outcome = raise_boom


def raise_boom():
    raise lives.Boom


async def task_raises(life):
    async def fail():
        raise_boom()

    life.connection.nursery.start_soon(fail)


async def handler_cancels_its_nursery(life):
    life.connection.nursery.cancel_scope.cancel()


async def peer_is_silent(life):
    await trio.sleep(70)


async def peer_takes_nothing(life):
    await trio.sleep(40)


async def server_shuts_down(life):
    life.nursery.start_soon(life.server.shutdown)


async def server_aborts(life):
    life.nursery.start_soon(partial(life.server.shutdown, grace=0))


async def serve_is_cancelled(life):
    life.scope.cancel()


async def both_close(life):
    if life.moment == "idle":
        life.nursery.start_soon(life.server.shutdown)
        await life.connection.closing.wait()
    elif life.moment == "while the loop waits for the peer":
        await life.stream.send_all(lives.text("stop"))
    life.outcome = lambda: Stop(NORMAL, None, close=4000)
    await life.stream.send_all(lives.CLOSE)


LOST, BROKEN, RAISED = ConnectionLost, FrameError, lives.Boom

# What terminate is told (of an Error: the class of its cause) and the code of the close frame, if there is one.
RULED = {
    peer_closes: (Remote(1000), 1000),
    peer_ends_the_stream: (LOST, None),
    peer_resets: (LOST, None),
    peer_breaks_the_protocol: (BROKEN, 1002),
    handler_stops: (Normal(), 1000),
    callback_raises: (RAISED, 1011),
    task_raises: (RAISED, 1011),
    handler_cancels_its_nursery: (Shutdown(), 1001),
    peer_is_silent: (Timeout(), 1001),
    peer_takes_nothing: (WriteTimeout, None),
    server_shuts_down: (Shutdown(), 1001),
    server_aborts: (Shutdown(), 1001),
    serve_is_cancelled: (Shutdown(), 1001),
    both_close: (Normal(), 4000),
}

NO_CALLBACK = "no callback runs then that could do it"
NO_NURSERY = "the nursery is not open then"
CLOCK_STANDS = "the idle clock stands still while we are busy, and does not run before and after"
NOTHING_WRITTEN = "nothing waits for the peer then"
NOT_OURS = "we have no close to send yet"

ALL = frozenset(lives.BEGINNINGS)
IMPOSSIBLE = {
    handler_stops: {"before init": NO_CALLBACK, "idle": NO_CALLBACK, "while the loop waits for the peer": NO_CALLBACK},
    callback_raises: {
        "before init": "the application function answers 500 then",
        "idle": NO_CALLBACK,
        "while the loop waits for the peer": NO_CALLBACK,
    },
    task_raises: dict.fromkeys(["before init", "in terminate"], NO_NURSERY),
    handler_cancels_its_nursery: dict.fromkeys(["before init", "in terminate"], NO_NURSERY),
    peer_is_silent: dict.fromkeys(ALL - {"idle"}, CLOCK_STANDS),
    peer_takes_nothing: dict.fromkeys(ALL - {"while writing", "while the loop waits for the peer"}, NOTHING_WRITTEN),
    both_close: {"before init": NOT_OURS},
}

# Where init has not succeeded, nothing is terminated.
FAILS_INIT = {callback_raises, task_raises, handler_cancels_its_nursery, server_aborts}
REFUSED = {server_shuts_down, server_aborts, serve_is_cancelled}


def ruled(ending, moment):
    """What ``terminate`` is told and the close code; ``...`` in place of the first if it is not called."""
    reason, code = RULED[ending]
    if moment == "before init" and ending in REFUSED:
        return ..., None
    if moment == "in init" and ending in FAILS_INIT:
        return ..., code
    if moment == "in terminate":
        return Normal(), 4000
    if moment == "idle" and ending is both_close:
        return Shutdown(), 1001
    return reason, code


def possible(endings):
    return [
        pytest.param(ending, moment, id=f"{ending.__name__.replace('_', ' ')}, {moment}")
        for ending in endings
        for moment in lives.BEGINNINGS
        if moment not in IMPOSSIBLE.get(ending, {})
    ]


def parse_frames(data):
    """The frames of a server, strictly: the opcodes and payloads of the whole ones, and what is left."""
    frames = []
    while len(data) >= 2:
        opcode, size, at = data[0] & 0xF, data[1], 2
        assert data[0] & 0xF0 == 0x80, "not one whole message"
        assert opcode in (1, 8)
        if size >= 126:
            at += 2 if size == 126 else 8
            size = int.from_bytes(data[2:at])
        assert size < 2**21, "no length we sent"
        if len(data) < at + size:
            break
        frames.append((opcode, data[at : at + size]))
        data = data[at + size :]
    return frames, data


# The test


async def live_and_end(ending, moment, way, open_pair):
    """The life that has been led, and what the peer got."""
    life = lives.Life(moment, way)
    lives.watch_any_socket()
    before = lives.count_resources()
    with trio.fail_after(10_000):
        async with trio.open_nursery() as life.nursery:
            await life.begin(life.nursery, open_pair)
            await ending(life)
            if open_pair is lives.open_unix_pair:
                await wait_all_tasks_blocked()
            life.gate.set()
            received = b"" if ending is peer_resets else await life.read_to_the_end()
            await wait_all_tasks_blocked()
            if life.connection is not None:
                life.reason = await life.connection.wait_ended()
            await life.stream.aclose()
            if ending not in REFUSED and not (ending is both_close and moment == "idle"):
                await wait_all_tasks_blocked()
                assert lives.count_resources() == life.resources
            life.scope.cancel()
    assert lives.count_resources() == before
    return life, received


def check_terminated(life, expected):
    reasons = [call for call in life.calls if not isinstance(call, str)]
    if expected is ...:
        assert reasons == []
        return
    [reason] = reasons
    assert life.calls[-1] is reason
    assert life.reason == reason
    if isinstance(expected, type):
        assert isinstance(reason, Error)
        assert isinstance(reason.cause, expected)
    else:
        assert reason == expected


def check_received(received, message, code, *, may_be_cut):
    if received.startswith(b"HTTP/1.1 503"):
        assert code is None
        return
    frames, rest = parse_frames(received.rpartition(b"\r\n\r\n")[2])
    expected = [(1, message.encode())] if message else []
    if code is not None:
        expected.append((8, code.to_bytes(2)))
    if may_be_cut:
        expected = expected[: len(frames)]
    assert [(opcode, payload[:2] if opcode == 8 else payload) for opcode, payload in frames] == expected
    assert may_be_cut or not rest


def check_logged(caplog, ending, moment):
    """An exception of the application is logged once; nothing else is an error of ours."""
    is_cut_off = ending is server_aborts and moment == "in terminate"
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == (RULED[ending][0] is RAISED or is_cut_off)


@ways.EACH_WAY
@pytest.mark.parametrize(("ending", "moment"), possible(ending for ending in RULED if ending is not peer_resets))
def test_end_is_told_once_and_leaves_nothing_behind(ending, moment, way, caplog):
    clock = MockClock(autojump_threshold=0)
    life, received = trio.run(live_and_end, ending, moment, way, lives.open_unix_pair, clock=clock)
    reason, code = ruled(ending, moment)
    check_terminated(life, reason)
    check_received(received, WRITTEN.get(moment), code, may_be_cut=ending in (server_aborts, peer_takes_nothing))
    check_logged(caplog, ending, moment)
    gc.collect()


@ways.EACH_WAY
@pytest.mark.parametrize(("ending", "moment"), possible([peer_resets]))
def test_reset_is_told_once_and_leaves_nothing_behind(ending, moment, way, caplog):
    life, _ = trio.run(live_and_end, ending, moment, way, lives.open_tcp_pair)
    check_terminated(life, ruled(ending, moment)[0])
    check_logged(caplog, ending, moment)
    gc.collect()


# A peer that is busy sending


async def stop_with_output(life):
    await life.stream.send_all(lives.text("last words"))


async def speak_then_listen(end, moment):
    """What a peer gets that reads nothing before all it has to say has been taken, and how long that lasts."""
    life = lives.Life(moment)
    async with trio.open_nursery() as life.nursery:
        await life.begin(life.nursery, lives.open_unix_pair)
        await end(life)
        await life.stream.send_all(lives.text("x") * 50_000)
        received = await life.read_to_the_end()
        await life.stream.aclose()
        life.scope.cancel()
    return received, trio.current_time()


@pytest.mark.parametrize(
    ("end", "moment", "message", "code"),
    [(stop_with_output, "idle", lives.HUGE, 1000), (task_raises, "while writing", lives.STUCK, 1011)],
    ids=["stop with output", "failure behind output"],
)
def test_peer_that_is_busy_sending_gets_to_read_what_it_is_owed(end, moment, message, code, caplog):
    clock = MockClock(autojump_threshold=0)
    received, seconds = trio.run(speak_then_listen, end, moment, clock=clock)
    check_received(received, message, code, may_be_cut=False)
    assert seconds < 1
