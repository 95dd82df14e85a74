"""A WebSocket in use: messages, pings, and every way to its end, against a server that does what it is told."""

from __future__ import annotations

import math
import os
import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock import (
    Binary,
    ConnectionClosed,
    ConnectionLost,
    FrameError,
    MessageError,
    Ping,
    Text,
    WriteTimeout,
    open_websocket,
)

URL = "ws://example.com/"
TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
NORMAL = b"\x03\xe8"


def open_over(stream, **options):
    return open_websocket(URL, stream=stream, **options)


def answering(*frames):
    """A script that sends ``frames``, then answers the client's close."""

    async def script(server):
        await server.open()
        for first, payload in frames:
            await server.send_frame(first, payload)
        await answer_close(server)

    return script


async def answer_close(server):
    while True:
        first, payload = await server.receive_frame()
        if first == CLOSE:
            await server.send_frame(CLOSE, payload)
            await server.stream.aclose()
            return


async def never(server):
    """Opens, and does nothing more."""
    await server.open()


# Messages


async def test_text_is_str_and_binary_is_bytes(start_server):
    async with open_over(start_server(answering((TEXT, b"gr\xc3\xbcn"), (BINARY, b"\xff")))) as websocket:
        assert [await websocket.receive(), await websocket.receive()] == ["grün", b"\xff"]


async def test_messages_in_the_packet_of_the_answer_are_received(start_server):
    async def script(server):
        await server.open(behind=b"\x81\x01a")
        await answer_close(server)

    async with open_over(start_server(script)) as websocket:
        assert await websocket.receive() == "a"


@pytest.mark.parametrize(
    ("message", "frame"),
    [
        ("grün", (TEXT, b"gr\xc3\xbcn")),
        (b"\xff", (BINARY, b"\xff")),
        (bytearray(b"x"), (BINARY, b"x")),
        (Text([b"a", "b"]), (TEXT, b"ab")),
        (Binary("x"), (BINARY, b"x")),
        (Ping(b"x"), (PING, b"x")),
        (b"x" * 70_000, (BINARY, b"x" * 70_000)),
    ],
)
async def test_a_message_is_one_masked_frame(start_server, message, frame):
    async def script(server):
        await server.open()
        frames.append(await server.receive_frame())
        await answer_close(server)

    frames = []
    async with open_over(start_server(script)) as websocket:
        await websocket.send(message)
    assert frames == [frame]


async def test_what_is_no_message_is_refused_and_nothing_sent(start_server):
    async with open_over(start_server(answering())) as websocket:
        with pytest.raises(MessageError):
            await websocket.send(7)
        assert websocket.closed is None


async def test_iteration_ends_with_a_clean_close(start_server):
    frames = [(TEXT, b"a"), (TEXT, b"b"), (CLOSE, NORMAL)]
    async with open_over(start_server(answering(*frames))) as websocket:
        assert [message async for message in websocket] == ["a", "b"]


async def test_iteration_raises_for_any_other_close(start_server):
    async with open_over(start_server(answering((TEXT, b"a"), (CLOSE, b"\x03\xf3why")))) as websocket:
        with pytest.raises(ConnectionClosed) as caught:
            assert [message async for message in websocket] == ["a"]
        assert (caught.value.code, caught.value.text, caught.value.closed_by) == (1011, "why", "peer")


async def test_only_one_task_receives_at_a_time(start_server, nursery):
    async with open_over(start_server(answering())) as websocket:
        nursery.start_soon(websocket.receive_or_none)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await websocket.receive()


async def test_a_cancelled_receive_loses_nothing(start_server, autojump_clock):
    async def script(server):
        await server.open()
        await trio.sleep(2)
        await server.send_frame(TEXT, b"late")
        await answer_close(server)

    async with open_over(start_server(script)) as websocket:
        with trio.move_on_after(1):
            await websocket.receive()
        assert await websocket.receive() == "late"


async def test_cancellation_is_seen_though_messages_wait(start_server):
    async with open_over(start_server(answering((TEXT, b"a")))) as websocket:
        await wait_all_tasks_blocked()
        with trio.move_on_after(0) as scope:
            await websocket.receive()
        assert scope.cancelled_caught
        assert await websocket.receive() == "a"


async def test_sending_sees_cancellation_and_sends_nothing_then(start_server):
    async def script(server):
        await server.open()
        frames.append(await server.receive_frame())
        await answer_close(server)

    frames = []
    async with open_over(start_server(script)) as websocket:
        with trio.move_on_after(0) as scope:
            await websocket.send("a")
        assert scope.cancelled_caught
        await websocket.send("b")
    assert frames == [(TEXT, b"b")]


