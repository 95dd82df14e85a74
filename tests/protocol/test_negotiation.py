"""RFC 7692 §5 and §7.1: what is agreed on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_websock.errors import RemoteError
from trio_websock.options import Deflate
from trio_websock.protocol.negotiation import DeflateParameters, accept_deflate, negotiate_deflate, offer_deflate

WIDE = Deflate(server_max_window_bits=15, client_max_window_bits=15)
PMD = "permessage-deflate"

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
        assert accept_deflate([agreed[0]], offer_settings) == DeflateParameters(
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
