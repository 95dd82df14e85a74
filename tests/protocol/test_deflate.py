"""RFC 7692: what is agreed on, and the two streams."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_websock.errors import InvalidPayload, PolicyViolation, RemoteError
from trio_websock.options import Deflate
from trio_websock.protocol.deflate import (
    DeflateParameters,
    PerMessageDeflate,
    accept_deflate,
    negotiate_deflate,
    offer_deflate,
)
from trio_websock.protocol.frames import Role

WIDE = Deflate(server_max_window_bits=15, client_max_window_bits=15)
PMD = "permessage-deflate"

HELLO = b"\xf2\x48\xcd\xc9\xc9\x07\x00"  # RFC 7692 §7.2.3.1
HELLO_AGAIN = b"\xf2\x00\x11\x00\x00"  # §7.2.3.2: the same once more, taken from the window
HELLO_STORED = b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"  # §7.2.3.3
HELLO_FINAL = b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"  # §7.2.3.4: BFINAL set
HELLO_TWO_BLOCKS = b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"  # §7.2.3.5

# What a client offers, with settings of 15 bits, and what we answer.
ACCEPTED = {
    PMD: PMD,
    f"{PMD}; server_no_context_takeover": f"{PMD}; server_no_context_takeover",
    f"{PMD}; client_no_context_takeover": f"{PMD}; client_no_context_takeover",
    f"{PMD}; client_max_window_bits": PMD,
    f"{PMD}; client_max_window_bits=15": PMD,
    f"{PMD}; client_max_window_bits=8": f"{PMD}; client_max_window_bits=8",
    f"{PMD}; client_max_window_bits=10": f"{PMD}; client_max_window_bits=10",
    f"{PMD}; server_max_window_bits=15": f"{PMD}; server_max_window_bits=15",
    f"{PMD}; server_max_window_bits=9": f"{PMD}; server_max_window_bits=9",
    f'{PMD}; server_max_window_bits="10"': f"{PMD}; server_max_window_bits=10",
    f'{PMD}; server_max_window_bits="1\\0"': f"{PMD}; server_max_window_bits=10",
    f"{PMD};server_max_window_bits = 10 ;client_no_context_takeover": (
        f"{PMD}; client_no_context_takeover; server_max_window_bits=10"
    ),
    f"x-webkit-frame, {PMD}": PMD,
    f"{PMD}-frame; a=b, , {PMD}; server_no_context_takeover": f"{PMD}; server_no_context_takeover",
    f'other; quoted="a, {PMD}; b\\"c", {PMD}': PMD,
}

# Parameters that cannot be accepted.
SKIPPED = [
    "unknown",
    "unknown=1",
    "server_no_context_takeover=1",
    'client_no_context_takeover=""',
    "server_no_context_takeover; server_no_context_takeover",
    "client_max_window_bits; client_max_window_bits=10",
    "server_max_window_bits",
    "server_max_window_bits=8",  # zlib cannot
    "server_max_window_bits=7",
    "server_max_window_bits=16",
    "server_max_window_bits=09",
    "server_max_window_bits=+9",
    "server_max_window_bits=1 0",
    "server_max_window_bits=",
    "server_max_window_bits=\u0661\u0660",
    'server_max_window_bits="10',
    "client_max_window_bits=7",
    "client_max_window_bits=16",
    "client_max_window_bits=ten",
    'client_max_window_bits=""',
    "",
    "; server_no_context_takeover",
    "=10",
]


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


class TestServerNegotiation:
    @pytest.mark.parametrize("offer", ACCEPTED)
    def test_an_acceptable_offer_is_answered_with_its_own_parameters(self, offer: str) -> None:
        agreed = negotiate_deflate([offer], WIDE)
        assert agreed is not None
        assert agreed[0] == ACCEPTED[offer]

    @pytest.mark.parametrize("offered", SKIPPED)
    def test_an_unacceptable_offer_is_skipped(self, offered: str) -> None:
        assert negotiate_deflate([f"{PMD}; {offered}"], WIDE) is None

    @pytest.mark.parametrize("header", [";", ";;", " ; ,", f";{PMD}", f"{PMD};", f"{PMD};;server_no_context_takeover"])
    def test_an_offer_with_nothing_around_a_semicolon_is_skipped(self, header: str) -> None:
        assert negotiate_deflate([header], WIDE) is None

    @pytest.mark.parametrize("offered", [part for part in SKIPPED if part.count('"') != 1])
    def test_the_offer_behind_a_skipped_one_is_taken(self, offered: str) -> None:
        agreed = negotiate_deflate([f"{PMD}; {offered}, {PMD}; server_max_window_bits=11", PMD], WIDE)
        assert agreed is not None
        assert agreed[0] == f"{PMD}; server_max_window_bits=11"

    def test_the_first_acceptable_offer_wins(self) -> None:
        agreed = negotiate_deflate([f"{PMD}; client_no_context_takeover", PMD], WIDE)
        assert agreed is not None
        assert agreed[1].client_no_context_takeover

    @pytest.mark.parametrize("values", [[], [""], ["permessage-bzip2"], [", ,"], [PMD.upper() + "x"]])
    def test_without_an_offer_there_is_no_extension(self, values: list[str]) -> None:
        assert negotiate_deflate(values, WIDE) is None

    def test_the_smaller_window_wins(self) -> None:
        offer = f"{PMD}; server_max_window_bits=11; client_max_window_bits=10"
        agreed = negotiate_deflate([offer], Deflate(server_max_window_bits=12, client_max_window_bits=9))
        assert agreed is not None
        assert agreed[0] == f"{PMD}; server_max_window_bits=11; client_max_window_bits=9"
        assert (agreed[1].server_max_window_bits, agreed[1].client_max_window_bits) == (11, 9)

    def test_the_clients_window_is_left_alone_unless_it_offers_the_choice(self) -> None:
        agreed = negotiate_deflate([PMD], Deflate(client_max_window_bits=9))
        assert agreed is not None
        assert "client_max_window_bits" not in agreed[0]
        assert agreed[1].client_max_window_bits == 15

    def test_our_own_wishes_are_answered_without_an_offer(self) -> None:
        settings = Deflate(server_no_context_takeover=True, client_no_context_takeover=True)
        agreed = negotiate_deflate([f"{PMD}; client_max_window_bits"], settings)
        assert agreed is not None
        assert agreed[0] == (
            f"{PMD}; server_no_context_takeover; client_no_context_takeover; "
            "server_max_window_bits=12; client_max_window_bits=12"
        )

    def test_level_and_memory_level_are_ours_alone(self) -> None:
        agreed = negotiate_deflate([PMD], Deflate(level=9, memory_level=1))
        assert agreed is not None
        assert (agreed[1].level, agreed[1].memory_level) == (9, 1)

    @given(st.text('abz;,="\\ 01589_-' + PMD, max_size=80))
    def test_no_header_is_an_error(self, header: str) -> None:
        negotiate_deflate([f"{PMD};{header}"], WIDE)

    def test_an_endless_quoted_string_costs_no_more_than_its_length(self) -> None:
        assert negotiate_deflate([f'{PMD}; a="' + '\\"' * 30_000], WIDE) is None


class TestClientNegotiation:
    def test_the_offer_names_every_wish(self) -> None:
        settings = Deflate(server_no_context_takeover=True, client_no_context_takeover=True)
        assert offer_deflate(settings) == (
            f"{PMD}; server_no_context_takeover; client_no_context_takeover; "
            "server_max_window_bits=12; client_max_window_bits=12"
        )

    def test_the_widest_windows_are_offered_without_numbers(self) -> None:
        assert offer_deflate(WIDE) == f"{PMD}; client_max_window_bits"

    def test_a_window_zlib_cannot_write_is_not_offered(self) -> None:
        assert offer_deflate(Deflate(client_max_window_bits=8)).endswith("client_max_window_bits=9")

    @pytest.mark.parametrize("offer_settings", [Deflate(), WIDE, Deflate(server_no_context_takeover=True)])
    @pytest.mark.parametrize("settings", [Deflate(), WIDE, Deflate(client_no_context_takeover=True)])
    def test_both_sides_of_this_library_agree(self, offer_settings: Deflate, settings: Deflate) -> None:
        agreed = negotiate_deflate([offer_deflate(offer_settings)], settings)
        assert agreed is not None
        assert accept_deflate([agreed[0]], offer_settings) == parameters(
            server_max_window_bits=agreed[1].server_max_window_bits,
            client_max_window_bits=agreed[1].client_max_window_bits,
            server_no_context_takeover=agreed[1].server_no_context_takeover,
            client_no_context_takeover=agreed[1].client_no_context_takeover,
            level=offer_settings.level,
            memory_level=offer_settings.memory_level,
        )

    def test_no_answer_is_no_compression(self) -> None:
        assert accept_deflate([], Deflate()) is None

    def test_an_answer_without_the_clients_window_leaves_it_as_offered(self) -> None:
        agreed = accept_deflate([f"{PMD}; server_max_window_bits=12"], Deflate())
        assert agreed is not None
        assert agreed.client_max_window_bits == 12

    @pytest.mark.parametrize(
        "response",
        [
            "permessage-bzip2",
            f"{PMD}, {PMD}",
            f"{PMD}; unknown",
            PMD,  # the window of 12 that was asked for is missing
            f"{PMD}; server_max_window_bits=13",
            f"{PMD}; server_max_window_bits=12; client_max_window_bits=13",
            f"{PMD}; server_max_window_bits=12; client_max_window_bits=8",
            f"{PMD}; server_max_window_bits=12; client_max_window_bits",
        ],
    )
    def test_an_answer_that_does_not_fit_the_offer_is_a_fault(self, response: str) -> None:
        with pytest.raises(RemoteError):
            accept_deflate([response], Deflate())

    def test_a_takeover_that_was_ruled_out_is_a_fault(self) -> None:
        with pytest.raises(RemoteError, match="no server_no_context_takeover"):
            accept_deflate([PMD], Deflate(server_max_window_bits=15, server_no_context_takeover=True))


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
        assert server().compress(b"") == b"\x00"

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
