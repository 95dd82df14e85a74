"""What every client shares: its arguments, the message, and how its processor time is counted.

In: the command line. Out: one line of JSON on the standard output, when the time is over. Runs in every peer's
environment, so it knows the standard library only.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib.metadata import version
from typing import final

__all__ = ["ALPHABET", "Tally"]

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


@final
class Tally:
    """Counts echoes, and what they cost this process.

    Attributes:
        url: of the server.
        connections: how many, all at once.
        depth: messages in flight on each.
        message: what is sent.
        max_size: bytes a message may have.
        echoes: that came so far; whoever gets one adds it.
    """

    def __init__(self) -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("--port", type=int, required=True)
        parser.add_argument("--connections", type=int, default=1)
        parser.add_argument("--depth", type=int, default=1)
        parser.add_argument("--size", type=int, default=32)
        parser.add_argument("--binary", action="store_true")
        parser.add_argument("--warmup", type=float, default=0.5)
        parser.add_argument("--seconds", type=float, default=2)
        given = parser.parse_args()
        self.url = f"ws://127.0.0.1:{given.port}/"
        self.connections: int = given.connections
        self.depth: int = given.depth
        self.warmup: float = given.warmup
        self.seconds: float = given.seconds
        text = (ALPHABET * (given.size // len(ALPHABET) + 1))[: given.size]
        self.message: str | bytes = text.encode() if given.binary else text
        self.max_size = max(given.size, 1024)
        self.echoes = 0
        self._began = (0, 0.0, 0.0)

    def check(self, message: object) -> None:
        """End everything if this is not the echo of our message."""
        if message != self.message:
            sys.exit(f"what came back is not what was sent: {str(message)[:80]!r}")

    def begin(self) -> None:
        """The window in which messages are counted begins."""
        self._began = (self.echoes, time.process_time(), time.monotonic())

    def end(self, *packages: str, **facts: str) -> None:
        """The window ends: tell what was counted in it, and who counted."""
        echoes, cpu, moment = self._began
        count, seconds = self.echoes - echoes, time.monotonic() - moment
        cpu = time.process_time() - cpu
        figures = {"cpu_us": cpu / max(count, 1) * 1e6, "per_second": count / seconds, "busy": cpu / seconds}
        versions = {"Python": sys.version.split()[0], **{package: version(package) for package in packages}, **facts}
        if not count:
            sys.exit("nothing came back")
        print(json.dumps({"figures": figures, "versions": versions}), flush=True)
