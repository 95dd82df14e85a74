"""The numbers of RFC 6455, and which of them may travel."""

from __future__ import annotations

from enum import IntEnum

import pytest

from trio_websock.codes import CloseCode, Opcode, is_sendable

REGISTERED = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014]


class Private(IntEnum):
    GONE_FISHING = 4001


@pytest.mark.parametrize("code", [*REGISTERED, 3000, 3999, 4000, 4999, *CloseCode, Private.GONE_FISHING])
def test_a_code_that_may_travel_is_known(code: int) -> None:
    assert is_sendable(code)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(1004, id="1004: reserved, never defined"),
        pytest.param(1005, id="1005: no code was there"),
        pytest.param(1006, id="1006: no close frame was there"),
        pytest.param(1015, id="1015: TLS failed"),
        *[pytest.param(code, id=f"{code}: below 1000") for code in (-1000, -1, 0, 1, 999)],
        *[pytest.param(code, id=f"{code}: not registered") for code in (1016, 1999, 2000, 2999)],
        *[pytest.param(code, id=f"{code}: from 5000 up") for code in (5000, 65535, 65536, 10**30)],
    ],
)
def test_a_code_that_may_not_travel_is_known(code: int) -> None:
    assert not is_sendable(code)


def test_of_two_bytes_of_code_no_more_than_the_ruling_names_may_travel() -> None:
    assert [code for code in range(65536) if is_sendable(code)] == [*REGISTERED, *range(3000, 5000)]


def test_the_close_codes_are_the_registered_ones() -> None:
    assert sorted(CloseCode) == REGISTERED


@pytest.mark.parametrize(
    ("opcode", "number"),
    [("CONTINUATION", 0), ("TEXT", 1), ("BINARY", 2), ("CLOSE", 8), ("PING", 9), ("PONG", 10)],
)
def test_opcodes_have_the_numbers_of_the_rfc(opcode: str, number: int) -> None:
    assert Opcode[opcode] == number


def test_there_are_no_other_opcodes() -> None:
    assert len(Opcode) == 6
