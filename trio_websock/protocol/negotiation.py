"""Negotiation: what both sides agree on about permessage-deflate, in the words of HTTP headers.

In: ``Sec-WebSocket-Extensions`` header values and our settings. Out: the value to answer or to offer, and the
parameters. Knows nothing of what is then compressed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import RemoteError

if TYPE_CHECKING:
    from ..options import Deflate

__all__ = ["MIN_ZLIB_WINDOW_BITS", "DeflateParameters", "accept_deflate", "negotiate_deflate", "offer_deflate"]

_NAME = "permessage-deflate"
_MAX_WINDOW_BITS = 15
# zlib takes 8 for 9 where it writes a header, and refuses it for the raw stream of RFC 7692, which has none.
MIN_ZLIB_WINDOW_BITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class DeflateParameters:
    """What both sides agreed on, and how hard we try.

    Args:
        server_max_window_bits: window of what the server sends.
        client_max_window_bits: window of what the client sends.
        server_no_context_takeover: the server forgets its window after each message.
        client_no_context_takeover: the client does.
        level: zlib's level of what we send.
        memory_level: zlib's memory level of what we send.

    Source: RFC 7692 §7.1.
    """

    server_max_window_bits: int = _MAX_WINDOW_BITS
    client_max_window_bits: int = _MAX_WINDOW_BITS
    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    level: int = -1
    memory_level: int = 8


# The header, RFC 6455 §9.1 and §4.3: extensions apart by commas, their parameters by semicolons, values a token or a
# quoted token.

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_UP_TO_COMMA = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+')
_BEHIND_SEMICOLON = re.compile(r';((?:[^";]|"(?:[^"\\]|\\.)*"?)*)')
_PARAMETER = re.compile(rf'({_TOKEN})(?:[ \t]*=[ \t]*(?:({_TOKEN})|"((?:[^"\\]|\\.)*)"))?')
_QUOTED_PAIR = re.compile(r"\\(.)")
# §7.1.2: a decimal number from 8 to 15 without leading zeroes.
_WINDOW_BITS = re.compile(r"[89]|1[0-5]")

_PARAMETERS = {
    "server_no_context_takeover",
    "client_no_context_takeover",
    "server_max_window_bits",
    "client_max_window_bits",
}


class _Refused(Exception):
    """An offer that cannot be accepted, and why."""


@dataclass(frozen=True, slots=True)
class _Terms:
    """The parameters of one offer or response, as they stand there.

    ``None`` is an absent window; 0 is ``client_max_window_bits`` without a value.
    """

    server_no_context_takeover: bool
    client_no_context_takeover: bool
    server_max_window_bits: int | None
    client_max_window_bits: int | None


def _parse_extensions(values: Sequence[str]) -> Iterator[list[str]]:
    """Each extension as the list of its name and its parameters."""
    for extension in _UP_TO_COMMA.findall(",".join(values)):
        if extension.strip(" \t"):
            yield [part.strip(" \t") for part in _BEHIND_SEMICOLON.findall(";" + extension)]


def _parse_terms(parts: list[str]) -> _Terms:
    """The parameters behind the name.

    Raises:
        _Refused: one that is malformed, unknown, repeated, out of its range, or with a value where none belongs.
    """
    found: dict[str, str | None] = {}
    for part in parts:
        match = _PARAMETER.fullmatch(part)
        if match is None:
            raise _Refused(f"malformed parameter {part!r}")
        name, token, quoted = match.groups()
        if name not in _PARAMETERS:
            raise _Refused(f"unknown parameter {name!r}")
        if name in found:
            raise _Refused(f"repeated parameter {name!r}")
        found[name] = token if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
    return _Terms(
        _parse_flag(found, "server_no_context_takeover"),
        _parse_flag(found, "client_no_context_takeover"),
        _parse_window(found, "server_max_window_bits", allow_valueless=False),
        _parse_window(found, "client_max_window_bits", allow_valueless=True),
    )


def _parse_flag(found: dict[str, str | None], name: str) -> bool:
    if found.get(name) is not None:
        raise _Refused(f"{name} with a value: expected none")
    return name in found


def _parse_window(found: dict[str, str | None], name: str, allow_valueless: bool) -> int | None:
    if name not in found:
        return None
    value = found[name]
    if value is None and allow_valueless:
        return 0
    if value is None or not _WINDOW_BITS.fullmatch(value):
        raise _Refused(f"{name}={value}: expected a number from 8 to 15")
    return int(value)


# The server's side.


def negotiate_deflate(offers: Sequence[str], settings: Deflate) -> tuple[str, DeflateParameters] | None:
    """Choose the first acceptable offer; ``None`` if there is none.

    Args:
        offers: the values of every ``Sec-WebSocket-Extensions`` header of the request.
        settings: what we want.

    Returns:
        The value of our ``Sec-WebSocket-Extensions``, and the parameters.

    Source: RFC 7692 §5.1 and §7.1.
    """
    for name, *parts in _parse_extensions(offers):
        if name == _NAME:
            try:
                return _accept_offer(_parse_terms(parts), settings)
            except _Refused:
                continue  # §7.1: decline the offer; the next one may be a fallback
    return None


def _accept_offer(offer: _Terms, settings: Deflate) -> tuple[str, DeflateParameters]:
    server_bits = min(offer.server_max_window_bits or _MAX_WINDOW_BITS, settings.server_max_window_bits)
    if server_bits < MIN_ZLIB_WINDOW_BITS:
        raise _Refused(f"server_max_window_bits={server_bits}: zlib needs at least {MIN_ZLIB_WINDOW_BITS}")
    client_bits = _MAX_WINDOW_BITS
    # §7.1.2.2: without this parameter in the offer the client cannot be told to use a smaller window.
    if offer.client_max_window_bits is not None:
        client_bits = min(offer.client_max_window_bits or _MAX_WINDOW_BITS, settings.client_max_window_bits)
    parameters = DeflateParameters(
        server_max_window_bits=server_bits,
        client_max_window_bits=client_bits,
        server_no_context_takeover=offer.server_no_context_takeover or settings.server_no_context_takeover,
        # §7.1.1.2: a client that offers it does not take its context over; then we need not keep it either.
        client_no_context_takeover=offer.client_no_context_takeover or settings.client_no_context_takeover,
        level=settings.level,
        memory_level=settings.memory_level,
    )
    return _serialize_parameters(parameters, offer.server_max_window_bits is not None), parameters


def _serialize_parameters(parameters: DeflateParameters, always_server_bits: bool) -> str:
    parts = [_NAME]
    if parameters.server_no_context_takeover:
        parts.append("server_no_context_takeover")
    if parameters.client_no_context_takeover:
        parts.append("client_no_context_takeover")
    # §7.1.2.1: an offer with this parameter is accepted by answering it. Otherwise it saves the client memory.
    if always_server_bits or parameters.server_max_window_bits < _MAX_WINDOW_BITS:
        parts.append(f"server_max_window_bits={parameters.server_max_window_bits}")
    if parameters.client_max_window_bits < _MAX_WINDOW_BITS:
        parts.append(f"client_max_window_bits={parameters.client_max_window_bits}")
    return "; ".join(parts)


# The client's side.


def offer_deflate(settings: Deflate) -> str:
    """The value of a client's ``Sec-WebSocket-Extensions``: one offer.

    Source: RFC 7692 §7.1.
    """
    parts = [_NAME]
    if settings.server_no_context_takeover:
        parts.append("server_no_context_takeover")
    if settings.client_no_context_takeover:
        parts.append("client_no_context_takeover")
    if settings.server_max_window_bits < _MAX_WINDOW_BITS:
        parts.append(f"server_max_window_bits={settings.server_max_window_bits}")
    bits = _client_bits(settings)
    parts.append("client_max_window_bits" if bits == _MAX_WINDOW_BITS else f"client_max_window_bits={bits}")
    return "; ".join(parts)


def _client_bits(settings: Deflate) -> int:
    return max(settings.client_max_window_bits, MIN_ZLIB_WINDOW_BITS)


def accept_deflate(responses: Sequence[str], settings: Deflate) -> DeflateParameters | None:
    """Check a server's answer to :func:`offer_deflate`; ``None`` if it declined.

    Args:
        responses: the values of every ``Sec-WebSocket-Extensions`` header of the response.
        settings: those of the offer.

    Raises:
        RemoteError: an extension that was not offered, or parameters that do not answer the offer.

    Source: RFC 6455 §4.1, RFC 7692 §7.1.
    """
    extensions = list(_parse_extensions(responses))
    if not extensions:
        return None
    (name, *parts), *others = extensions
    if name != _NAME or others:
        given = ", ".join(responses)
        raise RemoteError(f"the server chose extensions {given!r}: expected {_NAME} at most", "RFC 6455 §9.1")
    try:
        return _check_response(_parse_terms(parts), settings)
    except _Refused as exc:
        raise RemoteError(f"the server's answer to {_NAME} has {exc}", "RFC 7692 §7.1") from None


def _check_response(response: _Terms, settings: Deflate) -> DeflateParameters:
    server_bits = response.server_max_window_bits or _MAX_WINDOW_BITS
    if server_bits > settings.server_max_window_bits:
        raise _Refused(f"server_max_window_bits={server_bits}: expected at most {settings.server_max_window_bits}")
    if settings.server_no_context_takeover and not response.server_no_context_takeover:
        raise _Refused("no server_no_context_takeover: expected it")
    offered = _client_bits(settings)
    client_bits = offered if response.client_max_window_bits is None else response.client_max_window_bits
    if not MIN_ZLIB_WINDOW_BITS <= client_bits <= offered:
        raise _Refused(f"client_max_window_bits={client_bits}: expected {MIN_ZLIB_WINDOW_BITS} to {offered}")
    return DeflateParameters(
        server_max_window_bits=server_bits,
        client_max_window_bits=client_bits,
        server_no_context_takeover=response.server_no_context_takeover,
        client_no_context_takeover=response.client_no_context_takeover or settings.client_no_context_takeover,
        level=settings.level,
        memory_level=settings.memory_level,
    )
