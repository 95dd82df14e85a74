"""The way through a proxy: ``CONNECT`` over HTTP, or SOCKS.

In: a proxy, and the host and port behind it. Out: a wire that ends at that host, or an error that names the proxy; and
TLS over a wire, which the proxy may want for itself, and the server behind it, too. Knows nothing of WebSockets.

HTTP's ``CONNECT`` is one request and one answer, which the client can read anyway. SOCKS is python-socks's.
"""

from __future__ import annotations

import math
import ssl
from typing import Any, NoReturn

import trio

from ..errors import ConnectionLost, describe
from ..hosts.stream_wire import wire_for
from ..hosts.tls import TlsWire
from ..hosts.wire import Wire
from ..request import Headers, Request, authority_of
from .failures import HandshakeError, ProxyFailed, words_for
from .handshake import authorize, serialize_request
from .proxy import Proxy
from .response import receive_response

__all__ = ["agree_on_keys", "open_tunnel"]


async def open_tunnel(proxy: Proxy, host: str, port: int, context: ssl.SSLContext) -> Wire:
    """Have ``proxy`` connect us with ``host``.

    Args:
        proxy: where it is, and what it speaks.
        host: of the server; looked up by the proxy, but for ``socks5`` and ``socks4``.
        port: of the server.
        context: for a proxy that is reached over TLS.

    Raises:
        ProxyFailed: there is no such proxy, or it does not connect us.

    Checkpoint: always. Cancelled: what was open is dropped.
    """
    if proxy.is_socks:
        return await _connect_socks(proxy, host, port)
    try:
        wire = wire_for(await trio.open_tcp_stream(proxy.host, proxy.port))
    except (OSError, UnicodeError) as exc:
        _fail(proxy, exc)
    try:
        if proxy.scheme == "https":
            wire = await agree_on_keys(wire, proxy.host, context)
        await _connect_http(wire, proxy, host, port)
    except (ConnectionLost, HandshakeError) as exc:
        wire.abort()
        _fail(proxy, exc)
    except BaseException:
        wire.abort()
        raise
    return wire


def _fail(proxy: Proxy, exc: Exception) -> NoReturn:
    raise ProxyFailed(proxy.url, words_for(exc)) from exc


async def agree_on_keys(wire: Wire, host: str, context: ssl.SSLContext) -> Wire:
    """Put TLS over a wire.

    Args:
        wire: owned from now on.
        host: whom we mean to reach; its certificate has to say so.
        context: whom we trust.

    Raises:
        ConnectionLost: we did not agree.

    Checkpoint: always. Cancelled: the wire is of no further use.
    """
    try:
        tls = TlsWire(wire, context, server_side=False, server_hostname=host)
    except ValueError as exc:
        raise ConnectionLost(f"TLS is not possible with the name {describe(host)}: {exc}") from exc
    await tls.handshake()
    return tls


async def _connect_http(wire: Wire, proxy: Proxy, host: str, port: int) -> None:
    """Ask for a tunnel.

    Source: RFC 9110 §9.3.6.
    """
    target = authority_of(host, port)
    pairs = [("Host", target)]
    if proxy.credentials is not None:
        pairs.append(("Proxy-Authorization", authorize(proxy.credentials) or ""))
    await wire.send_all([serialize_request(Request("CONNECT", target, Headers(pairs)))])
    response, leftover = await receive_response(wire, is_tunnel=True)
    if not 200 <= response.status < 300:
        words = f"it answered {response.status} {response.reason}".rstrip()
        raise ProxyFailed(proxy.url, f"{words}: expected 200", response)
    if leftover:
        # Whoever is behind it waits for us to begin, with TLS as with a handshake.
        raise ProxyFailed(proxy.url, f"{len(leftover)} bytes came before anything was asked of the server")


async def _connect_socks(proxy: Proxy, host: str, port: int) -> Wire:
    """Ask for a tunnel.

    Source: RFC 1928, RFC 1929; SOCKS 4 has no RFC.
    """
    from python_socks import ProxyError
    from python_socks.async_.trio import Proxy as SocksProxy

    user, password = proxy.credentials or (None, None)
    socks: Any = SocksProxy(_kind_of(proxy), proxy.host, proxy.port, user, password, proxy.resolves_names)
    try:
        # Without a number it would give up after a minute, which is connect_timeout's business.
        return wire_for(trio.SocketStream(await socks.connect(host, port, timeout=math.inf)))
    except (ProxyError, OSError, ValueError, trio.BrokenResourceError) as exc:  # ValueError: a name SOCKS cannot tell
        _fail(proxy, exc)


def _kind_of(proxy: Proxy) -> Any:
    from python_socks import ProxyType

    return ProxyType.SOCKS5 if proxy.scheme.startswith("socks5") else ProxyType.SOCKS4
