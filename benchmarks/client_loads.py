"""Which clients are measured, and what they are put through: each against one and the same server.

Knows nothing of how that is done. The clients live in the environments of the servers of the same name.
"""

from __future__ import annotations

from dataclasses import replace

from .loads import KIB, Load
from .peers import PEERS, Peer

__all__ = ["CLIENTS", "CLIENT_LOADS"]

_MODULES = {
    "own": "own",
    "own-pure": "own",
    "trio-websocket": "trio_websocket",
    "websockets-trio": "websockets_trio",
    "websockets": "websockets_asyncio",
    "aiohttp": "aiohttp_asyncio",
    "picows": "picows_asyncio",
}

#: By the names of their servers.
CLIENTS: dict[str, Peer] = {name: replace(PEERS[name], module=module) for name, module in _MODULES.items()}


def _echo(connections: int, depth: int, size: int, words: str) -> Load:
    return Load(
        name=f"client-{connections}x{depth}-{size}",
        title=f"client {connections}×{depth}, {words}",
        connections=connections,
        depth=depth,
        size=size,
        binary=size > KIB,
    )


CLIENT_LOADS = {
    load.name: load
    for load in (
        _echo(1, 1, 32, "32 B"),
        _echo(50, 1, 32, "32 B"),
        _echo(1, 16, 32, "32 B"),
        _echo(1, 1, 16 * KIB, "16 KiB"),
        _echo(1, 1, KIB * KIB, "1 MiB"),
    )
}
