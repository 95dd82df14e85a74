"""A server that ends, and everybody who might hold it: the handlers, the clients, and the ways to end it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio

from trio_websock import (
    Handler,
    Ok,
    Push,
    Reason,
    Request,
    Response,
    Result,
    Server,
    Upgrade,
    current_connection,
    serve,
    upgrade,
)
from trio_websock.testing.memory_listener import MemoryListener

GRACE = 15
TIDYING = 0.5  # seconds that one of the handlers takes in a shield of its own
PATIENCE = 60  # seconds until a test gives up; a fail-safe, never part of a verdict

GOING_AWAY = b"\x88\x02\x03\xe9"
RESTART = b"\x88\x02\x03\xf4"
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"
READY = b"\x81\x05ready"
PINGS = b"\x89\x80\0\0\0\0" * 100


# The site: a place for everybody who might hold a server.


class Guest(Handler[None, str]):
    """Says that it is ready, and then does what the path of its request says."""

    def __init__(self, tell: Callable[[Reason], object]) -> None:
        self._tell = tell

    def init(self, args: object) -> Result[None]:
        request = current_connection().request
        assert request is not None
        current_connection().mailbox.send_nowait(request.path)
        return Push("ready", None)

    def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        return Push(message, state)

    async def handle_info(self, info: str, state: None) -> Result[None]:
        match info:
            case "/flood":
                return Push([bytes(1024 * 1024)] * 8, state)
            case "/late":
                await trio.sleep(GRACE - 1)
                return Push("late", state)
            case "/sleep":
                await trio.sleep_forever()
            case "/swallow":
                with suppress(trio.Cancelled):
                    await trio.sleep_forever()
            case "/tidy":
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(TIDYING)
        return Ok(state)

    async def terminate(self, reason: Reason, state: None) -> None:
        self._tell(reason)
        request = current_connection().request
        assert request is not None
        if request.path == "/hang":
            await trio.sleep_forever()


class Site:
    """An application function, and what its handlers were told in the end."""

    def __init__(self) -> None:
        self.farewells: list[tuple[int, Reason]] = []

    def tell(self, reason: Reason) -> None:
        self.farewells.append((current_connection().id, reason))

    async def app(self, request: Request) -> Response | Upgrade:
        match request.path:
            case "/slow":
                await trio.sleep_forever()
            case "/page":
                return Response(200, "page")
            case "/large":
                return Response(200, bytes(8 * 1024 * 1024))
        return upgrade(Guest(self.tell))


async def app(request: Request) -> Response | Upgrade:
    """The same for the command, which prints every farewell."""
    site = Site()
    site.tell = lambda reason: print(current_connection().id, reason, flush=True)  # type: ignore[method-assign]
    return await site.app(request)


# The clients.

Visit = Callable[[trio.abc.Stream], Awaitable[object]]


def request(path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def send(data: bytes) -> Visit:
    """A client that sends this and nothing more."""
    return lambda stream: stream.send_all(data)


def ask(data: bytes, wanted: bytes) -> Visit:
    """A client that sends this, reads until it has what it wanted, and does nothing more."""

    async def visit(stream: trio.abc.Stream) -> None:
        await stream.send_all(data)
        came = b""
        while wanted not in came:
            piece = await stream.receive_some(1000)
            assert piece, f"the stream ended before {wanted!r}"
            came += piece

    return visit


def be(path: str) -> Visit:
    return ask(request(path), READY)


async def send_half_a_frame(stream: trio.abc.Stream) -> None:
    await be("/")(stream)
    await stream.send_all(b"\x81\xfe")


# Each with the seconds of a grace of 15 that it takes: those who are owed nothing are gone at once.
REQUESTS: dict[str, tuple[Visit, float]] = {
    "says nothing": (send(b""), 0),
    "half a head": (send(request("/")[:30]), 0),
    "kept alive": (ask(b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n", b"page"), 0),
    "half a body": (send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"), GRACE),
    "slow application": (send(request("/slow")), GRACE),
    "does not read its answer": (send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"), GRACE),
}
WEBSOCKETS: dict[str, tuple[Visit, float]] = {
    "never closes": (be("/"), GRACE),
    "never reads": (be("/flood"), GRACE),
    "half a frame": (send_half_a_frame, GRACE),
    "callback sleeps": (be("/sleep"), GRACE),
    "callback swallows its cancellation": (be("/swallow"), GRACE),
    "callback tidies up": (be("/tidy"), GRACE + TIDYING),
    "terminate hangs": (be("/hang"), GRACE),
}
VISITS = {**REQUESTS, **WEBSOCKETS}


async def receive_all(stream: trio.abc.Stream) -> bytes:
    data = b""
    with suppress(trio.BrokenResourceError):
        while piece := await stream.receive_some():
            data += piece
    return data


async def part(stream: trio.abc.Stream, goodbye: bytes = GOING_AWAY) -> None:
    """What a client in good order does: wait for the close frame, answer it, and wait for the end."""
    await ask(b"", goodbye)(stream)
    await stream.send_all(CLOSE)
    assert await stream.receive_some() == b""  # a reset would raise


async def fill(stream: trio.abc.Stream, number: int, hostile: list[Visit], nursery: trio.Nursery) -> None:
    """One connection of many: each tenth is hostile, one kind after the other, and all the others are in good order."""
    if number % 10:
        await be("/")(stream)
        nursery.start_soon(part, stream)
    else:
        await hostile[number // 10 % len(hostile)](stream)


# The server, and the ways to end it.


class Hosting:
    """A server in a scope of its own that can be cancelled, with nothing but the grace to bound its end."""

    def __init__(self, **options: Any) -> None:
        self.site = Site()
        self.is_over = trio.Event()
        self._scope = trio.CancelScope()
        timeouts = ["close_timeout", "terminate_timeout", "write_timeout", "handshake_timeout"]
        self._options = {"grace": GRACE, **dict.fromkeys(timeouts, 1000), **options}
        self.server: Server

    async def start(self, nursery: trio.Nursery) -> None:
        self.server = await nursery.start(self._run)

    async def _run(self, task_status: trio.TaskStatus[Server]) -> None:
        with self._scope:
            await serve(self.site.app, task_status=task_status, **self._options)
        self.is_over.set()

    async def shut_down(self) -> None:
        await self.server.shutdown()

    async def restart(self) -> None:
        await self.server.shutdown(restart=True)

    async def cancel(self) -> None:
        self._scope.cancel()


WAYS = {"shutdown": Hosting.shut_down, "restart": Hosting.restart, "cancellation": Hosting.cancel}


async def end(hosting: Hosting, way: str) -> float:
    """End it and wait until it has; the seconds it took on Trio's clock."""
    start = trio.current_time()
    await WAYS[way](hosting)
    await hosting.is_over.wait()
    return trio.current_time() - start


async def open_in_memory(nursery: trio.Nursery, **options: Any) -> tuple[Hosting, MemoryListener]:
    listener = MemoryListener()
    hosting = Hosting(listeners=[listener], **options)
    await hosting.start(nursery)
    return hosting, listener
