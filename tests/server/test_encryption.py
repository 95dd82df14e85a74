"""TLS at the server's end: what is agreed on, and with whom nothing is."""

from __future__ import annotations

import importlib

import pytest
import trio
import trio.testing

from trio_websock import ConnectionLost
from trio_websock.hosts.stream_wire import StreamWire
from trio_websock.server.encryption import agree_on_keys

certificates = importlib.import_module("certificates")


async def test_what_comes_through_the_wire_is_decrypted(nursery: trio.Nursery) -> None:
    ours, theirs = certificates.localhost_contexts()
    plain, server = trio.testing.memory_stream_pair()
    client = trio.SSLStream(plain, theirs, server_hostname="localhost", https_compatible=True)
    nursery.start_soon(client.send_all, b"hello")
    wire = await agree_on_keys(StreamWire(server), ours)
    assert (wire.scheme, await wire.receive()) == ("https", b"hello")


async def test_a_client_with_whom_another_protocol_is_agreed_on_is_lost(nursery: trio.Nursery) -> None:
    ours, theirs = certificates.localhost_contexts()
    for context in (ours, theirs):
        context.set_alpn_protocols(["h2"])
    plain, server = trio.testing.memory_stream_pair()
    client = trio.SSLStream(plain, theirs, server_hostname="localhost", https_compatible=True)
    nursery.start_soon(client.do_handshake)
    with pytest.raises(ConnectionLost, match=r"TLS agreed on h2: only http/1\.1 is spoken"):
        await agree_on_keys(StreamWire(server), ours)


async def test_a_client_that_speaks_no_tls_is_lost() -> None:
    ours, _ = certificates.localhost_contexts()
    client, server = trio.testing.memory_stream_pair()
    await client.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    with pytest.raises(ConnectionLost, match="TLS handshake failed"):
        await agree_on_keys(StreamWire(server), ours)
