"""Floods of every kind against a server in a process of its own, and the memory each of them can cost it.

What is measured is the peak of the process's resident memory above what it was before the flood. The bounds follow
from the options, and docs/limits.md states them; ``pytest -rP`` shows what was measured.
"""

from __future__ import annotations

import importlib
import re
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from trio_websock.options import CONNECTION_NAMES, SERVER_NAMES
from trio_websock.testing.scripted_peer import ScriptedPeer, binary, frame, ping, text, upgrade_request

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")

sys.path.append(str(Path(__file__).parent))  # tests are no package

floods = importlib.import_module("floods")


# Who gets in.


async def test_beyond_max_connections_clients_are_refused_and_cost_nothing() -> None:
    async with floods.open_server(max_connections=50) as server:
        inside = [await server.open("/echo") for _ in range(50)]
        for _ in range(1000):
            # Where too many are being refused already, the rest are reset, some before they know they are connected.
            with suppress(ConnectionResetError):
                async with await server.connect() as outside:
                    await floods.send(upgrade_request())(outside)
        await inside[0].send(text("hi"))
        assert await inside[0].receive_frame() == (0x81, b"hi")
        facts = await server.settle()
        assert (facts["connections"], facts["refusals"]) == (50, 1000)
        assert server.growth() < 16


async def test_one_address_cannot_take_every_place() -> None:
    async with floods.open_server(max_connections=100, max_connections_per_client=10) as server:
        for _ in range(10):
            await server.open("/echo")
        answers = []
        for _ in range(5):
            peer = await server.connect()
            await peer.send(upgrade_request())
            answers.append(await peer.receive_answer())
        assert {(answer.status, answer.header("Retry-After")) for answer in answers} == {(503, "5")}
        stream = await trio.open_tcp_stream("127.0.0.1", server.port, local_address="127.0.0.2")
        async with ScriptedPeer(stream) as stranger:
            await stranger.open(target="/echo")


# Handshakes.


async def drip(peer: ScriptedPeer) -> None:
    """Send a head byte by byte, and never its end."""
    with suppress(trio.BrokenResourceError):
        await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        while True:
            await peer.send(b"x")


async def test_clients_that_drip_their_head_are_ended_by_handshake_timeout() -> None:
    async with floods.open_server(handshake_timeout=0.5) as server:
        endings = await floods.flood_to_the_end(drip, [await server.connect() for _ in range(200)])
        assert {end[-45:] for end in endings} == {b"\nexpected a whole request within 0.5 seconds\n"}
        await server.wait(lambda facts: facts["clients"] == 0)
        assert server.growth() < 16


async def test_heads_that_are_never_finished_cost_no_more_than_max_head_size() -> None:
    async with floods.open_server() as server:
        for _ in range(200):
            await (await server.connect()).send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + bytes([120]) * 65000)
        await server.wait(lambda facts: facts["clients"] == 200)
        await server.settle()
        assert 12 < server.growth() < 32


async def test_a_flood_of_header_fields_is_answered_431_and_forgotten() -> None:
    fields = b"X: 0123456789abcdef\r\n" * 1000
    async with floods.open_server() as server:
        peers = [await server.connect() for _ in range(50)]
        for peer in peers:
            await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        endings = await floods.flood_to_the_end(floods.send(fields, 200), peers)
        # Who goes on for too long gets a reset, which may overtake the answer.
        assert {end[-47:] for end in endings} <= {b"", b"expected a request head of at most 65536 bytes\n"}
        assert server.growth() < 24


async def test_bodies_that_are_never_finished_cost_no_more_than_max_body_size() -> None:
    async with floods.open_server(max_body_size=256 * 1024) as server:
        for _ in range(50):
            peer = await server.connect()
            await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 262144\r\n\r\n", bytes(262143))
        await server.settle()
        assert 12 < server.growth() < 40


async def test_bodies_without_end_are_answered_413_and_forgotten() -> None:
    chunk = b"4000\r\n" + bytes(0x4000) + b"\r\n"
    async with floods.open_server(max_body_size=64 * 1024) as server:
        peers = [await server.connect() for _ in range(50)]
        for peer in peers:
            await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        endings = await floods.flood_to_the_end(floods.send(chunk, 1000), peers)
        # Who goes on for too long gets a reset, which may overtake the answer.
        assert {end[-39:] for end in endings} <= {b"", b"expected a body of at most 65536 bytes\n"}
        assert server.growth() < 24


# Frames.


async def test_a_message_of_65536_fragments_of_64_bytes_passes() -> None:
    async with floods.open_server(max_message_size=4 * floods.MIB) as server:
        peers = [await server.open("/sink") for _ in range(4)]
        fragments = frame(0x02, bytes(64)) + frame(0x00, bytes(64)) * 65534 + frame(0x80, bytes(64))
        for peer in peers:
            await peer.send(fragments)
        assert [await peer.receive_frame() for peer in peers] == [(0x81, b"4194304")] * 4
        assert server.growth() < 28


async def test_tiny_fragments_cost_their_bytes_and_not_their_number() -> None:
    async with floods.open_server() as server:
        for _ in range(10):
            await (await server.open("/sink")).send(frame(0x02, b"xx"), frame(0x00, b"xx") * 40000)
        await server.settle()
        assert server.growth() < 8