async def test_a_sender_lets_others_have_a_turn(start_server, nursery):
    async def count():
        while True:
            turns.append(1)
            await trio.lowlevel.checkpoint()

    turns = []
    async with open_over(start_server(answering())) as websocket:
        nursery.start_soon(count)
        for _ in range(64):
            await websocket.send("x")
        assert len(turns) >= 4
    nursery.cancel_scope.cancel()


async def test_a_cancelled_send_leaves_whole_frames(start_server, autojump_clock):
    async def script(server):
        await server.open()
        await trio.sleep(10)
        for _ in range(2):
            frames.append(await server.receive_frame())
        await answer_close(server)

    frames = []
    async with open_over(start_server(script, 1000)) as websocket:
        with trio.move_on_after(5) as scope:
            await websocket.send(b"x" * 300_000)
        assert scope.cancelled_caught
        await websocket.send("next")
    assert frames == [(BINARY, b"x" * 300_000), (TEXT, b"next")]


async def test_sends_that_are_cancelled_do_not_pile_up(start_server, autojump_clock):
    async with open_over(start_server(never, 1000), close_timeout=1) as websocket:
        for _ in range(10):
            with trio.move_on_after(1):
                await websocket.send(b"x" * 100_000)
        assert websocket._transport.unsent_size < 200_000


async def test_several_tasks_may_send_at_once(start_server, autojump_clock):
    async def script(server):
        await server.open()
        await trio.sleep(1)
        for _ in range(5):
            frames.append(await server.receive_frame())
        await answer_close(server)

    frames = []
    async with open_over(start_server(script, 1000)) as websocket, trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(websocket.send, bytes([number]) * 50_000)
    assert sorted(frames) == [(BINARY, bytes([number]) * 50_000) for number in range(5)]


# Without exceptions


async def test_try_send_and_receive_or_none_say_that_it_is_over(start_server):
    async with open_over(start_server(answering((TEXT, b"a"), (CLOSE, NORMAL)))) as websocket:
        assert await websocket.receive_or_none() == "a"
        assert await websocket.receive_or_none() is None
        assert await websocket.try_send("x") is False
        assert websocket.closed.code == 1000


async def test_try_send_says_that_it_was_sent(start_server):
    async with open_over(start_server(answering())) as websocket:
        assert await websocket.try_send("x") is True


# Pings


async def answer_pings_late(server):
    await server.open()
    while True:
        first, payload = await server.receive_frame()
        await trio.sleep(3)
        if first == CLOSE:
            await server.send_frame(CLOSE, payload)
            return
        await server.send_frame(PONG, payload)


async def test_a_ping_gives_the_seconds_to_its_pong(start_server, autojump_clock):
    async with open_over(start_server(answer_pings_late), ping_interval=None) as websocket:
        assert websocket.latency is None
        assert await websocket.ping() == pytest.approx(3)
        assert websocket.latency == pytest.approx(3)


async def test_a_pong_answers_earlier_pings_too(start_server, nursery):
    async def script(server):
        await server.open()
        await server.receive_frame()
        _, payload = await server.receive_frame()
        await server.send_frame(PONG, b"another")
        await server.send_frame(PONG, payload)
        await answer_close(server)

    async with open_over(start_server(script)) as websocket, trio.open_nursery() as pings:
        pings.start_soon(websocket.ping, b"first")
        await wait_all_tasks_blocked()
        pings.start_soon(websocket.ping, b"second")


async def test_a_ping_without_a_pong_ends_with_the_connection(start_server):
    async def script(server):
        await server.open()
        await server.receive_frame()
        await server.send_frame(CLOSE, NORMAL)

    async with open_over(start_server(script)) as websocket:
        with pytest.raises(ConnectionClosed):
            await websocket.ping()


async def test_a_cancelled_ping_is_forgotten(start_server, autojump_clock):
    async with open_over(start_server(answer_pings_late)) as websocket:
        with trio.move_on_after(1):
            await websocket.ping(b"x")
        assert await websocket.ping(b"y") > 1


async def test_pings_of_the_server_are_answered_while_nobody_receives(start_server):
    async def script(server):
        await server.open()
        await server.send_frame(PING, b"there?")
        frames.append(await server.receive_frame())
        answered.set()
        await answer_close(server)

    frames, answered = [], trio.Event()
    async with open_over(start_server(script)):
        await answered.wait()
    assert frames == [(PONG, b"there?")]


