"""Where clients come in: sockets that listen, and loops that accept.

In: the options that say where to listen. Out: a :class:`~trio_websock.hosts.wire.Wire` for each client that came.
Knows neither TLS nor HTTP.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias, final

import trio

from ..errors import OptionError
from ..hosts.stream_wire import wire_for
from ..hosts.wire import SocketWire, Wire
from ..options import ServerOptions
from .binding import SocketFile, bind_tcp, bind_unix

__all__ = ["Admit", "Entrance", "open_entrances"]

logger: logging.Logger = logging.getLogger("trio_websock.server")

Admit: TypeAlias = Callable[[Wire], None]
"""Takes a client in, without waiting."""

# Clients taken in at one wake-up: enough for a burst, and not so many that running connections stand still.
ACCEPT_LEN = 64

# The client was gone before it was accepted, or the network under it: not our trouble, the next one may be fine.
_GONE = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN})
_GONE |= frozenset({errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ETIMEDOUT, errno.EPERM})

# Out of descriptors or of memory: some will be free again when others have left.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
EXHAUSTED_PAUSE = 0.1
EXHAUSTED_SILENCE = 60  # seconds between what is said about it: often it is the disk with the log that is full, too


class Entrance(ABC):
    """One place where clients come in."""

    __slots__ = ()

    #: ``(host, port)``, the path of a Unix socket, or ``None`` where there is no address.
    address: tuple[str, int] | str | None

    @abstractmethod
    async def admit_clients(self, admit: Admit) -> None:
        """Give every client that comes to ``admit``, until cancelled.

        Raises:
            OSError: listening itself is broken.

        Checkpoint: always. Cancelled: no accepted client is lost.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Stop listening. May be cancelled, it closes all the same."""


@final
class SocketEntrance(Entrance):
    """A listening stdlib socket, owned from now on.

    Args:
        sock: made non-blocking here.
        file: of a Unix socket, removed at the end; ``None`` if there is none, or it is not ours to remove.
    """

    __slots__ = ("_file", "_socket", "address")

    def __init__(self, sock: socket.socket, file: SocketFile | None = None) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._file = file
        self.address: tuple[str, int] | str | None = _address_of(sock)

    @trio.lowlevel.enable_ki_protection  # an interrupt between accept and admit would lose a client
    async def admit_clients(self, admit: Admit) -> None:
        drought = _Drought()
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                self._admit_waiting(admit)
            except OSError as exc:
                await drought.sit_out(exc)

    def _admit_waiting(self, admit: Admit) -> None:
        for _ in range(ACCEPT_LEN):
            try:
                sock, address = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno not in _GONE:
                    raise
            else:
                admit(SocketWire(sock, address))

    async def aclose(self) -> None:
        trio.lowlevel.notify_closing(self._socket)
        if self._file is not None:
            self._file.remove()
        self._socket.close()


@final
class ListenerEntrance(Entrance):
    """Any ``trio.abc.Listener``, owned from now on."""

    __slots__ = ("_listener", "address")

    def __init__(self, listener: trio.abc.Listener[Any]) -> None:
        self._listener = listener
        self.address = _address_of_listener(listener)

    @trio.lowlevel.enable_ki_protection  # an interrupt between accept and admit would lose a client
    async def admit_clients(self, admit: Admit) -> None:
        drought = _Drought()
        while True:
            try:
                stream = await self._listener.accept()
            except OSError as exc:
                await drought.sit_out(exc)
            else:
                admit(wire_for(stream))

    async def aclose(self) -> None:
        await self._listener.aclose()


@final
class _Drought:
    """A time without descriptors or memory: waited out, and told of now and then."""

    __slots__ = ("_silent_until",)

    def __init__(self) -> None:
        self._silent_until = -math.inf

    async def sit_out(self, exc: OSError) -> None:
        """Wait until there may be some again; what is wrong otherwise is raised."""
        if exc.errno not in _EXHAUSTED:
            raise exc
        if trio.current_time() >= self._silent_until:
            self._silent_until = trio.current_time() + EXHAUSTED_SILENCE
            logger.error("no client can be accepted for now: %s", exc)
        await trio.sleep(EXHAUSTED_PAUSE)


async def open_entrances(options: ServerOptions) -> list[Entrance]:
    """Listen wherever ``options`` say; everywhere or nowhere.

    Raises:
        OSError: an address is in use, not ours, or not allowed; the message names it.
        OptionError: one of ``listeners`` does not listen.

    Checkpoint: if names have to be resolved. Cancelled: nothing is left open.
    """
    entrances: list[Entrance] = []
    try:
        for given in options.listeners:
            entrances.append(_entrance_of(given))  # one by one, so that those before one that is refused are closed
        if options.path is not None:
            entrances.append(SocketEntrance(*bind_unix(os.fspath(options.path), options.backlog)))
        if options.port is not None:
            sockets = await bind_tcp(options.host, options.port, options.backlog)
            entrances += [SocketEntrance(sock) for sock in sockets]
    except BaseException:
        with trio.CancelScope(shield=True):
            for entrance in entrances:
                await entrance.aclose()
        raise
    return entrances


def _entrance_of(given: object) -> Entrance:
    if isinstance(given, trio.SocketListener):
        given = given.socket
    if isinstance(given, (socket.socket, trio.socket.SocketType)) and given.fileno() < 0:
        raise OptionError("listeners", given, "listeners or sockets that are open")
    if isinstance(given, trio.socket.SocketType):
        given = socket.socket(fileno=given.detach())
    if isinstance(given, socket.socket):
        if not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OptionError("listeners", given, "listeners or sockets that listen")
        return SocketEntrance(given)
    if isinstance(given, trio.abc.Listener):
        return ListenerEntrance(given)
    raise OptionError("listeners", given, "trio.abc.Listener objects or listening sockets")


def _address_of(sock: socket.socket | trio.socket.SocketType) -> tuple[str, int] | str | None:
    name = sock.getsockname()
    if isinstance(name, tuple):
        return name[:2]
    return os.fsdecode(name) or None  # Linux tells its abstract names as bytes


def _address_of_listener(listener: object) -> tuple[str, int] | str | None:
    inner = getattr(listener, "transport_listener", listener)  # a trio.SSLListener
    return _address_of(inner.socket) if isinstance(inner, trio.SocketListener) else None
