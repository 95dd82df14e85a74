"""Servers written by others, all of one mind: they echo, speak the subprotocol "chat", and close when told to.

``close CODE`` has a server close with that code and "as you wish"; ``ping`` has it ping us, and say "ponged" when that
was answered, where its library lets an application do so. Which code a client closed with goes to ``codes``.
"""

from __future__ import annotations

import asyncio
import queue
import ssl
import threading
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp.web
import hypercorn.config
import hypercorn.trio
import trio
import trio_websocket
import uvicorn
import websockets.asyncio.server
import websockets.exceptions
import websockets.trio.server

MAX_SIZE = 16 * 1024 * 1024
PATIENCE = 30  # seconds; only a server that does not come up ever gets there


@dataclass
class Foreign:
    """What a server is told, and what it tells.

    Attributes:
        certificate: a file with certificate and key, to serve TLS with.
        codes: that clients closed with.
    """

    certificate: Any = None
    codes: queue.SimpleQueue = field(default_factory=queue.SimpleQueue)

    @property
    def ssl_context(self):
        if self.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate)
        return context

    def url(self, port):
        return f"{'wss' if self.certificate else 'ws'}://127.0.0.1:{port}/"


def asked_code(message):
    """The code of ``close CODE``; ``None`` for any other message."""
    return int(message[6:]) if isinstance(message, str) and message.startswith("close ") else None


# On asyncio


@asynccontextmanager
async def serve_websockets(foreign):
    async def serve(connection):
        try:
            async for message in connection:
                if code := asked_code(message):
                    await connection.close(code, "as you wish")
                elif message == "ping":
                    await (await connection.ping())
                    await connection.send("ponged")
                else:
                    await connection.send(message)
        except websockets.exceptions.ConnectionClosed:
            pass
        foreign.codes.put(connection.close_code)

    options = {"subprotocols": ["chat"], "max_size": MAX_SIZE + 1, "ssl": foreign.ssl_context}
    async with websockets.asyncio.server.serve(serve, "127.0.0.1", 0, **options) as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def serve_aiohttp(foreign):
    async def serve(request):
        socket = aiohttp.web.WebSocketResponse(protocols=["chat"], max_msg_size=MAX_SIZE + 1)
        await socket.prepare(request)
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                await socket.send_bytes(message.data)
            elif code := asked_code(message.data):
                await socket.close(code=code, message=b"as you wish")
            else:
                await socket.send_str(message.data)
        foreign.codes.put(socket.close_code)
        return socket

    app = aiohttp.web.Application()
    app.router.add_get("/", serve)
    runner = aiohttp.web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0, ssl_context=foreign.ssl_context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def echo_over_asgi(foreign, scope, receive, send):
    assert scope["type"] == "websocket"
    await receive()
    chosen = "chat" if "chat" in scope["subprotocols"] else None
    await send({"type": "websocket.accept", "subprotocol": chosen})
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            foreign.codes.put(event["code"])
            return
        if code := asked_code(event.get("text")):
            await send({"type": "websocket.close", "code": code, "reason": "as you wish"})
            return
        key = "text" if event.get("text") is not None else "bytes"
        await send({"type": "websocket.send", key: event[key]})


@asynccontextmanager
async def serve_uvicorn(foreign):
    config = uvicorn.Config(
        partial(echo_over_asgi, foreign),
        port=0,
        interface="asgi3",
        lifespan="off",
        log_level="critical",
        ws="websockets-sansio",
        ws_max_size=MAX_SIZE + 1,
        ssl_certfile=foreign.certificate,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # it has no event for that
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


@contextmanager
def run_in_thread(serve, foreign):
    """Run ``async with serve(foreign) as port`` on an event loop of asyncio in a thread of its own."""

    async def main():
        stop = asyncio.Event()
        async with serve(foreign) as port:
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
    port, loop, stop = started.result(PATIENCE)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)


# On Trio


async def serve_trio_websocket(foreign, task_status):
    async def serve(request):
        chosen = "chat" if "chat" in request.proposed_subprotocols else None
        connection = await request.accept(subprotocol=chosen)
        try:
            while True:
                message = await connection.get_message()
                if code := asked_code(message):
                    await connection.aclose(code, "as you wish")
                elif message == "ping":
                    await connection.ping()
                    await connection.send_message("ponged")
                else:
                    await connection.send_message(message)
        except trio_websocket.ConnectionClosed as closed:
            foreign.codes.put(closed.reason.code)

    run = partial(
        trio_websocket.serve_websocket, serve, "127.0.0.1", 0, foreign.ssl_context, max_message_size=MAX_SIZE + 1
    )
    async with trio.open_nursery() as nursery:
        task_status.started((await nursery.start(run)).port)


async def serve_websockets_trio(foreign, task_status):
    async def serve(connection):
        try:
            while True:  # its iterator does not like to be left half-way
                message = await connection.recv()
                if code := asked_code(message):
                    await connection.aclose(code, "as you wish")
                elif message == "ping":
                    await (await connection.ping()).wait()
                    await connection.send("ponged")
                else:
                    await connection.send(message)
        except websockets.exceptions.ConnectionClosed:
            pass
        foreign.codes.put(connection.close_code)

    options = {"subprotocols": ["chat"], "max_size": MAX_SIZE + 1, "ssl": foreign.ssl_context}
    run = partial(websockets.trio.server.serve, serve, 0, host="127.0.0.1", **options)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(run)
        task_status.started(server.listeners[0].socket.getsockname()[1])


async def serve_hypercorn(foreign, task_status):
    config = hypercorn.config.Config()
    config.bind = ["127.0.0.1:0"]
    config.websocket_max_message_size = MAX_SIZE + 1
    config.errorlog = None
    config.graceful_timeout = 0
    if foreign.certificate:
        config.certfile = config.keyfile = str(foreign.certificate)
    async with trio.open_nursery() as nursery:
        run = partial(hypercorn.trio.serve, partial(echo_over_asgi, foreign), config, mode="asgi")
        [address] = await nursery.start(run)
        task_status.started(int(address.rpartition(":")[2]))


ON_ASYNCIO = {"websockets": serve_websockets, "aiohttp": serve_aiohttp, "uvicorn": serve_uvicorn}
ON_TRIO = {
    "trio-websocket": serve_trio_websocket,
    "websockets.trio": serve_websockets_trio,
    "hypercorn": serve_hypercorn,
}
