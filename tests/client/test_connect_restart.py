"""A client and a server of our own that restarts, on real sockets."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from trio_websock import NORMAL, Again, Handler, Normal, Ok, Push, Reconnect, Remote, Shutdown, Stop, connect, serve

QUICK = Reconnect(initial_delay=0.01, max_delay=0.1, restart_delay=0.01, reset_after=0)


class Greeter(Handler):
    """The server's: says who it is, then repeats what it hears."""

    def init(self, request):
        return Push("hello", None)

    def handle_in(self, message, state):
        return Push(message, state)


class Guest(Handler):
    """The client's: tells the test of everything, and passes on what it is sent."""

    def init(self, told):
        told.send_nowait("connected")
        return Ok(told)

    def handle_in(self, message, told):
        told.send_nowait(message)
        return Stop(NORMAL, told) if message == "goodbye" else Ok(told)

    def handle_info(self, info, told):
        return Push(info, told)

    def terminate(self, reason, told):
        told.send_nowait(reason)


async def run_guest(port, told, task_status):
    url = f"ws://127.0.0.1:{port}/"
    told.send_nowait(await connect(url, Guest, told, reconnect=QUICK, task_status=task_status))


@pytest.mark.parametrize(("restart", "code"), [(True, 1012), (False, 1001)])
async def test_a_client_survives_the_restart_of_its_server(nursery, restart, code):
    told, tells = trio.open_memory_channel(100)
    server = await nursery.start(partial(serve, Greeter, port=0))
    client = await nursery.start(run_guest, server.port, told)
    assert [await tells.receive() for _ in range(2)] == ["connected", "hello"]
    await server.shutdown(restart=restart)
    assert await tells.receive() == Remote(code)
    client.mailbox.send_nowait("sent while the server was away")
    await nursery.start(partial(serve, Greeter, port=server.port, grace=0))
    expected = ["connected", "hello", "sent while the server was away"]
    assert [await tells.receive() for _ in range(3)] == expected
    client.mailbox.send_nowait("goodbye")
    assert [await tells.receive() for _ in range(3)] == ["goodbye", Normal(), Normal()]
    nursery.cancel_scope.cancel()


async def test_a_client_that_is_refused_comes_in_once_there_is_room(nursery):
    def note_refusal(outage):
        told.send_nowait(outage.cause.response.status)
        return Again(0.01)

    told, tells = trio.open_memory_channel(100)
    server = await nursery.start(partial(serve, Greeter, port=0, max_connections=1, grace=0))
    first = await nursery.start(run_guest, server.port, told)
    assert [await tells.receive() for _ in range(2)] == ["connected", "hello"]
    url = f"ws://127.0.0.1:{server.port}/"
    nursery.start_soon(partial(connect, url, Guest, told, reconnect=Reconnect(decide=note_refusal)))
    assert await tells.receive() == 503
    await first.shutdown()
    while await tells.receive() != "connected":
        pass
    assert await tells.receive() == "hello"
    nursery.cancel_scope.cancel()


async def test_a_server_is_told_that_its_client_shuts_down(nursery):
    class Witness(Greeter):
        def terminate(self, reason, state):
            seen.append(reason)

    told, tells = trio.open_memory_channel(100)
    seen = []
    server = await nursery.start(partial(serve, Witness, port=0))
    client = await nursery.start(run_guest, server.port, told)
    await client.shutdown()
    await server.shutdown()
    assert seen == [Remote(1001)]
    assert [await tells.receive() for _ in range(4)] == ["connected", "hello", Shutdown(), Shutdown()]
