"""A server and a client of ours without a socket between them, in virtual time: both ends of a program in one test."""

from __future__ import annotations

from functools import partial

import trio

from trio_websock import NORMAL, Handler, Normal, Ok, Push, Reconnect, Remote, Stop, connect, serve
from trio_websock.testing import MemoryListener


class Echo(Handler):
    def init(self, request):
        return Ok(None)

    def handle_in(self, message, state):
        return Push(message, state)


class Caller(Handler):
    """Says its word, and notes when it came back."""

    def init(self, heard):
        return Push("hello", heard)

    def handle_in(self, message, heard):
        heard.append((message, trio.current_time()))
        return Stop(NORMAL, heard) if len(heard) == 2 else Ok(heard)


async def test_both_ends_talk(nursery, autojump_clock):
    listener, heard = MemoryListener(), [None]
    await nursery.start(partial(serve, Echo, listeners=[listener]))
    assert await connect("ws://test/", Caller, heard, stream=listener.connect) == Normal()
    assert heard[1:] == [("hello", 0)]
    nursery.cancel_scope.cancel()


async def test_a_restart_is_waited_out(nursery, autojump_clock):
    async def open_stream():
        return await listeners[-1].connect()

    async def restart():
        await trio.sleep(1)
        await server.shutdown(restart=True)
        await trio.sleep(100)
        listeners.append(MemoryListener())
        await nursery.start(partial(serve, Echo, listeners=[listeners[-1]]))

    listeners, heard, causes = [MemoryListener()], [], []
    server = await nursery.start(partial(serve, Echo, listeners=listeners[:]))
    nursery.start_soon(restart)
    reconnect = Reconnect(jitter=0, decide=lambda outage: causes.append(outage.cause) or outage.proposal)
    assert await connect("ws://test/", Caller, heard, stream=open_stream, reconnect=reconnect) == Normal()
    # After a restart 5 seconds, and from the second attempt on 10, 20, 40 and 60.
    assert heard == [("hello", 0), ("hello", 1 + 5 + 10 + 20 + 40 + 60)]
    assert causes[0] == Remote(1012)
    assert len(causes) == 6
    nursery.cancel_scope.cancel()
