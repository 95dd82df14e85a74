"""Every option of a connection and of a server: name, unit, default, and what is allowed.

In: keywords of ``serve`` and ``upgrade``. Out: frozen dataclasses whose values have all been checked, so that
no room behind this one checks again.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict

from .errors import OptionError
from .headers import FIELD_NAME
from .option_checks import (
    check_asgi,
    check_context,
    check_count,
    check_flag,
    check_function,
    check_path,
    check_range,
    check_seconds,
)

if TYPE_CHECKING:
    import socket
    import ssl

    import trio

    from .request import Request

__all__ = [
    "CONNECTION_NAMES",
    "STREAM_NAMES",
    "AsgiApplication",
    "ConnectionKeywords",
    "Deflate",
    "Options",
    "Origins",
    "ServerKeywords",
    "ServerOptions",
    "StreamKeywords",
    "check_defaults",
    "check_names",
    "split_keywords",
]

Origins: TypeAlias = 'Literal["same", "any"] | Sequence[str] | Callable[[Request], bool]'
"""Who may connect from a browser: ``"same"``, ``"any"``, a list of origins, or a function of the request."""

# Any, because every framework spells the three in its own way, and no two ways fit each other.
AsgiApplication: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI 3 application: called with scope, ``receive`` and ``send``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflate:
    """Settings of permessage-deflate (RFC 7692).

    The defaults trade a little ratio for memory and time: about 38 KiB per compressing connection instead of zlib's
    268, and about a third of its CPU time for messages of some KiB.

    The names say who sends, and below is what they mean to a server. To a client ``client_*`` is about what we send,
    and ``server_*`` is asked of the server, which may decline compression if it cannot.

    Args:
        server_max_window_bits: window of what we send, 9 to 15 (2**bits bytes).
        client_max_window_bits: window asked of the peer where it offers the choice, 8 to 15.
        server_no_context_takeover: forget the window after each message we send.
        client_no_context_takeover: ask the peer to do so.
        level: zlib's level, 0 to 9, or -1 for its own default, which is 6.
        memory_level: zlib's memory level, 1 to 9.
    """

    server_max_window_bits: int = 12
    client_max_window_bits: int = 12
    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    level: int = 1
    memory_level: int = 5

    def __post_init__(self) -> None:
        # zlib cannot produce raw deflate with a window of 256 bytes, so 8 is only ever the peer's.
        check_range("server_max_window_bits", self.server_max_window_bits, 9, 15)
        check_range("client_max_window_bits", self.client_max_window_bits, 8, 15)
        check_flag("server_no_context_takeover", self.server_no_context_takeover)
        check_flag("client_no_context_takeover", self.client_no_context_takeover)
        check_range("level", self.level, -1, 9)
        check_range("memory_level", self.memory_level, 1, 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What one connection does; keywords of ``upgrade`` and, for all its connections, of ``serve``.

    Args:
        timeout: seconds without a byte from the peer until it is closed with 1001; ``math.inf`` never.
        compress: ``True`` or a :class:`Deflate` accepts permessage-deflate where the client offers it.
        max_message_size: bytes of a message, after inflating; ``None`` for no limit.
        max_frame_size: bytes of one data frame's payload; ``None``: only the message counts.
        max_empty_fragments: empty fragments in one message before it is refused with 1008.
        validate_utf8: ``False`` decodes text with surrogate escapes instead of refusing it.
        mailbox_size: items that wait in the mailbox before a sender has to.
        read_ahead_messages: messages read while a callback is running; beyond it TCP pushes back.
        read_ahead_size: the same in bytes.
        ping_interval: seconds between keepalive pings; ``None`` sends none.
        ping_timeout: seconds for anything to arrive after a keepalive ping.
        write_timeout: seconds in which the socket must take at least one waiting byte.
        close_timeout: seconds to wait for the peer's close after ours.
        terminate_timeout: seconds for ``terminate``.
        cancel_on_disconnect: cancel a running callback when the peer is gone.
        subprotocols: what we speak, most wanted first.
        require_subprotocol: refuse with 400 a client that offers none of them.
        origins: who may connect from a browser, see :data:`Origins`.
    """

    timeout: float = 60
    compress: bool | Deflate = False
    max_message_size: int | None = 1024 * 1024
    max_frame_size: int | None = None
    max_empty_fragments: int = 1024
    validate_utf8: bool = True
    mailbox_size: int = 1024
    read_ahead_messages: int = 64
    read_ahead_size: int = 256 * 1024
    ping_interval: float | None = None
    ping_timeout: float = 20
    write_timeout: float = 30
    close_timeout: float = 10
    terminate_timeout: float = 10
    cancel_on_disconnect: bool = False
    subprotocols: Sequence[str] = ()
    require_subprotocol: bool = False
    origins: Origins = "same"

    def __post_init__(self) -> None:
        for name in ("timeout", "ping_timeout", "write_timeout", "close_timeout", "terminate_timeout"):
            check_seconds(name, getattr(self, name))
        if self.ping_interval is not None:
            check_seconds("ping_interval", self.ping_interval)
        for name in ("max_message_size", "max_frame_size"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), "a positive number of bytes or None")
        for name in ("max_empty_fragments", "mailbox_size", "read_ahead_messages", "read_ahead_size"):
            check_count(name, getattr(self, name), "a positive integer")
        for name in ("validate_utf8", "cancel_on_disconnect", "require_subprotocol"):
            check_flag(name, getattr(self, name))
        if not isinstance(self.compress, (bool, Deflate)):
            raise OptionError("compress", self.compress, "True, False or Deflate(...)")
        object.__setattr__(self, "subprotocols", _checked_subprotocols(self.subprotocols))
        object.__setattr__(self, "origins", _checked_origins(self.origins))

    @property
    def deflate(self) -> Deflate | None:
        """The settings of compression, ``None`` if it is off."""
        return Deflate() if self.compress is True else self.compress or None

    def merged(self, keywords: ConnectionKeywords) -> Options:
        """These options with ``keywords`` in their place; unknown names are a ``TypeError``."""
        if not keywords:
            return self
        check_names(keywords, CONNECTION_NAMES)
        return replace(self, **keywords)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """What a server does beside its connections; keywords of ``serve``.

    Args:
        host: name or address to listen on, a list of them, or ``None`` for every interface.
        port: TCP port; 0 takes a free one. ``None`` (with ``path`` or ``listeners``) opens no TCP listener.
        path: where to put a Unix socket.
        listeners: ready ``trio.abc.Listener`` objects or listening sockets, instead of or beside the above.
        ssl_context: serves TLS with it; its ALPN protocols are set to ``http/1.1``, the only one spoken here.
        backlog: connections the kernel keeps waiting, ``None`` for the platform's most.
        handshake_timeout: seconds for the whole of TLS and one HTTP head.
        max_head_size: bytes of an HTTP request's head; beyond it 431.
        max_body_size: bytes of a plain request's body; beyond it 413. Bodies for ``http`` are streamed, and have no
            limit here.
        max_connections: clients served at once; beyond it 503; ``None`` for no limit.
        max_connections_per_client: the same for each IP address; what comes over Unix sockets has none and is not
            counted. Behind a proxy that connects from its own address, leave it at ``None``.
        grace: seconds a graceful shutdown may take in all.
        http: an ASGI application that answers every request but those for a WebSocket.
    """

    host: str | Sequence[str] | None = "127.0.0.1"
    port: int | None = None
    path: str | os.PathLike[str] | None = None
    listeners: Sequence[trio.abc.Listener[Any] | trio.socket.SocketType | socket.socket] = ()
    ssl_context: ssl.SSLContext | None = None
    backlog: int | None = None
    handshake_timeout: float = 10
    max_head_size: int = 64 * 1024
    max_body_size: int = 1024 * 1024
    max_connections: int | None = None
    max_connections_per_client: int | None = None
    grace: float = 15
    http: AsgiApplication | None = None

    def __post_init__(self) -> None:
        _check_host(self.host)
        if self.port is not None:
            check_range("port", self.port, 0, 65535)
        if self.path is not None:
            object.__setattr__(self, "path", check_path("path", self.path))
        if isinstance(self.listeners, (str, bytes)) or not isinstance(self.listeners, Iterable):
            raise OptionError("listeners", self.listeners, "a list of listeners or listening sockets")
        object.__setattr__(self, "listeners", tuple(self.listeners))
        check_context("ssl_context", self.ssl_context, server_side=True)
        for name in ("backlog", "max_connections", "max_connections_per_client"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), "a positive integer or None")
        for name in ("max_head_size", "max_body_size"):
            check_count(name, getattr(self, name), "a positive number of bytes")
        check_seconds("handshake_timeout", self.handshake_timeout)
        check_seconds("grace", self.grace, allow_zero=True)
        check_asgi("http", self.http)
        if self.port is None and self.path is None and not self.listeners:
            raise TypeError("serve() needs a port, a path or listeners to listen on")