async def test_empty_fragments_are_bounded() -> None:
    async with floods.open_server() as server:
        peers = [await server.open("/sink") for _ in range(20)]
        endings = await floods.flood_to_the_end(floods.send(frame(0x02) + frame(0x00) * 100_000), peers)
        assert set(endings) <= {b"\x88\x02\x03\xf0", b""}
        assert (await server.snapshot())["endings"]["PolicyViolation"] == 20
        assert server.growth() < 16


async def check_too_big(server: Any, endings: list[bytes]) -> None:
    # Who goes on for too long gets a reset, which may overtake the close frame.
    assert set(endings) <= {b"\x88\x02\x03\xf1", b""}
    assert (await server.snapshot())["endings"]["MessageTooBig"] == len(endings)


async def test_a_message_over_the_limit_is_refused_by_its_head() -> None:
    async with floods.open_server() as server:
        peers = [await server.open("/sink") for _ in range(20)]
        await check_too_big(server, await floods.flood_to_the_end(floods.send(binary(bytes(10 * floods.MIB))), peers))
        assert server.growth() < 16


async def test_messages_written_byte_by_byte_cost_their_size() -> None:
    async with floods.open_server() as server:

        async def write(peer: ScriptedPeer) -> None:
            await peer.send_slowly(binary(bytes(2048)))
            assert await peer.receive_frame() == (0x81, b"2048")

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(write, await server.open("/sink"))
        assert server.growth() < 8


# Behind a callback that does not come back, and behind a peer that does not read.


async def test_messages_behind_a_busy_callback_wait_at_the_peer() -> None:
    async with floods.open_server() as server:
        async with server.flooding(20, floods.send(binary(bytes(16000)), 5000), "/busy"):
            facts = await server.settle()
            assert facts["busy"] == 20
            assert facts["received"] < 20 * 0.5 * floods.MIB
        assert server.growth() < 24


async def test_empty_messages_behind_a_busy_callback_are_bounded_in_number() -> None:
    async with floods.open_server() as server:
        async with server.flooding(20, floods.send(binary(b"") * 10000, 1000), "/busy"):
            facts = await server.settle()
            assert facts["received"] < 20 * 0.5 * floods.MIB
        assert server.growth() < 16


@pytest.mark.parametrize("target", ["/sink", "/busy"])
async def test_pongs_do_not_pile_up_for_a_peer_that_does_not_read(target: str) -> None:
    async with floods.open_server() as server:
        async with server.flooding(4, floods.send(text("begin") + ping(bytes(125)) * 1000, 200), target):
            await server.settle()
        assert server.growth() < 8


async def test_output_that_nobody_reads_stops_the_callbacks_that_make_it() -> None:
    async with floods.open_server() as server:
        async with server.flooding(20, floods.send(text("1000000") * 100, 100), "/generous"):
            facts = await server.settle()
            assert facts["pushed"] < 20 * 10_000_000  # of ten thousand million; what left us is in the kernel
        assert server.growth() < 48


async def test_letters_to_a_mailbox_that_nobody_empties_wait_at_the_sender() -> None:
    async with floods.open_server(mailbox_size=100) as server:
        for _ in range(50):
            await server.open("/letterbox")
        facts = await server.settle()
        assert 50 * 100 <= facts["letters"] <= 50 * 202
        assert server.growth() < 24


# Compression.

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


def compressed(data: bytes) -> bytes:
    """A whole binary message, compressed as RFC 7692 has it."""
    compressor = zlib.compressobj(9, wbits=-15)
    return frame(0xC2, (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff"))


async def test_a_zip_bomb_is_not_inflated_beyond_the_limit() -> None:
    bomb = compressed(bytes(50 * floods.MIB))
    async with floods.open_server(compress=True) as server:
        peers = [await server.open("/sink", DEFLATE) for _ in range(20)]
        await check_too_big(server, await floods.flood_to_the_end(floods.send(bomb), peers))
        assert server.growth() < 16


async def test_many_small_zip_bombs_are_not_inflated_before_their_turn() -> None:
    bombs = compressed(bytes(floods.MIB)) * 1000
    async with floods.open_server(compress=True) as server:
        async with server.flooding(10, floods.send(bombs), "/busy", DEFLATE):
            facts = await server.settle()
            assert facts["busy"] == 10
        assert server.growth() < 48


async def test_a_zip_bomb_in_small_fragments_ends_at_the_limit_too() -> None:
    bomb = zlib.compressobj(9, wbits=-15).compress(bytes(50 * floods.MIB))
    pieces = [bomb[at : at + 100] for at in range(0, len(bomb), 100)]
    fragments = frame(0x42, pieces[0]) + b"".join(frame(0x00, piece) for piece in pieces[1:])
    async with floods.open_server(compress=True) as server:
        peers = [await server.open("/sink", DEFLATE) for _ in range(10)]
        await check_too_big(server, await floods.flood_to_the_end(floods.send(fragments), peers))
        assert server.growth() < 24


# The page that tells all this.


def test_the_page_of_limits_names_options_that_exist() -> None:
    page = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
    rows = [row for row in page.splitlines() if row.startswith("| ") and " | Option |" not in row]
    named = {name for row in rows for name in re.findall(r"`([a-z_]*_[a-z_]*|timeout|grace)`", row)}
    assert named - CONNECTION_NAMES - SERVER_NAMES == {"send_nowait"}
    assert len(rows) > 20
