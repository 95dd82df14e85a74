"""Clients written by others: websockets and aiohttp on asyncio, trio-websocket on Trio.

Each is driven over TCP, TLS and a Unix socket, with and without compression where it knows how, by the same
conversations: coroutines that await nothing but the stranger, so that they run on either event loop.
"""

from __future__ import annotations

import asyncio
import queue
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import trio
import trio_websocket
import websockets
import websockets.asyncio.client

from trio_websock import NORMAL, Handler, Ok, Ping, Pong, Push, Reason, Remote, Request, Result, Stop

MAX_SIZE = 16 * 1024 * 1024
SIZES = [0, 1, 125, 126, 65535, 65536, 1024 * 1024, MAX_SIZE]
CLIENT_CODES = [(1000, ""), (1000, "Grüße"), (1001, "gone"), (3000, ""), (4999, "x" * 123)]
SERVER_CODES = [*CLIENT_CODES, (1011, ""), (1012, "restart"), (1013, "later")]

reasons: queue.SimpleQueue[Reason] = queue.SimpleQueue()


class Interlocutor(Handler[None, None]):
    """Echoes, and does what a client cannot make it do by sending frames alone."""

    def init(self, request: Request) -> Result[None]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        match message:
            case "ping me":
                return Push(Ping(b"are you there"), state)
            case str() if message.startswith("close "):
                _, code, *text = message.split(" ", 2)
                return Stop(NORMAL, state, close=(int(code), text[0]))
        return Push(message, state)

    def handle_control(self, frame: Ping | Pong, state: None) -> Result[None]:
        return Push(f"{type(frame).__name__} {frame.payload!r}", state)

    def terminate(self, reason: Reason, state: None) -> None:
        reasons.put(reason)


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


@pytest.fixture(scope="module", params=["tcp", "tls", "unix"])
def address(
    request: pytest.FixtureRequest, open_server: Any, certificates: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Address]:
    options: dict[str, Any] = {"compress": True, "max_message_size": MAX_SIZE}
    match request.param:
        case "tcp":
            with open_server(Interlocutor, **options) as thread:
                yield Address(f"ws://127.0.0.1:{thread.port}/")
        case "tls":
            with open_server(Interlocutor, ssl_context=certificates.server_context(), **options) as thread:
                yield Address(f"wss://localhost:{thread.port}/", tls=certificates.client_context())
        case "unix":
            path = str(tmp_path_factory.mktemp("unix") / "socket")
            with open_server(Interlocutor, port=None, path=path, **options):
                yield Address("ws://localhost/", path)


@pytest.fixture(params=STRANGERS)
def stranger(request: pytest.FixtureRequest) -> Stranger:
    return STRANGERS[request.param]


@pytest.fixture(autouse=True)
def _no_reasons_of_the_test_before() -> None:
    while not reasons.empty():
        reasons.get_nowait()


@pytest.mark.parametrize("size", SIZES)
def test_a_text_of_any_size_comes_back_whole(stranger: Stranger, address: Address, size: int) -> None:
    text = "€é😀a" * (size // 10) + "x" * (size % 10)  # a group of ten bytes, one to four a character
    assert len(text.encode()) == size

    async def conversation(peer: Peer) -> None:
        await peer.send(text)
        assert await peer.receive() == text

    stranger.converse(address, conversation)


@pytest.mark.parametrize("size", SIZES)
def test_a_binary_message_of_any_size_comes_back_whole(stranger: Stranger, address: Address, size: int) -> None:
    data = (bytes(range(251)) * (size // 251 + 1))[:size]  # a prime period: no offset can go wrong unnoticed

    async def conversation(peer: Peer) -> None:
        await peer.send(data)
        assert await peer.receive() == data

    stranger.converse(address, conversation)


def test_many_messages_in_one_connection_come_back_in_order(stranger: Stranger, address: Address) -> None:
    messages = [f"message {number}" * (number % 7) for number in range(200)]

    async def conversation(peer: Peer) -> None:
        for message in messages[:20]:
            await peer.send(message)
        for message, later in zip(messages, [*messages[20:], *[None] * 20], strict=True):
            assert await peer.receive() == message
            if later is not None:
                await peer.send(later)

    stranger.converse(address, conversation)


def test_compression_is_what_the_client_asked_for(stranger: Stranger, address: Address) -> None:
    async def conversation(peer: Peer) -> None:
        assert peer.extensions.startswith("permessage-deflate") is stranger.compress

    stranger.converse(address, conversation)


@pytest.mark.parametrize("payload", [b"", b"p", b"\xff" * 125])
def test_a_ping_is_answered_and_seen_by_the_handler(stranger: Stranger, address: Address, payload: bytes) -> None:
    async def conversation(peer: Peer) -> None:
        await peer.ping(payload)
        assert await peer.receive() == f"Ping {payload!r}"

    stranger.converse(address, conversation)


def test_a_ping_of_the_handler_is_answered(stranger: Stranger, address: Address) -> None:
    async def conversation(peer: Peer) -> None:
        await peer.send("ping me")
        assert await peer.receive() == "Pong b'are you there'"

    stranger.converse(address, conversation)


@pytest.mark.parametrize(("code", "text"), CLIENT_CODES)
def test_the_client_closes_with_its_code_and_text(stranger: Stranger, address: Address, code: int, text: str) -> None:
    async def conversation(peer: Peer) -> None:
        assert await peer.close(code, text) == (code, "")

    stranger.converse(address, conversation)
    assert reasons.get(timeout=30) == Remote(code, text)


@pytest.mark.parametrize(("code", "text"), SERVER_CODES)
def test_the_handler_closes_with_its_code_and_text(stranger: Stranger, address: Address, code: int, text: str) -> None:
    async def conversation(peer: Peer) -> None:
        await peer.send(f"close {code} {text}")
        assert await peer.wait_closed() == (code, text)

    stranger.converse(address, conversation)


@pytest.mark.parametrize("message", [["a", "", "b"], [b"\x00", b"\xff" * 70000], ["", ""]])
@pytest.mark.parametrize("stranger", ["websockets", "websockets-deflate"], indirect=True)
def test_fragments_are_put_together(stranger: Stranger, address: Address, message: list[Any]) -> None:
    async def conversation(peer: WebsocketsPeer) -> None:
        await peer.connection.send(message)
        assert await peer.receive() == message[0][:0].join(message)

    stranger.converse(address, conversation)


@pytest.mark.parametrize("stranger", ["websockets", "websockets-deflate"], indirect=True)
def test_a_ping_between_fragments_is_answered_between_them(stranger: Stranger, address: Address) -> None:
    async def conversation(peer: WebsocketsPeer) -> None:
        async def fragments() -> AsyncIterator[str]:
            yield "before "
            await peer.ping(b"between")
            yield "after"

        await peer.connection.send(fragments())
        assert await peer.receive() == "Ping b'between'"
        assert await peer.receive() == "before after"

    stranger.converse(address, conversation)
