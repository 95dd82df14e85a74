"""An ASGI application and the life of the server it is beside."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from trio_websock import Handler, Ok, Server, StartupFailed, serve

Start = Callable[..., Awaitable[Server]]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Quiet(Handler[None, Any]):
    def init(self, args: object) -> Ok[None]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Ok[None]:
        return Ok(None)


class Site:
    """An application that writes down what happens to it, and can be made to wait or to fail."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.may_start = trio.Event()
        self.may_start.set()
        self.fails = trio.Event()
        self.fault: BaseException | None = None
        self.shuts_itself_off = False

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        await (self.live(receive, send) if scope["type"] == "lifespan" else self.answer(send))

    async def live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.may_start.wait()
        await send({"type": "lifespan.startup.complete"})
        self.told.append("startup")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.work)
            await receive()
            nursery.cancel_scope.cancel()
        self.told.append("shutdown")
        await send({"type": "lifespan.shutdown.complete"})

    async def work(self) -> None:
        await self.fails.wait()
        raise ValueError("a background task")

    async def answer(self, send: Send) -> None:
        if self.fault is not None:
            raise self.fault
        with trio.CancelScope(shield=self.shuts_itself_off):
            await trio.sleep(2)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"page"})
        self.told.append("page")


async def run_beside(*functions: Callable[[], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(function)


async def test_a_server_says_that_it_listens_once_the_application_has_started(start: Start) -> None:
    site = Site()
    await start(Quiet, http=site)
    assert site.told == ["startup"]


async def test_clients_that_come_in_the_startup_are_served_behind_it(nursery: trio.Nursery) -> None:
    site, listening = Site(), socket.create_server(("127.0.0.1", 0))
    site.may_start = trio.Event()
    nursery.start_soon(partial(serve, Quiet, listeners=[listening], http=site, grace=0))
    async with await trio.open_tcp_stream(*listening.getsockname()[:2]) as client:
        await client.send_all(b"nonsense\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        site.may_start.set()
        assert (await client.receive_some()).startswith(b"HTTP/1.1 400 ")
    nursery.cancel_scope.cancel()


async def test_a_startup_that_fails_is_raised_and_closes_the_listeners() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    listening = socket.create_server(("127.0.0.1", 0))
    with pytest.raises(StartupFailed, match="no database"):
        await serve(Quiet, listeners=[listening], http=app)
    assert listening.fileno() == -1


async def test_a_server_that_is_cancelled_in_the_startup_closes_its_listeners() -> None:
    site, listening = Site(), socket.create_server(("127.0.0.1", 0))
    site.may_start = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(serve, Quiet, listeners=[listening], http=site))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert (site.told, listening.fileno()) == ([], -1)


async def test_the_application_shuts_down_behind_its_last_client(
    start: Start, memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    site = Site()
    server = await start(Quiet, listeners=[memory_listener], http=site, grace=10)
    client = await memory_listener.connect()
    await client.send_all(GET)
    await trio.testing.wait_all_tasks_blocked()
    await server.shutdown()
    assert site.told == ["startup", "page", "shutdown"]


async def test_cancelling_the_server_lets_the_application_shut_down() -> None:
    site = Site()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, Quiet, port=0, http=site))
        nursery.cancel_scope.cancel()
    assert site.told == ["startup", "shutdown"]


async def test_a_lifespan_that_fails_ends_the_server_gracefully_and_is_raised(
    memory_listener: Any, autojump_clock: trio.testing.MockClock
) -> None:
    site = Site()

    async def ask_and_fail() -> None:
        client = await memory_listener.connect()
        await client.send_all(GET)
        await trio.testing.wait_all_tasks_blocked()
        site.fails.set()
        assert (await client.receive_some()).endswith(b"page")

    with pytest.raises(ExceptionGroup) as caught:
        await run_beside(ask_and_fail, partial(serve, Quiet, listeners=[memory_listener], http=site))
    assert caught.group_contains(ValueError, match="a background task")


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), BaseExceptionGroup("", [KeyboardInterrupt(), ValueError()])])
async def test_an_interrupt_that_hits_the_application_is_one_of_the_server(fault: BaseException) -> None:
    site, listening = Site(), socket.create_server(("127.0.0.1", 0))
    site.fault = fault

    async def ask() -> None:
        async with await trio.open_tcp_stream(*listening.getsockname()[:2]) as client:
            await client.send_all(GET)
            assert b" 500 " in await client.receive_some()

    with pytest.raises(BaseExceptionGroup) as caught:
        await run_beside(ask, partial(serve, Quiet, listeners=[listening], http=site))
    assert caught.group_contains(KeyboardInterrupt)
    assert site.told == ["startup", "shutdown"]


async def test_an_application_that_outlives_the_grace_is_named(
    start: Start,
    memory_listener: Any,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site()
    site.shuts_itself_off = True
    server = await start(Quiet, listeners=[memory_listener], http=site)
    client = await memory_listener.connect()
    await client.send_all(GET)
    await trio.testing.wait_all_tasks_blocked()
    await server.shutdown(grace=0)
    assert "the ASGI application shields itself from cancellation" in caplog.text
