"""TLS for a test: both ends' contexts, with an authority of their own."""

from __future__ import annotations

import ssl
from typing import NamedTuple

import trustme


class Contexts(NamedTuple):
    server: ssl.SSLContext
    client: ssl.SSLContext


def localhost_contexts() -> Contexts:
    """Of a server with a certificate for ``localhost``, and of a client that trusts it."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Contexts(server, client)
