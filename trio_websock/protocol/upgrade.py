"""The upgrade: is this request a WebSocket's opening handshake, and do we take it.

In: a parsed request. Out: the value of ``Sec-WebSocket-Accept`` and the chosen subprotocol, or an
:class:`~trio_websock.errors.UpgradeRefused` that says what came and what was expected. Knows no connection and never
answers by itself.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ..errors import UpgradeRefused, describe
from ..headers import values_by_name
from ..messages import AWAIT_HINT, close_forgotten

if TYPE_CHECKING:
    from ..options import Origins
    from ..request import Headers, Request

__all__ = ["accept_key", "check_origin", "check_upgrade_request", "is_upgrade", "negotiate_subprotocol"]

_Given: TypeAlias = Mapping[str, list[str]]
"""Every value of every header, by its name in lower case."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
_VERSION = "13"
_KEY_SIZE = 16  # bytes, once decoded; §4.1

# RFC 9110 §15.5.22: a 426 names the protocol that is expected.
_UPGRADE_HEADERS = {"Connection": "upgrade", "Upgrade": "websocket"}

_HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+;=]+"
_HOST_HEADER = re.compile(rf"({_HOST})(?::([0-9]{{0,5}}))?")
_ORIGIN = re.compile(rf"([A-Za-z][A-Za-z0-9+\-.]*)://({_HOST})(?::([0-9]{{0,5}}))?")
_NONE_SPOKEN = "one is required, but this server speaks none"
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


def is_upgrade(request: Request) -> bool:
    """Whether ``request`` asks for a WebSocket: ``Connection: upgrade`` and ``Upgrade: websocket``.

    Source: RFC 6455 §4.2.1.
    """
    given = values_by_name(request.headers)
    return all(_has_token(given.get(name.lower(), ()), token) for name, token in _UPGRADE_HEADERS.items())


def _has_token(values: Iterable[str], token: str) -> bool:
    for value in values:
        folded = value.lower()
        if folded == token or token in [part.strip(" \t") for part in folded.split(",")]:
            return True
    return False


def accept_key(key: str) -> str:
    """``Sec-WebSocket-Accept`` for a ``Sec-WebSocket-Key``.

    Source: RFC 6455 §4.2.2.
    """
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return binascii.b2a_base64(digest, newline=False).decode()


def check_upgrade_request(request: Request) -> str:
    """Check an opening handshake, in the order of the RFC; the Origin is :func:`check_origin`'s affair.

    Returns:
        The value of ``Sec-WebSocket-Accept``.

    Raises:
        UpgradeRefused: 400, 426 or 505, with the reason.

    Source: RFC 6455 §4.2.1.
    """
    _check_request_line(request)
    given = values_by_name(request.headers)
    _check_host(given)
    _check_upgrade_headers(given)
    _check_version(given)
    return accept_key(_check_key(given))


def _check_request_line(request: Request) -> None:
    version, method = request.http_version, request.method
    if version != "1.1":
        status = 400 if version == "1.0" else 505
        raise UpgradeRefused(status, f"HTTP/{version} came: a WebSocket needs HTTP/1.1", section="RFC 6455 §4.2.1")
    if method != "GET":
        raise UpgradeRefused(400, f"method {method} came: a WebSocket needs GET", section="RFC 6455 §4.2.1")


def _get_only(given: _Given, name: str) -> str:
    """The value of a header that must stand there once."""
    values = given.get(name.lower(), ())
    if len(values) != 1:
        came = f"{len(values)} {name} headers" if values else f"no {name} header"
        raise UpgradeRefused(400, f"{came} came: expected exactly one", section="RFC 6455 §4.2.1")
    return values[0].strip(" \t")


def _check_host(given: _Given) -> None:
    host = _get_only(given, "Host")
    if not _HOST_HEADER.fullmatch(host):
        raise UpgradeRefused(400, f"Host {host!r} came: expected a host and maybe a port", section="RFC 9110 §7.2")


def _check_upgrade_headers(given: _Given) -> None:
    for name, token in _UPGRADE_HEADERS.items():
        values = given.get(name.lower(), ())
        if not _has_token(values, token):
            joined = ", ".join(values)
            came = f"{name}: {joined}" if joined else f"no {name} header"
            reason = f"{came} came: only WebSocket is served here, expected {name}: {token}"
            raise UpgradeRefused(426, reason, _UPGRADE_HEADERS, section="RFC 6455 §4.2.1")


