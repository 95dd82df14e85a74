"""The end of a server, whatever its clients and handlers do: every way of ending it, and everybody who might hold it.

In virtual time over streams in memory, where the seconds are exact; then over real sockets, where no verdict hangs on
the clock; then the command in a process of its own, with a thousand connections and a signal.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import trio_websock
from trio_websock import (
    Handler,
    Ok,
    Push,
    Reason,
    Request,
    Response,
    Result,
    Server,
    Shutdown,
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


# In virtual time.


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_in_good_order_is_told_once_and_costs_no_time(
    way: str, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await open_in_memory(nursery)
    stream = await listener.connect()
    await be("/")(stream)
    nursery.start_soon(part, stream, RESTART if way == "restart" else GOING_AWAY)
    assert await end(hosting, way) == 0
    assert [reason for _, reason in hosting.site.farewells] == [Shutdown(restart=way == "restart")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", VISITS)
async def test_nobody_outlasts_the_grace(
    name: str, way: str, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    visit, seconds = VISITS[name]
    hosting, listener = await open_in_memory(nursery)
    await visit(await listener.connect())
    await wait_all_tasks_blocked()
    assert await end(hosting, way) == pytest.approx(seconds)
    farewell = [Shutdown(restart=way == "restart")] if name in WEBSOCKETS else []
    assert [reason for _, reason in hosting.site.farewells] == farewell


async def test_nobody_may_have_more_than_the_grace_when_it_is_nothing(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await open_in_memory(nursery, grace=0)
    for visit, _ in VISITS.values():
        await visit(await listener.connect())
    await wait_all_tasks_blocked()
    assert await end(hosting, "shutdown") == pytest.approx(TIDYING)
    assert {reason for _, reason in hosting.site.farewells} == {Shutdown()}


async def test_a_peer_is_gone_though_its_callback_still_tidies_up(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await open_in_memory(nursery)
    stream = await listener.connect()
    await be("/tidy")(stream)
    await wait_all_tasks_blocked()
    nursery.start_soon(end, hosting, "shutdown")
    await receive_all(stream)
    assert trio.current_time() == pytest.approx(GRACE, abs=0.1)
    assert not hosting.is_over.is_set()


@pytest.mark.parametrize("way", WAYS)
async def test_what_a_callback_returns_in_its_last_moment_is_sent_before_the_close(
    way: str, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await open_in_memory(nursery)
    stream = await listener.connect()
    await be("/late")(stream)
    await wait_all_tasks_blocked()
    nursery.start_soon(end, hosting, way)
    await ask(b"", b"\x81\x04late" + (RESTART if way == "restart" else GOING_AWAY))(stream)
    assert trio.current_time() == pytest.approx(GRACE - 1)


async def fill(stream: trio.abc.Stream, number: int, hostile: list[Visit], nursery: trio.Nursery) -> None:
    """One connection of many: each tenth is hostile, one kind after the other, and all the others are in good order."""
    if number % 10:
        await be("/")(stream)
        nursery.start_soon(part, stream)
    else:
        await hostile[number // 10 % len(hostile)](stream)


async def test_a_thousand_connections_are_told_once_each_and_a_tenth_cannot_hold_them(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await open_in_memory(nursery)
    hostile = [visit for name, (visit, _) in WEBSOCKETS.items() if name != "callback tidies up"]
    for number in range(1000):
        await fill(await listener.connect(), number, hostile, nursery)
    assert len(hosting.server.connections) == 1000
    assert await end(hosting, "cancellation") == pytest.approx(GRACE)
    assert len(dict(hosting.site.farewells)) == len(hosting.site.farewells) == 1000
    assert {reason for _, reason in hosting.site.farewells} == {Shutdown()}


# TLS, in virtual time.


def trusting(certificates: Any, stream: trio.abc.Stream) -> trio.SSLStream[trio.abc.Stream]:
    context = certificates.client_context()
    return trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True)


async def test_a_peer_that_never_answers_close_notify_costs_no_time(
    certificates: Any, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await open_in_memory(nursery, ssl_context=certificates.server_context())
    pipe = await listener.connect()
    stream = trusting(certificates, pipe)
    await be("/")(stream)
    nursery.start_soon(part, stream)  # reads to the end of the stream, and sends nothing more
    assert await end(hosting, "shutdown") == 0


@pytest.mark.parametrize("beginning", [b"", b"\x16\x03\x01\x02\x00\x01\x00"], ids=["silent", "half a ClientHello"])
async def test_a_peer_stuck_in_the_tls_handshake_costs_no_time(
    certificates: Any, beginning: bytes, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await open_in_memory(nursery, ssl_context=certificates.server_context())
    await (await listener.connect()).send_all(beginning)
    await wait_all_tasks_blocked()
    assert await end(hosting, "shutdown") == 0


async def test_a_peer_that_never_reads_through_tls_is_dropped_when_the_grace_is_over(
    certificates: Any, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await open_in_memory(nursery, ssl_context=certificates.server_context())
    await be("/flood")(trusting(certificates, await listener.connect()))
    await wait_all_tasks_blocked()
    assert await end(hosting, "shutdown") == pytest.approx(GRACE)
    assert [reason for _, reason in hosting.site.farewells] == [Shutdown()]


# Staggered.


async def goodbyes(listener: MemoryListener, count: int, nursery: trio.Nursery) -> list[float]:
    """Open connections; when each of them will have been told."""
    times: list[float] = []

    async def await_goodbye(stream: trio.abc.Stream) -> None:
        await ask(b"", GOING_AWAY)(stream)
        times.append(trio.current_time())
        await stream.send_all(CLOSE)

    for _ in range(count):
        stream = await listener.connect()
        await be("/")(stream)
        nursery.start_soon(await_goodbye, stream)
    return times


async def test_a_rate_is_never_exceeded_and_everybody_is_told(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await open_in_memory(nursery)
    times = await goodbyes(listener, 30, nursery)
    await hosting.server.shutdown(rate=4)
    assert len(times) == 30
    assert max(Counter(int(time) for time in times).values()) == 4


async def test_a_second_shutdown_with_a_rate_does_not_double_it(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await open_in_memory(nursery)
    times = await goodbyes(listener, 12, nursery)
    nursery.start_soon(partial(hosting.server.shutdown, rate=2))
    await trio.sleep(0.75)
    await hosting.server.shutdown(rate=2)
    assert max(Counter(int(time) for time in times if time >= 1).values()) == 2


async def test_a_shutdown_without_a_rate_ends_the_waiting_of_one_with(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await open_in_memory(nursery)
    times = await goodbyes(listener, 5, nursery)
    nursery.start_soon(partial(hosting.server.shutdown, rate=1))
    await trio.sleep(0.5)
    await hosting.server.shutdown()
    assert times == pytest.approx([0, 0.5, 0.5, 0.5, 0.5])


# Real sockets, on which buffers are the kernel's and a reset is a reset.


Connect = Callable[[int], Awaitable[trio.SocketStream]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Open a connection that stays open until the end of the test, whoever forgets it."""
    async with AsyncExitStack() as stack:

        async def open_stream(port: int) -> trio.SocketStream:
            return await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))

        yield open_stream


