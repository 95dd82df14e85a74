"""The server's answer to a handshake, as a value that a WebSocket and an error carry.

Knows neither how it was read nor what is made of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from ..request import Headers

__all__ = ["HandshakeResponse"]


@final
@dataclass(frozen=True, slots=True)
class HandshakeResponse:
    """What the server answered.

    Args:
        status: HTTP status; 101 for an upgrade.
        reason: the words behind it, often ``""``.
        headers: every header field.
        body: the first 64 KiB of the body.
    """

    status: int
    reason: str = ""
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
