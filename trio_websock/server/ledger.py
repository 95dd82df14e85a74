"""What a server counts, and what it tells its sessions about its own end.

Written by the sessions and by the server, read by ``Server.snapshot`` and by every session that is about to upgrade.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

__all__ = ["Ledger", "Notice", "Snapshot"]


@final
@dataclass(frozen=True, slots=True)
class Snapshot:
    """Counters of a server at one moment.

    Args:
        open_clients: sockets that are open, whatever they speak.
        open_connections: WebSockets among them.
        clients: sockets accepted since the start.
        connections: WebSockets opened since the start.
        requests: HTTP requests answered without an upgrade.
        refusals: sockets turned away because there were too many.
        handshake_failures: sockets that ended before a whole request: too slow, malformed, TLS errors, gone.
        application_errors: exceptions of the application function, and of the ASGI application.
    """

    open_clients: int
    open_connections: int
    clients: int
    connections: int
    requests: int
    refusals: int
    handshake_failures: int
    application_errors: int


@final
@dataclass(slots=True)
class Notice:
    """That the server is shutting down.

    Args:
        restart: whether it says that it will be back.
        deadline: on Trio's clock: when all must be over.
    """

    restart: bool
    deadline: float


@final
class Ledger:
    """The counters, and the notice once there is one."""

    __slots__ = ("application_errors", "clients", "connections", "handshake_failures", "notice", "refusals", "requests")

    def __init__(self) -> None:
        self.clients: int = 0
        self.connections: int = 0
        self.requests: int = 0
        self.refusals: int = 0
        self.handshake_failures: int = 0
        self.application_errors: int = 0
        self.notice: Notice | None = None

    def snapshot(self, open_clients: int, open_connections: int) -> Snapshot:
        """The counters now, with what only the server itself can count."""
        return Snapshot(
            open_clients=open_clients,
            open_connections=open_connections,
            clients=self.clients,
            connections=self.connections,
            requests=self.requests,
            refusals=self.refusals,
            handshake_failures=self.handshake_failures,
            application_errors=self.application_errors,
        )
