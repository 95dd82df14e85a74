"""A byte stream whose output cannot be torn: the socket below our own server and client.

In and out: bytes. Knows nothing of HTTP or frames. Whatever is to be sent is queued first and leaves the queue only
as the kernel takes it, so a cancelled wait loses nothing and repeats nothing.

``SocketWire`` talks to a non-blocking stdlib socket, and waits only when the system call would block; any other
``trio.abc.Stream`` is carried by ``stream_wire.py``. TLS lies on top of either, in ``tls.py``.
"""

from __future__ import annotations

import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, final

import trio

from ..errors import ConnectionLost
from .readiness import Watch, watch_socket

__all__ = ["SocketWire", "Wire"]

RECEIVE_SIZE = 64 * 1024  # bytes a read asks for: below glibc's threshold for mapping each buffer anew
LARGE_RECEIVE_SIZE = 256 * 1024  # bytes it asks for when the last one was filled: a large message is on its way
GATHER_SIZE = 64 * 1024  # bytes up to which joining chunks is cheaper than handing the kernel a list
GATHER_LEN = 64  # chunks handed to the kernel at once; far below IOV_MAX

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close() sends RST


class Wire(ABC):
    """One end of a byte stream."""

    __slots__ = ()

    #: Bytes received since the start.
    received_size: int
    #: Bytes queued and not yet taken by the kernel.
    unsent_size: int
    #: The peer's ``(host, port)``; ``None`` where there is no such thing.
    client: tuple[str, int] | None
    #: ``"http"`` or ``"https"``.
    scheme: str

    @property
    def peer(self) -> str:
        """The peer's address for people."""
        return "local peer" if self.client is None else "{}:{}".format(*self.client)

    @property
    def watch(self) -> Watch | None:
        """What is known about the socket at the bottom; ``None`` where there is none."""
        return None

    @property
    def client_certificate(self) -> Mapping[str, Any] | None:
        """The peer's TLS certificate, once verified, as ``ssl.SSLSocket.getpeercert`` tells it."""
        return None

    @abstractmethod
    async def receive(self) -> bytes:
        """Wait for bytes; ``b""`` is the end of the stream.

        Raises:
            ConnectionLost: reset, or closed at our end meanwhile.

        Checkpoint: always. Cancelled: nothing is lost.
        """

    def receive_nowait(self, *, insist: bool = False) -> bytes | None:
        """What has come already, as far as that is known without waiting; ``None``: nothing.

        Args:
            insist: look, even where nothing is known to have come.

        Raises:
            ConnectionLost: as from :meth:`receive`.
        """
        return None

    async def receive_each(self, take: Callable[[bytes | None], bool]) -> None:
        """Give ``take`` what comes, piece by piece, until it says ``False``; ``b""``, the end, is given last of all.

        ``None`` says that bytes came of which nothing can be had yet: half a TLS record. Where it can be done, ``take``
        is called while this task sleeps.

        Args:
            take: must not wait; whether more is wanted. Never ``True`` for ``b""``.

        Raises:
            ConnectionLost: as from :meth:`receive`.

        Checkpoint: always. Cancelled: nothing is lost.
        """
        while take(await self.receive()):
            pass

    @abstractmethod
    def write_nowait(self, chunks: Iterable[bytes]) -> None:
        """Queue bytes; nothing happens if the stream is gone."""

    @abstractmethod
    def flush_nowait(self) -> bool:
        """Hand the kernel what it takes now; whether nothing is left."""

    def send_nowait(self, chunks: list[bytes]) -> bool:
        """Queue bytes and hand the kernel what it takes now; whether nothing is left. The list is ours from now on."""
        self.write_nowait(chunks)
        return self.flush_nowait()

    @abstractmethod
    async def flush_some(self) -> None:
        """Wait until the kernel takes at least one queued byte.

        Raises:
            ConnectionLost: there is nobody left to take it.

        Checkpoint: always. Cancelled: the rest stays queued (a ``StreamWire`` is broken by it instead).
        """

    async def send_all(self, chunks: Iterable[bytes]) -> None:
        """Queue bytes and wait until the kernel has taken everything queued."""
        self.write_nowait(chunks)
        while not self.flush_nowait():
            await self.flush_some()

    @abstractmethod
    def send_eof_nowait(self) -> None:
        """Shut the sending side, as soon as everything queued is out; best effort."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close in good order, without waiting for the peer. Never raises."""

    @abstractmethod
    def abort(self) -> None:
        """Close at once, with a reset where there is one. Never raises, may be repeated."""


