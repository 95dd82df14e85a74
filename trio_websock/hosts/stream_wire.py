"""Any ``trio.abc.Stream`` as a wire, and the choice of the best wire for one.

In and out: bytes. Does what it can: such a stream has no ``send`` that takes what it can and says how much that was.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Mapping
from typing import Any, final

import trio

from ..errors import ConnectionLost
from .wire import GATHER_SIZE, RECEIVE_SIZE, SocketWire, Wire

__all__ = ["StreamWire", "wire_for"]

logger: logging.Logger = logging.getLogger("trio_websock.hosts")

# What a stream may raise that has no fault of its own.
_ORDINARY = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


@final
class StreamWire(Wire):
    """Any ``trio.abc.Stream``, taken over.

    Such a stream cannot say how much of a cancelled ``send_all`` it took, so a cancelled ``flush_some`` breaks it:
    whatever was queued is forgotten and nothing is sent any more. An error of the stream, of whatever kind, ends both
    directions. One that is neither Trio's nor the system's is logged: nobody else gets to see it.
    """

    __slots__ = (
        "_has_failed",
        "_is_broken",
        "_queue",
        "_receiving",
        "_sending",
        "_stream",
        "client",
        "received_size",
        "scheme",
        "unsent_size",
    )

    def __init__(self, stream: trio.abc.Stream, *, client: tuple[str, int] | None = None, scheme: str = "http") -> None:
        self._stream = stream
        self._queue = bytearray()
        self._is_broken = False
        self._has_failed = False  # in a way that has been logged
        self._receiving: trio.CancelScope | None = None
        self._sending: trio.CancelScope | None = None
        self.received_size = 0
        self.unsent_size = 0
        self.client = client
        self.scheme = scheme

    @property
    def client_certificate(self) -> Mapping[str, Any] | None:
        return self._stream.getpeercert() or None if isinstance(self._stream, trio.SSLStream) else None

    async def receive(self) -> bytes:
        with trio.CancelScope() as self._receiving:
            try:
                data = bytes(await self._stream.receive_some(RECEIVE_SIZE))
            except Exception as exc:
                raise self._lost("read", exc) from exc
            except BaseExceptionGroup as group:
                raise self._without_errors(group) from None
            self.received_size += len(data)
            return data
        raise ConnectionLost("nothing more can be read: the stream is gone")

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
        with trio.CancelScope() as self._sending:
            try:
                await self._stream.send_all(slice_)
            except Exception as exc:
                raise self._lost("sent", exc) from exc
            except BaseExceptionGroup as group:
                self._break()
                raise self._without_errors(group) from None
            except BaseException:
                self._break()
                raise
            del self._queue[: len(slice_)]
            self.unsent_size = len(self._queue)
            return
        raise ConnectionLost("nothing more can be sent: the stream is gone")

    def _lost(self, what: str, exc: Exception) -> ConnectionLost:
        self._end(exc)
        return ConnectionLost(f"nothing more can be {what}: {str(exc) or type(exc).__name__}")

    def _without_errors(self, group: BaseExceptionGroup[BaseException]) -> BaseException:
        """The cancellation that a stream with tasks of its own raised, without errors beside it."""
        failed, rest = group.split(Exception)
        if failed is not None:
            self._end(failed)
        return rest or group

    def _end(self, exc: Exception | None = None) -> None:
        """Have nobody wait for this stream any more; what it failed with is logged if it is the first of its kind."""
        if exc is not None and not self._has_failed and not isinstance(exc, _ORDINARY):
            logger.error("%r failed", self._stream, exc_info=exc)
            self._has_failed = True
        self._break()
        for scope in (self._receiving, self._sending):
            if scope is not None:
                scope.cancel()

    def _break(self) -> None:
        self._is_broken = True
        self._queue.clear()
        self.unsent_size = 0

    def send_eof_nowait(self) -> None:
        """Do nothing: a stream can only wait for this, and its peer sees the end at ``aclose`` anyway."""

    async def aclose(self) -> None:
        self._end()
        try:
            with trio.CancelScope(shield=True) as scope:
                scope.cancel()  # the forceful close that every AsyncResource owes us
                await self._stream.aclose()
        except Exception:
            pass  # whatever it had to complain about, it is closed now: that is owed, too

    def abort(self) -> None:
        self._end()
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
