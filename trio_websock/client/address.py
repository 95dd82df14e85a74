"""The URL of a WebSocket, taken apart and checked.

In: what the application or a redirect wrote. Out: where to connect, what to ask for, and as whom. Pure: looks no
name up and opens nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urldefrag, urljoin, urlsplit

from ..errors import OptionError
from ..request import authority_of

__all__ = ["NOT_PRINTABLE", "Address", "hide_secrets", "parse_url", "resolve_redirect"]

NOT_PRINTABLE = re.compile(r"[\x00-\x20\x7f]")

_DEFAULT_PORTS = {"ws": 80, "wss": 443}
_HTTP_SCHEMES = {"http": "ws", "https": "wss"}
_SAFE = "%/:;=&?@~+!$,'()*[]"  # what may stand in a path and a query as it is, RFC 3986 §3.3 and §3.4
# As far as it could be a user and password: whoever forgets to escape a slash, or "//", has it in there.
_USER = re.compile(r"(?:(?<=//)|\A(?![^/]*//)).*@")
_QUERY = re.compile(r"\?[^#]+")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a WebSocket is.

    Args:
        scheme: ``"ws"`` or ``"wss"``.
        host: name or address, without brackets; ASCII.
        port: TCP port.
        target: path and query, percent-encoded.
        credentials: user and password, if the URL has them.
    """

    scheme: str
    host: str
    port: int
    target: str
    credentials: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def is_secure(self) -> bool:
        """Whether TLS is asked for."""
        return self.scheme == "wss"

    @property
    def host_header(self) -> str:
        """The value of ``Host``.

        Source: RFC 6455 §4.1.
        """
        authority = authority_of(self.host, self.port)
        return authority.rpartition(":")[0] if self.port == _DEFAULT_PORTS[self.scheme] else authority

    @property
    def url(self) -> str:
        """The URL without credentials."""
        return f"{self.scheme}://{self.host_header}{self.target}"

    @property
    def shown(self) -> str:
        """The URL as errors tell it: without its query, in which tokens travel."""
        return _QUERY.sub("?…", self.url)

    def shares_origin(self, other: Address) -> bool:
        """Whether what is secret here may be told there."""
        return (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port)


def parse_url(url: str) -> Address:
    """Take a URL apart.

    Raises:
        OptionError: it is not the URL of a WebSocket.

    Source: RFC 6455 §3.
    """
    if not isinstance(url, str):
        raise _refusal(url, "a str")
    if NOT_PRINTABLE.search(url):
        raise _refusal(url, "a URL without spaces and control characters")
    if "#" in url:
        raise _refusal(url, "a URL without '#': a WebSocket has no fragments (RFC 6455 §3; write %23)")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        detail = "" if "@" in url else f" ({exc})"  # which may quote what is a password in truth
        raise _refusal(url, f"a URL{detail}") from exc
    if parts.scheme not in _DEFAULT_PORTS:
        raise _refusal(url, "a URL that begins with ws:// or wss://")
    if not host or port == 0:
        raise _refusal(url, "a URL with a host, and a port from 1 to 65535 if any")
    port = port or _DEFAULT_PORTS[parts.scheme]
    return Address(parts.scheme, _ascii_host(url, host), port, _target_of(url, parts), _credentials_of(url, parts))


def _target_of(url: str, parts: SplitResult) -> str:
    try:
        path, query = quote(parts.path or "/", safe=_SAFE), quote(parts.query, safe=_SAFE)
    except UnicodeError as exc:
        raise _refusal(url, "a URL of Unicode characters") from exc
    return f"{path}?{query}" if query else path


def _ascii_host(url: str, host: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError as exc:
        raise _refusal(url, f"a URL with a host name ({exc})") from exc


def _credentials_of(url: str, parts: SplitResult) -> tuple[str, str] | None:
    if parts.username is None:
        return None
    user = unquote(parts.username)
    if ":" in user:
        raise _refusal(url, "a URL whose user has no colon (RFC 7617 §2)")
    return user, unquote(parts.password or "")


def _refusal(url: object, expected: str) -> OptionError:
    # An error is logged, and a password must not be.
    return OptionError("url", hide_secrets(url) if isinstance(url, str) else url, expected)


def hide_secrets(url: str) -> str:
    """What may be told of something that should have been a URL: no user and password, and no query."""
    return _QUERY.sub("?…", _USER.sub("…@", url, count=1))


def resolve_redirect(address: Address, location: str) -> Address:
    """Where the ``Location`` of an answer leads; ``http`` and ``https`` stand for their WebSockets.

    Raises:
        OptionError: it is not the URL of a WebSocket.

    Source: RFC 9110 §10.2.2 and §15.4; a fragment is the browser's affair.
    """
    joined = urldefrag(urljoin(address.url, location)).url
    scheme, colon, rest = joined.partition(":")
    return parse_url(_HTTP_SCHEMES.get(scheme.lower(), scheme) + colon + rest)
