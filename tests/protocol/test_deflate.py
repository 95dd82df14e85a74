"""RFC 7692 §7.2: the two streams."""

from __future__ import annotations

import sys
import tracemalloc
import zlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_websock.errors import InvalidPayload, PolicyViolation
from trio_websock.protocol.deflate import DeflateParameters, PerMessageDeflate
from trio_websock.protocol.frames import Role

HELLO = b"\xf2\x48\xcd\xc9\xc9\x07\x00"  # RFC 7692 §7.2.3.1
HELLO_AGAIN = b"\xf2\x00\x11\x00\x00"  # §7.2.3.2: the same once more, taken from the window
HELLO_STORED = b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"  # §7.2.3.3
HELLO_FINAL = b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"  # §7.2.3.4: BFINAL set
HELLO_TWO_BLOCKS = b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"  # §7.2.3.5


def parameters(**changes: object) -> DeflateParameters:
    return DeflateParameters(**changes)


def server(**changes: object) -> PerMessageDeflate:
    return PerMessageDeflate(parameters(**changes), Role.SERVER)


def inflate(stream: PerMessageDeflate, *messages: bytes) -> list[bytes]:
    return [stream.decompress(message, last=True, room=None) for message in messages]


def deflated(data: bytes, wbits: int = -15, finish: bool = False) -> bytes:
    """A message as a peer may send it."""
    stream = zlib.compressobj(-1, zlib.DEFLATED, wbits)
    if finish:
        return stream.compress(data) + stream.flush()
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


class TestCompressing:
    @pytest.mark.parametrize("role", Role)
    @pytest.mark.parametrize("takeover", [False, True])
    @pytest.mark.parametrize("bits", [9, 12, 15])
    def test_what_one_side_compresses_the_other_inflates(self, role: Role, takeover: bool, bits: int) -> None:
        agreed = parameters(
            server_max_window_bits=bits,
            client_max_window_bits=bits,
            server_no_context_takeover=not takeover,
            client_no_context_takeover=not takeover,
        )
        ours, theirs = (
            PerMessageDeflate(agreed, role),
            PerMessageDeflate(agreed, next(r for r in Role if r is not role)),
        )
        messages = [b"", b"a", b"Hello" * 999, b"", bytes(range(256)) * 40, b"Hello" * 999]
        assert inflate(theirs, *map(ours.compress, messages)) == messages

    def test_an_empty_message_is_one_empty_block(self) -> None:
        stream = server()
        assert [stream.compress(message) for message in (b"", b"Hello", b"")] == [b"\x00", HELLO, b"\x00"]

    def test_the_window_is_taken_over(self) -> None:
        stream = server()
        assert len(stream.compress(b"Hello, hello")) > len(stream.compress(b"Hello, hello"))

    def test_without_takeover_each_message_stands_alone(self) -> None:
        stream = server(server_no_context_takeover=True)
        assert stream.compress(b"Hello") == stream.compress(b"Hello") == HELLO

    def test_a_message_never_ends_with_the_tail_that_does_not_travel(self) -> None:
        assert not server().compress(b"Hello").endswith(b"\x00\x00\xff\xff")

    def test_an_idle_connection_holds_no_stream(self) -> None:
        tracemalloc.start()
        idle = [server() for _ in range(100)]
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert size < 400 * len(idle)


class TestInflating:
    @pytest.mark.parametrize("message", [HELLO, HELLO_STORED, HELLO_FINAL, HELLO_TWO_BLOCKS])
    def test_the_examples_of_the_rfc_inflate(self, message: bytes) -> None:
        assert inflate(server(), message) == [b"Hello"]

    @pytest.mark.parametrize("message", [HELLO, HELLO_STORED, HELLO_FINAL, HELLO_TWO_BLOCKS])
    def test_the_examples_inflate_byte_by_byte(self, message: bytes) -> None:
        stream = server()
        pieces = [stream.decompress(bytes([byte]), last=False, room=None) for byte in message]
        assert b"".join(pieces) + stream.decompress(b"", last=True, room=None) == b"Hello"

    def test_the_window_is_taken_over(self) -> None:
        assert inflate(server(), HELLO, HELLO_AGAIN) == [b"Hello", b"Hello"]

    def test_without_takeover_the_window_is_empty_again(self) -> None:
        with pytest.raises(InvalidPayload):
            inflate(server(client_no_context_takeover=True), HELLO, HELLO_AGAIN)

    def test_a_smaller_window_than_zlib_writes_is_read(self) -> None:
        assert inflate(server(client_max_window_bits=8), HELLO) == [b"Hello"]

    def test_broken_data_is_an_invalid_payload(self) -> None:
        with pytest.raises(InvalidPayload, match="does not inflate") as caught:
            inflate(server(), b"\x06\xff\xff")
        assert (caught.value.close_code, caught.value.section) == (1007, "RFC 7692 §7.2.2")

    @pytest.mark.parametrize("message", [HELLO[:-1], HELLO[:3], HELLO_STORED[:-3], b"\x00\xff\x00\x00\xff"])
    @pytest.mark.parametrize("takeover", [True, False])
    def test_a_message_that_ends_inside_a_block_is_an_invalid_payload(self, message: bytes, takeover: bool) -> None:
        with pytest.raises(InvalidPayload):
            inflate(server(client_no_context_takeover=not takeover), message)

    def test_a_message_without_a_byte_is_empty_and_harms_no_later_one(self) -> None:
        assert inflate(server(), b"", HELLO, b"", HELLO_AGAIN) == [b"", b"Hello", b"", b"Hello"]


