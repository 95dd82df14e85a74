"""The block around a WebSocket: how it is entered, and that it is left in time, whatever leaves it."""

from __future__ import annotations

import contextlib
import signal
import sys
from functools import partial

import pytest
import trio

from trio_websock import ConnectFailed, ConnectionLost, Handler, Ok, OptionError, open_websocket, serve
from trio_websock.testing import MemoryListener

URL = "ws://example.com/"
CLOSE = 0x88


async def note_close(server, noted):
    await server.open()
    noted.append(await server.receive_frame())
    await server.send_frame(CLOSE, noted[0][1])
    await server.stream.aclose()


async def never(server):
    await server.open()


async def leave_with(start_server, leave):
    """What the server gets when the block is left by ``leave``."""
    noted, done = [], trio.Event()

    async def script(server):
        try:
            await note_close(server, noted)
        finally:
            done.set()

    try:
        async with open_websocket(URL, stream=start_server(script)) as websocket:
            await leave(websocket)
    finally:
        await done.wait()
        leave.frames = noted


async def test_leaving_closes_with_1000(start_server):
    async def leave(websocket):
        pass

    await leave_with(start_server, leave)
    assert leave.frames == [(CLOSE, b"\x03\xe8")]


async def test_an_exception_closes_with_1011_and_comes_out_as_it_is(start_server):
    async def leave(websocket):
        raise failure

    failure = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        await leave_with(start_server, leave)
    assert caught.value is failure
    assert leave.frames == [(CLOSE, b"\x03\xf3")]


@pytest.mark.parametrize("failure", [StopAsyncIteration(), RuntimeError("x"), ExceptionGroup("g", [KeyError()])])
async def test_any_exception_comes_out_as_it_is(start_server, failure):
    async def leave(websocket):
        raise failure

    with pytest.raises(type(failure)) as caught:
        await leave_with(start_server, leave)
    assert caught.value is failure


async def test_a_keyboard_interrupt_waits_for_nobody(start_server, autojump_clock):
    start = trio.current_time()
    with pytest.raises(KeyboardInterrupt):
        async with open_websocket(URL, stream=start_server(never)):
            raise KeyboardInterrupt
    assert trio.current_time() == start


async def test_cancellation_waits_for_nobody(start_server, autojump_clock):
    start = trio.current_time()
    with trio.move_on_after(5) as scope:
        async with open_websocket(URL, stream=start_server(never)) as websocket:
            await websocket.receive()
    assert scope.cancelled_caught
    assert trio.current_time() - start == pytest.approx(5)


async def test_cancellation_waits_for_nobody_though_output_is_stuck(start_server, autojump_clock):
    start = trio.current_time()
    with trio.move_on_after(5) as scope:
        async with open_websocket(URL, stream=start_server(never, 1000)) as websocket:
            await websocket.send(b"x" * 300_000)
    assert scope.cancelled_caught
    assert trio.current_time() - start == pytest.approx(5)


async def test_cancellation_while_leaving_ends_the_waiting(start_server, autojump_clock):
    start = trio.current_time()
    with trio.move_on_after(5) as scope:
        async with open_websocket(URL, stream=start_server(never), close_timeout=100):
            pass
    assert scope.cancelled_caught
    assert trio.current_time() - start == pytest.approx(5)


async def test_an_exception_survives_a_cancellation_while_leaving(start_server, autojump_clock):
    with trio.move_on_after(5), pytest.raises(KeyError):
        async with open_websocket(URL, stream=start_server(never), close_timeout=100):
            raise KeyError


async def test_leaving_takes_no_longer_than_close_timeout(start_server, autojump_clock):
    start = trio.current_time()
    async with open_websocket(URL, stream=start_server(never), close_timeout=7):
        pass
    assert trio.current_time() - start == pytest.approx(7)


async def test_a_shield_does_not_make_leaving_longer(start_server, autojump_clock):
    start = trio.current_time()
    with trio.CancelScope(shield=True):
        async with open_websocket(URL, stream=start_server(never, 1000), close_timeout=7) as websocket:
            with trio.move_on_after(1):
                await websocket.send(b"x" * 300_000)
    assert trio.current_time() - start == pytest.approx(8)


