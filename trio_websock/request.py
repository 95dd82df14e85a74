"""An HTTP request as the application sees it.

In: the parsed head and body. Out: a value without behaviour, the same for every host. Knows neither how the bytes
were parsed nor what will become of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote

from .headers import HeaderInput, Headers, MultiMapping, trusted_headers

__all__ = ["HeaderInput", "Headers", "Query", "Request", "authority_of", "trusted_headers"]

_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/?#]*")  # of an absolute form, RFC 9112 §3.2.2


class Query(MultiMapping):
    """The query of a URL, decoded; a name may have several values."""

    __slots__ = ()


@dataclass(frozen=True, eq=False, init=False)
class Request:
    """An HTTP request, before anything is decided about it.

    Args:
        method: as sent, e.g. ``"GET"``.
        target: as sent: path and query, still percent-encoded.
        headers: every header field; a mapping or a list of pairs becomes :class:`Headers`.
        http_version: ``"1.0"``, ``"1.1"`` or ``"2"``.
        body: the whole body of a plain request.
        scheme: ``"http"`` or ``"https"``; TLS that ends at a proxy is not seen here.
        client: address of the peer, ``(host, port)``; ``None`` on a Unix socket.
        client_certificate: what the peer's TLS certificate says, as ``ssl.SSLSocket.getpeercert`` tells it; ``None``
            without one that was asked for and verified.
    """

    method: str
    target: str
    headers: Headers
    http_version: str
    body: bytes
    scheme: str
    client: tuple[str, int] | None
    client_certificate: Mapping[str, Any] | None

    def __init__(
        self,
        method: str,
        target: str,
        headers: HeaderInput = (),
        http_version: str = "1.1",
        body: bytes = b"",
        scheme: str = "http",
        client: tuple[str, int] | None = None,
        client_certificate: Mapping[str, Any] | None = None,
    ) -> None:
        # By hand, because what is given as headers is not always what they are; a __post_init__ would cost a call.
        put = object.__setattr__
        put(self, "method", method)
        put(self, "target", target)
        put(self, "headers", headers if isinstance(headers, Headers) else Headers(headers))
        put(self, "http_version", http_version)
        put(self, "body", body)
        put(self, "scheme", scheme)
        put(self, "client", client)
        put(self, "client_certificate", client_certificate)

    @cached_property
    def path(self) -> str:
        """The path, percent-decoded, without the query."""
        return unquote(self._split_target()[0])

    @cached_property
    def query(self) -> Query:
        """The query, decoded; empty if there is none."""
        return Query(parse_qsl(self._split_target()[1], keep_blank_values=True))

    @property
    def origin(self) -> str | None:
        """The ``Origin`` header: the site a browser's script came from; ``None`` for most other clients."""
        return self.headers.get("origin")

    @property
    def subprotocols(self) -> list[str]:
        """What the client offers in ``Sec-WebSocket-Protocol``, most wanted first."""
        return self.headers.tokens("sec-websocket-protocol")

    def _split_target(self) -> tuple[str, str]:
        # By hand, because urlsplit raises for an authority it does not like, and the peer chooses that.
        authority = _AUTHORITY.match(self.target)
        path, _, query = self.target[authority.end() if authority else 0 :].partition("?")
        return path or "/", query


def authority_of(host: str, port: int) -> str:
    """Host and port as a URL and a ``Host`` header have them: an IPv6 address in brackets.

    Source: RFC 3986 §3.2.2.
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
