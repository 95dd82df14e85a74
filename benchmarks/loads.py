"""What the servers are put through: every load with its size, and the arguments it means for both sides.

Knows nothing of peers, and does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["GROWTH", "LOADS", "SIZES", "STUCK", "Load"]

Mode = Literal["echo", "fan", "ticks", "idle", "churn"]
KIB = 1024
STUCK_WRITE_TIMEOUT = 0.5  # seconds; short enough to pass within a measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One load.

    Attributes:
        name: on the command line, and in saved results.
        title: in tables.
        mode: of the load generator, see ``load.c``.
        connections: how many, all at once (but in ``churn``).
        depth: messages in flight on each.
        size: bytes of a message.
        rate: messages a second on all connections together; 0: as fast as they come back.
        binary: binary messages instead of text.
        deflate: with permessage-deflate.
        tls: over TLS.
        stuck: after a while one more connection, which never reads; echo and fan only.
        unit: what the CPU time is divided by.
    """

    name: str
    title: str
    mode: Mode = "echo"
    connections: int = 1
    depth: int = 1
    size: int = 32
    rate: float = 0
    binary: bool = False
    deflate: bool = False
    tls: bool = False
    stuck: bool = False
    unit: str = "message"

    @property
    def headline(self) -> str:
        """The measurement that the summary shows, or would show."""
        if self.stuck:
            return "p99_us"
        return "kib_per_connection" if self.mode == "idle" else "cpu_us"

    @property
    def one_pass(self) -> float:
        """Seconds until every connection has had its turn; 0 where they have no turns."""
        return self.connections / self.rate if self.rate else 0.0

    def generator_arguments(self, certificate: str) -> list[str]:
        arguments = [f"--mode={self.mode}", f"--connections={self.connections}", f"--depth={self.depth}"]
        arguments += [f"--size={self.size}", f"--rate={self.rate}"]
        arguments += ["--binary"] * self.binary + ["--deflate"] * self.deflate + ["--stuck"] * self.stuck
        return arguments + [f"--trust={certificate}"] * self.tls

    def server_arguments(self, certificate: str) -> list[str]:
        mode = self.mode if self.mode in ("fan", "ticks") else "echo"
        arguments = [f"--mode={mode}"] + ["--deflate"] * self.deflate + [f"--certificate={certificate}"] * self.tls
        return arguments + [f"--write-timeout={STUCK_WRITE_TIMEOUT}"] * self.stuck


def _size(size: int) -> str:
    if size % (KIB * KIB) == 0:
        return f"{size // (KIB * KIB)} MiB"
    return f"{size // KIB} KiB" if size % KIB == 0 else f"{size} B"


def _echo(connections: int, depth: int = 1, size: int = 32) -> Load:
    return Load(
        name=f"echo-{connections}x{depth}-{size}",
        title=f"echo {connections:,}×{depth}, {_size(size)}",
        connections=connections,
        depth=depth,
        size=size,
        binary=size > KIB,
    )


def _growth(connections: int) -> Load:
    return Load(
        name=f"growth-{connections}",
        title=f"2,500 a second on {connections:,}",
        connections=connections,
        rate=2500,
    )


#: One message after another on one connection: latency and bandwidth against size.
SIZES = tuple(_echo(1, size=size) for size in (32, 256, 2 * KIB, 16 * KIB, 128 * KIB, KIB * KIB))

#: The same number of messages a second, on more and more connections.
GROWTH = tuple(_growth(connections) for connections in (10, 50, 500, 5000))

#: One peer among 200 does not read: what the others notice of it.
STUCK = (
    Load(name="stuck-echo", title="echo 199×1, 1 KiB", connections=199, size=KIB, stuck=True),
    Load(
        name="stuck-fan",
        title="fan-out 1→200, 1 KiB",
        mode="fan",
        connections=199,
        size=KIB,
        stuck=True,
        unit="delivery",
    ),
)

LOADS = {
    load.name: load
    for load in (
        SIZES[0],
        _echo(50),
        _echo(50, depth=16),
        _echo(1000),
        _echo(10, size=16 * KIB),
        SIZES[-1],
        Load(
            name="deflate-50x1-1024",
            title="JSON 50×1, 1 KiB, deflate",
            connections=50,
            size=KIB,
            deflate=True,
        ),
        Load(name="tls-50x1-32", title="TLS 50×1, 32 B", connections=50, tls=True),
        Load(
            name="fan-500-64",
            title="fan-out 1→500, 64 B",
            mode="fan",
            connections=500,
            size=64,
            unit="delivery",
        ),
        Load(name="ticks-100-32", title="ticks 100×100 a second, 32 B", mode="ticks", connections=100),
        Load(name="idle-5000", title="5,000 idle, KiB each", mode="idle", connections=5000, unit="handshake"),
        Load(name="churn", title="connect, echo, close", mode="churn", unit="connection"),
        *GROWTH,
        *SIZES[1:-1],
        *STUCK,
    )
}
