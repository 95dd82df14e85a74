"""Servers written by others, on asyncio and on Trio, driven by our client: messages, subprotocols, both closes, TLS.

What they are and what they do is in ``foreign.py``.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from trio_websock import NORMAL, ConnectionClosed, Handler, Normal, Push, Reconnect, Stop, connect, open_websocket

sys.path.append(str(Path(__file__).parent))  # a module that tests share
foreign = importlib.import_module("foreign")

MAX_SIZE = foreign.MAX_SIZE
SIZES = [0, 1, 125, 126, 65535, 65536, 1024 * 1024]
SERVERS = [*foreign.ON_ASYNCIO, *foreign.ON_TRIO]
PINGING = ["websockets", "trio-websocket", "websockets.trio"]  # that let an application ping
PATIENCE = 30  # seconds; only what never comes takes them


@pytest.fixture
def server():
    """What the server of a test is told, and what it tells."""
    return foreign.Foreign()


@pytest.fixture(params=SERVERS)
async def url(request, nursery, server):
    if request.param in foreign.ON_TRIO:
        yield server.url(await nursery.start(partial(foreign.ON_TRIO[request.param], server)))
    else:
        with foreign.run_in_thread(foreign.ON_ASYNCIO[request.param], server) as port:
            yield server.url(port)
    nursery.cancel_scope.cancel()


@pytest.fixture
def certified(server, authority, tmp_path):
    """The same server with a certificate: a fixture to ask for before ``url``."""
    server.certificate = tmp_path / "certificate.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(server.certificate)


def open_client(url, **options):
    # The server of websockets refuses whoever speaks none of its subprotocols.
    return open_websocket(url, subprotocols=["other", "chat"], **options)


@pytest.mark.parametrize("compress", [False, True])
async def test_messages_of_every_size_come_back(url, compress):
    async with open_client(url, compress=compress, max_message_size=MAX_SIZE) as websocket:
        for size in SIZES:
            for message in ("ü" * (size // 2), b"\xff" * size):
                await websocket.send(message)
                assert await websocket.receive() == message


async def test_a_message_of_16_mib_comes_back(url):
    async with open_client(url, max_message_size=MAX_SIZE) as websocket:
        await websocket.send(b"x" * MAX_SIZE)
        assert await websocket.receive() == b"x" * MAX_SIZE


async def test_many_messages_come_back_in_order(url):
    async with open_client(url, compress=True) as websocket, trio.open_nursery() as nursery:

        async def send_all():
            for number in range(1000):
                await websocket.send(f"message {number}")

        nursery.start_soon(send_all)
        received = [await websocket.receive() for _ in range(1000)]
    assert received == [f"message {number}" for number in range(1000)]


async def test_the_subprotocol_is_agreed_on(url):
    async with open_client(url) as websocket:
        assert websocket.subprotocol == "chat"


async def test_our_close_is_answered(url):
    async with open_client(url) as websocket:
        await websocket.close(4000, "enough")
        assert (websocket.closed.code, websocket.closed.is_clean) == (4000, True)


async def test_a_ping_is_answered(url):
    async with open_client(url) as websocket:
        assert await websocket.ping(b"payload") > 0


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
async def test_the_server_s_close_is_told_with_code_and_text(url, code):
    async with open_client(url) as websocket:
        await websocket.send(f"close {code}")
        with pytest.raises(ConnectionClosed) as caught:
            await websocket.receive()
    assert (caught.value.code, caught.value.text, caught.value.closed_by) == (code, "as you wish", "peer")


@pytest.mark.parametrize("url", PINGING, indirect=True)
async def test_a_ping_of_the_server_is_answered(url):
    async with open_client(url) as websocket:
        await websocket.send("ping")
        assert await websocket.receive() == "ponged"


@pytest.mark.parametrize("url", [name for name in SERVERS if name != "hypercorn"], indirect=True)  # says 1006 to all
@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
async def test_our_close_is_told_to_the_server_and_answered(url, server, code):
    async with open_client(url) as websocket:
        await websocket.close(code, "enough")
        assert (websocket.closed.code, websocket.closed.closed_by) == (code, "us")
    assert await trio.to_thread.run_sync(partial(server.codes.get, timeout=PATIENCE)) == code


@pytest.mark.usefixtures("certified")
async def test_over_tls_messages_come_back(url, trusting):
    async with open_client(url, ssl_context=trusting, compress=True) as websocket:
        for size in SIZES:
            await websocket.send(b"\xff" * size)
            assert await websocket.receive() == b"\xff" * size
        await websocket.send("close 4000")
        with pytest.raises(ConnectionClosed, match="4000"):
            await websocket.receive()


class Caller(Handler):
    """Says the next of its words at every connection, and leaves when it comes back."""

    def init(self, words):
        return Push(words.pop(0), words)

    def handle_in(self, message, words):
        return Stop(NORMAL, words)


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013])
async def test_a_handler_comes_back_when_the_server_asks_for_it(url, code):
    words = [f"close {code}", f"close {code}", "hello"]
    at_once = Reconnect(initial_delay=0, restart_delay=0, busy_delay=0)
    subprotocols = ["other", "chat"]
    assert await connect(url, Caller, words, reconnect=at_once, subprotocols=subprotocols) == Normal()
    assert words == []
