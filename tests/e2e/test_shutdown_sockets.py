"""The end of a server on real sockets, where a reset is a reset, and of the command in a process of its own.

No verdict hangs on the clock.
"""

from __future__ import annotations

import importlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_websock
from trio_websock import Shutdown

sys.path.append(str(Path(__file__).parent))  # tests are no package

guests = importlib.import_module("guests")


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
            await stream.send_all(guests.PINGS)


@pytest.mark.parametrize("way", guests.WAYS)
async def test_on_real_sockets_nobody_holds_the_end_either(way: str, connect: Connect, nursery: trio.Nursery) -> None:
    hosting = guests.Hosting(port=0, grace=0.2)
    with trio.fail_after(guests.PATIENCE):
        await hosting.start(nursery)
        for visit, _ in guests.VISITS.values():
            await visit(await connect(hosting.server.port))
        babbler = await connect(hosting.server.port)
        await guests.be("/")(babbler)
        nursery.start_soon(ping_for_ever, babbler)
        await guests.end(hosting, way)
        with pytest.raises(OSError, match="connect"):
            await connect(hosting.server.port)
    farewells = [reason for _, reason in hosting.site.farewells]
    assert farewells == [Shutdown(restart=way == "restart")] * (len(guests.WEBSOCKETS) + 1)


async def test_a_tls_peer_on_a_real_socket_gets_close_frame_and_close_notify(
    certificates: Any, connect: Connect, nursery: trio.Nursery
) -> None:
    hosting = guests.Hosting(port=0, ssl_context=certificates.server_context())
    with trio.fail_after(guests.PATIENCE):
        await hosting.start(nursery)
        plain = await connect(hosting.server.port)
        context = certificates.client_context()
        # For this stream an end without close_notify is an error.
        stream = trio.SSLStream(plain, context, server_hostname="localhost")
        await guests.be("/")(stream)
        nursery.start_soon(guests.end, hosting, "shutdown")
        await guests.ask(b"", guests.GOING_AWAY)(stream)
        await stream.send_all(guests.CLOSE)
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
    """``python -m trio_websock`` with the application of ``guests``, and its port."""
    path = os.pathsep.join([str(Path(trio_websock.__file__).parents[1]), str(Path(__file__).parent)])
    with subprocess.Popen(
        [sys.executable, "-m", "trio_websock", "guests:app", "--port", "0", *words],
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
        hostile = [visit for visit, _ in guests.WEBSOCKETS.values()]

        async def open_client(number: int) -> None:
            await guests.fill(await self._connect(port), number, hostile, clients)

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
    with trio.fail_after(guests.PATIENCE), command("--grace", "1000") as (process, port):
        async with trio.open_nursery() as clients:
            await crowd.open(port, clients)
            process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        await crowd.wait_end(process)


async def test_an_interrupt_ends_everybody_within_the_grace(connect: Connect) -> None:
    crowd = Crowd(50, connect)
    with trio.fail_after(guests.PATIENCE), command("--grace", "1") as (process, port):
        try:
            async with trio.open_nursery() as clients:
                await crowd.open(port, clients)
                process.send_signal(signal.SIGINT)
        except* trio.BrokenResourceError:
            pass  # on a busy machine the grace may be over for a client in good order, too
        await crowd.wait_end(process)
