"""RFC 6455 §5.3: masking."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_websock.protocol.masking import apply_mask

KEY = b"\x37\xfa\x21\x3d"

# Around the size where the way of computing changes, and every remainder by four.
SIZES = [0, 1, 2, 3, 4, 5, 125, 126, 1023, 1024, 1025, 1026, 1027, 1028, 65536]


def masked_octet_by_octet(data: bytes, key: bytes) -> bytes:
    return bytes(octet ^ key[i % 4] for i, octet in enumerate(data))


def test_the_example_of_the_rfc_is_masked_as_it_stands_there() -> None:
    assert apply_mask(b"Hello", KEY) == b"\x7f\x9f\x4d\x51\x58"


@pytest.mark.parametrize("size", SIZES)
def test_octet_i_is_combined_with_octet_i_modulo_4_of_the_key(size: int) -> None:
    data = bytes(i * 7 % 256 for i in range(size))
    assert apply_mask(data, KEY) == masked_octet_by_octet(data, KEY)


@pytest.mark.parametrize("size", SIZES)
def test_masking_twice_gives_the_payload_back(size: int) -> None:
    data = b"\xff" * size
    assert apply_mask(apply_mask(data, KEY), KEY) == data


@pytest.mark.parametrize("size", [5, 2000])
def test_a_key_of_zeroes_changes_nothing(size: int) -> None:
    assert apply_mask(b"\xa5" * size, bytes(4)) == b"\xa5" * size


@given(st.binary(max_size=3000), st.binary(min_size=4, max_size=4))
def test_any_payload_under_any_key_is_masked_octet_by_octet(data: bytes, key: bytes) -> None:
    assert apply_mask(data, key) == masked_octet_by_octet(data, key)
