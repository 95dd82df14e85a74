"""What every server shares: its arguments, a listening socket, and how it says that it is ready.

In: the command line. Out: one line of JSON on the standard output with the port and the versions in use. Runs in every
peer's environment, so it knows the standard library only.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import NamedTuple

__all__ = ["HOST", "TICK", "Settings", "announce", "delays", "open_socket", "parse_settings"]

HOST = "127.0.0.1"
TICK = "abcdefghijklmnopqrstuvwxyz012345"  # 32 bytes of what the load generator expects
TICK_PERIOD = 0.01  # seconds


class Settings(NamedTuple):
    """What this run is about.

    Attributes:
        mode: ``echo``; ``fan``: each message goes to every connection; ``ticks``: a task per connection sends
            :data:`TICK` every 10 ms.
        deflate: accept permessage-deflate.
        certificate: the file with certificate and key to serve TLS with.
        awaits: callbacks have an ``await``, where that makes a difference to the library.
        write_timeout: seconds that a peer which takes nothing is borne with, where the library knows such a limit;
            ``None``: its default.
    """

    mode: str
    deflate: bool
    certificate: str | None
    awaits: bool
    write_timeout: float | None

    def ssl_context(self) -> ssl.SSLContext | None:
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        return context


def parse_settings() -> Settings:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=("echo", "fan", "ticks"), default="echo")
    parser.add_argument("--deflate", action="store_true")
    parser.add_argument("--certificate")
    parser.add_argument("--awaits", action="store_true")
    parser.add_argument("--write-timeout", type=float)
    return Settings(**vars(parser.parse_args()))


def open_socket() -> socket.socket:
    """A socket that listens on a free port already, for servers that take one."""
    return socket.create_server((HOST, 0), backlog=1024)


def announce(port: int, *packages: str, **facts: str) -> None:
    """Tell who started us that clients may come, and what they will find."""
    versions = {"Python": sys.version.split()[0], **{package: version(package) for package in packages}, **facts}
    print(json.dumps({"port": port, "versions": versions}), flush=True)


def delays() -> Iterator[float]:
    """How long to sleep before each tick; who is late catches up."""
    due = time.monotonic()
    while True:
        due += TICK_PERIOD
        yield max(0.0, due - time.monotonic())
