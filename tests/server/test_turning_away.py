"""Clients for whom there is no place: an answer in words, bounded in time."""

from __future__ import annotations

import importlib
import math

import pytest
import trio
import trio.testing

from trio_websock.hosts.stream_wire import StreamWire
from trio_websock.server.turning_away import refuse_wire

certificates = importlib.import_module("certificates")

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def read_all(client: trio.abc.Stream) -> bytes:
    data = b""
    while piece := await client.receive_some():
        data += piece
    return data


async def test_a_client_that_is_turned_away_may_leave_first() -> None:
    client, server = trio.testing.memory_stream_pair()
    client.receive_stream.close()
    await client.send_all(GET)
    await refuse_wire(StreamWire(server), None, "full")
    await client.aclose()


async def test_a_client_that_is_turned_away_gets_its_answer_through_tls(nursery: trio.Nursery) -> None:
    ours, theirs = certificates.localhost_contexts()
    plain, server = trio.testing.memory_stream_pair()
    client = trio.SSLStream(plain, theirs, server_hostname="localhost", https_compatible=True)
    nursery.start_soon(refuse_wire, StreamWire(server), ours, "full")
    await client.send_all(GET)
    assert (await read_all(client)).startswith(b"HTTP/1.1 503 ")


async def test_turning_a_client_away_is_bounded_in_time(autojump_clock: trio.testing.MockClock) -> None:
    client, server = trio.testing.memory_stream_pair()
    await refuse_wire(StreamWire(server), None, "full")
    assert trio.current_time() < math.inf
    assert trio.current_time() == pytest.approx(2)
    await client.aclose()
