"""Servers written by others: websockets and aiohttp on asyncio, trio-websocket on Trio, each driven by our client."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager

import aiohttp.web
import pytest
import trio
import trio_websocket
import websockets
import websockets.asyncio.server

from trio_websock import NORMAL, ConnectionClosed, Handler, Normal, Push, Reconnect, Stop, connect, open_websocket

MAX_SIZE = 16 * 1024 * 1024
SIZES = [0, 1, 125, 126, 65535, 65536, 1024 * 1024, MAX_SIZE]


@contextmanager
def run_in_thread(serve):
    """Run ``async with serve() as port`` on an event loop of asyncio in a thread of its own."""

    async def main():
        stop = asyncio.Event()
        async with serve() as port:
            started.set_result((port, asyncio.get_running_loop(), stop))
            await stop.wait()

    started = Future()

    def run():
        try:
            asyncio.run(main())
        except Exception as exc:
            started.set_exception(exc)

    thread = threading.Thread(target=run)
    thread.start()
    port, loop, stop = started.result(30)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)


@asynccontextmanager
async def websockets_server():
    async def serve(connection):
        async for message in connection:
            if isinstance(message, str) and message.startswith("close "):
                await connection.close(int(message[6:]), "as you wish")
            await connection.send(message)

    server = await websockets.asyncio.server.serve(
        serve, "127.0.0.1", 0, subprotocols=["chat"], max_size=MAX_SIZE + 1, compression="deflate"
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def aiohttp_server():
    async def serve(request):
        socket = aiohttp.web.WebSocketResponse(protocols=["chat"], max_msg_size=MAX_SIZE + 1)
        await socket.prepare(request)
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                await socket.send_bytes(message.data)
            elif message.data.startswith("close "):
                await socket.close(code=int(message.data[6:]), message=b"as you wish")
            else:
                await socket.send_str(message.data)
        return socket

    app = aiohttp.web.Application()
    app.router.add_get("/", serve)
    runner = aiohttp.web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def trio_websocket_server(task_status):
    async def serve(request):
        chosen = "chat" if "chat" in request.proposed_subprotocols else None
        connection = await request.accept(subprotocol=chosen)
        try:
            while True:
                message = await connection.get_message()
                if isinstance(message, str) and message.startswith("close "):
                    await connection.aclose(int(message[6:]), "as you wish")
                await connection.send_message(message)
        except trio_websocket.ConnectionClosed:
            pass

    async with trio.open_nursery() as nursery:
        started = await nursery.start(
            lambda task_status: trio_websocket.serve_websocket(
                serve, "127.0.0.1", 0, None, max_message_size=MAX_SIZE + 1, task_status=task_status
            )
        )
        task_status.started(started.port)


@pytest.fixture(params=["websockets", "aiohttp", "trio-websocket"])
async def url(request, nursery):
    if request.param == "trio-websocket":
        port = await nursery.start(lambda task_status: trio_websocket_server(task_status))
        yield f"ws://127.0.0.1:{port}/"
    else:
        with run_in_thread(websockets_server if request.param == "websockets" else aiohttp_server) as port:
            yield f"ws://127.0.0.1:{port}/"
    nursery.cancel_scope.cancel()


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


async def test_our_close_is_answered_with_its_code(url):
    async with open_client(url) as websocket:
        await websocket.close(4000, "enough")
        assert websocket.closed.code == 4000


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
