"""A client over a stream of the application's own, which fails in its own way."""

from __future__ import annotations

import math
from functools import partial

import pytest
import trio

from trio_websock import (
    ConnectFailed,
    ConnectionClosed,
    ConnectionLost,
    Error,
    Handler,
    Ok,
    Push,
    connect,
    open_websocket,
    serve,
)
from trio_websock.testing import MemoryListener

URL = "ws://test/"


class StreamError(Exception):
    """No error of Trio's, nor of the system."""


class Quiet(Handler):
    def init(self, args):
        return Ok(args)

    def handle_in(self, message, state):
        return Ok(state)


class Faulty(trio.abc.Stream):
    """A stream in memory until told to fail; like many another it has tasks of its own, and fails in groups."""

    def __init__(self, inner, sends=math.inf):
        self.inner = inner
        self.sends = sends  # so many, and the next one raises
        self.is_stuck = False
        self.fails = trio.Event()

    async def receive_some(self, max_bytes=None):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.watch)
            data = await self.inner.receive_some(max_bytes)
            nursery.cancel_scope.cancel()
        return data

    async def watch(self):
        await self.fails.wait()
        raise StreamError("no more")

    async def send_all(self, data):
        if self.is_stuck:
            await trio.sleep_forever()
        if self.sends == 0:
            raise StreamError("not sent")
        self.sends -= 1
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self):
        await trio.lowlevel.checkpoint()

    async def aclose(self):
        await self.inner.aclose()


@pytest.fixture
async def open_faulty(nursery):
    listener = MemoryListener()
    await nursery.start(partial(serve, Quiet, listeners=[listener]))

    async def open_stream(**how):
        return Faulty(await listener.connect(), **how)

    yield open_stream
    nursery.cancel_scope.cancel()


def logged(caplog):
    return [record for record in caplog.records if record.levelname == "ERROR"]


async def test_stream_that_cannot_send_the_handshake_is_no_connection(open_faulty, autojump_clock, caplog):
    with pytest.raises(ConnectFailed, match="not sent"):
        async with open_websocket(URL, stream=await open_faulty(sends=0)):
            pass
    assert len(logged(caplog)) == 1


async def test_stream_that_cannot_send_a_message_is_a_lost_connection(open_faulty, autojump_clock, caplog):
    async with open_websocket(URL, stream=await open_faulty(sends=1)) as websocket:
        await websocket.try_send("x")
        with pytest.raises(ConnectionClosed):
            await websocket.receive()
    assert len(logged(caplog)) == 1


async def test_stream_that_cannot_receive_is_a_lost_connection(open_faulty, autojump_clock, caplog):
    stream = await open_faulty()
    async with open_websocket(URL, stream=stream) as websocket:
        stream.fails.set()
        with pytest.raises(ConnectionClosed) as caught:
            await websocket.receive()
    assert isinstance(caught.value.__cause__, ConnectionLost)
    assert len(logged(caplog)) == 1


async def test_output_of_a_handler_does_not_wait_for_a_stream_that_is_gone(open_faulty, autojump_clock, caplog):
    class Sending(Quiet):
        def init(self, stream):
            stream.is_stuck = True
            return Push("never sent", stream)

        def terminate(self, reason, stream):
            ended.append((reason, trio.current_time()))

    async def fail_later():
        await trio.sleep(1)
        stream.fails.set()

    ended, stream = [], await open_faulty()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail_later)
        reason = await connect(URL, Sending, stream, stream=stream, write_timeout=30)
    assert isinstance(reason, Error)
    assert isinstance(reason.cause, ConnectionLost)
    assert ended == [(reason, 1)]
    assert trio.current_time() == 1
    assert len(logged(caplog)) == 1
