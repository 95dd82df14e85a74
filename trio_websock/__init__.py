"""WebSock for Trio: one handler, five callbacks, and a server that keeps its promises.

A map of the house; imports point down only:

* ``cli``, ``testing``: the command, and tools for tests.
* ``server``, ``hosts``: sockets, HTTP and TLS up to the upgrade; the places a handler can live in.
* ``client``: the other end of a WebSocket.
* ``nursery``: one connection from beginning to end: start reading here. Around it ``dispatch`` (the loop), ``inbox``,
  ``mailbox``, ``idle``, ``keepalive``, ``writer``, ``exit``, and ``transport``, the port to the hosts.
  ``broadcasting``: one item for many of them.
* ``behaviour``: what a handler is and what its results mean. ``protocol``: RFC 6455 and RFC 7692 without I/O.
* ``codes``, ``errors``, ``messages``, ``options``, ``request``, ``response``: the vocabulary.
"""

from __future__ import annotations

from .behaviour.handler import Handler
from .behaviour.reasons import (
    DISCONNECTED,
    NORMAL,
    RESTART,
    Error,
    Normal,
    Reason,
    Remote,
    Shutdown,
    StopReason,
    Timeout,
)
from .behaviour.results import Ok, Push, Reply, Result, Stop
from .broadcasting import broadcast
from .client import (
    Again,
    Client,
    ClientOptions,
    ConnectFailed,
    ConnectionClosed,
    HandshakeError,
    HandshakeResponse,
    Outage,
    ProxyFailed,
    Reconnect,
    UpgradeRejected,
    WebSocket,
    connect,
    open_websocket,
)
from .codes import CloseCode, Opcode
from .connection import Connection, current_connection
from .errors import (
    ConnectionLost,
    FrameError,
    InvalidPayload,
    LocalError,
    MessageError,
    MessageTooBig,
    OptionError,
    PolicyViolation,
    RemoteError,
    ResultError,
    StartupFailed,
    StateError,
    TransportError,
    UpgradeRefused,
    WebSockError,
    WriteTimeout,
)
from .messages import Binary, Message, Payload, Ping, Pong, Prepared, Text, prepare
from .options import Deflate, Options, ServerOptions
from .protocol.upgrade import is_upgrade
from .request import Headers, Query, Request
from .response import Response, Upgrade, upgrade
from .server import Server, Snapshot, check_upgrade, run, serve, serve_stream

__version__ = "0.1.0"

__all__ = [
    "DISCONNECTED",
    "NORMAL",
    "RESTART",
    "Again",
    "Binary",
    "Client",
    "ClientOptions",
    "CloseCode",
    "ConnectFailed",
    "Connection",
    "ConnectionClosed",
    "ConnectionLost",
    "Deflate",
    "Error",
    "FrameError",
    "Handler",
    "HandshakeError",
    "HandshakeResponse",
    "Headers",
    "InvalidPayload",
    "LocalError",
    "Message",
    "MessageError",
    "MessageTooBig",
    "Normal",
    "Ok",
    "Opcode",
    "OptionError",
    "Options",
    "Outage",
    "Payload",
    "Ping",
    "PolicyViolation",
    "Pong",
    "Prepared",
    "ProxyFailed",
    "Push",
    "Query",
    "Reason",
    "Reconnect",
    "Remote",
    "RemoteError",
    "Reply",
    "Request",
    "Response",
    "Result",
    "ResultError",
    "Server",
    "ServerOptions",
    "Shutdown",
    "Snapshot",
    "StartupFailed",
    "StateError",
    "Stop",
    "StopReason",
    "Text",
    "Timeout",
    "TransportError",
    "Upgrade",
    "UpgradeRefused",
    "UpgradeRejected",
    "WebSockError",
    "WebSocket",
    "WriteTimeout",
    "broadcast",
    "check_upgrade",
    "connect",
    "current_connection",
    "is_upgrade",
    "open_websocket",
    "prepare",
    "run",
    "serve",
    "serve_stream",
    "upgrade",
]
