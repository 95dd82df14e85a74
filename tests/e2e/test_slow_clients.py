"""Peers that stop reading, over real sockets: they end alone, hold little, and hold up nobody.

Whether a peer has stopped is told by what no longer moves, never by how long something took.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock import (
    Connection,
    ConnectionLost,
    Error,
    Handler,
    Ok,
    Push,
    Reason,
    Remote,
    Result,
    Server,
    WriteTimeout,
    current_connection,
    serve,
)
from trio_websock.testing.scripted_peer import ScriptedPeer, close, text

PATIENCE = 30  # seconds until a test gives up; a fail-safe, never part of a verdict
STILL = 10  # looks in a row at which nothing has moved
MAX_UNSENT_SIZE = 64 * 1024  # bytes that callbacks queue before they have to wait for the peer
HEADS_SIZE = 8 * 1024  # of the frames in so many bytes, at most


class Echo(Handler[None, str]):
    """Echoes messages and mailbox items, and keeps what ``terminate`` was told."""

    def __init__(self) -> None:
        self.endings: list[tuple[int, Reason]] = []

    def init(self, args: object) -> Result[None]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        return Push(message, state)

    def handle_info(self, info: str, state: None) -> Result[None]:
        return Push(info, state)

    def terminate(self, reason: Reason, state: None) -> None:
        self.endings.append((current_connection().id, reason))


class Place:
    """A server, its handler, and clients that stay until the end of the test."""

    def __init__(self, stack: AsyncExitStack, nursery: trio.Nursery) -> None:
        self.handler = Echo()
        self.server: Server
        self._stack = stack
        self._nursery = nursery
        self._client_context: Any = None

    async def serve(self, certificates: Any = None, **options: Any) -> None:
        if certificates is not None:
            options["ssl_context"] = certificates.server_context()
            self._client_context = certificates.client_context()
        self.server = await self._nursery.start(partial(serve, self.handler, port=0, grace=0, **options))

    async def open(self) -> tuple[ScriptedPeer, Connection]:
        """A client with a small receive buffer, and the server's side of it."""
        context, size = self._client_context, 16 * 1024
        connecting = ScriptedPeer.connect(self.server.port, ssl_context=context, receive_buffer_size=size)
        peer = await self._stack.enter_async_context(await connecting)
        await peer.open()
        return peer, self.server.connections[-1]

    async def open_stuck(self, message: str) -> Connection:
        """A client that asks for one echo after the other and reads none of them."""
        peer, connection = await self.open()
        self._nursery.start_soon(peer.flood, burst(message))
        await wait_stuck(connection)
        return connection


@pytest.fixture
async def place(nursery: trio.Nursery) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        yield Place(stack, nursery)


def burst(message: str) -> bytes:
    """Enough of one message to fill what is between a peer and its server in a few writes."""
    return text(message) * (10_000 // len(message) + 1)


async def read_on(peer: ScriptedPeer) -> None:
    while True:
        await peer.receive_frame()


def unsent_size(connection: Connection) -> int:
    return connection._transport.unsent_size


async def wait_stuck(connection: Connection, note: Callable[[int], object] = id) -> None:
    """Wait until something is to be sent and nothing moves any more."""
    seen = [(-1, 0)]
    while len(seen) < STILL:
        await wait_all_tasks_blocked()
        now = connection.bytes_received, unsent_size(connection)
        note(unsent_size(connection))
        seen = [*seen, now] if now == seen[-1] and unsent_size(connection) else [now]


async def echo(peer: ScriptedPeer, count: int) -> None:
    for number in range(count):
        await peer.send(text(f"message {number}"))
        assert await peer.receive_frame() == (0x81, b"message %d" % number)


async def test_others_are_echoed_while_some_do_not_read(place: Place) -> None:
    with trio.fail_after(PATIENCE):
        await place.serve(write_timeout=1000)
        stuck = [await place.open_stuck("x" * 10_000) for _ in range(3)]
        others = [(await place.open())[0] for _ in range(20)]
        async with trio.open_nursery() as nursery:
            for peer in others:
                nursery.start_soon(echo, peer, 50)
        assert set(stuck) < set(place.server.connections)
        assert len(place.server.connections) == 23


@pytest.mark.parametrize("size", [10, 1_000, 16_000, 300_000])
async def test_what_waits_for_a_peer_is_bounded_whatever_it_asks_for(place: Place, size: int) -> None:
    sizes: list[int] = []
    with trio.fail_after(PATIENCE):
        await place.serve(write_timeout=1000)
        peer, connection = await place.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.flood, burst("x" * size))
            await wait_stuck(connection, sizes.append)
            nursery.cancel_scope.cancel()
    assert 0 < max(sizes) <= MAX_UNSENT_SIZE + size + HEADS_SIZE


