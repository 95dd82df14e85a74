"""TLS from end to end: who is let in, what is agreed on, and how a stream may end.

The conformance suite runs over TLS as well; here is what only TLS has.
"""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from trio_websock import (
    ConnectionLost,
    Error,
    Handler,
    Ok,
    Push,
    Reason,
    Request,
    Response,
    Result,
    Server,
    Upgrade,
    is_upgrade,
    serve,
    upgrade,
)
from trio_websock.hosts.stream_wire import StreamWire
from trio_websock.hosts.tls import TlsWire
from trio_websock.hosts.wire import SocketWire
from trio_websock.testing.memory_listener import open_memory_streams
from trio_websock.testing.scripted_peer import ScriptedPeer, binary, close, text

PATIENCE = 30  # seconds until a test gives up; a fail-safe, never part of a verdict
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]

Client = trio.SSLStream[trio.SocketStream]


class Echo(Handler[None, Any]):
    """Echoes, and keeps what ``terminate`` was told."""

    def __init__(self) -> None:
        self.endings: list[Reason] = []

    def init(self, args: object) -> Result[None]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        return Push(message, state)

    def terminate(self, reason: Reason, state: None) -> None:
        self.endings.append(reason)


class Place:
    """A server, the requests it got, and clients that stay until the end of the test."""

    def __init__(self, certificates: Any, stack: AsyncExitStack, nursery: trio.Nursery) -> None:
        self.handler = Echo()
        self.requests: list[Request] = []
        self.ours: ssl.SSLContext = certificates.server_context()
        self.theirs: ssl.SSLContext = certificates.client_context()
        self.server: Server
        self._stack = stack
        self._nursery = nursery

    def app(self, request: Request) -> Response | Upgrade:
        self.requests.append(request)
        return upgrade(self.handler) if is_upgrade(request) else Response(200, "page")

    async def serve(self, **options: Any) -> None:
        if "listeners" not in options:
            options = {"ssl_context": self.ours, "port": 0, **options}
        self.server = await self._nursery.start(partial(serve, self.app, grace=0, **options))

    async def connect(self, hostname: str = "localhost") -> Client:
        """A client that has shaken hands, and knows of ``close_notify``."""
        plain = await self._stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", self.server.port))
        stream = trio.SSLStream(plain, self.theirs, server_hostname=hostname)
        await stream.do_handshake()
        return stream

    async def open(self, hostname: str = "localhost") -> ScriptedPeer:
        peer = ScriptedPeer(await self.connect(hostname))
        await peer.open()
        return peer


@pytest.fixture
async def place(certificates: Any, nursery: trio.Nursery) -> AsyncIterator[Place]:
    with trio.fail_after(PATIENCE):
        async with AsyncExitStack() as stack:
            yield Place(certificates, stack, nursery)


# What is agreed on.


@pytest.mark.parametrize("version", VERSIONS)
async def test_both_versions_of_tls_carry_messages_and_end_with_close_notify(
    place: Place, version: ssl.TLSVersion
) -> None:
    place.theirs.minimum_version = place.theirs.maximum_version = version
    await place.serve()
    peer = await place.open()
    await peer.send(text("hi"), close(1000))
    await peer.expect(b"\x81\x02hi\x88\x02\x03\xe8")
    assert await peer.stream.receive_some() == b""  # without close_notify it would raise


@pytest.mark.parametrize("version", VERSIONS)
async def test_large_messages_pass_both_ways(place: Place, version: ssl.TLSVersion) -> None:
    place.theirs.minimum_version = place.theirs.maximum_version = version
    message = bytes(range(256)) * 64 * 1024  # 16 MiB
    await place.serve(max_message_size=len(message))
    peer = await place.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.send, binary(message))
        assert await peer.receive_frame() == (0x82, message)


