"""An HTTP request as the application sees it.

In: the parsed head and body. Out: a value without behaviour, the same for every host. Knows neither how the bytes
were parsed nor what will become of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote

from .errors import describe

__all__ = ["FIELD_NAME", "FIELD_VALUE", "HeaderInput", "Headers", "Query", "Request", "trusted_headers"]

HeaderInput: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""Headers as an application gives them: a mapping, or pairs where a name may be repeated."""

# What may be sent as a header: a line break in either part would let a stranger write our messages.
FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.1
FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 §5.5

_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/?#]*")  # of an absolute form, RFC 9112 §3.2.2


class _MultiMapping(Mapping[str, str]):
    """Names with one or more values, in the order given; indexing gives the first value."""

    __slots__ = ("_first_values", "_pairs")

    def __init__(self, pairs: HeaderInput = ()) -> None:
        self._first_values: dict[str, str] | None = None
        self._pairs: tuple[tuple[str, str], ...]
        if isinstance(pairs, _MultiMapping):  # as a mapping it would show the first value of each name only
            self._pairs = pairs._pairs
        else:
            self._pairs = tuple(_checked_pairs(pairs))

    @staticmethod
    def _fold(name: str) -> str:
        return name

    def get_all(self, name: str) -> list[str]:
        """Every value of ``name``, in order; an empty list if there is none."""
        wanted = self._fold(name)
        return [value for key, value in self._pairs if self._fold(key) == wanted]

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Every name and value as they came."""
        return self._pairs

    def __getitem__(self, name: str) -> str:
        wanted = self._fold(name)
        if self._first_values is not None:
            return self._first_values[wanted]
        for key, value in self._pairs:
            if self._fold(key) == wanted:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._index())

    def __len__(self) -> int:
        return len(self._index())

    def _index(self) -> dict[str, str]:
        # Only for whoever looks at all names: by searching, dict(query) would be quadratic in what a peer sends. Most
        # connections are asked for a few headers once, and would only keep the memory.
        if self._first_values is None:
            self._first_values = {}
            for name, value in self._pairs:
                self._first_values.setdefault(self._fold(name), value)
        return self._first_values

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._pairs)!r})"


def _checked_pairs(pairs: HeaderInput) -> Iterator[tuple[str, str]]:
    for name, value in pairs.items() if isinstance(pairs, Mapping) else pairs:
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"a header must be a name and a value, both str, not {describe((name, value))}")
        yield name, value


class Headers(_MultiMapping):
    """HTTP headers: names in any case, repeated values kept.

    ``headers["name"]`` is the first value, ``headers.get_all("name")`` all of them.
    """

    __slots__ = ()

    @staticmethod
    def _fold(name: str) -> str:
        return name.lower()

    def get_all(self, name: str) -> list[str]:
        # Asked a dozen times for each handshake: most names differ in length already.
        wanted, size = name.lower(), len(name)
        return [value for key, value in self._pairs if len(key) == size and key.lower() == wanted]

    def __getitem__(self, name: str) -> str:
        if self._first_values is not None:
            return self._first_values[name.lower()]
        for value in self.get_all(name):
            return value
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def tokens(self, name: str) -> list[str]:
        """The comma-separated elements of every ``name`` header, stripped, in order."""
        values = self.get_all(name)
        if not values:
            return []
        joined = ",".join(values)
        return [token for token in (part.strip(" \t") for part in joined.split(",")) if token]


def trusted_headers(pairs: Iterable[tuple[str, str]]) -> Headers:
    """Headers made of what a parser has decoded: it is ``str`` for certain, and is not looked at one by one."""
    headers = Headers.__new__(Headers)
    headers._first_values = None
    headers._pairs = tuple(pairs)
    return headers


class Query(_MultiMapping):
    """The query of a URL, decoded; a name may have several values."""

    __slots__ = ()


@dataclass(frozen=True, eq=False)
class Request:
    """An HTTP request, before anything is decided about it.

    Args:
        method: as sent, e.g. ``"GET"``.
        target: as sent: path and query, still percent-encoded.
        headers: every header field.
        http_version: ``"1.0"``, ``"1.1"`` or ``"2"``.
        body: the whole body of a plain request.
        scheme: ``"http"`` or ``"https"``; TLS that ends at a proxy is not seen here.
        client: address of the peer, ``(host, port)``; ``None`` on a Unix socket.
        client_certificate: what the peer's TLS certificate says, as ``ssl.SSLSocket.getpeercert`` tells it; ``None``
            without one that was asked for and verified.
    """

    method: str
    target: str
    headers: Headers = field(default_factory=Headers)
    http_version: str = "1.1"
    body: bytes = b""
    scheme: str = "http"
    client: tuple[str, int] | None = None
    client_certificate: Mapping[str, Any] | None = None

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
