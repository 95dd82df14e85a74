"""ASGI as a host, in a server's own Trio loop and beside an asyncio loop; the server is in memory."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
import trio
import trio.testing

from trio_websock import Handler, OptionError, Push, Response, Shutdown, StateError
from trio_websock.hosts.asgi import AsgiApp, _way_into, _way_out_of
from trio_websock.hosts.asgi_loop import start_loop

Event = dict[str, Any]

SCOPE = {"type": "websocket", "path": "/", "headers": [(b"host", b"localhost")]}
THREAD = "trio_websock ASGI"


class Echo(Handler[Any, Any]):
    """Begins with the name of its thread, and keeps why it ended."""

    def __init__(self) -> None:
        self.reasons: list[Any] = []

    def init(self, args: Any) -> Push[Any]:  # type: ignore[override]  # a result is a result
        return Push(threading.current_thread().name, None)

    def handle_in(self, message: str | bytes, state: Any) -> Push[Any]:
        if message == "exit":
            raise SystemExit(3)
        return Push(message, state)

    def terminate(self, reason: Any, state: Any) -> None:
        self.reasons.append(reason)


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD]


class Peer:
    """One scope of an asyncio server."""

    def __init__(self, app: AsgiApp, scope: dict[str, Any], *told: Event) -> None:
        self._told: asyncio.Queue[Event] = asyncio.Queue()
        self._sent: asyncio.Queue[Event] = asyncio.Queue()
        self.tell(*told)
        self.task = asyncio.create_task(self._run(app, scope))

    async def _run(self, app: AsgiApp, scope: dict[str, Any]) -> None:
        await app(scope, self._told.get, self._sent.put)

    def tell(self, *events: Event) -> None:
        for event in events:
            self._told.put_nowait(event)

    async def see(self) -> Event:
        return await asyncio.wait_for(self._sent.get(), 20)


async def open_peer(app: AsgiApp) -> tuple[Peer, str]:
    """A peer with an open WebSocket, and the first thing it was told."""
    peer = Peer(app, SCOPE, {"type": "websocket.connect"})
    assert (await peer.see())["type"] == "websocket.accept"
    return peer, (await peer.see())["text"]


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario on asyncio, and insist that no Trio loop is left behind it."""
    asyncio.run(scenario)
    assert loop_threads() == []


# Beside asyncio.


def test_beside_asyncio_handlers_run_in_a_trio_loop_of_their_own() -> None:
    async def scenario() -> None:
        peer, thread = await open_peer(AsgiApp(Echo))
        assert thread == THREAD
        peer.tell({"type": "websocket.receive", "text": "a"}, {"type": "websocket.receive", "bytes": b"b"})
        assert [(await peer.see())["text"], (await peer.see())["bytes"]] == ["a", b"b"]
        peer.tell({"type": "websocket.disconnect", "code": 1000})
        await peer.task

    run(scenario())


def test_beside_asyncio_plain_requests_are_answered() -> None:
    async def scenario() -> None:
        app = AsgiApp(lambda request: Response(200, request.body))
        peer = Peer(app, {**SCOPE, "type": "http", "method": "POST"}, {"type": "http.request", "body": b"x"})
        assert (await peer.see())["status"] == 200
        assert (await peer.see())["body"] == b"x"
        await peer.task

    run(scenario())


def test_connections_share_one_loop() -> None:
    async def scenario() -> None:
        app = AsgiApp(Echo)
        await open_peer(app)
        await open_peer(app)
        assert len(loop_threads()) == 1

    run(scenario())


def test_the_end_of_the_servers_loop_ends_the_connections() -> None:
    handler = Echo()

    async def scenario() -> None:
        await open_peer(AsgiApp(handler))

    run(scenario())
    assert handler.reasons == [Shutdown()]


def test_what_is_on_its_way_to_a_loop_that_is_closed_is_lost() -> None:
    loop, lost = asyncio.new_event_loop(), threading.Event()
    loop.close()
    _way_into(loop, lost.set)(lambda: pytest.fail("called"))
    assert lost.is_set()


def test_what_a_closed_loop_leaves_behind_still_reaches_trio() -> None:
    server_loop, loop, reached = asyncio.new_event_loop(), start_loop(), threading.Event()
    post = _way_out_of(server_loop, loop)
    post(lambda: pytest.fail("the turn that this waits for never comes"))
    server_loop.close()
    post(reached.set)
    assert reached.wait(20)
    loop.end()
    loop.join()


def test_a_cancelled_call_says_goodbye() -> None:
    handler = Echo()

    async def scenario() -> None:
        peer, _ = await open_peer(AsgiApp(handler))
        peer.task.cancel()
        assert (await peer.see())["code"] == 1001
        with pytest.raises(asyncio.CancelledError):
            await peer.task

    run(scenario())
    assert handler.reasons == [Shutdown()]


def test_the_lifespan_begins_and_ends_the_loop() -> None:
    handler = Echo()

    async def scenario() -> None:
        app = AsgiApp(handler)
        lifespan = Peer(app, {"type": "lifespan"}, {"type": "lifespan.startup"})
        assert await lifespan.see() == {"type": "lifespan.startup.complete"}
        assert len(loop_threads()) == 1
        peer, _ = await open_peer(app)
        lifespan.tell({"type": "lifespan.shutdown"})
        assert (await peer.see())["code"] == 1001
        peer.tell({"type": "websocket.disconnect", "code": 1001})
        assert await lifespan.see() == {"type": "lifespan.shutdown.complete"}
        await peer.task
        assert handler.reasons == [Shutdown()]

    run(scenario())


