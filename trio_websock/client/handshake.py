"""The opening handshake, the client's side: what is asked, and whether the answer is a WebSocket.

In: an address and the options. Out: the request's bytes, and what both ends have agreed on, or an error that carries
the server's answer. Pure: sends and receives nothing.
"""

from __future__ import annotations

import base64
import os
from typing import NamedTuple, final

from ..errors import RemoteError
from ..options import Options
from ..protocol.deflate import DeflateParameters, accept_deflate, offer_deflate
from ..protocol.upgrade import accept_key
from ..request import Headers, Request
from .address import Address
from .answer import HandshakeResponse
from .failures import HandshakeError, UpgradeRejected
from .options import ClientOptions

__all__ = ["Agreement", "authorize", "check_response", "new_request", "serialize_request"]

_SECTION = "RFC 6455 §4.1"
_KEY_SIZE = 16


@final
class Agreement(NamedTuple):
    """What both ends have agreed on.

    Args:
        subprotocol: chosen by the server from those we offered.
        deflate: parameters of the compression.
    """

    subprotocol: str | None
    deflate: DeflateParameters | None


def authorize(authorization: tuple[str, str] | str | None) -> str | None:
    """The value of ``Authorization``.

    Source: RFC 7617 §2 and RFC 6750 §2.1.
    """
    if authorization is None:
        return None
    if isinstance(authorization, str):
        return f"Bearer {authorization}"
    return "Basic " + base64.b64encode(":".join(authorization).encode()).decode()


def new_request(address: Address, client: ClientOptions, options: Options, authorization: str | None) -> Request:
    """The request of a handshake, with a key of its own.

    Args:
        address: where it goes.
        client: for its further headers.
        options: for subprotocols and compression.
        authorization: the value of that header, if it may be sent there.

    Source: RFC 6455 §4.1.
    """
    given = Headers(client.headers)
    pairs = [
        ("Host", given.get("host", address.host_header)),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", base64.b64encode(os.urandom(_KEY_SIZE)).decode()),
        ("Sec-WebSocket-Version", "13"),
    ]
    if options.subprotocols:
        pairs.append(("Sec-WebSocket-Protocol", ", ".join(options.subprotocols)))
    if options.deflate is not None:
        pairs.append(("Sec-WebSocket-Extensions", offer_deflate(options.deflate)))
    replaced = {"host"}
    if authorization is not None:
        pairs.append(("Authorization", authorization))
        replaced.add("authorization")
    pairs += [(name, value) for name, value in given.pairs() if name.lower() not in replaced]
    scheme = "https" if address.is_secure else "http"
    return Request("GET", address.target, Headers(pairs), scheme=scheme)


def serialize_request(request: Request) -> bytes:
    """The bytes of a request without a body."""
    lines = [
        f"{request.method} {request.target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in request.headers.pairs()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def check_response(request: Request, response: HandshakeResponse, options: Options) -> Agreement:
    """Check the server's answer.

    Raises:
        UpgradeRejected: it is no 101.
        HandshakeError: it is a 101 that does not answer the request.

    Source: RFC 6455 §4.1.
    """
    if response.status != 101:
        raise UpgradeRejected(response)
    headers = response.headers
    _check_tokens(response, "Upgrade", "websocket")
    _check_tokens(response, "Connection", "upgrade")
    expected = accept_key(request.headers["sec-websocket-key"])
    if headers.get_all("sec-websocket-accept") != [expected]:
        came = ", ".join(headers.get_all("sec-websocket-accept"))
        raise HandshakeError(f"Sec-WebSocket-Accept {came!r} came: expected {expected!r}", _SECTION, response)
    return Agreement(_check_subprotocol(response, options), _check_extensions(response, options))


def _check_tokens(response: HandshakeResponse, name: str, token: str) -> None:
    tokens = [given.lower() for given in response.headers.tokens(name)]
    if token not in tokens:
        raise HandshakeError(f"{name}: {', '.join(tokens)!r} came: expected {token}", _SECTION, response)


def _check_subprotocol(response: HandshakeResponse, options: Options) -> str | None:
    chosen = response.headers.get_all("sec-websocket-protocol")
    if not chosen and not options.require_subprotocol:
        return None
    if len(chosen) != 1 or chosen[0] not in options.subprotocols:
        came = f"subprotocol {', '.join(chosen)!r}" if chosen else "no subprotocol"
        offered = ", ".join(options.subprotocols) or "none"
        raise HandshakeError(f"{came} came: offered were {offered}", _SECTION, response)
    return chosen[0]


def _check_extensions(response: HandshakeResponse, options: Options) -> DeflateParameters | None:
    values = response.headers.get_all("sec-websocket-extensions")
    if options.deflate is None:
        if any(value.strip(" \t,") for value in values):
            raise HandshakeError(f"extensions {', '.join(values)!r} came: none was offered", _SECTION, response)
        return None
    try:
        return accept_deflate(values, options.deflate)
    except RemoteError as exc:
        raise HandshakeError(str(exc).removesuffix(f" ({exc.section})"), exc.section, response) from exc
