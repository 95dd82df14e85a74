"""A server on a free port or in memory, and raw clients of it."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from trio_websock import Server, serve
from trio_websock.testing.memory_listener import MemoryListener

sys.path.append(str(Path(__file__).parent))  # tests are no package

visitors = importlib.import_module("visitors")

Start = Callable[..., Awaitable[Server]]


@pytest.fixture
async def start(nursery: trio.Nursery) -> Start:
    """Start a server on a free port of the loopback; it is aborted at the end of the test."""

    async def start_server(handler_or_app: object, **options: Any) -> Server:
        if not options.keys() & {"path", "listeners"}:
            options.setdefault("port", 0)
        options.setdefault("grace", 0)
        server: Server = await nursery.start(partial(serve, handler_or_app, **options))
        return server

    return start_server


@pytest.fixture
def begin(start: Start) -> Start:
    """The same beside an ASGI application; the handler is an echo."""

    async def begin_server(application: Any, **options: Any) -> Server:
        return await start(visitors.Echo, http=application, **options)

    return begin_server


@pytest.fixture
def ask() -> Callable[..., Awaitable[bytes]]:
    """Send bytes to a server and read until it closes; the ``Date`` headers are left out."""

    async def talk(server: Server, *parts: bytes) -> bytes:
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            for part in parts:
                await stream.send_all(part)
                await trio.testing.wait_all_tasks_blocked()
            answer = b""
            while data := await stream.receive_some():
                answer += data
        return re.sub(rb"Date: [^\r]*\r\n", b"", answer)

    return talk


@pytest.fixture
def memory_listener() -> MemoryListener:
    """A listener to be given to a server, with ``connect()`` for clients."""
    return MemoryListener()
