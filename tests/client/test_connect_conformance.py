"""Every claim of the rulings that is about a connection, asked of a handler on the client's end.

The checks play a client. Here they get one to talk to: a stream that stands between the two makes each the other's
server, by taking off what masks the one's frames, and putting a mask on where there was none.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from trio_websock import Headers, Request, connect, upgrade
from trio_websock.behaviour.handler import bind_handler, is_handler
from trio_websock.client.options import HandlerKeywords, split_client_keywords
from trio_websock.protocol.upgrade import accept_key
from trio_websock.testing.host_checks import ALL_CHECKS, Capability, Check, Host, missing_capabilities, run_check
from trio_websock.testing.memory_listener import MemoryListener, MemoryStream

SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
SERVER_NAMES = {"origins", "grace", "handshake_timeout", "max_connections"}

# The bytes of a masking key go no further than to the stream between, so that they keep nothing alive.
MISFITS = {"idle timeout: a single byte now and then keeps a connection alive"}


class Unmasking:
    """Takes the mask off frames as their bytes pass, and puts one of zeros on a frame that has none."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._key = b""

    def feed(self, data: bytes) -> bytes:
        out = bytearray()
        at = 0
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                out += bytes(byte ^ self._key[index % 4] for index, byte in enumerate(piece))
                turn = len(piece) % 4
                self._key = self._key[turn:] + self._key[:turn]
                self._left -= len(piece)
                at += len(piece)
            else:
                out += self._feed_head(data[at : at + 1])
                at += 1
        return bytes(out)

    def _feed_head(self, byte: bytes) -> bytes:
        self._head += byte
        if len(self._head) == 1:
            return byte
        size = self._head[1] & 0x7F
        is_masked = bool(self._head[1] & 0x80)
        key_at = 2 + {126: 2, 127: 8}.get(size, 0)
        out = b"" if len(self._head) > key_at else byte
        if len(self._head) == 2:
            out = bytes([byte[0] ^ 0x80])
        if len(self._head) == key_at + 4 * is_masked:
            self._left = size if size < 126 else int.from_bytes(self._head[2:key_at])
            self._key = self._head[key_at:] if is_masked else b"\0\0\0\0"
            out += b"" if is_masked else self._key
            self._head = b""
        return out


class Between(trio.abc.HalfCloseableStream):
    """The client's end of a stream on whose other end a scripted client has asked for an upgrade."""

    def __init__(self, stream: MemoryStream, leftover: bytes, subprotocol: str | None) -> None:
        self._stream = stream
        self._agreed = "" if subprotocol is None else f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
        self._incoming, self._outgoing = Unmasking(), Unmasking()
        self._leftover = leftover
        self._answer = b""
        self._head = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._answer:
            await self._stream.send_all(self._outgoing.feed(bytes(data)))
            return
        self._head += data
        if b"\r\n\r\n" in self._head:
            key = re.search(rb"Sec-WebSocket-Key: (\S+)", self._head)
            assert key is not None
            self._answer = self._switch(accept_key(key[1].decode())) + self._incoming.feed(self._leftover)
            self._leftover = self._answer
            await self._stream.send_all(self._switch("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))

    def _switch(self, accept: str) -> bytes:
        return f"{SWITCH}Sec-WebSocket-Accept: {accept}\r\n{self._agreed}\r\n".encode()

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while True:
            if self._leftover:
                data, self._leftover = self._leftover, b""
                await trio.lowlevel.checkpoint()
                return data
            data = await self._stream.receive_some(max_bytes)
            translated = self._incoming.feed(data)
            if translated or not data:
                return translated

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


@dataclass
class Clients:
    """A loop that accepts, with a client for each stream."""

    listener: MemoryListener
    scope: trio.CancelScope
    finished: trio.Event
    authority: str = "localhost"

    async def connect(self) -> MemoryStream:
        return await self.listener.connect()

    async def shutdown(self, *, restart: bool = False, grace: float | None = None) -> None:
        raise NotImplementedError("a client has no server that could be shut down")

    def cancel(self) -> None:
        self.scope.cancel()


@dataclass(frozen=True)
class ClientHost:
    """Handlers on the client's end, in virtual time."""

    name: str = "connect"
    capabilities: frozenset[Capability] = frozenset(
        {
            Capability.FRAMING,
            Capability.PIPELINING,
            Capability.READ_AHEAD,
            Capability.CONTROL,
            Capability.CLOSING,
            Capability.HALF_CLOSE,
            Capability.VIRTUAL_TIME,
        }
    )
    pace: float = 1.0

    def make_clock(self) -> trio.testing.MockClock:
        return trio.testing.MockClock(autojump_threshold=0)

    @asynccontextmanager
    async def open_server(self, app: object, **options: Any) -> AsyncIterator[Clients]:
        check(app, options)
        clients = Clients(MemoryListener(), trio.CancelScope(), trio.Event())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept, clients, partial(run_client, app=app, given=options))
            yield clients
            clients.cancel()


def check(app: object, options: dict[str, Any]) -> None:
    """What ``connect`` would refuse, before there is anything to connect."""
    if is_handler(app):
        bind_handler(app)
    split_client_keywords(client_options(options), HandlerKeywords)


def client_options(options: dict[str, Any]) -> Any:
    """The options of a server's connection, defaults and all."""
    given = {name: value for name, value in options.items() if name not in SERVER_NAMES}
    return {"timeout": 60, "ping_interval": None, **given}


async def accept(clients: Clients, run: Any) -> None:
    with clients.scope:
        await trio.serve_listeners(run, [clients.listener])
    clients.finished.set()


async def run_client(stream: MemoryStream, app: Any, given: dict[str, Any]) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        received = await stream.receive_some()
        if not received:
            return
        data += received
    head, _, leftover = data.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    method, target, _ = line.split(" ")
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    request = Request(method, target, Headers(fields))
    wish = upgrade(app, request) if is_handler(app) else app(request)
    options = client_options({**given, **wish.keywords})
    options["subprotocols"] = request.subprotocols
    between = Between(stream, leftover, next(iter(request.subprotocols), None))
    await connect(f"ws://localhost{target}", wish.handler, wish.args, stream=between, **options)


@pytest.mark.parametrize("check", [check for check in ALL_CHECKS if str(check) not in MISFITS], ids=str)
def test_client_holds(check: Check) -> None:
    host: Host = ClientHost()
    missing = missing_capabilities(host, check)
    if missing:
        pytest.skip(f"a client lacks {', '.join(sorted(capability.name for capability in missing))}")
    run_check(host, check)
