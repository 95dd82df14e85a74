"""trio-websocket as a host: what is special to it; the rest is in its run of the conformance suite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
import trio_websocket
import wsproto

from trio_websock import (
    ConnectionLost,
    Error,
    Handler,
    MessageTooBig,
    Ok,
    OptionError,
    Ping,
    Pong,
    Push,
    Remote,
    StateError,
    WriteTimeout,
    current_connection,
)
from trio_websock.hosts.trio_websocket import request_from, upgrade_request
from trio_websock.testing import scripted_peer

Serve = Callable[[trio_websocket.WebSocketRequest], Awaitable[object]]
Connect = Callable[..., AbstractAsyncContextManager[trio_websocket.WebSocketConnection]]


class Echo(Handler[Any, Any]):
    def init(self, args: Any) -> Ok[Any]:
        return Ok(args)

    def handle_in(self, message: str | bytes, state: Any) -> Push[Any]:
        return Push(message, state)


@pytest.fixture
async def server(nursery: trio.Nursery) -> Callable[..., Awaitable[Connect]]:
    """Serve with trio-websocket; gives a way to connect with its client."""

    async def start(serve: Serve, **server_options: Any) -> Connect:
        listen = partial(trio_websocket.serve_websocket, ssl_context=None, **server_options)
        running = await nursery.start(listen, serve, "127.0.0.1", 0)

        @asynccontextmanager
        async def connect(**options: Any) -> AsyncIterator[trio_websocket.WebSocketConnection]:
            # Not by open_websocket, which leaves sockets open that were not closed in good order.
            async with await trio.open_tcp_stream("127.0.0.1", running.port) as stream, trio.open_nursery() as tasks:
                authority = f"127.0.0.1:{running.port}"
                yield await trio_websocket.wrap_client_stream(tasks, stream, authority, "/room", **options)
                tasks.cancel_scope.cancel()

        connect.port = running.port  # type: ignore[attr-defined]  # for ask
        return connect

    return start


Server = Callable[..., Awaitable[Connect]]


async def ask(connect: Connect, *extra: str) -> scripted_peer.Answer:
    """Send an opening handshake and return the answer."""
    stream = await trio.open_tcp_stream("127.0.0.1", connect.port)  # type: ignore[attr-defined]
    async with scripted_peer.ScriptedPeer(stream) as peer:
        await peer.send(scripted_peer.upgrade_request("127.0.0.1", "/", *extra))
        return await peer.receive_answer()


class Reasons:
    """Serves a handler and keeps what every connection ended with."""

    def __init__(self, handler: object, *args: Any, **options: Any) -> None:
        self._upgrade = lambda request: upgrade_request(request, handler, *args, **options)
        self._send, self._receive = trio.open_memory_channel[Any](8)

    async def __call__(self, request: trio_websocket.WebSocketRequest) -> None:
        try:
            reason = await self._upgrade(request)
        except Exception as exc:
            await request.reject(500)
            reason = exc
        await self._send.send(reason)

    async def next(self) -> Any:
        return await self._receive.receive()


async def test_text_and_bytes_are_echoed(server: Server) -> None:
    connect = await server(Reasons(Echo))
    async with connect() as client:
        for message in ("Grüße", b"\0\xff", "", b""):
            await client.send_message(message)
            assert await client.get_message() == message


async def test_init_is_given_args_and_the_connection_knows_the_request(server: Server) -> None:
    class Teller(Echo):
        def init(self, args: Any) -> Push[Any]:  # type: ignore[override]  # a result is a result
            connection = current_connection()
            assert connection.request is not None
            assert connection.request.client is not None
            assert connection.peer == "{}:{}".format(*connection.request.client)
            return Push(f"{args} {connection.request.path} {connection.request.headers['x-a']}", args)

    connect = await server(Reasons(Teller, "args"))
    async with connect(extra_headers=[(b"X-A", b"b")]) as client:
        assert await client.get_message() == "args /room b"


async def test_a_subprotocol_is_negotiated(server: Server) -> None:
    connect = await server(Reasons(Echo, subprotocols=["b", "a"]))
    async with connect(subprotocols=["a", "b"]) as client:
        assert client.subprotocol == "b"


async def test_headers_travel_on_the_answer(server: Server) -> None:
    connect = await server(Reasons(Echo, headers={"X-Answer": " 42 "}))
    async with connect() as client:
        assert (b"x-answer", b"42") in client.handshake_headers


async def test_an_origin_from_elsewhere_is_refused(server: Server) -> None:
    reasons = Reasons(Echo)
    answer = await ask(await server(reasons), "Origin: https://evil.example")
    assert answer.status == 403
    assert b"https://evil.example" in answer.body
    assert await reasons.next() is None


async def test_an_origin_of_the_same_host_is_let_in(server: Server) -> None:
    connect = await server(Reasons(Echo))
    async with connect() as client:
        origin = f"http://127.0.0.1:{client.remote.port}".encode()
    async with connect(extra_headers=[(b"Origin", origin)]) as client:
        await client.send_message("hi")
        assert await client.get_message() == "hi"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"compress": True}, OptionError),
        ({"max_frame_size": 10}, OptionError),
        ({"max_empty_fragments": 10}, OptionError),
        ({"validate_utf8": False}, OptionError),
        ({"unknown": 1}, TypeError),
        ({"subprotocol": "not offered"}, StateError),
        ({"headers": {"a": "b\r\nc: d"}}, StateError),
        ({"headers": {"a b": "c"}}, StateError),
        ({"headers": {"a:b": "c"}}, StateError),
        ({"headers": {"Sec-WebSocket-Protocol": "c"}}, StateError),
    ],
    ids=str,
)
async def test_what_cannot_be_had_is_refused_before_anything_is_answered(
    server: Server, options: dict[str, Any], error: type[Exception]
) -> None:
    reasons = Reasons(Echo, **options)
    answer = await ask(await server(reasons))
    assert answer.status == 500
    assert isinstance(await reasons.next(), error)


async def test_the_reason_of_the_end_is_returned(server: Server) -> None:
    reasons = Reasons(Echo)
    connect = await server(reasons)
    async with connect() as client:
        await client.aclose(3000, "enough")
    assert await reasons.next() == Remote(3000, "enough")


async def test_a_client_that_vanishes_is_lost(server: Server) -> None:
    reasons = Reasons(Echo)
    connect = await server(reasons)
    async with connect() as client:
        await client._stream.aclose()
        assert isinstance((await reasons.next()).cause, ConnectionLost)


@pytest.mark.parametrize(
    ("ours", "theirs"), [({"max_message_size": 10}, {}), ({}, {"max_message_size": 10})], ids=["ours", "the server's"]
)
async def test_the_lower_limit_of_a_message_counts(server: Server, ours: Any, theirs: Any) -> None:
    reasons = Reasons(Echo, **ours)
    connect = await server(reasons, **theirs)
    async with connect() as client:
        await client.send_message("x" * 10)
        assert await client.get_message() == "x" * 10
        await client.send_message("ä" * 11)
        with pytest.raises(trio_websocket.ConnectionClosed):
            await client.get_message()
        assert client.closed.code == 1009
    assert isinstance((await reasons.next()).cause, MessageTooBig)


async def test_a_pushed_ping_is_sent_and_its_pong_is_shown(server: Server) -> None:
    class Pinging(Echo):
        def handle_in(self, message: str | bytes, state: Any) -> Push[Any]:
            return Push([Ping(b"a"), Ping(b"a"), Pong(b"unasked"), "sent"], state)

        def handle_control(self, frame: Ping | Pong, state: Any) -> Push[Any]:
            return Push(f"{frame}", state)

    connect = await server(Reasons(Pinging))
    async with connect() as client:
        await client.send_message("go")
        assert {await client.get_message(), await client.get_message()} == {"sent", "Pong(payload=b'a')"}


async def test_messages_keep_their_order_in_a_flood(server: Server) -> None:
    class Flood(Echo):
        def handle_in(self, message: str | bytes, state: Any) -> Push[Any]:
            return Push([str(number) for number in range(500)], state)

    connect = await server(Reasons(Flood))
    async with connect() as client:
        await client.send_message("go")
        assert [await client.get_message() for _ in range(500)] == [str(number) for number in range(500)]


async def test_a_cancelled_callback_tears_no_frame(server: Server) -> None:
    class Cancelling(Echo):
        async def handle_in(self, message: str | bytes, state: Any) -> Push[Any]:
            with trio.CancelScope() as scope:
                scope.cancel()
                await trio.lowlevel.checkpoint()
            return Push("x" * 300_000, state)

    connect = await server(Reasons(Cancelling))
    async with connect() as client:
        for _ in range(3):
            await client.send_message("go")
        assert [await client.get_message() for _ in range(3)] == ["x" * 300_000] * 3


async def test_a_client_that_does_not_read_is_dropped(server: Server) -> None:
    class Flood(Echo):
        def init(self, args: Any) -> Push[Any]:  # type: ignore[override]
            return Push(b"x" * 2**24, args)

    reasons = Reasons(Flood, write_timeout=0.05)
    connect = await server(reasons)
    async with connect(receive_buffer_size=1, max_message_size=1):
        assert isinstance((await reasons.next()).cause, WriteTimeout | ConnectionLost)


async def test_library_code_and_handlers_live_side_by_side(server: Server) -> None:
    async def serve(request: trio_websocket.WebSocketRequest) -> None:
        if request_from(request).headers.get("x-own"):
            connection = await request.accept()
            await connection.send_message("the library's own")
            await connection.aclose()
        else:
            await upgrade_request(request, Echo)

    connect = await server(serve)
    async with connect(extra_headers=[(b"X-Own", b"1")]) as client:
        assert await client.get_message() == "the library's own"
    async with connect() as client:
        await client.send_message("a handler")
        assert await client.get_message() == "a handler"


async def test_cancellation_says_goodbye() -> None:
    async with trio.open_nursery() as servers:
        listen = partial(trio_websocket.serve_websocket, ssl_context=None)
        running = await servers.start(listen, lambda request: upgrade_request(request, Echo), "127.0.0.1", 0)
        peer = scripted_peer.ScriptedPeer(await trio.open_tcp_stream("127.0.0.1", running.port))
        await peer.open()
        servers.cancel_scope.cancel()
    async with peer:
        await peer.expect(b"\x88\x02\x03\xe9")
        await peer.expect_end()


class TakenLate(trio.abc.Stream):
    """Takes what is sent at once, and says so only ``delay`` seconds later."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self._inner = inner
        self.delay = 0.0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(data)
        if self.delay:
            taken = trio.Event()
            trio.lowlevel.spawn_system_task(self._tell, taken)
            await taken.wait()

    async def _tell(self, taken: trio.Event) -> None:
        await trio.sleep(self.delay)
        taken.set()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.mark.parametrize("_throw", range(20))  # which of two tasks that are due runs first is Trio's throw of the dice
async def test_a_frame_taken_in_the_moment_it_is_given_up_is_a_write_timeout(
    _throw: int, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    late = TakenLate(ours)
    reasons = Reasons(Echo, write_timeout=5)
    side = wsproto.connection.ConnectionType.SERVER
    connection = trio_websocket.WebSocketConnection(late, wsproto.WSConnection(side))

    async def serve() -> None:
        await reasons(await connection._get_request())

    nursery.start_soon(connection._reader_task)
    nursery.start_soon(serve)
    await theirs.send_all(scripted_peer.upgrade_request("h", "/"))
    await theirs.receive_some()
    late.delay = 5
    await theirs.send_all(b"\x81\x81\0\0\0\0x")
    reason = await reasons.next()
    assert isinstance(reason, Error)
    assert isinstance(reason.cause, WriteTimeout)
    nursery.cancel_scope.cancel()
