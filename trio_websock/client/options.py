"""Every option of a client beside those of a connection: name, unit, default, and what is allowed.

In: keywords of ``open_websocket`` and ``connect``. Out: frozen dataclasses whose values have all been checked.
"""

from __future__ import annotations

import math
import os
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias, TypedDict

import trio

from ..errors import OptionError
from ..headers import FIELD_NAME, FIELD_VALUE, HeaderInput, Headers
from ..option_checks import check_context, check_path, check_seconds
from ..options import Deflate, Options, check_names
from .proxy import ENVIRONMENT, check_proxy

__all__ = ["ClientKeywords", "ClientOptions", "HandlerKeywords", "StreamSource", "split_client_keywords"]

StreamSource: TypeAlias = trio.abc.Stream | Callable[[], Awaitable[trio.abc.Stream]]
"""A connection that is open already, or an async function that opens one, asked at every attempt."""

# What the handshake itself says.
_OURS = frozenset({"connection", "content-length", "transfer-encoding", "upgrade"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """How a client reaches its server; keywords of ``open_websocket`` and ``connect``.

    Args:
        headers: further headers of the request, a mapping or a list of pairs; ``Host`` may be replaced.
        authorization: ``(user, password)`` for Basic, or a token for Bearer; wins over what the URL says.
        ssl_context: for ``wss``; ``None`` trusts what the system trusts.
        path: a Unix socket to connect to, instead of the URL's host and port.
        stream: a connection that is open already, owned from now on; or an async function that opens one.
        proxy: the URL of one, ``http``, ``https``, ``socks5``, ``socks5h``, ``socks4`` or ``socks4a``, with user and
            password if it wants them; ``True`` or ``"environment"`` for what the environment's variables say; ``None``
            or ``False`` connects directly.
        proxy_ssl_context: for a proxy at ``https://``; ``None`` trusts what the system trusts.
        connect_timeout: seconds for everything up to the open WebSocket: names, proxy, TCP, TLS, redirects, the answer.
        max_redirects: answers with a new place that are followed; 0 follows none.
    """

    headers: HeaderInput = ()
    authorization: tuple[str, str] | str | None = field(default=None, repr=False)
    ssl_context: ssl.SSLContext | None = None
    path: str | os.PathLike[str] | None = None
    stream: StreamSource | None = None
    proxy: str | bool | None = field(default=None, repr=False)
    proxy_ssl_context: ssl.SSLContext | None = None
    connect_timeout: float = 10
    max_redirects: int = 5

    def __post_init__(self) -> None:
        object.__setattr__(self, "headers", _checked_headers(self.headers))
        _check_authorization(self.authorization)
        for name in ("ssl_context", "proxy_ssl_context"):
            check_context(name, getattr(self, name), server_side=False)
        if not (self.stream is None or isinstance(self.stream, trio.abc.Stream) or callable(self.stream)):
            raise OptionError("stream", self.stream, "a trio.abc.Stream, an async function that opens one, or None")
        if self.path is not None:
            object.__setattr__(self, "path", check_path("path", self.path))
        if self.stream is not None and self.path is not None:
            raise TypeError("a client connects to a path or over a stream, not both")
        check_proxy(self.proxy)
        if isinstance(self.proxy, str) and self.proxy != ENVIRONMENT and (self.stream is not None or self.path):
            raise TypeError("a client connects through a proxy, or to a path or over a stream, not both")
        check_seconds("connect_timeout", self.connect_timeout)
        count = self.max_redirects
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise OptionError("max_redirects", count, "zero or a positive integer")


class ClientKeywords(TypedDict, total=False):
    """The keywords of :class:`ClientOptions`, and those of :class:`Options` that mean something to a client."""

    headers: HeaderInput
    authorization: tuple[str, str] | str | None
    ssl_context: ssl.SSLContext | None
    path: str | os.PathLike[str] | None
    stream: StreamSource | None
    proxy: str | bool | None
    proxy_ssl_context: ssl.SSLContext | None
    connect_timeout: float
    max_redirects: int
    timeout: float
    compress: bool | Deflate
    max_message_size: int | None
    max_frame_size: int | None
    max_empty_fragments: int
    validate_utf8: bool
    read_ahead_messages: int
    read_ahead_size: int
    ping_interval: float | None
    ping_timeout: float
    write_timeout: float
    close_timeout: float
    subprotocols: list[str] | tuple[str, ...]
    require_subprotocol: bool


class HandlerKeywords(ClientKeywords, total=False):
    """The keywords of a client that runs a handler: those of ``connect``."""

    mailbox_size: int
    terminate_timeout: float
    cancel_on_disconnect: bool


_CLIENT_NAMES = frozenset(field.name for field in fields(ClientOptions))

# A server is silent whenever it has nothing to say, so that silence alone ends nothing; and only by asking does one
# learn that it has vanished.
_DEFAULTS: dict[str, Any] = {"timeout": math.inf, "ping_interval": 20}


def split_client_keywords(keywords: ClientKeywords, known: type[ClientKeywords]) -> tuple[ClientOptions, Options]:
    """The two halves of a client's keywords; names that ``known`` does not have are a ``TypeError``."""
    check_names(keywords, frozenset(known.__annotations__))
    given: dict[str, Any] = dict(keywords)
    client = {name: value for name, value in given.items() if name in _CLIENT_NAMES}
    connection = {name: value for name, value in given.items() if name not in _CLIENT_NAMES}
    options = Options(**(_DEFAULTS | connection))
    if options.require_subprotocol and not options.subprotocols:  # a server may choose only what was offered
        raise OptionError("require_subprotocol", True, "False where no subprotocols are offered")
    return ClientOptions(**client), options


def _checked_headers(given: HeaderInput) -> Headers:
    try:
        headers = Headers(given)
    except TypeError as exc:
        expected = f"a mapping or a list of (name, value) pairs, all of them str ({exc})"
        raise OptionError("headers", type(given), expected) from None  # not the value: it may be a secret
    for name, value in headers.pairs():
        if not FIELD_NAME.fullmatch(name) or not FIELD_VALUE.fullmatch(value):
            # Not the value: it may be a secret, a token that was read with the newline behind it say.
            raise OptionError("headers", (name, "…"), "names and values that HTTP allows (RFC 9110 §5)")
        if name.lower() in _OURS or name.lower().startswith("sec-websocket-"):
            raise OptionError("headers", (name, "…"), "headers that are not the handshake's own")
    return headers


def _check_authorization(given: object) -> None:
    if given is None:
        return
    expected = "(user, password) or a token"
    parts = (given,) if isinstance(given, str) else given
    if not isinstance(parts, tuple) or not all(isinstance(part, str) for part in parts) or len(parts) > 2:
        raise OptionError("authorization", type(given), expected)  # not the value: it is a secret
    if parts is given and (len(parts) != 2 or ":" in parts[0]):
        raise OptionError("authorization", type(given), f"{expected}; a user has no colon (RFC 7617 §2)")
    if not all(_is_encodable(part) for part in parts):
        raise OptionError("authorization", type(given), f"{expected}, of Unicode characters")
    if isinstance(given, str) and not re.fullmatch(r"[\x21-\x7e]+", given):
        raise OptionError("authorization", type(given), "a token of printable ASCII characters")


def _is_encodable(text: str) -> bool:
    try:
        return text.encode() is not None
    except UnicodeEncodeError:  # lone surrogates, as an undecodable word of a command line has
        return False