@final
class SocketWire(Wire):
    """A connected stdlib socket, taken over and made non-blocking.

    Args:
        sock: owned from now on.
        address: the peer's, as ``accept`` told it; a socket that has been reset since cannot tell it any more.
    """

    __slots__ = (
        "_chunks",
        "_fault",
        "_fd",
        "_is_flushing",
        "_is_wanted",
        "_receive_size",
        "_socket",
        "_take",
        "_watch",
        "client",
        "received_size",
        "scheme",
        "unsent_size",
    )

    def __init__(self, sock: socket.socket, address: object = None) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._fd = sock.fileno()
        self._chunks: list[bytes | memoryview] = []
        self._watch = watch_socket(self._fd)
        self._fault: OSError | None = None
        self._is_flushing = False
        self._is_wanted = False  # whether there is a receive_each that wants more, and who gets it
        self._take: Callable[[bytes | None], bool]
        self._receive_size = RECEIVE_SIZE
        self.received_size: int = 0
        self.unsent_size: int = 0
        self.scheme: str = "http"
        self.client: tuple[str, int] | None = _prepare_socket(sock, address)

    @property
    def watch(self) -> Watch:
        return self._watch

    async def receive(self) -> bytes:
        watch = self._watch
        try:
            await (trio.lowlevel.checkpoint() if watch.is_ready else watch.wait())
            while (data := self._read()) is None:
                await watch.wait()
        except (OSError, trio.ClosedResourceError) as exc:
            raise ConnectionLost(f"nothing more can be read: {exc}") from exc
        return data

    def receive_nowait(self, *, insist: bool = False) -> bytes | None:
        try:
            return self._read() if insist or self._watch.is_ready else None
        except OSError as exc:
            raise ConnectionLost(f"nothing more can be read: {exc}") from exc

    async def receive_each(self, take: Callable[[bytes | None], bool]) -> None:
        watch, self._take = self._watch, take
        self._is_wanted = True
        try:
            while self._is_wanted:
                if watch.is_ready:
                    self._is_wanted = take(await self.receive())
                    continue
                try:
                    await watch.wait(self._take_waiting)
                except (OSError, trio.ClosedResourceError) as exc:
                    raise ConnectionLost(f"nothing more can be read: {exc}") from exc
        finally:
            del self._take  # it leads back to us

    def _take_waiting(self) -> bool:
        """Read and give away what has come; whether to go on waiting."""
        try:
            data = self._read()
        except OSError as exc:
            self._fault = exc  # the kernel tells it once
            self._watch.is_ready = True
            return False
        if data is not None:
            self._is_wanted = self._take(data)
        # Who has more to say is read by a task, so that all others get their turn in between.
        return self._is_wanted and not self._watch.is_ready

    def _read(self) -> bytes | None:
        """What the socket has; ``None``: nothing yet."""
        if self._fault is not None:
            raise self._fault
        watch = self._watch
        try:
            data = self._socket.recv(self._receive_size)
        except BlockingIOError:
            watch.is_ready = False
            return None
        size = len(data)
        is_full = size == self._receive_size
        self._receive_size = LARGE_RECEIVE_SIZE if size >= RECEIVE_SIZE else RECEIVE_SIZE
        watch.is_ready = is_full or watch.has_ended
        self.received_size += size
        return data

    def write_nowait(self, chunks: Iterable[bytes]) -> None:
        if self._fd < 0:
            return
        for chunk in chunks:
            self._chunks.append(chunk)
            self.unsent_size += len(chunk)

    def send_nowait(self, chunks: list[bytes]) -> bool:
        # The way of nearly all output: nothing waits, and the kernel takes it whole.
        if len(chunks) == 1 and not self._chunks and self._fd >= 0:
            data = chunks[0]
            try:
                sent = self._socket.send(data)
            except OSError:  # told to whoever tries again
                sent = 0
            if sent == len(data):
                return True
            self._chunks.append(memoryview(data)[sent:])
            self.unsent_size = len(data) - sent
            return self.flush_nowait()
        self.write_nowait(chunks)
        return self.flush_nowait()

    def flush_nowait(self) -> bool:
        while self._chunks:
            try:
                self._drop_sent(self._send_chunks())
            except BlockingIOError:
                return False
            except OSError:
                self._end_output()
        return True

    async def flush_some(self) -> None:
        if self._fd < 0:
            raise ConnectionLost("closed at this end")
        self._is_flushing = True
        try:
            await trio.lowlevel.wait_writable(self._fd)
            self._drop_sent(self._send_chunks())
        except BlockingIOError:
            pass
        except (OSError, trio.ClosedResourceError) as exc:
            if isinstance(exc, trio.ClosedResourceError) and self._fd >= 0:
                return  # only who attended to the socket was dismissed, and with him whoever waits for it
            self._end_output()
            raise ConnectionLost(f"nothing more can be sent: {exc}") from exc
        finally:
            self._is_flushing = False

    def _send_chunks(self) -> int:
        chunks = self._chunks
        if len(chunks) == 1:
            return self._socket.send(chunks[0])
        if self.unsent_size <= GATHER_SIZE:
            return self._socket.send(b"".join(chunks))
        return self._socket.sendmsg(chunks[:GATHER_LEN])

    def _drop_sent(self, sent: int) -> None:
        if sent == self.unsent_size:
            self._forget_unsent()
            return
        self.unsent_size -= sent
        whole = 0
        while sent >= len(self._chunks[whole]):
            sent -= len(self._chunks[whole])
            whole += 1
        del self._chunks[:whole]
        self._chunks[0] = memoryview(self._chunks[0])[sent:]

    def _end_output(self) -> None:
        """Let nothing follow what could not be sent, even if the error should pass: half a frame may be out."""
        self._forget_unsent()
        with suppress(OSError):  # already gone; either way the reader will meet the end and tell it
            self._socket.shutdown(socket.SHUT_RDWR)

    def _forget_unsent(self) -> None:
        self._chunks.clear()
        self.unsent_size = 0

    def send_eof_nowait(self) -> None:
        with suppress(OSError):  # already gone, which says the same
            self._socket.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        self._close()

    def abort(self) -> None:
        with suppress(OSError):  # already closed
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._close()

    def _close(self) -> None:
        self._forget_unsent()
        if self._fd >= 0:
            self._watch.close()
            if self._is_flushing:
                trio.lowlevel.notify_closing(self._fd)
            self._socket.close()
            self._fd = -1


def _prepare_socket(sock: socket.socket, address: object) -> tuple[str, int] | None:
    """Switch Nagle's delay off where there is TCP, and tell the peer's address."""
    # What accept told tells it, too, and costs nothing; not all that has a port has a host's name before it.
    is_told = isinstance(address, tuple) and isinstance(address[0], str)
    if not is_told and sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = address or sock.getpeername()
    except OSError:  # the peer has left already; the first read will say so
        name = address
    return (name[0], name[1]) if isinstance(name, tuple) else None
