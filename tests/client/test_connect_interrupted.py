"""A client that is interrupted at every checkpoint there is: nothing is lost or comes twice, every init has its end."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio

from trio_websock import Handler, Ok, Reconnect, connect
from trio_websock.protocol.upgrade import accept_key
from trio_websock.testing.interruption import cancel_connection, each_checkpoint
from trio_websock.testing.memory_listener import open_memory_streams

ITEMS = ["a", "b", "c", "d"]


class Collector(Handler):
    """Notes what it is given, and how often it began and ended."""

    async def init(self, world):
        await trio.lowlevel.checkpoint()
        world.begun += 1
        return Ok(world)

    def handle_in(self, message, world):
        return Ok(world)

    async def handle_info(self, info, world):
        world.given.append(info)
        if len(world.given) == len(ITEMS):
            world.complete.set()
        await trio.lowlevel.checkpoint()
        return Ok(world)

    def terminate(self, reason, world):
        world.ended += 1


class World:
    """A client that others send to, and its servers; each of these leaves after a while."""

    def __init__(self):
        self.begun = self.ended = 0
        self.client = None
        self.sent, self.given = [], []
        self.complete = trio.Event()

    async def open_stream(self):
        ours, theirs = open_memory_streams()
        self.servers.start_soon(self.serve, theirs)
        return ours

    async def serve(self, stream):
        head = b""
        while b"\r\n\r\n" not in head:
            data = await stream.receive_some()
            if not data:
                return
            head += data
        key = head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0].decode()
        lines = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_key(key)}\r\n"
        try:
            await stream.send_all(f"HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n".encode())
            with trio.move_on_after(5):
                while await stream.receive_some():
                    pass
        except trio.BrokenResourceError:
            pass  # the client was faster
        finally:
            await trio.aclose_forcefully(stream)

    async def stay_connected(self, task_status):
        reconnect = Reconnect(initial_delay=1, jitter=0)
        options = {"stream": self.open_stream, "reconnect": reconnect, "mailbox_size": 1}
        try:
            await connect("ws://a/", Collector, self, task_status=task_status, **options)
        finally:
            self.complete.set()

    async def run(self):
        async with trio.open_nursery() as self.servers, trio.open_nursery() as nursery:
            self.client = await nursery.start(self.stay_connected)
            with suppress(trio.BrokenResourceError):
                for item in ITEMS:
                    await self.send(item)
            await self.complete.wait()
            await self.client.shutdown()

    async def send(self, item):
        self.sent.append(item)
        try:
            await self.client.mailbox.send(item)
        except BaseException:
            self.sent.remove(item)
            raise

    def check(self):
        assert self.begun == self.ended
        left = [] if self.client is None else list(self.client.unhandled)
        assert self.given + left == self.sent


async def test_cancelled_at_any_checkpoint_it_loses_nothing(autojump_clock):
    for interruption in each_checkpoint():
        world = World()
        with interruption:
            await world.run()
        world.check()
    assert world.given == ITEMS


async def test_though_a_connection_is_lost_at_any_checkpoint_everything_is_given_once_and_in_order(autojump_clock):
    for interruption in each_checkpoint(lambda connection: connection._transport.abort()):
        world = World()
        with interruption:
            await world.run()
        world.check()
        assert world.given == ITEMS


@pytest.mark.parametrize("strike", [cancel_connection, lambda connection: connection.shutdown_nowait(deadline=0)])
async def test_an_application_that_ends_its_connection_at_any_checkpoint_loses_nothing(strike, autojump_clock):
    for interruption in each_checkpoint(strike):
        world = World()
        with interruption:
            await world.run()
        world.check()