def _check_version(given: _Given) -> None:
    name = "Sec-WebSocket-Version"
    version = _get_only(given, name) if name.lower() in given else None
    if version != _VERSION:
        came = f"no {name} header" if version is None else f"{name}: {version}"
        answer = {**_UPGRADE_HEADERS, name: _VERSION}
        raise UpgradeRefused(426, f"{came} came: expected {_VERSION}", answer, section="RFC 6455 §4.4")


def _check_key(given: _Given) -> str:
    key = _get_only(given, "Sec-WebSocket-Key")
    try:
        size = len(binascii.a2b_base64(key, strict_mode=True))
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        size = None
    if size != _KEY_SIZE:
        came = "that is not base64" if size is None else f"of {size} bytes"
        reason = f"a Sec-WebSocket-Key {came} came: expected {_KEY_SIZE} bytes in base64"
        raise UpgradeRefused(400, reason, section="RFC 6455 §4.2.1")
    return key


def negotiate_subprotocol(request: Request, supported: Sequence[str], required: bool) -> str | None:
    """The first of ``supported`` that the client offers; ``None`` if they have none in common.

    Args:
        request: the opening handshake.
        supported: ours, most wanted first.
        required: refuse a client without any of them.

    Raises:
        UpgradeRefused: 400, none in common and one is required.

    Source: RFC 6455 §4.2.2; that our order decides is WebSock's way and ours.
    """
    offered = request.subprotocols
    for name in supported:
        if name in offered:
            return name
    if required:
        came = f"subprotocols {', '.join(offered)}" if offered else "no subprotocol"
        expected = f"expected one of {', '.join(supported)}" if supported else _NONE_SPOKEN
        reason = f"{came} came: {expected}"
        raise UpgradeRefused(400, reason, section="RFC 6455 §4.2.2")
    return None


# Origins.


class _Origin(NamedTuple):
    """An origin to compare: lower case, the default port filled in."""

    scheme: str
    host: str
    port: int | None

    def matches(self, wanted: _Origin) -> bool:
        if (self.scheme, self.port) != (wanted.scheme, wanted.port):
            return False
        if wanted.host.startswith("*."):
            # Subdomains only: example.com itself is another site than *.example.com.
            return self.host.endswith(wanted.host[1:]) and self.host != wanted.host[1:]
        return self.host == wanted.host


def check_origin(request: Request, origins: Origins) -> None:
    """Refuse a browser's script from a site that may not connect.

    A request without an ``Origin`` comes from no browser and is always allowed.

    Args:
        request: the opening handshake.
        origins: who may connect, see :data:`~trio_websock.options.Origins`.

    Raises:
        UpgradeRefused: 403, the origin may not; 400, several origins.
        TypeError: a function of the application was asked and returned neither ``True`` nor ``False``.

    Source: RFC 6455 §4.2.2 and §10.2.
    """
    values = request.headers.get_all("origin")
    if not values:
        return
    given = _get_only({"origin": values}, "Origin")
    if not _is_allowed(given, request, origins):
        reason = f"Origin {given!r} came: expected {_expected_origins(request, origins)}"
        raise UpgradeRefused(403, reason, section="RFC 6455 §10.2")


def _is_allowed(given: str, request: Request, origins: Origins) -> bool:
    if callable(origins):
        return _verdict_of(origins(request))
    if origins == "any":
        return True
    origin = _parse_origin(given)
    if origin is None:  # "null", or no origin at all
        return False
    if origins == "same":
        return _is_same(origin, request.headers)
    return any(origin.matches(wanted) for name in origins if (wanted := _parse_origin(name)))


def _verdict_of(answer: object) -> bool:
    # Not by its truth: that of a coroutine that nobody awaits would let everybody in.
    if isinstance(answer, bool):
        return answer
    hint = AWAIT_HINT if close_forgotten(answer) else ""
    raise TypeError(f"the function given as origins returned {describe(answer)}: expected True or False{hint}")


def _parse_origin(text: str) -> _Origin | None:
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return None
    scheme, host, port = match.groups()
    scheme = scheme.lower()
    return _Origin(scheme, host.lower(), int(port) if port else _DEFAULT_PORTS.get(scheme))


def _is_same(origin: _Origin, headers: Headers) -> bool:
    match = _HOST_HEADER.fullmatch(headers.get("host", "").strip(" \t"))
    if match is None:
        return False
    host, port = match.groups()
    # TLS may end at a proxy, so that we cannot know the scheme: the Origin's says which port a bare host means.
    return origin.host == host.lower() and origin.port == (int(port) if port else _DEFAULT_PORTS.get(origin.scheme))


def _expected_origins(request: Request, origins: Origins) -> str:
    if callable(origins):
        return "one that the application allows"
    if origins == "same":
        return f"that of the Host, {request.headers.get('host', '')}"
    return f"one of {', '.join(origins)}"