def test_a_shutdown_before_the_first_client_is_over_at_once_and_holds() -> None:
    async def scenario() -> None:
        app = AsgiApp(Echo)
        await app.shutdown()
        late = Peer(app, {**SCOPE, "extensions": {"websocket.http.response": {}}}, {"type": "websocket.connect"})
        assert (await late.see())["status"] == 503

    run(scenario())


def test_a_shutdown_by_hand_says_that_we_will_be_back() -> None:
    async def scenario() -> None:
        app = AsgiApp(Echo)
        peer, _ = await open_peer(app)
        shutdown = asyncio.create_task(app.shutdown(restart=True, grace=5))
        assert (await peer.see())["code"] == 1012
        peer.tell({"type": "websocket.disconnect", "code": 1012})
        await shutdown
        late = Peer(app, {**SCOPE, "extensions": {"websocket.http.response": {}}}, {"type": "websocket.connect"})
        assert (await late.see())["status"] == 503

    run(scenario())


def test_a_shutdown_by_hand_holds_until_the_servers_loop_ends() -> None:
    app = AsgiApp(Echo)

    async def scenario() -> None:
        await open_peer(app)
        await app.shutdown(grace=0)

    run(scenario())
    run(scenario())


def test_a_trio_loop_that_dies_ends_its_connections_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        app = AsgiApp(Echo)
        peer, _ = await open_peer(app)
        bystander, _ = await open_peer(app)
        peer.tell({"type": "websocket.receive", "text": "exit"})
        assert (await bystander.see())["code"] in (1001, 1011)
        await asyncio.gather(peer.task, bystander.task)
        for dying in loop_threads():
            await asyncio.to_thread(dying.join)
        _, thread = await open_peer(app)
        assert thread == THREAD

    run(scenario())
    assert caplog.records[-1].levelno == logging.CRITICAL


# In the server's own loop.


async def test_on_trio_everything_runs_in_the_servers_loop(nursery: trio.Nursery) -> None:
    tell, told = trio.open_memory_channel[Event](10)
    send, sent = trio.open_memory_channel[Event](10)
    handler = Echo()
    app = AsgiApp(handler)
    nursery.start_soon(app, SCOPE, told.receive, send.send)
    await tell.send({"type": "websocket.connect"})
    assert (await sent.receive())["type"] == "websocket.accept"
    assert (await sent.receive())["text"] == threading.current_thread().name
    assert [connection.handler for connection in app.connections] == ["Echo"]
    await tell.send({"type": "websocket.disconnect", "code": 1000})
    await trio.testing.wait_all_tasks_blocked()
    assert len(handler.reasons) == 1


async def test_on_trio_the_lifespan_closes_the_connections(nursery: trio.Nursery) -> None:
    app = AsgiApp(Echo)
    tell, told = trio.open_memory_channel[Event](10)
    send, sent = trio.open_memory_channel[Event](10)
    nursery.start_soon(app, {"type": "lifespan"}, told.receive, send.send)
    await tell.send({"type": "lifespan.startup"})
    assert (await sent.receive())["type"] == "lifespan.startup.complete"
    await tell.send({"type": "lifespan.shutdown"})
    assert (await sent.receive())["type"] == "lifespan.shutdown.complete"


async def test_on_trio_a_cancelled_call_says_goodbye() -> None:
    tell, told = trio.open_memory_channel[Event](10)
    send, sent = trio.open_memory_channel[Event](10)
    handler = Echo()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(AsgiApp(handler), SCOPE, told.receive, send.send)
        await tell.send({"type": "websocket.connect"})
        await sent.receive()
        await sent.receive()
        nursery.cancel_scope.cancel()
    assert sent.receive_nowait()["code"] == 1001
    assert handler.reasons == [Shutdown()]


# What is refused.


async def test_a_scope_of_another_type_is_refused() -> None:
    with pytest.raises(StateError, match="email"):
        await AsgiApp(Echo)({"type": "email"}, trio.sleep_forever, trio.sleep_forever)


@pytest.mark.parametrize("grace", [-1, "5", None, math.nan])
def test_a_grace_that_is_no_number_of_seconds_is_refused(grace: Any) -> None:
    with pytest.raises(OptionError, match="grace must be zero or more seconds"):
        AsgiApp(Echo, grace=grace)


async def test_so_is_that_of_a_shutdown() -> None:
    with pytest.raises(OptionError, match="grace must be zero or more seconds"):
        await AsgiApp(Echo).shutdown(grace="5")  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize("size", [0, -1, 1.5, None, "1"])
def test_a_size_of_bodies_that_is_no_number_of_bytes_is_refused(size: Any) -> None:
    with pytest.raises(OptionError, match="max_body_size must be"):
        AsgiApp(Echo, max_body_size=size)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError):
        AsgiApp(Echo, unknown=1)  # type: ignore[call-arg]  # the mistake in question