async def test_a_server_that_answers_no_ping_is_given_up(start_server, autojump_clock):
    async with open_over(start_server(never), ping_interval=5, ping_timeout=4, close_timeout=2) as websocket:
        start = trio.current_time()
        with pytest.raises(ConnectionClosed) as caught:
            await websocket.receive()
        assert trio.current_time() - start == pytest.approx(9)
        assert (caught.value.code, caught.value.text, caught.value.is_clean) == (1001, "ping timeout", False)
    assert trio.current_time() - start == pytest.approx(11)


async def test_silence_ends_it_if_a_timeout_was_asked_for(start_server, autojump_clock):
    async with open_over(start_server(never), timeout=100, ping_interval=None) as websocket:
        start = trio.current_time()
        with pytest.raises(ConnectionClosed, match="idle timeout"):
            await websocket.receive()
        assert 100 <= trio.current_time() - start <= 110


async def test_a_server_is_not_silent_whose_message_came_while_the_thread_was_blocked(start_server, mock_clock):
    ours, theirs = (trio.socket.from_stdlib_socket(end) for end in socket.socketpair())
    stream = start_server(never, streams=(trio.SocketStream(ours), trio.SocketStream(theirs)))
    async with open_over(stream, timeout=100, ping_interval=None) as websocket:
        await wait_all_tasks_blocked(0.01)
        with theirs:
            os.write(theirs.fileno(), b"\x81\x01x")
            # Later than the silence is judged, and not so late that it is known for a blocked thread.
            mock_clock.jump(107)
            assert await websocket.receive() == "x"


async def test_a_server_may_be_silent_for_ever(start_server, autojump_clock):
    async def script(server):
        await server.open()
        await trio.sleep(80_000)
        await server.send_frame(TEXT, b"at last")
        await answer_close(server)

    async with open_over(start_server(script), ping_interval=None) as websocket:
        assert await websocket.receive() == "at last"


# The end


async def test_close_tells_the_server_and_everybody_else(start_server):
    async def script(server):
        await server.open()
        frames.append(await server.receive_frame())
        await server.send_frame(CLOSE, b"\x0b\xb8")

    frames = []
    async with open_over(start_server(script)) as websocket:
        await websocket.close(3000, "grün")
        with pytest.raises(ConnectionClosed) as caught:
            await websocket.send("x")
    assert frames == [(CLOSE, b"\x0b\xb8gr\xc3\xbcn")]
    assert (caught.value.code, caught.value.text, caught.value.closed_by) == (3000, "grün", "us")


async def test_closing_again_does_nothing(start_server):
    async with open_over(start_server(answering())) as websocket:
        await websocket.close(3000)
        await websocket.close(4000)
        assert websocket.closed.code == 3000


@pytest.mark.parametrize(
    ("code", "text"),
    [(999, ""), (1005, ""), (1006, ""), (5000, ""), (True, ""), ("1000", ""), (1000, "x" * 124), (1000, 7)],
)
async def test_a_close_that_may_not_travel_is_refused(start_server, code, text):
    async with open_over(start_server(answering())) as websocket:
        with pytest.raises(MessageError):
            await websocket.close(code, text)
        assert websocket.closed is None


async def test_closing_ends_a_receive_elsewhere(start_server, nursery):
    async def collect():
        collected.extend([message async for message in websocket])
        done.set()

    collected, done = [], trio.Event()
    async with open_over(start_server(answering())) as websocket:
        nursery.start_soon(collect)
        await wait_all_tasks_blocked()
        await websocket.close()
        await done.wait()
    assert collected == []


async def test_close_does_not_wait_longer_than_close_timeout(start_server, autojump_clock):
    async with open_over(start_server(never), close_timeout=7) as websocket:
        start = trio.current_time()
        await websocket.close()
        assert trio.current_time() - start == pytest.approx(7)


async def test_a_flood_does_not_hold_the_close_back(start_server, autojump_clock):
    async def flood(server):
        await server.open()
        while True:
            await server.send_frame(TEXT, b"x" * 100)
            await trio.sleep(0.1)

    async with open_over(start_server(flood), close_timeout=7) as websocket:
        await websocket.receive()
        start = trio.current_time()
        await websocket.close()
        assert trio.current_time() - start == pytest.approx(7)


async def test_a_server_that_stops_reading_is_dropped_after_write_timeout(start_server, autojump_clock):
    async with open_over(start_server(never, 1000), write_timeout=9, ping_interval=None) as websocket:
        start = trio.current_time()
        with pytest.raises(ConnectionClosed) as caught:
            await websocket.send(b"x" * 100_000)
        assert trio.current_time() - start == pytest.approx(9)
        assert isinstance(caught.value.__cause__, WriteTimeout)
        assert caught.value.closed_by == "nobody"


