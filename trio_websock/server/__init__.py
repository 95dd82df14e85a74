"""The server: sockets that listen, HTTP/1.1, the handshake, and the graceful end."""

from __future__ import annotations

from .ledger import Snapshot
from .running import run
from .serve import Server, serve
from .stream import serve_stream
from .upgrading import check_upgrade

__all__ = ["Server", "Snapshot", "check_upgrade", "run", "serve", "serve_stream"]
