"""TLS at the server's end: the keys, and what is spoken over them.

In: a wire that has been accepted. Out: the encrypted one.
"""

from __future__ import annotations

import ssl

from ..errors import ConnectionLost
from ..hosts.tls import TlsWire
from ..hosts.wire import Wire

__all__ = ["APPLICATION_PROTOCOL", "agree_on_keys"]

# What we speak, by its name in ALPN (RFC 7301).
APPLICATION_PROTOCOL = "http/1.1"


async def agree_on_keys(wire: Wire, context: ssl.SSLContext) -> Wire:
    """TLS over ``wire``.

    Raises:
        ConnectionLost: there is none, or the client speaks something else than HTTP/1.1 over it.

    Checkpoint: always. Cancelled: the wire is of no use any more.
    """
    encrypted = TlsWire(wire, context, server_side=True)
    await encrypted.handshake()
    # The server's own context offers nothing else, but a callback for SNI may have chosen another one.
    if encrypted.application_protocol not in (None, APPLICATION_PROTOCOL):
        raise ConnectionLost(
            f"TLS agreed on {encrypted.application_protocol}: only {APPLICATION_PROTOCOL} is spoken here"
        )
    return encrypted
