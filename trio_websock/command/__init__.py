"""``python -m trio_websock connect``: a WebSocket for people and for scripts."""

from __future__ import annotations

from .connect import connect_main

__all__ = ["connect_main"]
