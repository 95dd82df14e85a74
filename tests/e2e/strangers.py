"""WebSocket clients written by others, each with what it can do under one name."""

from __future__ import annotations

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import trio
import trio_websocket
import websockets
import websockets.asyncio.client

MAX_SIZE = 16 * 1024 * 1024


@dataclass(frozen=True)
class Address:
    """Where the server listens: a URL, for a Unix socket its path beside it, for TLS whom to trust."""

    url: str
    path: str | None = None
    tls: ssl.SSLContext | None = None


class Peer(ABC):
    """What every client can do, under one name each."""

    extensions: str = ""

    @abstractmethod
    async def send(self, message: str | bytes) -> None: ...

    @abstractmethod
    async def receive(self) -> str | bytes: ...

    @abstractmethod
    async def ping(self, payload: bytes) -> None:
        """Send a ping and wait for its pong."""

    @abstractmethod
    async def close(self, code: int, text: str) -> tuple[int | None, str]:
        """Close, and return what the server answered."""

    @abstractmethod
    async def wait_closed(self) -> tuple[int | None, str]:
        """Wait for the server to close, and return what it said."""


class WebsocketsPeer(Peer):
    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.extensions = connection.response.headers.get("Sec-WebSocket-Extensions", "")

    @classmethod
    @asynccontextmanager
    async def open(cls, address: Address, compress: bool) -> AsyncIterator[Peer]:
        options: dict[str, Any] = {"max_size": MAX_SIZE, "compression": "deflate" if compress else None}
        if address.path is None:
            opened = websockets.asyncio.client.connect(address.url, ssl=address.tls, proxy=None, **options)
        else:
            opened = websockets.asyncio.client.unix_connect(address.path, address.url, **options)
        async with opened as connection:
            yield cls(connection)

    async def send(self, message: str | bytes) -> None:
        await self.connection.send(message)

    async def receive(self) -> str | bytes:
        message: str | bytes = await self.connection.recv()
        return message

    async def ping(self, payload: bytes) -> None:
        await (await self.connection.ping(payload))

    async def close(self, code: int, text: str) -> tuple[int | None, str]:
        await self.connection.close(code, text)
        return self._received_close()

    async def wait_closed(self) -> tuple[int | None, str]:
        await self.connection.wait_closed()
        return self._received_close()

    def _received_close(self) -> tuple[int | None, str]:
        received = self.connection.protocol.close_rcvd
        return received.code, received.reason


class AiohttpPeer(Peer):
    def __init__(self, connection: aiohttp.ClientWebSocketResponse[Any]) -> None:
        self.connection = connection
        self.extensions = connection._response.headers.get("Sec-WebSocket-Extensions", "")

    @classmethod
    @asynccontextmanager
    async def open(cls, address: Address, compress: bool) -> AsyncIterator[Peer]:
        connector = aiohttp.UnixConnector(address.path) if address.path else aiohttp.TCPConnector()
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.ws_connect(
                address.url,
                ssl=address.tls or True,
                compress=15 if compress else 0,
                max_msg_size=MAX_SIZE + 1,
                autoping=False,
                autoclose=False,
            ) as connection,
        ):
            socket = connection.get_extra_info("socket")
            yield cls(connection)
        # A closed session has yet to close its socket, and has no event for that.
        while socket.fileno() != -1:  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def send(self, message: str | bytes) -> None:
        await (self.connection.send_str(message) if isinstance(message, str) else self.connection.send_bytes(message))

    async def receive(self) -> Any:
        frame = await self.connection.receive()
        if frame.type is aiohttp.WSMsgType.PING:
            await self.connection.pong(frame.data)
            return await self.receive()
        assert frame.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), frame
        return frame.data

    async def ping(self, payload: bytes) -> None:
        await self.connection.ping(payload)
        frame = await self.connection.receive()
        assert (frame.type, frame.data) == (aiohttp.WSMsgType.PONG, payload)

    async def close(self, code: int, text: str) -> tuple[int | None, str]:
        await self.connection.close(code=code, message=text.encode())
        return self.connection.close_code, ""  # it does not keep the text

    async def wait_closed(self) -> tuple[int | None, str]:
        frame = await self.connection.receive()
        assert frame.type is aiohttp.WSMsgType.CLOSE
        return frame.data, frame.extra or ""


class TrioWebsocketPeer(Peer):
    def __init__(self, connection: trio_websocket.WebSocketConnection) -> None:
        self.connection = connection

    @classmethod
    @asynccontextmanager
    async def open(cls, address: Address, compress: bool) -> AsyncIterator[Peer]:
        assert not compress, "trio-websocket does not know how"
        async with await cls._open_stream(address) as stream, trio.open_nursery() as nursery:
            connection = await trio_websocket.wrap_client_stream(
                nursery, stream, "localhost", "/", max_message_size=MAX_SIZE
            )
            async with connection:
                yield cls(connection)

    @staticmethod
    async def _open_stream(address: Address) -> Any:
        """A stream of our own: trio-websocket forgets to close its socket where the server closes first."""
        if address.path is not None:
            return await trio.open_unix_socket(address.path)
        port = int(address.url.rstrip("/").rpartition(":")[2])
        if address.tls is None:
            return await trio.open_tcp_stream("127.0.0.1", port)
        return await trio.open_ssl_over_tcp_stream("localhost", port, ssl_context=address.tls)

    async def send(self, message: str | bytes) -> None:
        await self.connection.send_message(message)

    async def receive(self) -> str | bytes:
        message: str | bytes = await self.connection.get_message()
        return message

    async def ping(self, payload: bytes) -> None:
        await self.connection.ping(payload)

    async def close(self, code: int, text: str) -> tuple[int | None, str]:
        await self.connection.aclose(code, text or None)
        return await self._closed_reason()

    async def wait_closed(self) -> tuple[int | None, str]:
        with pytest.raises(trio_websocket.ConnectionClosed):
            await self.connection.get_message()
        return await self._closed_reason()

    async def _closed_reason(self) -> tuple[int | None, str]:
        closed = self.connection.closed
        assert isinstance(closed, trio_websocket.CloseReason)
        return closed.code, closed.reason or ""


@dataclass(frozen=True)
class Stranger:
    """A client library: how to open a connection with it, and the event loop it lives in."""

    open: Callable[[Address, bool], AbstractAsyncContextManager[Peer]]
    run: Callable[[Callable[[], Awaitable[None]]], None]
    compress: bool

    def converse(self, address: Address, conversation: Callable[[Any], Awaitable[None]]) -> None:
        async def hold() -> None:
            async with self.open(address, self.compress) as peer:
                await conversation(peer)

        self.run(hold)


def run_asyncio(hold: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await hold()

    asyncio.run(bounded())


def run_trio(hold: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        with trio.fail_after(30):
            await hold()

    trio.run(bounded)


STRANGERS = {
    "websockets": Stranger(WebsocketsPeer.open, run_asyncio, compress=False),
    "websockets-deflate": Stranger(WebsocketsPeer.open, run_asyncio, compress=True),
    "aiohttp": Stranger(AiohttpPeer.open, run_asyncio, compress=False),
    "aiohttp-deflate": Stranger(AiohttpPeer.open, run_asyncio, compress=True),
    "trio-websocket": Stranger(TrioWebsocketPeer.open, run_trio, compress=False),
}