@pytest.mark.parametrize("is_secure", [False, True], ids=["TCP", "TLS"])
async def test_a_peer_that_does_not_read_is_reset_after_write_timeout_and_alone(
    place: Place, certificates: Any, is_secure: bool
) -> None:
    with trio.fail_after(PATIENCE):
        await place.serve(certificates if is_secure else None, write_timeout=0.2)
        other, _ = await place.open()
        start = trio.current_time()
        peer, connection = await place.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.flood, burst("x" * 10_000))
            reason = await connection.wait_ended()
        assert isinstance(reason, Error)
        assert isinstance(reason.cause, WriteTimeout)
        assert place.handler.endings == [(connection.id, reason)]
        assert trio.current_time() - start >= 0.2
        # A reset, of which the kernel tells who asks first: the flood, or this.
        with pytest.raises((trio.BrokenResourceError, AssertionError)):
            await read_on(peer)
        await echo(other, 10)


async def test_unsent_output_is_forgotten_when_the_peer_is_dropped(place: Place) -> None:
    with trio.fail_after(PATIENCE):
        await place.serve(write_timeout=0.2)
        connection = await place.open_stuck("x" * 10_000)
        await connection.wait_ended()
    assert unsent_size(connection) == 0


async def test_a_peer_that_reads_again_in_time_gets_everything(place: Place) -> None:
    message = "x" * 300_000
    with trio.fail_after(PATIENCE):
        await place.serve(write_timeout=1000)
        peer, connection = await place.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.send, text(message) * 50 + close(1000))
            await wait_stuck(connection)
            for _ in range(50):
                assert await peer.receive_frame() == (0x81, message.encode())
        assert await connection.wait_ended() == Remote(1000, "")


async def test_a_peer_that_leaves_with_output_unread_ends_without_waiting(place: Place) -> None:
    with trio.fail_after(PATIENCE):
        await place.serve(write_timeout=1000)
        peer, connection = await place.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.flood, burst("x" * 10_000))
            await wait_stuck(connection)
            await peer.aclose()
            reason = await connection.wait_ended()
    assert isinstance(reason, Error)
    assert isinstance(reason.cause, ConnectionLost)


# Broadcasts.


def broadcast(connections: list[Connection], message: str) -> list[Connection]:
    """Send to every mailbox that has room; those that have none."""
    full = []
    for connection in connections:
        try:
            connection.mailbox.send_nowait(message)
        except trio.WouldBlock:
            full.append(connection)
    return full


async def test_a_broadcast_is_not_held_by_a_member_that_does_not_read(place: Place) -> None:
    with trio.fail_after(PATIENCE):
        await place.serve(write_timeout=1000, mailbox_size=4)
        _, stuck = await place.open()
        members = [await place.open() for _ in range(5)]
        connections = [stuck, *(connection for _, connection in members)]
        full = []
        for number in range(200):
            message = f"{number:05}" * 10_000
            full += broadcast(connections, message)
            for peer, _ in members:
                assert await peer.receive_frame() == (0x81, message.encode())
    assert set(full) == {stuck}
    assert unsent_size(stuck) <= MAX_UNSENT_SIZE + 50_000 + HEADS_SIZE
    assert len(full) >= 50  # most of the ten million bytes found no room
