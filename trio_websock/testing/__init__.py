"""Tools to test handlers, applications and hosts with."""

from __future__ import annotations

from .application import TestApplication
from .connection import TestConnection, open_test_connection
from .interruption import Interruption, cancel_connection, each_checkpoint
from .memory_listener import MemoryListener, MemoryStream, open_memory_streams
from .scripted_peer import Answer, ScriptedPeer, binary, close, frame, ping, pong, text, upgrade_request
from .served_peer import open_scripted_peer

__all__ = [
    "Answer",
    "Interruption",
    "MemoryListener",
    "MemoryStream",
    "ScriptedPeer",
    "TestApplication",
    "TestConnection",
    "binary",
    "cancel_connection",
    "close",
    "each_checkpoint",
    "frame",
    "open_memory_streams",
    "open_scripted_peer",
    "open_test_connection",
    "ping",
    "pong",
    "text",
    "upgrade_request",
]
