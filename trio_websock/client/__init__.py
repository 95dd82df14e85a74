"""The other end: a WebSocket to use, or a handler to run, over whatever reaches a server."""

from __future__ import annotations

from .answer import HandshakeResponse
from .connect import Client, connect
from .failures import ConnectFailed, ConnectionClosed, HandshakeError, ProxyFailed, UpgradeRejected
from .opening import open_websocket
from .options import ClientOptions
from .reconnect import Again, Outage, Reconnect
from .websocket import WebSocket

__all__ = [
    "Again",
    "Client",
    "ClientOptions",
    "ConnectFailed",
    "ConnectionClosed",
    "HandshakeError",
    "HandshakeResponse",
    "Outage",
    "ProxyFailed",
    "Reconnect",
    "UpgradeRejected",
    "WebSocket",
    "connect",
    "open_websocket",
]