@pytest.mark.parametrize(
    ("offered", "agreed"), [(["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), (["h2"], None), ([], None)]
)
async def test_http_1_1_is_agreed_on_where_it_is_offered_and_h2_never(
    place: Place, offered: list[str], agreed: str | None
) -> None:
    if offered:
        place.theirs.set_alpn_protocols(offered)
    await place.serve()
    stream = await place.connect()
    assert stream.selected_alpn_protocol() == agreed  # type: ignore[attr-defined]  # of SSLObject, passed on
    await ScriptedPeer(stream).open()


async def test_a_context_of_sni_that_agrees_on_h2_is_of_no_use(place: Place, certificates: Any) -> None:
    other = certificates.server_context()
    other.set_alpn_protocols(["h2"])
    place.ours.sni_callback = lambda connection, name, context: setattr(connection, "context", other)
    place.theirs.set_alpn_protocols(["h2", "http/1.1"])
    await place.serve()
    stream = await place.connect()
    assert stream.selected_alpn_protocol() == "h2"  # type: ignore[attr-defined]
    with pytest.raises(trio.BrokenResourceError):
        await ScriptedPeer(stream).open()
    assert place.server.snapshot().handshake_failures == 1
    assert place.requests == []


async def test_a_callback_for_sni_chooses_the_certificate(place: Place, certificates: Any) -> None:
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.authority.issue_cert("chat.example").configure_cert(other)

    def choose(connection: ssl.SSLObject, name: str, context: ssl.SSLContext) -> None:
        if name == "chat.example":
            connection.context = other

    place.ours.sni_callback = choose  # type: ignore[assignment]  # mypy wants a method
    await place.serve()
    for name in ("chat.example", "localhost"):  # each is checked against its certificate
        await (await place.open(name)).send(close())


# Certificates of clients.


def require_certificates(place: Place, certificates: Any) -> None:
    place.ours.verify_mode = ssl.CERT_REQUIRED
    certificates.authority.configure_trust(place.ours)


async def test_the_application_reads_the_certificate_of_its_client(place: Place, certificates: Any) -> None:
    require_certificates(place, certificates)
    certificates.authority.issue_cert("alice@example.com").configure_cert(place.theirs)
    await place.serve()
    await place.open()
    [request] = place.requests
    assert request.client_certificate is not None
    assert request.client_certificate["subjectAltName"] == (("email", "alice@example.com"),)


async def test_it_reads_it_through_a_listener_of_its_own_too(place: Place, certificates: Any) -> None:
    require_certificates(place, certificates)
    certificates.authority.issue_cert("bob@example.com").configure_cert(place.theirs)
    [inner] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await place.serve(listeners=[trio.SSLListener(inner, place.ours)])
    await place.open()
    certificate = place.requests[0].client_certificate
    assert certificate is not None
    assert certificate["subjectAltName"] == (("email", "bob@example.com"),)


async def test_without_one_there_is_none(place: Place) -> None:
    await place.serve()
    await place.open()
    assert place.requests[0].client_certificate is None


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("is_stranger", [False, True], ids=["none", "a stranger's"])
async def test_without_a_certificate_of_our_authority_nobody_gets_an_answer(
    place: Place, certificates: Any, version: ssl.TLSVersion, is_stranger: bool
) -> None:
    require_certificates(place, certificates)
    if is_stranger:
        trustme.CA().issue_cert("mallory@example.com").configure_cert(place.theirs)
    place.theirs.minimum_version = place.theirs.maximum_version = version
    await place.serve()
    with pytest.raises(trio.BrokenResourceError):
        await place.open()
    while not place.server.snapshot().handshake_failures:
        await trio.lowlevel.checkpoint()
    assert place.requests == []


# Handshakes that come to nothing.


async def test_a_handshake_that_stalls_is_ended_by_handshake_timeout(place: Place) -> None:
    await place.serve(handshake_timeout=0.2)
    async with await trio.open_tcp_stream("127.0.0.1", place.server.port) as stream:
        await stream.send_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # the beginning of a ClientHello
        assert await stream.receive_some() == b""
    assert place.server.snapshot().handshake_failures == 1


async def test_a_plain_request_to_the_tls_port_is_told_so_in_tls_and_never_answered(place: Place) -> None:
    await place.serve()
    async with await trio.open_tcp_stream("127.0.0.1", place.server.port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = b""
        while piece := await stream.receive_some():
            answer += piece
    assert answer[:1] in (b"", b"\x15")  # an alert, or nothing
    assert b"HTTP" not in answer
    assert place.server.snapshot().handshake_failures == 1
    assert place.requests == []


# How a stream may end.


async def wait_ending(place: Place) -> Reason:
    while not place.handler.endings:
        await trio.lowlevel.checkpoint()
    [reason] = place.handler.endings
    return reason


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_stream_that_is_cut_off_is_a_lost_connection(place: Place, version: ssl.TLSVersion) -> None:
    place.theirs.minimum_version = place.theirs.maximum_version = version
    await place.serve()
    stream = await place.connect()
    await ScriptedPeer(stream).open()
    await stream.transport_stream.send_eof()  # FIN, which anybody between us could have sent
    reason = await wait_ending(place)
    assert isinstance(reason, Error)
    assert isinstance(reason.cause, ConnectionLost)
    assert "broken TLS stream" in str(reason.cause)


async def test_an_end_in_good_order_without_a_close_frame_is_a_lost_connection_too(place: Place) -> None:
    await place.serve()
    stream = await place.connect()
    await ScriptedPeer(stream).open()
    await stream.aclose()  # with close_notify
    reason = await wait_ending(place)
    assert isinstance(reason, Error)
    assert "without a close frame" in str(reason.cause)


async def test_forged_records_end_the_connection(place: Place) -> None:
    await place.serve()
    stream = await place.connect()
    await ScriptedPeer(stream).open()
    await stream.transport_stream.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
    reason = await wait_ending(place)
    assert isinstance(reason, Error)
    assert isinstance(reason.cause, ConnectionLost)


# What Python's own client cannot do, OpenSSL's command can.

OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="needs the openssl command")


async def open_s_client(nursery: trio.Nursery, port: int, *words: str) -> trio.Process:
    return await start_openssl(nursery, "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", *words)


async def start_openssl(nursery: trio.Nursery, *words: str) -> trio.Process:
    process: trio.Process = await nursery.start(
        partial(
            trio.run_process,
            [OPENSSL or "", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            capture_stdout=False,
            check=False,
        )
    )
    return process


async def read_until(process: trio.Process, wanted: bytes) -> bytes:
    """What ``process`` says, until there is something in it that the pattern ``wanted`` fits."""
    assert process.stdout is not None
    output = b""
    while not re.search(wanted, output) and (piece := await process.stdout.receive_some()):
        output += piece
    return output


@needs_openssl
async def test_a_renegotiation_is_refused_at_once(place: Place, nursery: trio.Nursery) -> None:
    await place.serve(handshake_timeout=1000)
    process = await open_s_client(nursery, place.server.port, "-tls1_2")
    assert process.stdin is not None
    await read_until(process, b"Verify return code")
    await process.stdin.send_all(b"R\n")
    assert b"no renegotiation" in await read_until(process, b"no renegotiation")
    process.kill()


@needs_openssl
async def test_output_that_meets_a_renegotiation_of_the_server_ends_the_connection(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    authority = trustme.CA()
    certificate = tmp_path / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
    process = await start_openssl(
        nursery, "s_server", "-accept", "127.0.0.1:0", "-cert", str(certificate), "-key", str(certificate), "-tls1_2"
    )
    assert process.stdin is not None
    port = int((await read_until(process, rb"ACCEPT \S+\n")).split(b"ACCEPT 127.0.0.1:")[1])
    context = ssl.create_default_context()
    authority.configure_trust(context)
    sock = socket.create_connection(("127.0.0.1", port))
    wire = TlsWire(SocketWire(sock), context, server_side=False, server_hostname="localhost")
    await wire.handshake()
    await process.stdin.send_all(b"r\n")
    await wire.receive_each(lambda data: False)  # the wish of the server
    wire.send_nowait([b"between the two"])
    with pytest.raises(ConnectionLost), trio.fail_after(5):
        await wire.receive()
    process.kill()


@needs_openssl
async def test_a_peer_that_asks_for_key_updates_without_reading_them_is_dropped(
    certificates: Any, nursery: trio.Nursery
) -> None:
    ours, theirs = open_memory_streams()
    wire = TlsWire(StreamWire(ours), certificates.server_context(), server_side=True)
    lost: list[ConnectionLost] = []

    async def receive() -> None:
        try:
            await wire.handshake()
            while True:
                await wire.receive()
        except ConnectionLost as exc:
            lost.append(exc)

    async def relay(client: trio.SocketStream, process: Callable[[], Awaitable[object]]) -> None:
        """Pass on what the client sends, and the first answer only; after each piece ask for another."""
        while not lost:
            await theirs.send_all(await client.receive_some())
            await process()

    with trio.fail_after(PATIENCE):
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        process = await open_s_client(nursery, port, "-tls1_3")
        assert process.stdin is not None
        async with listener, await listener.accept() as client, trio.open_nursery() as inner:
            inner.start_soon(receive)
            await theirs.send_all(await client.receive_some())
            await client.send_all(await theirs.receive_some())
            await read_until(process, b"Verify return code")
            inner.start_soon(relay, client, partial(process.stdin.send_all, b"K\n"))
            await process.stdin.send_all(b"K\n")
            while not lost:
                await trio.lowlevel.checkpoint()
            inner.cancel_scope.cancel()
        process.kill()
    assert str(lost[0]) == "the peer asks for more TLS answers than it reads"
    assert wire.unsent_size <= 17 * 1024
