"""What the end-to-end tests share: a server in a thread of its own, an example in a process of its own, certificates.

A server that runs beside the test lets clients of every kind be driven: blocking ones, asyncio, Trio, a browser.
"""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

import trio_websock
from trio_websock import Server, serve

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 30  # seconds until a test gives up; a fail-safe, never part of a verdict


class ServerThread:
    """A server in its own thread, for clients that block."""

    def __init__(self, handler: object, options: dict[str, Any]) -> None:
        self._started: Future[Server] = Future()
        self._thread = threading.Thread(target=self._run, args=(handler, options))
        self._thread.start()
        self.server = self._started.result(PATIENCE)

    @property
    def port(self) -> int:
        return self.server.port

    def _run(self, handler: object, options: dict[str, Any]) -> None:
        try:
            trio.run(self._serve, handler, options)
        except BaseException as exc:
            if self._started.done():
                raise
            self._started.set_exception(exc)

    async def _serve(self, handler: object, options: dict[str, Any]) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve, handler, **options))
            self._started.set_result(server)

    def shutdown(self, **how: Any) -> None:
        """Shut down from the test's thread, and wait for the end."""
        if self._thread.is_alive():
            trio.from_thread.run(partial(self.server.shutdown, **how), trio_token=self._token)
            self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


OpenServer = Callable[..., AbstractContextManager[ServerThread]]


@contextmanager
def _open_server(handler: object, **options: Any) -> Iterator[ServerThread]:
    thread = ServerThread(handler, {"port": 0, **options})
    try:
        yield thread
    finally:
        thread.shutdown(grace=0)


@pytest.fixture(scope="session")
def open_server() -> OpenServer:
    """``with open_server(handler, **options) as thread``: serves until the block ends."""
    return _open_server


@dataclass
class Example:
    """A running example: where it listens, and how to end it."""

    process: subprocess.Popen[str]
    greeting: str

    @property
    def url(self) -> str:
        found = re.search(r"(http|ws)://\S+", self.greeting)
        assert found, f"the example did not say where it listens: {self.greeting!r}"
        return found[0].rstrip("/")

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    @property
    def port(self) -> str:
        return self.url.rpartition(":")[2]

    def interrupt(self) -> tuple[int, str]:
        """What Ctrl-C does: the exit status, and what was printed since the greeting."""
        self.process.send_signal(signal.SIGINT)
        printed, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, printed


RunExample = Callable[..., AbstractContextManager[Example]]


@contextmanager
def _run_python(*words: str, **environment: str) -> Iterator[Example]:
    environment = {**os.environ, "PYTHONPATH": str(Path(trio_websock.__file__).parents[1]), **environment}
    with subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=EXAMPLES,
    ) as process:
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        assert process.stdout is not None
        greeting = process.stdout.readline()
        watchdog.cancel()
        try:
            yield Example(process, greeting)
        finally:
            process.kill()


@pytest.fixture(scope="session")
def run_python() -> RunExample:
    """``with run_python(*words) as example``: runs Python beside the examples until the block ends."""
    return _run_python


@pytest.fixture(scope="session")
def run_example() -> RunExample:
    """``with run_example("chat") as example``: runs until the block ends."""
    return lambda name, port="0", **environment: _run_python(f"{name}.py", "--port", port, **environment)


@dataclass(frozen=True)
class Certificates:
    """A certificate for localhost and 127.0.0.1, and the authority behind it."""

    authority: trustme.CA
    leaf: trustme.LeafCert

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.leaf.configure_cert(context)
        return context

    def client_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        return context


@pytest.fixture(scope="session")
def certificates() -> Certificates:
    authority = trustme.CA()
    return Certificates(authority, authority.issue_cert("localhost", "127.0.0.1"))
