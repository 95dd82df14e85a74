"""Any ``trio.abc.Stream`` as a wire, and the choice of the best wire for one.

In and out: bytes. Does what it can: such a stream has no ``send`` that takes what it can and says how much that was.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import Any, final

import trio

from ..errors import ConnectionLost
from .wire import GATHER_SIZE, RECEIVE_SIZE, SocketWire, Wire

__all__ = ["StreamWire", "wire_for"]


@final
class StreamWire(Wire):
    """Any ``trio.abc.Stream``, taken over.

    Such a stream cannot say how much of a cancelled ``send_all`` it took, so a cancelled ``flush_some`` breaks it:
    whatever was queued is forgotten and nothing is sent any more.
    """

    __slots__ = ("_is_broken", "_queue", "_stream", "client", "received_size", "scheme", "unsent_size")

    def __init__(self, stream: trio.abc.Stream, *, client: tuple[str, int] | None = None, scheme: str = "http") -> None:
        self._stream = stream
        self._queue = bytearray()
        self._is_broken = False
        self.received_size = 0
        self.unsent_size = 0
        self.client = client
        self.scheme = scheme

    @property
    def client_certificate(self) -> Mapping[str, Any] | None:
        return self._stream.getpeercert() or None if isinstance(self._stream, trio.SSLStream) else None

    async def receive(self) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(RECEIVE_SIZE))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise ConnectionLost(f"nothing more can be read: {exc}") from exc
        self.received_size += len(data)
        return data

    def write_nowait(self, chunks: Iterable[bytes]) -> None:
        if not self._is_broken:
            for chunk in chunks:
                self._queue += chunk
            self.unsent_size = len(self._queue)

    def flush_nowait(self) -> bool:
        return not self._queue

    async def flush_some(self) -> None:
        slice_ = bytes(self._queue[:GATHER_SIZE])
        if not slice_:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._stream.send_all(slice_)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self._break()
            raise ConnectionLost(f"nothing more can be sent: {exc}") from exc
        except BaseException:
            self._break()
            raise
        del self._queue[: len(slice_)]
        self.unsent_size = len(self._queue)

    def _break(self) -> None:
        self._is_broken = True
        self._queue.clear()
        self.unsent_size = 0

    def send_eof_nowait(self) -> None:
        """Do nothing: a stream can only wait for this, and its peer sees the end at ``aclose`` anyway."""

    async def aclose(self) -> None:
        self._break()
        try:
            with trio.CancelScope(shield=True) as scope:
                scope.cancel()  # the forceful close that every AsyncResource owes us
                await self._stream.aclose()
        except Exception:
            pass  # whatever it had to complain about, it is closed now: that is owed, too

    def abort(self) -> None:
        self._break()
        trio.lowlevel.spawn_system_task(self.aclose)


def wire_for(stream: trio.abc.Stream) -> Wire:
    """The best wire for ``stream``: a plain ``trio.SocketStream`` gives up its socket to a ``SocketWire``."""
    if type(stream) is trio.SocketStream:
        sock = stream.socket
        return SocketWire(socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach()))
    if isinstance(stream, trio.SSLStream):
        return StreamWire(stream, client=_client_of(stream.transport_stream), scheme="https")
    return StreamWire(stream)


def _client_of(stream: object) -> tuple[str, int] | None:
    if not isinstance(stream, trio.SocketStream):
        return None
    try:
        name = stream.socket.getpeername()
    except OSError:  # it has left; the first read will say so
        return None
    return name[:2] if isinstance(name, tuple) else None