class ConnectionKeywords(TypedDict, total=False):
    """The keywords of :class:`Options`, for ``**options`` in signatures."""

    timeout: float
    compress: bool | Deflate
    max_message_size: int | None
    max_frame_size: int | None
    max_empty_fragments: int
    validate_utf8: bool
    mailbox_size: int
    read_ahead_messages: int
    read_ahead_size: int
    ping_interval: float | None
    ping_timeout: float
    write_timeout: float
    close_timeout: float
    terminate_timeout: float
    cancel_on_disconnect: bool
    subprotocols: Sequence[str]
    require_subprotocol: bool
    origins: Origins


class StreamKeywords(ConnectionKeywords, total=False):
    """Those of :class:`Options`, and of :class:`ServerOptions` what one client is served by: ``serve_stream``'s."""

    handshake_timeout: float
    max_head_size: int
    max_body_size: int
    http: AsgiApplication | None


class ServerKeywords(ConnectionKeywords, total=False):
    """The keywords of :class:`ServerOptions` and :class:`Options` together: those of ``serve``."""

    host: str | Sequence[str] | None
    port: int | None
    path: str | os.PathLike[str] | None
    listeners: Sequence[trio.abc.Listener[Any] | trio.socket.SocketType | socket.socket]
    ssl_context: ssl.SSLContext | None
    backlog: int | None
    handshake_timeout: float
    max_head_size: int
    max_body_size: int
    max_connections: int | None
    max_connections_per_client: int | None
    grace: float
    http: AsgiApplication | None


