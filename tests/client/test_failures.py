"""The errors of a client: whose they are, and what they say."""

from __future__ import annotations

import pytest

from trio_websock import (
    ConnectFailed,
    ConnectionClosed,
    HandshakeError,
    HandshakeResponse,
    RemoteError,
    TransportError,
    UpgradeRejected,
)


def test_each_error_is_the_peers_or_nobodys():
    assert issubclass(UpgradeRejected, HandshakeError)
    assert issubclass(HandshakeError, RemoteError)
    assert issubclass(ConnectFailed, TransportError)
    assert issubclass(ConnectionClosed, TransportError)


def test_a_rejection_carries_the_response():
    error = UpgradeRejected(HandshakeResponse(403, "Forbidden", body=b"no"))
    assert error.response.body == b"no"
    assert "403 Forbidden" in str(error)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"not you\n", "; it says 'not you'"),
        (b"\r\n too many\r\nreally", "; it says 'too many'"),
        (b'{"error": "no"}', '; it says \'{"error": "no"}\''),
        (b"\x1b[2J" + "\u202e".encode(), r"; it says '\x1b[2J\u202e'"),
        (b"x" * 300, "; it says '" + "x" * 199 + "…"),
        (b"", ""),
        (b" \n", ""),
        (b"<!DOCTYPE html>\n", ""),
        (b"\x1f\x8b\x08 compressed", ""),
        ("né".encode("latin-1"), ""),
    ],
)
def test_a_rejection_tells_the_first_line_of_a_text(body, words):
    error = UpgradeRejected(HandshakeResponse(403, "Forbidden", body=body))
    assert str(error) == f"the server answered 403 Forbidden: expected 101{words} (RFC 6455 §4.1)"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionClosed(1000, "", "peer"), "closed by peer with 1000"),
        (ConnectionClosed(None, "", "peer"), "closed by peer"),
        (ConnectionClosed(3000, "why", "us"), "closed by us with 3000: 'why'"),
        (ConnectionClosed(None, "", "nobody"), "the connection was lost"),
    ],
)
def test_a_closed_connection_says_who_closed_it(error, words):
    assert str(error) == words


@pytest.mark.parametrize(
    ("code", "closed_by", "is_clean"),
    [
        (1000, "peer", True),
        (1001, "peer", True),
        (None, "peer", True),
        (1011, "peer", False),
        (3000, "us", True),
        (None, "nobody", False),
    ],
)
def test_a_clean_end_is_one_that_somebody_meant(code, closed_by, is_clean):
    assert ConnectionClosed(code, "", closed_by).is_clean is is_clean


def test_a_fault_of_the_peer_is_no_clean_end():
    error = ConnectionClosed(1002, "", "us")
    error.__cause__ = RemoteError("x", "y")
    assert not error.is_clean