async def test_a_close_behind_output_nobody_takes_is_bounded_too(start_server, autojump_clock):
    async with open_over(start_server(never, 1000), close_timeout=3, write_timeout=math.inf) as websocket:
        with trio.move_on_after(1):
            await websocket.send(b"x" * 100_000)
        start = trio.current_time()
    assert trio.current_time() - start == pytest.approx(3)


@pytest.mark.parametrize(("payload", "code"), [(b"", None), (NORMAL, 1000), (b"\x0b\xb8", 3000)])
async def test_the_close_of_the_server_is_echoed(start_server, payload, code):
    async def script(server):
        await server.open()
        await server.send_frame(CLOSE, payload)
        frames.append(await server.receive_frame())

    frames = []
    async with open_over(start_server(script)) as websocket:
        with pytest.raises(ConnectionClosed) as caught:
            await websocket.receive()
    assert frames == [(CLOSE, payload)]
    assert (caught.value.code, caught.value.closed_by) == (code, "peer")


async def test_what_came_before_the_close_is_received_first(start_server):
    frames = [(TEXT, b"a"), (TEXT, b"b"), (CLOSE, NORMAL)]
    async with open_over(start_server(answering(*frames))) as websocket:
        await wait_all_tasks_blocked()
        assert websocket.closed is not None
        assert [await websocket.receive(), await websocket.receive()] == ["a", "b"]


async def test_the_end_of_the_stream_is_a_lost_connection(start_server):
    async def script(server):
        await server.open()
        await server.stream.send_all(b"\x81\x05hal")
        await server.stream.aclose()

    async with open_over(start_server(script)) as websocket:
        with pytest.raises(ConnectionClosed) as caught:
            await websocket.receive()
    assert (caught.value.code, caught.value.closed_by) == (None, "nobody")
    assert isinstance(caught.value.__cause__, ConnectionLost)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x81\0\0\0\0a", 1002),
        (b"\x83\x00", 1002),
        (b"\x81\x01\xff", 1007),
        (b"\xc1\x00", 1002),
        (b"\x82\x7f\x00\x00\x00\x00\xff\xff\xff\xff", 1009),
        (b"\x88\x02\x03\xed", 1002),
    ],
)
async def test_a_server_that_breaks_the_protocol_is_told_so(start_server, frame, code):
    async def script(server):
        await server.open()
        await server.stream.send_all(b"\x81\x01a" + frame)
        frames.append(await server.receive_frame())
        await server.stream.aclose()

    frames = []
    async with open_over(start_server(script)) as websocket:
        assert await websocket.receive() == "a"
        with pytest.raises(ConnectionClosed) as caught:
            await websocket.receive()
    assert frames == [(CLOSE, code.to_bytes(2, "big"))]
    assert (caught.value.code, caught.value.closed_by, caught.value.is_clean) == (code, "us", False)


async def test_a_masked_frame_is_named_as_the_cause(start_server):
    async def script(server):
        await server.open(behind=b"\x81\x81\0\0\0\0a")

    async with open_over(start_server(script), close_timeout=0.1) as websocket:
        with pytest.raises(ConnectionClosed) as caught:
            await websocket.receive()
    assert isinstance(caught.value.__cause__, FrameError)


async def test_reading_ahead_is_bounded(start_server, autojump_clock):
    async def script(server):
        await server.open()
        with trio.move_on_after(5):
            while True:
                await server.send_frame(TEXT, b"x" * 100)
                sent.append(1)

    sent = []
    async with open_over(
        start_server(script, 1000), read_ahead_messages=8, ping_interval=None, close_timeout=1
    ) as websocket:
        await trio.sleep(10)
        assert 8 <= len(sent) < 100
        assert await websocket.receive() == "x" * 100


async def test_a_client_that_does_not_receive_is_not_the_servers_fault(start_server, autojump_clock):
    async def script(server):
        await server.open()
        for _ in range(20):
            await server.send_frame(TEXT, b"x" * 100)
        await answer_pings_late(server)

    async with open_over(start_server(script, 1000), read_ahead_messages=8, close_timeout=1) as websocket:
        await trio.sleep(500)
        assert websocket.closed is None


async def test_facts_about_the_connection(start_server):
    async def script(server):
        await server.open(**{"Sec-WebSocket-Protocol": "chat", "X-Served-By": "me"})
        await answer_close(server)

    async with open_over(start_server(script), subprotocols=["chat"]) as websocket:
        assert websocket.subprotocol == "chat"
        assert websocket.response.headers["x-served-by"] == "me"
        assert websocket.request.target == "/"
        assert websocket.peer == "local peer"
        assert websocket.closed is None