async def ping_for_ever(stream: trio.abc.Stream) -> None:
    """Sends on and on, also behind our close frame, and never reads."""
    with suppress(trio.BrokenResourceError):
        while True:
            await stream.send_all(PINGS)


@pytest.mark.parametrize("way", WAYS)
async def test_on_real_sockets_nobody_holds_the_end_either(way: str, connect: Connect, nursery: trio.Nursery) -> None:
    hosting = Hosting(port=0, grace=0.2)
    with trio.fail_after(PATIENCE):
        await hosting.start(nursery)
        for visit, _ in VISITS.values():
            await visit(await connect(hosting.server.port))
        babbler = await connect(hosting.server.port)
        await be("/")(babbler)
        nursery.start_soon(ping_for_ever, babbler)
        await end(hosting, way)
        with pytest.raises(OSError, match="connect"):
            await connect(hosting.server.port)
    farewells = [reason for _, reason in hosting.site.farewells]
    assert farewells == [Shutdown(restart=way == "restart")] * (len(WEBSOCKETS) + 1)


async def test_a_tls_peer_on_a_real_socket_gets_close_frame_and_close_notify(
    certificates: Any, connect: Connect, nursery: trio.Nursery
) -> None:
    hosting = Hosting(port=0, ssl_context=certificates.server_context())
    with trio.fail_after(PATIENCE):
        await hosting.start(nursery)
        plain = await connect(hosting.server.port)
        context = certificates.client_context()
        stream = trio.SSLStream(plain, context, server_hostname="localhost")  # an end without close_notify is an error
        await be("/")(stream)
        nursery.start_soon(end, hosting, "shutdown")
        await ask(b"", GOING_AWAY)(stream)
        await stream.send_all(CLOSE)
        assert await stream.receive_some() == b""
        await hosting.is_over.wait()


