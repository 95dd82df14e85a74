"""A wire, the plain socket at its other end, and what has to be read there."""

from __future__ import annotations

import socket

import pytest

from trio_websock.hosts.wire import SocketWire

LARGE = bytes(range(256)) * 16384  # more than the kernel takes


@pytest.fixture
async def pair():
    """A wire and the plain socket at its other end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    wire = SocketWire(ours)
    yield wire, theirs
    wire.abort()
    theirs.close()


def read_all(theirs):
    """What the other end can have without waiting."""
    chunks = []
    while True:
        try:
            chunk = theirs.recv(1 << 20)
        except BlockingIOError:
            return b"".join(chunks)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)


async def read_while(theirs, wire):
    """Read at the other end until ``wire`` has nothing left."""
    chunks = []
    while not wire.flush_nowait():
        chunks.append(read_all(theirs))
        await wire.flush_some()
    return b"".join([*chunks, read_all(theirs)])
