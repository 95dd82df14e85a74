"""A scripted peer and the server it talks to, byte by byte, without a socket.

In: what ``serve_stream`` takes. Out: a :class:`~trio_websock.testing.ScriptedPeer` at the other end. For what a whole
connection does, wire included, in virtual time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Unpack

import trio
import trio.testing

from ..options import StreamKeywords
from ..server import serve_stream
from ..trio_run import check_trio
from .memory_listener import BUFFER_SIZE, open_memory_streams
from .rooms import open_room
from .scripted_peer import ScriptedPeer

__all__ = ["open_scripted_peer"]


@asynccontextmanager
async def open_scripted_peer(
    handler_or_app: object, *, buffer_size: int = BUFFER_SIZE, **options: Unpack[StreamKeywords]
) -> AsyncIterator[ScriptedPeer]:
    r"""Serve one client in memory, whose every byte is in the test's hands.

    ::

        async with open_scripted_peer(Echo) as peer:
            await peer.open()
            await peer.send(text("hello"))
            await peer.expect(b"\x81\x05hello")

    A failure of the handler is logged and closes with 1011, as in a server; to have it raised, use
    :func:`open_test_connection`.

    Args:
        handler_or_app: as for ``serve``.
        buffer_size: bytes under way in one direction before a sender has to wait; small ones make a slow reader.
        options: as for ``serve_stream``.

    Raises:
        TypeError: as ``serve_stream``, at the beginning of the block.
        OptionError: as ``serve_stream``, at the beginning of the block.

    At the end of the block the peer leaves without a word, and the connection is cancelled if it still runs.

    Cancelled: the connection is too; ``terminate`` runs.
    """
    check_trio("open_scripted_peer()")
    ours, theirs = open_memory_streams(buffer_size)
    async with open_room() as room, ScriptedPeer(ours) as peer:
        room.start_soon(partial(serve_stream, theirs, handler_or_app, **options))
        await trio.testing.wait_all_tasks_blocked()  # what it objects to is raised here
        yield peer