CONNECTION_NAMES = frozenset(field.name for field in fields(Options))
SERVER_NAMES = frozenset(field.name for field in fields(ServerOptions))
STREAM_NAMES = frozenset(StreamKeywords.__annotations__)


def split_keywords(keywords: ServerKeywords) -> tuple[ServerOptions, Options]:
    """The two halves of ``serve``'s keywords; unknown names are a ``TypeError``."""
    check_names(keywords, CONNECTION_NAMES | SERVER_NAMES)
    given: dict[str, Any] = dict(keywords)
    server = {name: value for name, value in given.items() if name in SERVER_NAMES}
    connection = {name: value for name, value in given.items() if name in CONNECTION_NAMES}
    return ServerOptions(**server), Options(**connection)


# What the BEAM hosts call differently: a newcomer from there gets the name that serves the same end.
_BEAM_NAMES = {
    "fullsweep_after": "Python's collector needs no such setting",
    "max_heap_size": "use max_message_size, mailbox_size and read_ahead_size",
    "active_n": "use read_ahead_messages and read_ahead_size",
}


def check_names(keywords: Iterable[str], known: frozenset[str]) -> None:
    """Refuse names outside ``known`` with a ``TypeError`` that says which there are."""
    for name in keywords:
        if name in _BEAM_NAMES:
            raise TypeError(f"{name} is not an option here: {_BEAM_NAMES[name]}")
        if name not in known:
            raise TypeError(f"{name!r} is not an option; the options are: {', '.join(sorted(known))}")


def check_defaults(options: Options, names: Iterable[str], why: str) -> None:
    """Refuse options that a host has nothing for.

    Args:
        options: of a connection.
        names: of those that must be at their defaults.
        why: that is, in the words of the error.

    Raises:
        OptionError: one of them is not.
    """
    for name in names:
        value = getattr(options, name)
        if value != getattr(_DEFAULTS, name):
            raise OptionError(name, value, f"its default: {why}")


def _check_host(host: str | Sequence[str] | None) -> None:
    hosts = (host,) if isinstance(host, str) or host is None else host
    is_list = isinstance(hosts, Sequence) and len(hosts) > 0  # with an empty one nobody would listen
    if not is_list or not all(isinstance(name, str) or name is None for name in hosts):
        raise OptionError("host", host, "a name or address, a list of them, or None")


def _checked_subprotocols(names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise OptionError("subprotocols", names, "a list of names")
    checked = tuple(names)
    for name in checked:
        # RFC 6455 §4.1: a subprotocol is an HTTP token, as the name of a header is.
        if not isinstance(name, str) or not FIELD_NAME.fullmatch(name):
            raise OptionError("subprotocols", name, "names made of HTTP token characters")
    return checked


# RFC 6454 §6.1, with a star in place of the first labels. What no browser sends would never match, unnoticed.
_ORIGIN = re.compile(
    r"[A-Za-z][A-Za-z0-9+.\-]*://(\[[0-9A-Fa-f:.]+\]|(\*\.)?[A-Za-z0-9\-._~%!$&'()+;=]+)(:[0-9]{1,5})?"
)


def _checked_origins(origins: Origins) -> Origins:
    if callable(origins):
        # What a coroutine function returns is true before it has been awaited: it would let everybody in.
        if inspect.iscoroutinefunction(origins) or inspect.iscoroutinefunction(type(origins).__call__):
            raise OptionError("origins", origins, "a plain function, which decides without waiting")
        check_function("origins", origins, "a request")
        return origins
    if isinstance(origins, str) and origins in ("same", "any"):
        return origins
    if isinstance(origins, (str, bytes)) or not isinstance(origins, Iterable):
        raise OptionError("origins", origins, '"same", "any", a list of origins or a function of the request')
    checked = tuple(origins)
    for origin in checked:
        if not isinstance(origin, str) or not _ORIGIN.fullmatch(origin):
            raise OptionError("origins", origin, "origins like https://example.com or https://*.example.com")
    return checked


_DEFAULTS: Final = Options()  # made once: to check them costs more than to ask for them
