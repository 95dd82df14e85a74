"""The other end: a WebSocket to use, over whatever reaches a server."""

from __future__ import annotations

from .answer import HandshakeResponse
from .failures import ConnectFailed, ConnectionClosed, HandshakeError, ProxyFailed, UpgradeRejected
from .opening import open_websocket
from .options import ClientOptions
from .websocket import WebSocket

__all__ = [
    "ClientOptions",
    "ConnectFailed",
    "ConnectionClosed",
    "HandshakeError",
    "HandshakeResponse",
    "ProxyFailed",
    "UpgradeRejected",
    "WebSocket",
    "open_websocket",
]
