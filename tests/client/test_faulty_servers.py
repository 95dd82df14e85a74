"""Servers that are broken, hostile or gone: each ends in an error that names what came, and leaves nothing behind.

Over streams in memory and in virtual time where no socket is needed; over sockets and TLS where it is.
"""

from __future__ import annotations

import contextlib
import datetime
import gc
import os
import ssl
import tracemalloc
import zlib
from functools import partial

import pytest
import trio
import trustme

from trio_websock import (
    ConnectFailed,
    ConnectionClosed,
    ConnectionLost,
    HandshakeError,
    InvalidPayload,
    MessageTooBig,
    PolicyViolation,
    UpgradeRejected,
    WriteTimeout,
    open_websocket,
)
from trio_websock.protocol.upgrade import accept_key
from trio_websock.testing import ScriptedPeer

URL = "ws://example.com/"
SECURE_URL = "wss://example.com/"
CLOSE, PONG = 0x88, 0x8A
AGREED = "permessage-deflate; server_max_window_bits=12"
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    """No descriptor; and no ResourceWarning, which collecting here would turn into an error."""
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    yield
    gc.collect()
    assert set(os.listdir("/proc/self/fd")) <= before


@contextlib.contextmanager
def at_most(size):
    """Whatever happens inside takes no more memory than ``size`` bytes at any time."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size


async def fail_to_open(stream, expected, url=URL, **options):
    with pytest.raises(expected) as caught:
        async with open_websocket(url, stream=stream, **options):
            pytest.fail("it has opened")
    return str(caught.value)


async def end_of(stream, **options):
    """How a WebSocket ends whose application only receives."""
    async with open_websocket(
        URL, stream=stream, **{"ping_interval": None, "close_timeout": 3, **options}
    ) as websocket:
        while await websocket.receive_or_none() is not None:
            pass
    return websocket.closed


# Instead of a handshake


def say(answer):
    """A script that answers the request with these bytes, whatever it was, and waits for the end."""

    async def script(server):
        await server.receive_head()
        await server.stream.send_all(answer)
        await server.stream.receive_some()

    return script


SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0"),
        (b"220 mail.example.com ESMTP\r\n", "220 mail"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PRI"),
        (b"\0" * 100, "expected an HTTP/1.1 response"),
        (b"\x16\x03\x01\x00\xa5", "expected an HTTP/1.1 response"),
        (b"HTTP/1.1 abc\r\n\r\n", "malformed"),
        (b"HTTP/1.1 101 x\r\nno colon\r\n\r\n", "malformed"),
        (b"HTTP/1.0 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "HTTP/1.0"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "upgrade"),
        (SWITCHING + b"\r\n", "Sec-WebSocket-Accept"),
        (SWITCHING + b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", "s3pPLMBiTxaQ9kYGzzhZRbK"),
    ],
)
async def test_what_is_no_handshake_is_named(start_server, answer, words):
    assert words.lower() in (await fail_to_open(start_server(say(answer)), HandshakeError)).lower()


@pytest.mark.parametrize(
    ("header", "value", "words"),
    [
        ("Sec-WebSocket-Extensions", "permessage-deflate", "none was offered"),
        ("Sec-WebSocket-Extensions", "x-unknown", "x-unknown"),
        ("Sec-WebSocket-Protocol", "secret", "secret"),
        ("Upgrade", "h2c", "h2c"),
        ("Connection", "close", "close"),
    ],
)
async def test_what_was_not_asked_for_is_named(start_server, header, value, words):
    def answer(server):
        return server.open(**{header: value})

    assert words in await fail_to_open(start_server(answer), HandshakeError)


async def test_a_head_without_an_end_is_cut_off(start_server, nursery):
    sent = 0

    async def flood(server):
        nonlocal sent
        await server.stream.send_all(SWITCHING)
        while True:
            await server.stream.send_all(b"X-Filler: " + b"x" * 1000 + b"\r\n")
            sent += 1

    with at_most(4 * MIB):
        assert "over 65536 bytes" in await fail_to_open(start_server(flood), HandshakeError)
    assert sent < 300


async def test_interim_answers_without_an_end_are_cut_off(start_server):
    sent = 0

    async def flood(server):
        nonlocal sent
        while True:
            await server.stream.send_all(b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n" * 10)
            sent += 1

    assert "103" in await fail_to_open(start_server(flood), HandshakeError)
    assert sent < 1000


async def test_half_a_head_and_silence_is_given_up(start_server, autojump_clock):
    start = trio.current_time()
    words = await fail_to_open(start_server(say(SWITCHING)), ConnectFailed, connect_timeout=4)
    assert "within 4 seconds" in words
    assert trio.current_time() - start == pytest.approx(4)


@pytest.mark.parametrize("beginning", [b"", b"HT", SWITCHING, SWITCHING + b"Sec-WebSocket-Acc"])
async def test_half_a_head_and_the_end_is_no_connection(start_server, beginning):
    async def leave(server):
        await server.receive_head()
        await server.stream.send_all(beginning)
        await server.stream.aclose()

    assert "instead of answering" in await fail_to_open(start_server(leave), ConnectFailed)


@pytest.mark.parametrize("length", ["Content-Length: 99999999999\r\n", "Transfer-Encoding: chunked\r\n", ""])
async def test_a_refusal_with_an_endless_body_is_cut(start_server, length):
    async def refuse(server):
        await server.receive_head()
        await server.stream.send_all(f"HTTP/1.1 503 Busy\r\n{length}\r\n".encode())
        while True:
            await server.stream.send_all(b"2710\r\n" + b"x" * 10000 + b"\r\n")

    with at_most(4 * MIB), pytest.raises(UpgradeRejected) as caught:
        async with open_websocket(URL, stream=start_server(refuse)):
            pass
    assert caught.value.response.status == 503
    assert len(caught.value.response.body) <= 65536


# TLS


AUTHORITY = trustme.CA()
TRUSTING = ssl.create_default_context()
AUTHORITY.configure_trust(TRUSTING)
YESTERDAY = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)


def server_context(certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        (AUTHORITY.issue_cert("example.com", not_after=YESTERDAY), "expired"),
        (AUTHORITY.issue_cert("other.example.com"), "Hostname mismatch"),
        (AUTHORITY.issue_cert("*.com"), "Hostname mismatch"),
        (trustme.CA().issue_cert("example.com"), "unable to get local issuer certificate"),
    ],
    ids=["expired", "another name", "too wide a pattern", "of nobody we know"],
)
async def test_a_bad_certificate_is_no_connection(start_server, certificate, words):
    async def shake_hands(server):
        tls = trio.SSLStream(server.stream, server_context(certificate), server_side=True)
        with contextlib.suppress(trio.BrokenResourceError):
            await tls.do_handshake()
            await tls.receive_some()

    stream = start_server(shake_hands)
    assert words in await fail_to_open(stream, ConnectFailed, SECURE_URL, ssl_context=TRUSTING)


@pytest.mark.parametrize("beginning", [b"", b"\x16\x03\x03", b"\x16\x03\x03\x40\x00" + b"\x02" * 100])
async def test_tls_that_stalls_is_given_up(start_server, autojump_clock, beginning):
    async def stall(server):
        await server.stream.send_all(beginning)
        await trio.sleep_forever()

    start = trio.current_time()
    words = await fail_to_open(start_server(stall), ConnectFailed, SECURE_URL, connect_timeout=6)
    assert "within 6 seconds" in words
    assert trio.current_time() - start == pytest.approx(6)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 1000, b"\x15\x03\x03\x00\x02\x02\x28"])
async def test_what_is_no_tls_is_no_connection(start_server, answer):
    async def speak_plainly(server):
        await server.stream.receive_some()
        await server.stream.send_all(answer)

    assert "TLS" in await fail_to_open(start_server(speak_plainly), ConnectFailed, SECURE_URL)


async def test_tls_that_is_cut_off_is_a_lost_connection(start_server):
    async def cut_off(server):
        tls = trio.SSLStream(server.stream, server_context(AUTHORITY.issue_cert("example.com")), server_side=True)
        plain, server.stream = server.stream, tls
        await server.open()
        await plain.send_all(b"\x17\x03\x03\x40\x00" + b"x" * 100)
        await plain.aclose()

    async with open_websocket(SECURE_URL, stream=start_server(cut_off), ssl_context=TRUSTING) as websocket:
        with pytest.raises(ConnectionClosed) as caught:
            await websocket.receive()
    assert caught.value.closed_by == "nobody"
    assert isinstance(caught.value.__cause__, ConnectionLost)


# Once it is open


def opened(behind):
    """A script that opens, sends these bytes, and ends the stream."""

    async def script(server):
        await server.open()
        await server.stream.send_all(behind)
        await server.stream.aclose()

    return script


@pytest.mark.parametrize(
    "beginning",
    [b"", b"\x81", b"\x81\x7e\x01", b"\x81\x05hal", b"\x01\x03hal", b"\x88\x02\x03", b"\x89\x05hal"],
)
async def test_the_end_of_the_stream_inside_anything_is_a_lost_connection(start_server, beginning):
    closed = await end_of(start_server(opened(beginning)))
    assert (closed.code, closed.closed_by) == (None, "nobody")
    assert "without a close frame" in str(closed.__cause__)


async def test_a_session_byte_by_byte_is_a_session(start_server):
    async def drip(server):
        await server.receive_head()
        head = SWITCHING + f"Sec-WebSocket-Accept: {server.accept}\r\n\r\n".encode()
        for byte in (
            head + b"\x01\x02gr\x89\x01x\x80\x04\xc3\xbcn!\x82\x7e\x00\x7e" + b"\xff" * 126 + b"\x88\x02\x03\xe8"
        ):
            await server.stream.send_all(bytes([byte]))
        frames.extend([await server.receive_frame(), await server.receive_frame()])
        await server.stream.aclose()

    frames = []
    async with open_websocket(URL, stream=start_server(drip)) as websocket:
        assert [message async for message in websocket] == ["grün!", b"\xff" * 126]
    assert frames == [(PONG, b"x"), (CLOSE, b"\x03\xe8")]


async def test_what_follows_the_close_of_the_server_is_nothing(start_server):
    closed = await end_of(start_server(opened(b"\x88\x02\x03\xe8\x81\x01a\xff\xff\xff")))
    assert (closed.code, closed.closed_by, closed.is_clean) == (1000, "peer", True)


async def told_close(script, start_server, **options):
    """The ending, and the close code the server was told."""
    codes = []

    async def run(server):
        await server.open(**({"Sec-WebSocket-Extensions": AGREED} if "compress" in options else {}))
        await script(server)
        first, payload = await server.receive_frame()
        assert first == CLOSE
        codes.append(int.from_bytes(payload))
        await server.stream.aclose()

    closed = await end_of(start_server(run), **options)
    return closed, codes


async def test_a_bomb_is_inflated_to_the_limit_and_no_further(start_server):
    deflater = zlib.compressobj(wbits=-12)
    squeezed = b"".join(deflater.compress(bytes(MIB)) for _ in range(128)) + deflater.flush(zlib.Z_SYNC_FLUSH)[:-4]
    frame = b"\xc2\x7f" + len(squeezed).to_bytes(8) + squeezed

    with at_most(8 * MIB):
        closed, codes = await told_close(lambda server: server.stream.send_all(frame), start_server, compress=True)
    assert isinstance(closed.__cause__, MessageTooBig)
    assert codes == [1009]


async def test_broken_deflate_data_is_named(start_server):
    closed, codes = await told_close(
        lambda server: server.stream.send_all(b"\xc2\x05\xff\xff\xff\xff\xff"), start_server, compress=True
    )
    assert isinstance(closed.__cause__, InvalidPayload)
    assert codes == [1007]


async def test_a_message_that_never_ends_is_cut_off(start_server):
    async def flood(server):
        await server.stream.send_all(b"\x02\x7e\xff\xff" + b"x" * 65535)
        for _ in range(20):
            await server.stream.send_all(b"\x00\x7e\xff\xff" + b"x" * 65535)

    with at_most(8 * MIB):
        closed, codes = await told_close(flood, start_server)
    assert isinstance(closed.__cause__, MessageTooBig)
    assert codes == [1009]


async def test_empty_fragments_without_an_end_are_cut_off(start_server):
    closed, codes = await told_close(
        lambda server: server.stream.send_all(b"\x01\x00" + b"\x00\x00" * 2000), start_server
    )
    assert isinstance(closed.__cause__, PolicyViolation)
    assert codes == [1008]


async def test_pings_nobody_reads_the_pongs_of_do_not_pile_up(start_server, autojump_clock):
    async def flood(server):
        await server.open()
        while True:
            await server.stream.send_all((b"\x89\x7d" + b"x" * 125) * 100)
            await trio.sleep(1)

    with at_most(4 * MIB):
        closed = await end_of(start_server(flood, 1000), write_timeout=20)
    assert isinstance(closed.__cause__, WriteTimeout)


async def test_pongs_nobody_asked_for_are_nothing(start_server):
    with at_most(4 * MIB):
        closed = await end_of(start_server(opened((b"\x8a\x7d" + b"x" * 125) * 10_000 + b"\x88\x00")))
    assert closed.is_clean


async def test_a_flood_that_is_not_received_stays_where_it_is(start_server, autojump_clock):
    sent = 0

    async def flood(server):
        nonlocal sent
        await server.open()
        while True:
            await server.stream.send_all(b"\x82\x7e\x40\x00" + b"x" * 16384)
            sent += 16384
            await trio.sleep(0.01)

    with at_most(8 * MIB):
        async with open_websocket(URL, stream=start_server(flood), ping_interval=None, close_timeout=5):
            await trio.sleep(3600)
            read_ahead = sent
            start = trio.current_time()
    assert read_ahead < 2 * MIB
    assert trio.current_time() - start <= 5


async def test_a_server_that_breaks_the_protocol_and_floods_does_not_hold_us(start_server, autojump_clock):
    async def flood(server):
        await server.open()
        await server.stream.send_all(b"\xff\xff")
        while True:
            await server.stream.send_all(b"x" * 1000)
            await trio.sleep(0.01)

    start = trio.current_time()
    closed = await end_of(start_server(flood), close_timeout=10)
    assert closed.code == 1002
    assert trio.current_time() - start < 2


# Over sockets


async def listen(nursery, script):
    """A port whose clients get ``script(stream)`` each."""

    async def serve(stream):
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await script(stream)

    listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    return listeners[0].socket.getsockname()[1]


async def shake_hands(stream):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await stream.receive_some()
    key = head.partition(b"Sec-WebSocket-Key: ")[2][:24].decode()
    await stream.send_all(SWITCHING + f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n".encode())


async def test_a_reset_is_a_lost_connection(nursery):
    async def script(stream):
        await shake_hands(stream)
        await stream.send_all(b"\x81\x01a\x81\x7e")
        await stream.receive_some()
        await ScriptedPeer(stream).abort()

    async with open_websocket(f"ws://127.0.0.1:{await listen(nursery, script)}") as websocket:
        assert await websocket.receive() == "a"
        await websocket.send("now")
        with pytest.raises(ConnectionClosed) as caught:
            await websocket.receive()
    assert caught.value.closed_by == "nobody"
    assert isinstance(caught.value.__cause__, ConnectionLost)
    nursery.cancel_scope.cancel()


async def test_a_reset_instead_of_an_answer_is_no_connection(nursery):
    async def script(stream):
        await stream.receive_some(10)
        await ScriptedPeer(stream).abort()

    with pytest.raises(ConnectFailed):
        async with open_websocket(f"ws://127.0.0.1:{await listen(nursery, script)}"):
            pass
    nursery.cancel_scope.cancel()


async def test_a_reset_while_we_send_is_a_lost_connection(nursery):
    async def script(stream):
        await shake_hands(stream)
        await stream.send_all(b"\x81\x01a")
        await stream.receive_some(100_000)
        await ScriptedPeer(stream).abort()

    async with open_websocket(f"ws://127.0.0.1:{await listen(nursery, script)}", max_message_size=None) as websocket:
        assert await websocket.receive() == "a"
        await websocket.try_send(bytes(64 * MIB))
        assert await websocket.receive_or_none() is None
    assert websocket.closed.closed_by == "nobody"
    nursery.cancel_scope.cancel()


async def test_a_server_that_does_not_read_is_left_without_waiting_for_it(nursery):
    async def script(stream):
        await shake_hands(stream)
        await trio.sleep_forever()

    port = await listen(nursery, script)
    async with open_websocket(f"ws://127.0.0.1:{port}", close_timeout=0.1) as websocket:
        with trio.move_on_after(0.1):
            await websocket.send(bytes(64 * MIB))
    assert websocket.closed.closed_by in ("us", "nobody")
    nursery.cancel_scope.cancel()


async def test_a_flood_does_not_keep_the_other_tasks_from_running(nursery):
    async def script(stream):
        await shake_hands(stream)
        while True:
            await stream.send_all(b"\x81\x01a" * 20_000)

    port = await listen(nursery, script)
    async with open_websocket(f"ws://127.0.0.1:{port}", close_timeout=0.2) as websocket:
        for _ in range(100_000):
            assert await websocket.receive() == "a"
    assert websocket.closed.closed_by == "us"
    nursery.cancel_scope.cancel()


async def test_redirects_in_a_circle_are_followed_a_few_times(nursery):
    asked = []

    async def script(stream):
        asked.append(await stream.receive_some())
        await stream.send_all(f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/\r\n\r\n".encode())
        await stream.aclose()

    port = await listen(nursery, script)
    with pytest.raises(UpgradeRejected, match="302"):
        async with open_websocket(f"ws://127.0.0.1:{port}"):
            pass
    assert len(asked) == 6
    nursery.cancel_scope.cancel()
