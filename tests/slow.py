"""A handler that takes its time, and a connection over a stream in memory to have it run on."""

from __future__ import annotations

import pytest
import trio
from trio.testing import memory_stream_pair

from trio_websock import Ok, Options
from trio_websock.behaviour.handler import bind_handler
from trio_websock.connection import Connection
from trio_websock.hosts.stream import StreamTransport
from trio_websock.hosts.stream_wire import StreamWire
from trio_websock.nursery import run_connection
from trio_websock.protocol.machine import Limits, Machine, Role

LIMITS = Limits(max_message_size=2**20, max_frame_size=None, max_empty_fragments=10, validate_utf8=True)
KEY = b"\0\0\0\0"  # masks nothing, so that the bytes of a test can be read


class Slow:
    """Takes half a minute for everything, and notes when it was done with what."""

    def __init__(self):
        self.done = []

    async def init(self, args):
        return Ok(None)

    async def handle_in(self, message, state):
        await trio.sleep(30)
        self.done.append((message, trio.current_time()))
        return Ok(state)

    handle_info = handle_in


@pytest.fixture
async def wired(nursery):
    """Run a handler over a stream in memory; the peer's end of the stream, and the connection."""

    def run(handler, *, leftover=b"", deflate=None, **options):
        ours, theirs = memory_stream_pair()
        theirs.receive_now = ours.receive_stream.put_data  # arrives without a step of anybody's
        transport = StreamTransport(StreamWire(ours), Machine(Role.SERVER, LIMITS, deflate), None, leftover)
        connection = Connection(transport, Options(**options))
        nursery.start_soon(run_connection, connection, bind_handler(handler), None)
        return theirs, connection

    yield run
    nursery.cancel_scope.cancel()
