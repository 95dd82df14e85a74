"""What a socket's wire sends and reads at once, as nearly all of it is: nothing overtaken, nothing lost."""

from __future__ import annotations

import importlib

import pytest

wires = importlib.import_module("wires")

LARGE = wires.LARGE
pair = wires.pair
read_all = wires.read_all
read_while = wires.read_while


@pytest.mark.parametrize("chunks", [[b"one"], [b"o", b"", b"ne"], []])
async def test_what_the_kernel_takes_is_gone_at_once(pair, chunks):
    wire, theirs = pair
    assert wire.send_nowait(list(chunks)) is True
    assert (wire.unsent_size, read_all(theirs)) == (0, b"".join(chunks))


@pytest.mark.parametrize("chunks", [[LARGE], [b"head", LARGE]])
async def test_what_the_kernel_does_not_take_is_kept_and_counted(pair, chunks):
    wire, theirs = pair
    assert wire.send_nowait(list(chunks)) is False
    unsent_size, data = wire.unsent_size, read_all(theirs)
    assert unsent_size == len(b"".join(chunks)) - len(data)
    assert data + await read_while(theirs, wire) == b"".join(chunks)


async def test_what_is_sent_at_once_does_not_overtake_what_is_queued(pair):
    wire, theirs = pair
    wire.send_nowait([LARGE])
    data = read_all(theirs)  # now there is room for more
    wire.send_nowait([b"last"])
    assert data + await read_while(theirs, wire) == LARGE + b"last"


async def test_what_a_peer_that_is_gone_does_not_take_is_forgotten(pair):
    wire, theirs = pair
    theirs.close()
    assert wire.send_nowait([b"x"]) is True
    assert wire.unsent_size == 0


async def test_who_insists_is_given_what_nobody_has_told_of_yet(pair):
    wire, theirs = pair
    theirs.send(b"a")
    assert await wire.receive() == b"a"
    theirs.send(b"b")
    assert wire.receive_nowait(insist=True) == b"b"
