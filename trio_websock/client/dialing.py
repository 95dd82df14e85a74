"""From a URL to an open WebSocket: names, proxies, TCP, TLS, the handshake, redirects.

In: a URL and the options. Out: a transport, or an error that says which step failed. Nothing stays open behind an
error or a cancellation. Runs no callback and reads no message.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable
from dataclasses import replace
from functools import cache
from typing import NamedTuple, final

import trio

from ..errors import ConnectionLost, describe
from ..hosts.stream import StreamTransport, open_stream_transport
from ..hosts.stream_wire import wire_for
from ..hosts.wire import Wire
from ..options import Options
from ..protocol.frames import Role
from ..request import Headers, Request
from .address import Address, parse_url, resolve_redirect
from .answer import HandshakeResponse
from .failures import ConnectFailed, UpgradeRejected, words_for
from .handshake import authorize, check_response, new_request, serialize_request
from .options import ClientOptions, StreamSource
from .proxy import Proxy, proxy_for
from .response import receive_response
from .tunnel import agree_on_keys, open_tunnel

__all__ = ["Opened", "open_transport"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Who we are, and whom we mean.
_SECRETS = frozenset({"authorization", "cookie", "host", "proxy-authorization"})


@final
class Opened(NamedTuple):
    """An open WebSocket, and how it came about."""

    transport: StreamTransport
    request: Request
    response: HandshakeResponse


async def open_transport(url: str, client: ClientOptions, options: Options) -> Opened:
    """Connect and shake hands, within ``connect_timeout`` seconds.

    Raises:
        OptionError: this is not the URL of a WebSocket.
        ConnectFailed: there is no connection, or not in time; ``ProxyFailed`` if it is the proxy's fault.
        UpgradeRejected: the server answered with something else than 101.
        HandshakeError: its 101 is not what RFC 6455 expects.

    Checkpoint: always. Cancelled: what was open is dropped.
    """
    address = parse_url(url)
    with trio.move_on_after(client.connect_timeout):
        return await _follow(address, client, options)
    way = _way(client, _proxy_for(address, client))
    raise ConnectFailed(f"no WebSocket with {address.shown}{way} within {client.connect_timeout:g} seconds")


async def _follow(address: Address, client: ClientOptions, options: Options) -> Opened:
    authorization = authorize(client.authorization or address.credentials)
    asking = client
    for followed in range(client.max_redirects + 1):
        request = new_request(address, asking, options, authorization)
        try:
            return await _dial(address, request, client, options)
        except UpgradeRejected as exc:
            if exc.response.status not in _REDIRECTS:
                raise
            if followed == client.max_redirects:
                raise UpgradeRejected(exc.response, f"max_redirects is {followed}") from None
            target = _next_address(address, exc.response, client)
        if not target.shares_origin(address):
            # For good: what leads back here may be another's choice.
            asking, authorization = _without_secrets(client), None
        address = target
    raise AssertionError("the last round returns or raises")


def _without_secrets(client: ClientOptions) -> ClientOptions:
    """What another origin may be asked with: without what the application wrote for the one it knows."""
    kept = [pair for pair in Headers(client.headers).pairs() if pair[0].lower() not in _SECRETS]
    return replace(client, headers=kept)


def _next_address(address: Address, response: HandshakeResponse, client: ClientOptions) -> Address:
    if client.stream is not None or client.path is not None:
        raise UpgradeRejected(response, "over a given stream or path redirects are not followed")
    location = response.headers.get("location")
    if location is None:
        raise UpgradeRejected(response, "expected a Location")
    try:
        target = resolve_redirect(address, location)
    except ValueError as exc:  # an OptionError is one
        raise UpgradeRejected(response, f"its Location leads to no WebSocket ({exc})") from exc
    if address.is_secure and not target.is_secure:
        raise UpgradeRejected(response, "its Location leads from TLS to plain text")
    return target


async def _dial(address: Address, request: Request, client: ClientOptions, options: Options) -> Opened:
    proxy = _proxy_for(address, client)
    try:
        wire = await _open_wire(address, client, proxy)
    except (OSError, UnicodeError) as exc:
        way = _way(client, None)  # what a proxy is at fault for is told elsewhere
        raise ConnectFailed(f"no connection with {address.shown}{way}: {words_for(exc)}") from exc
    try:
        if address.is_secure:
            wire = await agree_on_keys(wire, address.host, client.ssl_context or _system_context())
        await wire.send_all([serialize_request(request)])
        response, leftover = await receive_response(wire)
        agreement = check_response(request, response, options)
    except ConnectionLost as exc:
        wire.abort()
        raise ConnectFailed(f"no connection with {address.shown}{_way(client, proxy)}: {exc}") from exc
    except BaseException:
        wire.abort()
        raise
    subprotocol, deflate = agreement.subprotocol, agreement.deflate
    transport = open_stream_transport(wire, Role.CLIENT, options, subprotocol, deflate, leftover)
    return Opened(transport, request, response)


def _proxy_for(address: Address, client: ClientOptions) -> Proxy | None:
    is_given = client.stream is not None or client.path is not None
    return None if is_given else proxy_for(address, client.proxy)


def _way(client: ClientOptions, proxy: Proxy | None) -> str:
    if client.path is not None:
        return f" at {describe(client.path)}"
    return "" if proxy is None else f" through the proxy {proxy.url}"


async def _open_wire(address: Address, client: ClientOptions, proxy: Proxy | None) -> Wire:
    if client.stream is not None:
        return wire_for(await _open_given(client.stream))
    if client.path is not None:
        return wire_for(await trio.open_unix_socket(os.fspath(client.path)))
    if proxy is not None:
        return await open_tunnel(proxy, address.host, address.port, client.proxy_ssl_context or _system_context())
    return wire_for(await trio.open_tcp_stream(address.host, address.port))


async def _open_given(source: StreamSource) -> trio.abc.Stream:
    if isinstance(source, trio.abc.Stream):
        return source
    opening: object = source()
    opened = await opening if isinstance(opening, Awaitable) else opening
    if opened is opening or not isinstance(opened, trio.abc.Stream):
        raise TypeError(f"stream returned {describe(opened)}: expected to await a trio.abc.Stream")
    return opened


@cache
def _system_context() -> ssl.SSLContext:
    # Reading the system's certificates takes longer than all the rest.
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION  # it would cost us the connection, see TlsWire
    return context