# The command, and signals.


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for a thousand sockets, here and in child processes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip("this machine does not let us open a thousand sockets")
    if soft != resource.RLIM_INFINITY and soft < 2048:
        resource.setrlimit(resource.RLIMIT_NOFILE, (2048, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def command(*words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """``python -m trio_websock`` with the application of this module, and its port."""
    path = os.pathsep.join([str(Path(trio_websock.__file__).parents[1]), str(Path(__file__).parent)])
    with subprocess.Popen(
        [sys.executable, "-m", "trio_websock", f"{Path(__file__).stem}:app", "--port", "0", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        try:
            assert process.stderr is not None
            yield process, int(process.stderr.readline().split()[2].rpartition(":")[2])
        finally:
            process.kill()


class Crowd:
    """A tenth of it hostile; the command serves it, and it sees the command end."""

    def __init__(self, count: int, connect: Connect) -> None:
        self._count = count
        self._connect = connect

    async def open(self, port: int, clients: trio.Nursery) -> None:
        hostile = [visit for visit, _ in WEBSOCKETS.values()]

        async def open_client(number: int) -> None:
            await fill(await self._connect(port), number, hostile, clients)

        async with trio.open_nursery() as openers:
            for number in range(self._count):
                openers.start_soon(open_client, number)

    async def wait_end(self, process: subprocess.Popen[str]) -> None:
        out, _ = await trio.to_thread.run_sync(process.communicate)
        assert process.returncode == 0
        farewells = [line.split(maxsplit=1) for line in out.splitlines()]
        assert len({number for number, _ in farewells}) == len(farewells) == self._count
        assert {reason for _, reason in farewells} == {repr(Shutdown())}


async def test_a_signal_ends_a_thousand_connections_in_good_order_and_a_second_one_those_that_are_not(
    many_files: None, connect: Connect
) -> None:
    crowd = Crowd(1000, connect)
    with trio.fail_after(PATIENCE), command("--grace", "1000") as (process, port):
        async with trio.open_nursery() as clients:
            await crowd.open(port, clients)
            process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        await crowd.wait_end(process)


async def test_an_interrupt_ends_everybody_within_the_grace(connect: Connect) -> None:
    crowd = Crowd(50, connect)
    with trio.fail_after(PATIENCE), command("--grace", "1") as (process, port):
        try:
            async with trio.open_nursery() as clients:
                await crowd.open(port, clients)
                process.send_signal(signal.SIGINT)
        except* trio.BrokenResourceError:
            pass  # on a busy machine the grace may be over for a client in good order, too
        await crowd.wait_end(process)
