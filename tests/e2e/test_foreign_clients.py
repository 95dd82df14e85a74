"""Clients written by others: websockets and aiohttp on asyncio, trio-websocket on Trio.

Each is driven over TCP, TLS and a Unix socket, with and without compression where it knows how, by the same
conversations: coroutines that await nothing but the stranger, so that they run on either event loop.
"""

from __future__ import annotations

import importlib
import queue
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from trio_websock import NORMAL, Handler, Ok, Ping, Pong, Push, Reason, Remote, Request, Result, Stop

sys.path.append(str(Path(__file__).parent))  # tests are no package

strangers = importlib.import_module("strangers")

SIZES = [0, 1, 125, 126, 65535, 65536, 1024 * 1024, strangers.MAX_SIZE]
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


@pytest.fixture(scope="module", params=["tcp", "tls", "unix"])
def address(
    request: pytest.FixtureRequest, open_server: Any, certificates: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[strangers.Address]:
    options: dict[str, Any] = {"compress": True, "max_message_size": strangers.MAX_SIZE}
    match request.param:
        case "tcp":
            with open_server(Interlocutor, **options) as thread:
                yield strangers.Address(f"ws://127.0.0.1:{thread.port}/")
        case "tls":
            with open_server(Interlocutor, ssl_context=certificates.server_context(), **options) as thread:
                yield strangers.Address(f"wss://localhost:{thread.port}/", tls=certificates.client_context())
        case "unix":
            path = str(tmp_path_factory.mktemp("unix") / "socket")
            with open_server(Interlocutor, port=None, path=path, **options):
                yield strangers.Address("ws://localhost/", path)


@pytest.fixture(params=strangers.STRANGERS)
def stranger(request: pytest.FixtureRequest) -> strangers.Stranger:
    return strangers.STRANGERS[request.param]


@pytest.fixture(autouse=True)
def _no_reasons_of_the_test_before() -> None:
    while not reasons.empty():
        reasons.get_nowait()


@pytest.mark.parametrize("size", SIZES)
def test_a_text_of_any_size_comes_back_whole(
    stranger: strangers.Stranger, address: strangers.Address, size: int
) -> None:
    text = "€é😀a" * (size // 10) + "x" * (size % 10)  # a group of ten bytes, one to four a character
    assert len(text.encode()) == size

    async def conversation(peer: strangers.Peer) -> None:
        await peer.send(text)
        assert await peer.receive() == text

    stranger.converse(address, conversation)


@pytest.mark.parametrize("size", SIZES)
def test_a_binary_message_of_any_size_comes_back_whole(
    stranger: strangers.Stranger, address: strangers.Address, size: int
) -> None:
    data = (bytes(range(251)) * (size // 251 + 1))[:size]  # a prime period: no offset can go wrong unnoticed

    async def conversation(peer: strangers.Peer) -> None:
        await peer.send(data)
        assert await peer.receive() == data

    stranger.converse(address, conversation)


def test_many_messages_in_one_connection_come_back_in_order(
    stranger: strangers.Stranger, address: strangers.Address
) -> None:
    messages = [f"message {number}" * (number % 7) for number in range(200)]

    async def conversation(peer: strangers.Peer) -> None:
        for message in messages[:20]:
            await peer.send(message)
        for message, later in zip(messages, [*messages[20:], *[None] * 20], strict=True):
            assert await peer.receive() == message
            if later is not None:
                await peer.send(later)

    stranger.converse(address, conversation)


def test_compression_is_what_the_client_asked_for(stranger: strangers.Stranger, address: strangers.Address) -> None:
    async def conversation(peer: strangers.Peer) -> None:
        assert peer.extensions.startswith("permessage-deflate") is stranger.compress

    stranger.converse(address, conversation)


@pytest.mark.parametrize("payload", [b"", b"p", b"\xff" * 125])
def test_a_ping_is_answered_and_seen_by_the_handler(
    stranger: strangers.Stranger, address: strangers.Address, payload: bytes
) -> None:
    async def conversation(peer: strangers.Peer) -> None:
        await peer.ping(payload)
        assert await peer.receive() == f"Ping {payload!r}"

    stranger.converse(address, conversation)


def test_a_ping_of_the_handler_is_answered(stranger: strangers.Stranger, address: strangers.Address) -> None:
    async def conversation(peer: strangers.Peer) -> None:
        await peer.send("ping me")
        assert await peer.receive() == "Pong b'are you there'"

    stranger.converse(address, conversation)


@pytest.mark.parametrize(("code", "text"), CLIENT_CODES)
def test_the_client_closes_with_its_code_and_text(
    stranger: strangers.Stranger, address: strangers.Address, code: int, text: str
) -> None:
    async def conversation(peer: strangers.Peer) -> None:
        assert await peer.close(code, text) == (code, "")

    stranger.converse(address, conversation)
    assert reasons.get(timeout=30) == Remote(code, text)


@pytest.mark.parametrize(("code", "text"), SERVER_CODES)
def test_the_handler_closes_with_its_code_and_text(
    stranger: strangers.Stranger, address: strangers.Address, code: int, text: str
) -> None:
    async def conversation(peer: strangers.Peer) -> None:
        await peer.send(f"close {code} {text}")
        assert await peer.wait_closed() == (code, text)

    stranger.converse(address, conversation)


@pytest.mark.parametrize("message", [["a", "", "b"], [b"\x00", b"\xff" * 70000], ["", ""]])
@pytest.mark.parametrize("stranger", ["websockets", "websockets-deflate"], indirect=True)
def test_fragments_are_put_together(
    stranger: strangers.Stranger, address: strangers.Address, message: list[Any]
) -> None:
    async def conversation(peer: strangers.WebsocketsPeer) -> None:
        await peer.connection.send(message)
        assert await peer.receive() == message[0][:0].join(message)

    stranger.converse(address, conversation)


@pytest.mark.parametrize("stranger", ["websockets", "websockets-deflate"], indirect=True)
def test_a_ping_between_fragments_is_answered_between_them(
    stranger: strangers.Stranger, address: strangers.Address
) -> None:
    async def conversation(peer: strangers.WebsocketsPeer) -> None:
        async def fragments() -> AsyncIterator[str]:
            yield "before "
            await peer.ping(b"between")
            yield "after"

        await peer.connection.send(fragments())
        assert await peer.receive() == "Ping b'between'"
        assert await peer.receive() == "before after"

    stranger.converse(address, conversation)
