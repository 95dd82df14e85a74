from __future__ import annotations

import importlib
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from trio_websock.testing.memory_listener import MemoryStream, open_memory_streams
from trio_websock.testing.scripted_peer import (
    ScriptedPeer,
    binary,
    close,
    frame,
    ping,
    pong,
    text,
    upgrade_request,
)

certificates = importlib.import_module("certificates")


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        pytest.param(text("Hello"), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", id="the example of RFC 6455 §5.7"),
        pytest.param(frame(0x81, b"Hello", masked=False), b"\x81\x05Hello", id="unmasked"),
        pytest.param(binary(b""), b"\x82\x80\x37\xfa\x21\x3d", id="empty"),
        pytest.param(ping(b"\x37"), b"\x89\x81\x37\xfa\x21\x3d\x00", id="a ping"),
        pytest.param(pong(b"\x37"), b"\x8a\x81\x37\xfa\x21\x3d\x00", id="a pong"),
        pytest.param(close(), b"\x88\x80\x37\xfa\x21\x3d", id="an empty close"),
        pytest.param(close(1000, "\x21="), b"\x88\x84\x37\xfa\x21\x3d\x34\x12\x00\x00", id="a close with text"),
        pytest.param(frame(0x82, b"x" * 126, masked=False)[:4], b"\x82\x7e\x00\x7e", id="a 16-bit length"),
        pytest.param(frame(0x82, bytes(65536))[:10], b"\x82\xff\0\0\0\0\0\1\0\0", id="a 64-bit length"),
        pytest.param(frame(0x89, b"", length=b"\x7e\0\0")[:4], b"\x89\xfe\0\0", id="a wrong length"),
    ],
)
def test_a_frame_is_written_as_the_rfc_draws_it(built: bytes, expected: bytes) -> None:
    assert built == expected


def test_an_upgrade_request_is_the_rfcs_example_with_what_the_script_changes() -> None:
    assert upgrade_request("a", "/x", "Origin: b", method="PUT", version="HTTP/1.0", drop="Upgrade") == (
        b"PUT /x HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\nOrigin: b\r\n\r\n"
    )


@pytest.fixture
async def ends() -> AsyncIterator[tuple[ScriptedPeer, MemoryStream]]:
    ours, theirs = open_memory_streams()
    async with ScriptedPeer(ours) as peer, theirs:
        yield peer, theirs


Ends = tuple[ScriptedPeer, MemoryStream]


async def test_expect_takes_exactly_the_bytes_it_names(ends: Ends) -> None:
    peer, server = ends
    await server.send_all(b"abcdef")
    await peer.expect(b"ab", b"c")
    assert await peer.receive_exactly(3) == b"def"


async def test_expect_fails_at_the_first_byte_that_differs(ends: Ends) -> None:
    peer, server = ends
    await server.send_all(b"abX")
    with pytest.raises(AssertionError, match="at byte 2 of b'abcd' came b'X'"):
        await peer.expect(b"abcd")


async def test_expect_fails_when_the_stream_ends_before(ends: Ends) -> None:
    peer, server = ends
    await server.send_all(b"ab")
    await server.send_eof()
    with pytest.raises(AssertionError, match="ended after b'ab'"):
        await peer.expect(b"abc")


async def test_expect_end_fails_on_another_byte(ends: Ends) -> None:
    peer, server = ends
    await server.send_all(b"x")
    with pytest.raises(AssertionError, match="expected the end"):
        await peer.expect_end()


async def test_expect_end_fails_on_a_byte_that_was_read_already(ends: Ends) -> None:
    peer, server = ends
    await server.send_all(b"xy")
    await server.send_eof()
    await peer.expect(b"x")
    with pytest.raises(AssertionError, match="expected the end"):
        await peer.expect_end()


async def test_expect_quiet_leaves_the_stream_as_it_was(ends: Ends) -> None:
    peer, server = ends
    await peer.expect_quiet()
    await server.send_all(b"x")
    await peer.expect(b"x")


@pytest.mark.parametrize("unread", [b"", b"y"])
async def test_expect_quiet_fails_on_bytes(ends: Ends, unread: bytes) -> None:
    peer, server = ends
    await server.send_all(b"x" + unread)
    if unread:
        await peer.expect(b"x")
    with pytest.raises(AssertionError, match="expected nothing"):
        await peer.expect_quiet()


async def test_expect_quiet_fails_on_the_end_of_the_stream(ends: Ends) -> None:
    peer, server = ends
    await server.send_eof()
    with pytest.raises(AssertionError, match="the stream ended"):
        await peer.expect_quiet()


async def test_a_frame_is_read_whatever_its_length_form(ends: Ends) -> None:
    peer, server = ends
    await server.send_all(b"\x81\x02hi\x82\x7e\x00\x03abc\x89\x7f\0\0\0\0\0\0\0\x01p")
    assert [await peer.receive_frame() for _ in range(3)] == [(0x81, b"hi"), (0x82, b"abc"), (0x89, b"p")]


async def test_a_masked_frame_of_a_server_is_an_error(ends: Ends) -> None:
    peer, server = ends
    await server.send_all(text("x"))
    with pytest.raises(AssertionError, match=r"masked a frame \(RFC 6455 §5.1\)"):
        await peer.receive_frame()


async def test_a_stream_that_ends_in_a_frame_is_an_error(ends: Ends) -> None:
    peer, server = ends
    await server.send_all(b"\x81\x05He")
    await server.send_eof()
    with pytest.raises(AssertionError, match="ended after 2 of 5 bytes"):
        await peer.receive_frame()


