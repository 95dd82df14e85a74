"""Making sockets that listen: TCP on every address of a name, and Unix sockets with their files.

In: a host and port, or a path. Out: stdlib sockets that listen. Every error says which address it is about.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable, Sequence
from typing import final

import trio

from ..request import authority_of

__all__ = ["SocketFile", "bind_tcp", "bind_unix"]

# With port 0 and several addresses, all are to share the port the first one was given; another program may hold it
# elsewhere, so this is tried a few times.
SHARED_PORT_ATTEMPTS = 5

# The kernel cuts it down to its own maximum (net.core.somaxconn).
DEFAULT_BACKLOG = 65535


async def bind_tcp(host: str | Sequence[str] | None, port: int, backlog: int | None) -> list[socket.socket]:
    """Listen on every address of every host.

    Args:
        host: a name or address, several, or ``None`` for every interface.
        port: 0 for one that is free, the same for all addresses.
        backlog: clients the kernel keeps waiting.

    Raises:
        OSError: a name has no address, or an address cannot be had.

    Checkpoint: always. Cancelled: nothing is left open.
    """
    hosts = [host] if isinstance(host, str) or host is None else list(host)
    addresses = await _resolve(hosts, port)
    for _ in range(SHARED_PORT_ATTEMPTS - 1):
        try:
            return _listen_on_all(addresses, port, _backlog(backlog), tolerant=None in hosts)
        except OSError as exc:
            if port or exc.errno != errno.EADDRINUSE:
                raise
    return _listen_on_all(addresses, port, _backlog(backlog), tolerant=None in hosts)


def _backlog(backlog: int | None) -> int:
    return DEFAULT_BACKLOG if backlog is None else min(backlog, DEFAULT_BACKLOG)


async def _resolve(hosts: Iterable[str | None], port: int) -> list[tuple[int, str, int, int]]:
    """``(family, address, flow, scope)`` for each address, without repetition."""
    found: dict[tuple[int, str, int, int], None] = {}
    for host in hosts:
        try:
            infos = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as exc:  # gaierror
            raise OSError(exc.errno, f"cannot listen on {host!r}: {exc.strerror}") from exc
        except UnicodeError as exc:  # no name of a host, by its length or its characters
            raise OSError(errno.EINVAL, f"cannot listen on {host!r}: {exc}") from exc
        for family, _, _, _, name in infos:
            flow, scope = (*name[2:4], 0, 0)[:2]
            found[(int(family), str(name[0]), int(flow), int(scope))] = None
    return list(found)


def _listen_on_all(
    addresses: list[tuple[int, str, int, int]], port: int, backlog: int, *, tolerant: bool
) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    skipped: OSError | None = None
    try:
        for address in addresses:
            try:
                sock = _listen_on(address, port or (sockets[0].getsockname()[1] if sockets else 0), backlog)
            except OSError as exc:
                if not (tolerant and exc.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)):
                    raise
                skipped = exc  # "every interface" means every one this machine has: often no IPv6
            else:
                sockets.append(sock)
        if skipped is not None and not sockets:
            raise skipped
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _listen_on(address: tuple[int, str, int, int], port: int, backlog: int) -> socket.socket:
    family, host, flow, scope = address
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            # Connections of the last run that linger in TIME_WAIT must not keep us from starting again.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # IPv4 has a socket of its own; whether this one would take it too differs between systems.
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, port, flow, scope) if family == socket.AF_INET6 else (host, port))
            sock.listen(backlog)
        except BaseException:
            sock.close()
            raise
    except OSError as exc:
        raise OSError(exc.errno, f"cannot listen on {authority_of(host, port)}: {exc.strerror}") from exc
    return sock


def bind_unix(path: str, backlog: int | None) -> tuple[socket.socket, SocketFile]:
    """Listen on a Unix socket; what a dead server left at ``path`` is replaced.

    Returns:
        The socket, and its file, to be removed before the socket is closed.

    Raises:
        OSError: a server listens there, or something else is in the way.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if not path.startswith("\0"):
            _clear_path(path)
        sock.bind(path)
        sock.listen(_backlog(backlog))
        return sock, SocketFile(path)
    except OSError as exc:
        sock.close()
        # The one error without a number is Python's own: the path is too long for a socket.
        code = exc.errno or errno.ENAMETOOLONG
        raise OSError(code, f"cannot listen on {path}: {exc.strerror or exc}") from exc
    except ValueError as exc:
        sock.close()
        raise OSError(errno.EINVAL, f"cannot listen on {path!r}: {exc}") from exc


def _clear_path(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "there is a file that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # nobody listens: left over from a server that died
            return
        except BlockingIOError:
            pass  # its backlog is full, so somebody is there
    raise OSError(errno.EADDRINUSE, "another server listens there")


@final
class SocketFile:
    """The file of a Unix socket, as it was when it was made."""

    __slots__ = ("_identity", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._identity = _identity_of(path)

    def remove(self) -> None:
        """Remove it, unless it is gone or another server has put its own there meanwhile."""
        try:
            if self._identity is not None and _identity_of(self._path) == self._identity:
                os.unlink(self._path)
        except OSError:
            pass  # whoever made it disappear has done our work


def _identity_of(path: str) -> tuple[int, int] | None:
    if path.startswith("\0"):
        return None  # Linux's abstract names have no file
    status = os.stat(path)
    return status.st_dev, status.st_ino