async def test_tasks_of_the_body_end_before_the_connection(start_server):
    async def leave(websocket):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(websocket.receive)
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    await leave_with(start_server, leave)
    assert leave.frames == [(CLOSE, b"\x03\xe8")]


async def test_after_the_block_everything_says_closed(start_server):
    async with open_websocket(URL, stream=start_server(lambda server: note_close(server, []))) as websocket:
        pass
    assert await websocket.try_send("x") is False
    assert await websocket.receive_or_none() is None
    await websocket.close()


class Bewitched(trio.abc.Stream):
    """Reads with an error of its own once the handshake is over, and will not be closed."""

    def __init__(self, stream):
        self._stream = stream
        self._reads = 0

    async def send_all(self, data):
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self):
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes=None):
        self._reads += 1
        if self._reads > 1:
            raise ZeroDivisionError
        return await self._stream.receive_some(max_bytes)

    async def aclose(self):
        raise ZeroDivisionError


async def test_an_error_of_a_given_stream_is_a_lost_connection(start_server):
    async with open_websocket(URL, stream=Bewitched(start_server(never))) as websocket:
        assert await websocket.receive_or_none() is None
        assert isinstance(websocket.closed.__cause__, ConnectionLost)
        assert isinstance(websocket.closed.__cause__.__cause__, ZeroDivisionError)


async def test_a_bad_url_is_refused_before_anything_is_opened():
    with pytest.raises(OptionError, match="fragments"):
        async with open_websocket("ws://h/#x"):
            pass


async def test_a_misspelt_option_is_a_type_error():
    with pytest.raises(TypeError, match="subprotocol"):
        async with open_websocket(URL, subprotocol="x"):
            pass


# The faults of servers before there is a WebSocket


async def test_a_server_that_never_answers_is_given_up(start_server, autojump_clock):
    start = trio.current_time()
    with pytest.raises(ConnectFailed, match="within 7 seconds"):
        async with open_websocket(URL, stream=start_server(lambda server: server.receive_head()), connect_timeout=7):
            pass
    assert trio.current_time() - start == pytest.approx(7)


async def test_a_server_that_trickles_is_given_up(start_server, autojump_clock):
    async def trickle(server):
        await server.stream.send_all(b"HTTP/1.1 101 x\r\n")
        while True:
            await server.stream.send_all(b"x")
            await trio.sleep(1)

    start = trio.current_time()
    with pytest.raises(ConnectFailed):
        async with open_websocket(URL, stream=start_server(trickle)):
            pass
    assert trio.current_time() - start == pytest.approx(10)


async def test_a_server_that_leaves_instead_of_answering_is_no_connection(start_server):
    async def leave(server):
        await server.receive_head()
        await server.stream.aclose()

    with pytest.raises(ConnectFailed, match="instead of answering"):
        async with open_websocket(URL, stream=start_server(leave)):
            pass


async def test_cancelling_while_it_connects_drops_the_stream(start_server, autojump_clock):
    async def wait_for_end(server):
        await server.receive_head()
        ended.append(await server.stream.receive_some())

    ended = []
    with trio.move_on_after(3):
        async with open_websocket(URL, stream=start_server(wait_for_end)):
            pass
    await trio.testing.wait_all_tasks_blocked()
    assert ended == [b""]


class Quiet(Handler):
    def init(self, args):
        return Ok(None)

    def handle_in(self, message, state):
        return Ok(None)


@pytest.mark.parametrize("step", ["__aenter__", "__aexit__"])
def test_an_interrupt_between_the_block_and_its_nursery_leaves_trio_whole(step):
    """It strikes in the frame of contextlib that is entered then, once."""
    passed = []

    def strike(frame, event, argument):
        code = frame.f_code
        if code.co_filename == contextlib.__file__ and code.co_name == step and not passed:
            passed.append(step)
            signal.raise_signal(signal.SIGINT)

    async def main():
        listener = MemoryListener()
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, Quiet, listeners=[listener]))
            sys.settrace(strike)
            async with open_websocket("ws://test/", stream=listener.connect):
                pass
            await trio.sleep_forever()

    tracer = sys.gettrace()
    try:
        with pytest.raises(BaseExceptionGroup) as caught:
            trio.run(main)
    finally:
        sys.settrace(tracer)
    assert passed == [step]
    assert caught.group_contains(KeyboardInterrupt)