async def test_an_answer_keeps_repeated_headers_and_stops_at_its_length(ends: Ends) -> None:
    peer, server = ends
    await server.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: 1\r\na:2\r\n\r\nhiX")
    answer = await peer.expect_status(200)
    assert (answer.body, answer.header("A"), answer.header("b")) == (b"hi", "1, 2", None)
    await peer.expect(b"X")


async def test_an_answer_to_head_has_no_body(ends: Ends) -> None:
    peer, server = ends
    await server.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nX")
    assert (await peer.receive_answer(to_head=True)).body == b""
    await peer.expect(b"X")


async def test_a_target_in_the_place_of_a_header_is_not_sent(ends: Ends) -> None:
    peer, server = ends
    with pytest.raises(ValueError, match=r"'/rpc' is not a header line .*target='/rpc'"):
        await peer.open("Origin: a", "/rpc")
    await peer.send(b"x")
    assert await server.receive_some() == b"x"


async def test_another_status_is_an_error_that_shows_the_answer(ends: Ends) -> None:
    peer, server = ends
    await server.send_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nwhy")
    with pytest.raises(AssertionError, match=r"expected status 101.*403.*why"):
        await peer.open()


async def test_a_stream_that_ends_in_a_head_is_an_error(ends: Ends) -> None:
    peer, server = ends
    await server.send_all(b"HTTP/1.1 200")
    await server.send_eof()
    with pytest.raises(AssertionError, match="ended in an HTTP head"):
        await peer.receive_answer()


async def test_slow_sending_puts_each_byte_in_a_write_of_its_own() -> None:
    ours, theirs = open_memory_streams(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ScriptedPeer(ours).send_slowly, b"abc")
        assert [await theirs.receive_some() for _ in range(3)] == [b"a", b"b", b"c"]


async def test_the_sending_side_may_end_alone(ends: Ends) -> None:
    peer, server = ends
    await peer.send_eof()
    assert await server.receive_some() == b""
    await server.send_all(b"still")
    await peer.expect(b"still")


async def test_what_came_before_the_stream_was_gone_is_kept(ends: Ends) -> None:
    peer, server = ends
    await server.send_all(b"rest")
    await server.aclose()
    assert await peer.receive_until_gone() == b"rest"


async def test_what_came_before_the_stream_broke_is_kept(ends: Ends) -> None:
    peer, server = ends
    await server.send_all(b"xrest")
    await peer.expect(b"x")
    server.reset()
    assert await peer.receive_until_gone() == b"rest"


async def test_what_comes_before_a_reset_is_thrown_away(ends: Ends) -> None:
    peer, server = ends
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.expect_reset)
        await server.send_all(b"x")
        await trio.testing.wait_all_tasks_blocked()
        server.reset()


async def test_a_good_end_is_no_reset(ends: Ends) -> None:
    peer, server = ends
    await server.aclose()
    with pytest.raises(AssertionError, match="in good order"):
        await peer.expect_reset()


async def test_a_reset_in_memory_breaks_the_other_end(ends: Ends) -> None:
    peer, server = ends
    await peer.abort()
    with pytest.raises(trio.BrokenResourceError):
        await server.receive_some()


async def test_a_flood_goes_on_until_the_stream_breaks() -> None:
    ours, theirs = open_memory_streams(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ScriptedPeer(ours).flood, b"a", b"b")
        assert [await theirs.receive_some() for _ in range(3)] == [b"ab"] * 3
        await theirs.aclose()


async def test_slow_reading_takes_its_time(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = open_memory_streams(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_and_leave, theirs, b"abcde")
        assert await ScriptedPeer(ours).receive_slowly(2, pause=10) == b"abcde"
    assert trio.current_time() >= 30


async def send_and_leave(stream: MemoryStream, data: bytes) -> None:
    await stream.send_all(data)
    await stream.aclose()


@pytest.fixture
async def listener() -> AsyncIterator[trio.SocketListener]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        yield listener


def port_of(listener: trio.SocketListener) -> int:
    port: int = listener.socket.getsockname()[1]
    return port


async def test_a_reset_reaches_the_other_end_of_a_socket(listener: trio.SocketListener) -> None:
    async with await ScriptedPeer.connect(port_of(listener)) as peer:
        server = ScriptedPeer(await listener.accept())
        await peer.abort()
        await server.expect_reset()
        assert await server.receive_until_gone() == b""
        await server.aclose()


async def test_a_peer_may_speak_tls(listener: trio.SocketListener) -> None:
    server, client = certificates.localhost_contexts()
    async with (
        await ScriptedPeer.connect(port_of(listener), ssl_context=client) as peer,
        trio.SSLStream(await listener.accept(), server, server_side=True, https_compatible=True) as stream,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(peer.send, b"hidden")
        assert await stream.receive_some() == b"hidden"


async def test_a_peer_with_a_small_buffer_holds_a_writer_up(listener: trio.SocketListener) -> None:
    async with await ScriptedPeer.connect(port_of(listener), receive_buffer_size=4096) as peer:
        assert isinstance(peer.stream, trio.SocketStream)
        assert peer.stream.getsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF) <= 2 * 4096


async def test_nobody_connects_where_nobody_listens(listener: trio.SocketListener) -> None:
    port = port_of(listener)
    await listener.aclose()
    with pytest.raises(ConnectionRefusedError):
        await ScriptedPeer.connect(port)
