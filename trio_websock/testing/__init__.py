"""Tools to test handlers and hosts with."""

from __future__ import annotations

from .connection import TestConnection, open_test_connection

__all__ = ["TestConnection", "open_test_connection"]
