"""Every claim of the rulings that an ASGI server can be asked about, asked of Hypercorn on Trio, over HTTP/1.1 and
HTTP/2, and of uvicorn.
"""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import h2.config
import h2.connection
import h2.events
import hypercorn.config
import hypercorn.trio
import pytest
import trio
import uvicorn

from trio_websock import Handler, Ok, Request, Response, Upgrade, check_upgrade, is_upgrade, upgrade
from trio_websock.hosts.asgi import AsgiApp
from trio_websock.hosts.asgi_loop import TrioLoop
from trio_websock.testing.host_checks import ALL_CHECKS, Capability, Check, Host, missing_capabilities, run_check
from trio_websock.testing.scripted_peer import Answer, ScriptedPeer, upgrade_request


class TunnelStream(trio.abc.Stream):
    """What a gateway makes of HTTP/1.1: an extended CONNECT over HTTP/2 (RFC 8441), and the bytes behind it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1"))
        self._request = b""
        self._id = 0
        self._unread = bytearray()
        self._has_ended = False
        self._writing = trio.Lock()

    async def open(self) -> TunnelStream:
        self._h2.initiate_connection()
        await self._flush()
        while not self._h2.remote_settings.enable_connect_protocol:
            await self._read()
        return self

    async def _flush(self) -> None:
        async with self._writing:
            if data := self._h2.data_to_send():
                await self._stream.send_all(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if not self._id:
            self._request += data
            head, found, rest = self._request.partition(b"\r\n\r\n")
            if not found:
                return
            self._connect(head.decode("latin-1"))
            data = rest
        while data:
            room = min(self._h2.local_flow_control_window(self._id), self._h2.max_outbound_frame_size)
            if not room:
                await self._flush()
                await self._read()
            self._h2.send_data(self._id, bytes(data[:room]))
            data = data[room:]
        await self._flush()

    def _connect(self, head: str) -> None:
        line, *lines = head.split("\r\n")
        fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        authority = next(value for name, value in fields if name == "host")
        gone = {"host", "connection", "upgrade", "sec-websocket-key"}
        self._id = self._h2.get_next_available_stream_id()
        pseudo = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", line.split(" ")[1]),
            (":authority", authority),
        ]
        self._h2.send_headers(self._id, pseudo + [field for field in fields if field[0] not in gone])

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while not self._unread and not self._has_ended:
            await self._read()
        data = bytes(self._unread[:max_bytes])
        del self._unread[: len(data)]
        return data

    async def _read(self) -> None:
        data = await self._stream.receive_some()
        self._has_ended = self._has_ended or not data
        for event in self._h2.receive_data(data):
            match event:
                case h2.events.ResponseReceived(headers=headers):
                    self._unread += answer_of(dict(headers))
                case h2.events.DataReceived(data=payload, flow_controlled_length=length):
                    self._unread += payload
                    self._h2.acknowledge_received_data(length, self._id)
                case h2.events.StreamEnded() | h2.events.StreamReset() | h2.events.ConnectionTerminated():
                    self._has_ended = True
        await self._flush()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await self._stream.aclose()


def answer_of(headers: dict[str, str]) -> bytes:
    status = headers.pop(":status")
    lines = [f"HTTP/1.1 {'101' if status == '200' else status} "]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@dataclass
class AsgiServer:
    """A server with an :class:`AsgiApp`, running."""

    port: int
    is_http2: bool
    finished: trio.Event
    authority: str = "localhost"

    async def connect(self) -> trio.abc.Stream:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        return await TunnelStream(stream).open() if self.is_http2 else stream

    async def shutdown(self, *, restart: bool = False, grace: float | None = None) -> None:
        raise NotImplementedError("the shutdown of an ASGI server is its own")

    def cancel(self) -> None:
        raise NotImplementedError("see shutdown")


@dataclass(frozen=True)
class HypercornHost:
    """Hypercorn in the very Trio loop of the check."""

    name: str
    is_http2: bool = False
    capabilities: frozenset[Capability] = frozenset({Capability.READ_AHEAD})
    pace: float = 0.02

    def make_clock(self) -> None:
        return None

    @asynccontextmanager
    async def open_server(self, app: object, **options: Any) -> AsyncIterator[AsgiServer]:
        config = hypercorn.config.Config()
        config.bind = ["127.0.0.1:0"]
        config.graceful_timeout = 0.1
        config.keep_alive_timeout = 60.0  # a connection may be opened long before its first request
        config.errorlog = None
        config.websocket_max_message_size = 2**24
        ending = trio.Event()
        serve = partial(hypercorn.trio.serve, AsgiApp(app, **options), config, shutdown_trigger=ending.wait)
        async with trio.open_nursery() as nursery:
            (address,) = await nursery.start(serve)
            try:
                yield AsgiServer(int(address.rpartition(":")[2]), self.is_http2, trio.Event())
            finally:
                ending.set()


@dataclass(frozen=True)
class UvicornHost:
    """uvicorn on asyncio in a thread; the Trio loop beside it is that of the check."""

    name: str = "uvicorn"
    capabilities: frozenset[Capability] = frozenset({Capability.READ_AHEAD})
    pace: float = 0.02

    def make_clock(self) -> None:
        return None

    @asynccontextmanager
    async def open_server(self, app: object, **options: Any) -> AsyncIterator[AsgiServer]:
        application = AsgiApp(app, **options)
        application._beside = TrioLoop()  # instead of one in a thread: a check and its handlers share events
        config = uvicorn.Config(
            application, log_config=None, ws="websockets-sansio", lifespan="off", ws_max_size=2**24, loop="asyncio"
        )
        server = uvicorn.Server(config)
        listening = socket.create_server(("127.0.0.1", 0))
        async with trio.open_nursery() as nursery:
            await nursery.start(application._beside.serve)
            nursery.start_soon(trio.to_thread.run_sync, partial(server.run, sockets=[listening]))
            try:
                yield AsgiServer(listening.getsockname()[1], False, trio.Event())
            finally:
                server.should_exit = server.force_exit = True
                application._beside.end()


HTTP1: Host = HypercornHost("Hypercorn on Trio")
HTTP2: Host = HypercornHost("Hypercorn on Trio over HTTP/2", is_http2=True)
UVICORN: Host = UvicornHost()
HOSTS = [HTTP1, HTTP2, UVICORN]


class Otherwise(NamedTuple):
    """What a server does its own way, so that some claims cannot be asked of it."""

    hosts: list[Host]
    reason: str
    claims: str


OTHERWISE = [
    Otherwise(
        HOSTS,
        "ASGI has no events for pings and pongs",
        r"Push of (Ping|an empty Ping|Pong|a Ping)|(Push|Reply) of a list\]|a payload of None"
        r"|ping interval sends pings|an unanswered ping closes",
    ),
    Otherwise(
        [HTTP1, HTTP2],
        "Hypercorn tells a close of the peer's as 1006, as if it had sent none",
        r"handle in is called once for|handle control is never called for a close|mail that fills the mailbox"
        r"|cancels the callback when the peer closes|terminate comes after the close frame and before"
        r"|the reply to an empty close|what follows the peers close|a close between fragments",
    ),
    Otherwise(
        [HTTP1],
        "Hypercorn goes on sending what it has been given, whatever becomes of its application",
        r"a peer that does not read is dropped after write timeout",
    ),
    Otherwise(
        [HTTP2, UVICORN],
        "takes one message without waiting, however long it is",
        r"a peer that does not read|no further callback runs while output waits",
    ),
    Otherwise(
        [HTTP2],
        "Hypercorn ends the stream with our close",
        r"we wait for the peers close before we end the stream",
    ),
    Otherwise(
        [HTTP2],
        "Hypercorn leaves the stream open behind its answer to the peer's close",
        r"a handler without terminate|tasks of the connections nursery end|the result of terminate is ignored",
    ),
    Otherwise(
        [UVICORN],
        "uvicorn tells a connection that was lost as closed by a close without a code",
        r"a callback runs on when the peer is gone|cancels the callback when the stream ends|a lost connection is",
    ),
    Otherwise(
        [UVICORN], "uvicorn answers pings behind its close", r"after our close no callback and no pong for .a ping"
    ),
    Otherwise([UVICORN], "uvicorn calls that a fault", r"a close between fragments"),
    Otherwise(
        [UVICORN],
        "uvicorn waits ten seconds of its own for the peer's close",
        r"a silent peer is dropped after timeout and close timeout|an unanswered close ends the stream",
    ),
]


def reason_not_to_ask(host: Host, check: Check) -> str | None:
    missing = missing_capabilities(host, check)
    if missing:
        return f"{host.name} lacks {', '.join(sorted(capability.name for capability in missing))}"
    return next(
        (other.reason for other in OTHERWISE if host in other.hosts and re.search(other.claims, str(check))), None
    )


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
@pytest.mark.parametrize("check", ALL_CHECKS, ids=str)
def test_host_holds(host: Host, check: Check) -> None:
    reason = reason_not_to_ask(host, check)
    if reason:
        pytest.skip(reason)
    run_check(host, check)


@pytest.mark.parametrize("other", OTHERWISE, ids=lambda other: other.reason)
def test_every_excuse_is_for_claims_there_are(other: Otherwise) -> None:
    for claim in other.claims.split("|"):
        assert any(re.search(other.claims, str(check)) for check in ALL_CHECKS), claim


# What is special to HTTP/2, where the checks of HTTP cannot be asked.


class Silent(Handler[Any, Any]):
    def init(self, args: Any) -> Ok[Any]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: Any) -> Ok[Any]:
        return Ok(state)


async def ask_over_http2(application: object, *extra: str) -> Answer:
    """What an opening handshake is answered with."""
    async with HTTP2.open_server(application) as server, ScriptedPeer(await server.connect()) as peer:
        await peer.send(upgrade_request("localhost", "/room?x=1", *extra))
        return await peer.receive_answer()


async def test_a_denial_over_http_2_is_a_response_with_its_body() -> None:
    answer = await ask_over_http2(lambda request: Response(401, f"{request.target} {is_upgrade(request)}"))
    assert (answer.status, answer.body) == (401, b"/room?x=1 True")


async def test_a_handshake_over_http_2_passes_the_early_check() -> None:
    def application(request: Request) -> Upgrade:
        check_upgrade(request, subprotocols=["a"])
        return upgrade(Silent, subprotocols=["a"], headers={"X-A": "b"})

    answer = await ask_over_http2(application, "Sec-WebSocket-Protocol: b, a")
    assert (answer.status, answer.header("sec-websocket-protocol"), answer.header("x-a")) == (101, "a", "b")


@pytest.mark.parametrize(("origin", "status"), [("http://localhost", 101), ("http://evil.example", 403)])
async def test_an_origin_over_http_2_is_that_of_the_authority(origin: str, status: int) -> None:
    assert (await ask_over_http2(Silent, f"Origin: {origin}")).status == status
