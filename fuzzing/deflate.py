"""permessage-deflate under any header values and any compressed bytes.

The first byte of an input says what it is about:

- offers of a client: never an error; the answer has only what the RFC knows, agrees with the parameters and with the
  offer, and does not depend on how the offers are spread over headers.
- the answer of a server: parameters that answer our offer and that zlib can work with, or ``RemoteError``.
- a compressed message, or several: the same bytes or the same fault however it is cut, never more than the limit,
  never another error than ours, and what plain zlib makes of it.
- messages of our own: they come back as they went, and plain zlib reads them too.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

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

from .choices import Choices, Cut, whole

__all__ = ["check_input"]

ROOMS = (None, 0, 1, 10, 1000, 100_000)
ROLES = (Role.SERVER, Role.CLIENT)
TOO_BIG = b"too big"
TAIL = b"\x00\x00\xff\xff"
FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
WINDOWS = ("server_max_window_bits", "client_max_window_bits")


def check_input(data: bytes) -> None:
    """Run one input; an ``AssertionError`` is a finding, and so is any other exception."""
    choices = Choices(data)
    choices.one_of((_check_offers, _check_response, _check_inflating, _check_round_trip))(choices)


def _settings(choices: Choices, least: int) -> Deflate:
    bits = choices.below(256)
    return Deflate(
        server_max_window_bits=9 + choices.below(7),
        client_max_window_bits=least + choices.below(16 - least),
        server_no_context_takeover=bool(bits & 1),
        client_no_context_takeover=bool(bits & 2),
        level=bits // 4 % 11 - 1,
        memory_level=1 + bits % 9,
    )


def _check_offers(choices: Choices) -> None:
    settings = _settings(choices, 8)
    offers = choices.rest().decode("latin-1").split("\n")
    answer = negotiate_deflate(offers, settings)
    assert answer == negotiate_deflate([",".join(offers)], settings), "two headers are not one with a comma"
    if answer is None:
        return
    value, parameters = answer
    stated = _stated(value)
    assert parameters.server_max_window_bits <= settings.server_max_window_bits
    for name in FLAGS:
        assert getattr(parameters, name) is (name in stated)
        assert getattr(parameters, name) or not getattr(settings, name)
    for name in WINDOWS:
        assert getattr(parameters, name) == int(stated.get(name) or 15)
    assert any(all(name in offer for name in stated if name == "client_max_window_bits") for offer in offers)
    _check_usable(parameters)


def _stated(value: str) -> dict[str, str]:
    """The parameters of an answer of ours, which has one form only."""
    name, *parts = value.split("; ")
    assert name == "permessage-deflate"
    stated = dict(part.partition("=")[::2] for part in parts)
    assert len(stated) == len(parts), "a parameter twice"
    assert set(stated) <= {*FLAGS, *WINDOWS}
    return stated


def _check_usable(parameters: DeflateParameters) -> None:
    if min(parameters.server_max_window_bits, parameters.client_max_window_bits) < 9:
        return  # an end whose zlib knows 8 is not to be had here
    server, client = (PerMessageDeflate(parameters, role) for role in ROLES)
    for sender, receiver in ((server, client), (client, server)):
        assert receiver.decompress(sender.compress(b"hello"), True, 5) == b"hello"


def _check_response(choices: Choices) -> None:
    settings = _settings(choices, 9)
    values = choices.rest().decode("latin-1").split("\n")
    try:
        parameters = accept_deflate(values, settings)
    except RemoteError:
        pass
    else:
        if parameters is not None:
            assert parameters.server_max_window_bits <= settings.server_max_window_bits
            assert parameters.client_max_window_bits <= max(settings.client_max_window_bits, 9)
            assert parameters.server_no_context_takeover or not settings.server_no_context_takeover
            _check_usable(parameters)
    accepted = negotiate_deflate([offer_deflate(settings)], settings)
    assert accepted is not None, "our own offer is not acceptable"
    assert accept_deflate([accepted[0]], settings) == accepted[1], "our own answer is not acceptable"


# Inflating.


def _check_inflating(choices: Choices) -> None:
    room, keeps, cut = choices.one_of(ROOMS), choices.flag(), choices.cut()
    size = 1 + choices.below(256)
    data = choices.rest()
    messages = [data[start : start + size * 16] for start in range(0, len(data), size * 16)]
    first, second = (_inflate(messages, room, keeps, way) for way in (whole, cut))
    if {TOO_BIG, InvalidPayload} == {*first[-1:], *second[-1:]}:
        # zlib tells of a broken code right behind the limit in place of what it has inflated up to there.
        first.pop(), second.pop()
    assert first == second, "cutting changes the outcome"
    _check_against_zlib(messages, keeps, first)


def _inflate(messages: Iterable[bytes], room: int | None, keeps: bool, cut: Cut) -> list[bytes | type[RemoteError]]:
    """What becomes of each message, up to the first that cannot be inflated or is over its limit."""
    deflate = PerMessageDeflate(DeflateParameters(client_no_context_takeover=not keeps), Role.SERVER)
    outcome: list[bytes | type[RemoteError]] = []
    for message in messages:
        inflated = b""
        try:
            for piece in cut(message):
                inflated += _decompress(deflate, piece, False, room, inflated)
            inflated += _decompress(deflate, b"", True, room, inflated)
        except (InvalidPayload, PolicyViolation) as exc:
            return [*outcome, type(exc)]
        except OverflowError:
            return [*outcome, TOO_BIG]
        outcome.append(inflated)
    return outcome


def _decompress(deflate: PerMessageDeflate, piece: bytes, last: bool, room: int | None, inflated: bytes) -> bytes:
    left = None if room is None else room - len(inflated)
    more = deflate.decompress(piece, last, left)
    if left is not None and len(more) > left:
        assert len(more) == left + 1, "inflated on behind the limit"
        raise OverflowError
    return more


def _check_against_zlib(messages: list[bytes], keeps: bool, outcome: list[bytes | type[RemoteError]]) -> None:
    """Messages that end in no final block are one deflate stream, or one each."""
    inflater = zlib.decompressobj(-15)
    for message, found in zip(messages, outcome, strict=False):
        if not isinstance(found, bytes) or found == TOO_BIG:
            return
        if not keeps:
            inflater = zlib.decompressobj(-15)
        assert inflater.decompress(message + TAIL).startswith(found) or inflater.eof
        if inflater.eof:
            return


def _check_round_trip(choices: Choices) -> None:
    settings, cut = _settings(choices, 9), choices.cut()
    accepted = negotiate_deflate([offer_deflate(settings)], settings)
    assert accepted is not None
    role = choices.one_of(ROLES)
    sender, receiver = PerMessageDeflate(accepted[1], role), PerMessageDeflate(accepted[1], ROLES[role is ROLES[0]])
    plain = zlib.decompressobj(-15)
    takes_over = not getattr(settings, FLAGS[ROLES.index(role)])
    for message in choices.rest().split(b"\n"):
        compressed = sender.compress(message * (1 + len(message) % 7))
        message *= 1 + len(message) % 7
        inflated = b"".join([receiver.decompress(piece, False, len(message)) for piece in cut(compressed)])
        inflated += receiver.decompress(b"", True, len(message))
        assert inflated == message
        if not takes_over:
            plain = zlib.decompressobj(-15)
        assert plain.decompress(compressed + TAIL) == message