class TestFinalBlocks:
    def test_messages_follow_a_stream_that_ended(self) -> None:
        assert inflate(server(), HELLO_FINAL, HELLO, HELLO_FINAL) == [b"Hello"] * 3

    def test_a_stream_may_end_with_the_last_byte_of_the_message(self) -> None:
        message = deflated(b"Hello", finish=True)
        assert inflate(server(), message, HELLO, message, message) == [b"Hello"] * 4

    def test_several_streams_may_stand_in_one_message(self) -> None:
        message = deflated(b"one ", finish=True) + deflated(b"two ", finish=True) + deflated(b"three")
        assert inflate(server(), message, HELLO) == [b"one two three", b"Hello"]

    def test_several_streams_may_come_byte_by_byte(self) -> None:
        stream = server()
        message = deflated(b"one ", finish=True) + deflated(b"two", finish=True)
        pieces = [stream.decompress(bytes([byte]), last=False, room=None) for byte in message]
        assert b"".join(pieces) + stream.decompress(b"", last=True, room=None) == b"one two"

    def test_streams_share_the_limit(self) -> None:
        message = deflated(b"1234", finish=True) + deflated(b"5678", finish=True) + deflated(b"90")
        assert server().decompress(message, last=True, room=10) == b"1234567890"
        assert len(server().decompress(message, last=True, room=7)) == 8
        assert len(server().decompress(message, last=True, room=3)) == 4

    def test_inflating_a_later_stream_stops_one_byte_above_the_room_too(self) -> None:
        message = deflated(b"x" * 1000, finish=True) * 2 + b"\x00"
        assert len(server().decompress(message, last=True, room=1500)) == 1501

    def test_a_new_stream_may_begin_with_what_is_elsewhere_the_tail(self) -> None:
        stream, stored = server(), bytes(0xFF00)  # a block of this size begins with 00, and its length with 00 FF
        assert stream.decompress(HELLO_FINAL[:-1] + b"\x00\x00\xff\xff", last=False, room=None) == b"Hello"
        assert stream.decompress(b"\x00" + stored + b"\x00", last=True, room=None) == stored

    def test_the_peer_may_look_back_further_than_we_do(self) -> None:
        data = Random(0).randbytes(2048)  # without repetitions
        peer = zlib.compressobj(-1, zlib.DEFLATED, -15)
        messages = [(peer.compress(data) + peer.flush(zlib.Z_SYNC_FLUSH))[:-4] for _ in range(2)]
        assert inflate(server(server_max_window_bits=9, client_max_window_bits=15), *messages) == [data, data]

    def test_streams_without_number_are_a_violation(self) -> None:
        with pytest.raises(PolicyViolation, match="more than 1024 deflate streams"):
            server().decompress(deflated(b"", finish=True) * 1025, last=True, room=None)

    def test_streams_are_counted_anew_in_each_message(self) -> None:
        message = deflated(b"", finish=True) * 1000
        assert inflate(server(), message, message) == [b"", b""]


class TestBounds:
    def test_inflating_stops_one_byte_above_the_room(self) -> None:
        assert len(server().decompress(deflated(bytes(100_000)), last=True, room=1000)) == 1001

    def test_a_message_of_exactly_the_room_passes(self) -> None:
        stream = server()
        assert stream.decompress(deflated(bytes(1000)), last=True, room=1000) == bytes(1000)
        assert stream.decompress(HELLO, last=True, room=1000) == b"Hello"

    def test_room_may_be_as_large_as_a_size_can_be(self) -> None:
        assert server().decompress(HELLO, last=True, room=sys.maxsize) == b"Hello"

    def test_no_room_is_room_for_an_empty_message(self) -> None:
        assert server().decompress(b"\x00", last=True, room=0) == b""

    def test_memory_stays_at_the_limit_whatever_the_ratio(self) -> None:
        bomb = deflated(bytes(50_000_000))
        tracemalloc.start()
        server().decompress(bomb, last=True, room=10_000)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 400_000

    @given(st.lists(st.binary(max_size=200), max_size=5), st.integers(1, 50))
    def test_pieces_of_any_size_inflate_to_the_same(self, messages: list[bytes], size: int) -> None:
        sender, stream = PerMessageDeflate(parameters(), Role.CLIENT), server()
        for message in messages:
            data = sender.compress(message)
            pieces = [data[at : at + size] for at in range(0, len(data), size)]
            inflated = [stream.decompress(piece, last=False, room=None) for piece in pieces]
            assert b"".join(inflated) + stream.decompress(b"", last=True, room=None) == message
