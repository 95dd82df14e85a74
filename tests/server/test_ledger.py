"""The counters of a server."""

from __future__ import annotations

import dataclasses

import pytest

from trio_websock.server.ledger import Ledger


def test_a_snapshot_keeps_what_was_counted_until_then() -> None:
    ledger = Ledger()
    ledger.clients = 2
    snapshot = ledger.snapshot(open_clients=1, open_connections=1)
    ledger.clients = 3
    assert (snapshot.clients, snapshot.open_clients, snapshot.open_connections) == (2, 1, 1)


def test_a_snapshot_cannot_be_changed() -> None:
    snapshot = Ledger().snapshot(0, 0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.clients = 1  # type: ignore[misc]  # the point of the test
