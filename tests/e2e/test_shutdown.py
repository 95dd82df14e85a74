"""The end of a server, whatever its clients and handlers do: every way of ending it, and everybody who might hold it.

In virtual time over streams in memory, where the seconds are exact; over real sockets in ``test_shutdown_sockets.py``.
"""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock import Shutdown
from trio_websock.testing.memory_listener import MemoryListener

sys.path.append(str(Path(__file__).parent))  # tests are no package

guests = importlib.import_module("guests")


# In virtual time.


@pytest.mark.parametrize("way", guests.WAYS)
async def test_a_client_in_good_order_is_told_once_and_costs_no_time(
    way: str, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await guests.open_in_memory(nursery)
    stream = await listener.connect()
    await guests.be("/")(stream)
    nursery.start_soon(guests.part, stream, guests.RESTART if way == "restart" else guests.GOING_AWAY)
    assert await guests.end(hosting, way) == 0
    assert [reason for _, reason in hosting.site.farewells] == [Shutdown(restart=way == "restart")]


@pytest.mark.parametrize("way", guests.WAYS)
@pytest.mark.parametrize("name", guests.VISITS)
async def test_nobody_outlasts_the_grace(
    name: str, way: str, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    visit, seconds = guests.VISITS[name]
    hosting, listener = await guests.open_in_memory(nursery)
    await visit(await listener.connect())
    await wait_all_tasks_blocked()
    assert await guests.end(hosting, way) == pytest.approx(seconds)
    farewell = [Shutdown(restart=way == "restart")] if name in guests.WEBSOCKETS else []
    assert [reason for _, reason in hosting.site.farewells] == farewell


async def test_nobody_may_have_more_than_the_grace_when_it_is_nothing(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await guests.open_in_memory(nursery, grace=0)
    for visit, _ in guests.VISITS.values():
        await visit(await listener.connect())
    await wait_all_tasks_blocked()
    assert await guests.end(hosting, "shutdown") == pytest.approx(guests.TIDYING)
    assert {reason for _, reason in hosting.site.farewells} == {Shutdown()}


async def test_a_peer_is_gone_though_its_callback_still_tidies_up(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await guests.open_in_memory(nursery)
    stream = await listener.connect()
    await guests.be("/tidy")(stream)
    await wait_all_tasks_blocked()
    nursery.start_soon(guests.end, hosting, "shutdown")
    await guests.receive_all(stream)
    assert trio.current_time() == pytest.approx(guests.GRACE, abs=0.1)
    assert not hosting.is_over.is_set()


@pytest.mark.parametrize("way", guests.WAYS)
async def test_what_a_callback_returns_in_its_last_moment_is_sent_before_the_close(
    way: str, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await guests.open_in_memory(nursery)
    stream = await listener.connect()
    await guests.be("/late")(stream)
    await wait_all_tasks_blocked()
    nursery.start_soon(guests.end, hosting, way)
    await guests.ask(b"", b"\x81\x04late" + (guests.RESTART if way == "restart" else guests.GOING_AWAY))(stream)
    assert trio.current_time() == pytest.approx(guests.GRACE - 1)


async def test_a_thousand_connections_are_told_once_each_and_a_tenth_cannot_hold_them(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await guests.open_in_memory(nursery)
    hostile = [visit for name, (visit, _) in guests.WEBSOCKETS.items() if name != "callback tidies up"]
    for number in range(1000):
        await guests.fill(await listener.connect(), number, hostile, nursery)
    assert len(hosting.server.connections) == 1000
    assert await guests.end(hosting, "cancellation") == pytest.approx(guests.GRACE)
    assert len(dict(hosting.site.farewells)) == len(hosting.site.farewells) == 1000
    assert {reason for _, reason in hosting.site.farewells} == {Shutdown()}


# TLS, in virtual time.


def trusting(certificates: Any, stream: trio.abc.Stream) -> trio.SSLStream[trio.abc.Stream]:
    context = certificates.client_context()
    return trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True)


async def test_a_peer_that_never_answers_close_notify_costs_no_time(
    certificates: Any, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await guests.open_in_memory(nursery, ssl_context=certificates.server_context())
    pipe = await listener.connect()
    stream = trusting(certificates, pipe)
    await guests.be("/")(stream)
    nursery.start_soon(guests.part, stream)  # reads to the end of the stream, and sends nothing more
    assert await guests.end(hosting, "shutdown") == 0


@pytest.mark.parametrize("beginning", [b"", b"\x16\x03\x01\x02\x00\x01\x00"], ids=["silent", "half a ClientHello"])
async def test_a_peer_stuck_in_the_tls_handshake_costs_no_time(
    certificates: Any, beginning: bytes, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await guests.open_in_memory(nursery, ssl_context=certificates.server_context())
    await (await listener.connect()).send_all(beginning)
    await wait_all_tasks_blocked()
    assert await guests.end(hosting, "shutdown") == 0


async def test_a_peer_that_never_reads_through_tls_is_dropped_when_the_grace_is_over(
    certificates: Any, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await guests.open_in_memory(nursery, ssl_context=certificates.server_context())
    await guests.be("/flood")(trusting(certificates, await listener.connect()))
    await wait_all_tasks_blocked()
    assert await guests.end(hosting, "shutdown") == pytest.approx(guests.GRACE)
    assert [reason for _, reason in hosting.site.farewells] == [Shutdown()]


# Staggered.


async def goodbyes(listener: MemoryListener, count: int, nursery: trio.Nursery) -> list[float]:
    """Open connections; when each of them will have been told."""
    times: list[float] = []

    async def await_goodbye(stream: trio.abc.Stream) -> None:
        await guests.ask(b"", guests.GOING_AWAY)(stream)
        times.append(trio.current_time())
        await stream.send_all(guests.CLOSE)

    for _ in range(count):
        stream = await listener.connect()
        await guests.be("/")(stream)
        nursery.start_soon(await_goodbye, stream)
    return times


async def test_a_rate_is_never_exceeded_and_everybody_is_told(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await guests.open_in_memory(nursery)
    times = await goodbyes(listener, 30, nursery)
    await hosting.server.shutdown(rate=4)
    assert len(times) == 30
    assert max(Counter(int(time) for time in times).values()) == 4


async def test_a_second_shutdown_with_a_rate_does_not_double_it(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await guests.open_in_memory(nursery)
    times = await goodbyes(listener, 12, nursery)
    nursery.start_soon(partial(hosting.server.shutdown, rate=2))
    await trio.sleep(0.75)
    await hosting.server.shutdown(rate=2)
    assert max(Counter(int(time) for time in times if time >= 1).values()) == 2


async def test_a_shutdown_without_a_rate_ends_the_waiting_of_one_with(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    hosting, listener = await guests.open_in_memory(nursery)
    times = await goodbyes(listener, 5, nursery)
    nursery.start_soon(partial(hosting.server.shutdown, rate=1))
    await trio.sleep(0.5)
    await hosting.server.shutdown()
    assert times == pytest.approx([0, 0.5, 0.5, 0.5, 0.5])
