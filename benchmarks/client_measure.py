"""One measurement of a client: the echo server of ``clients/echo.c`` on one core, the client's process on another.

In: a client and a load. Out: what the client's process says of itself. Builds the server when its source has changed.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, final

from .loads import Load
from .measure import ROOT, WARMUP, MeasurementFailed, compile_program
from .peers import CannotInstall, Peer, find_python

__all__ = ["ECHO", "ClientBench"]

ECHO = Path(__file__).with_name("clients") / "echo.c"
PATIENCE = 60  # seconds that a client may take longer than it is told to


@final
class ClientBench:
    """All that a measurement needs beside a client and a load.

    Args:
        cache: directory for the server and the environments.
        seconds: of the window in which messages are counted.
        cores: of the client, and of the server.
    """

    def __init__(self, cache: Path, seconds: float, cores: tuple[int, int]) -> None:
        self._server = compile_program(ECHO, cache)
        self._cache = cache
        self._seconds = seconds
        self._client_core, self._server_core = cores

    def measure(self, peer: Peer, load: Load) -> dict[str, Any]:
        """Figures of one run, and the versions of what ran.

        Raises:
            MeasurementFailed: something did not do what it should.
        """
        with self._run_server() as port:
            return self._run_client(peer, load, port)

    @contextmanager
    def _run_server(self) -> Iterator[int]:
        pin = partial(os.sched_setaffinity, 0, {self._server_core})
        with subprocess.Popen([self._server], stdout=subprocess.PIPE, text=True, preexec_fn=pin) as process:
            try:
                assert process.stdout is not None
                yield int(process.stdout.readline())
            finally:
                process.kill()

    def _run_client(self, peer: Peer, load: Load, port: int) -> dict[str, Any]:
        try:
            python = find_python(peer, self._cache)
        except CannotInstall as failed:
            raise MeasurementFailed(str(failed)) from None
        command = [str(python), "-m", f"benchmarks.clients.{peer.module}", f"--port={port}"]
        command += [f"--connections={load.connections}", f"--depth={load.depth}", f"--size={load.size}"]
        command += [f"--seconds={self._seconds}", f"--warmup={min(WARMUP, self._seconds)}"]
        try:
            done = subprocess.run(
                command + ["--binary"] * load.binary,
                cwd=ROOT,
                env={**os.environ, **peer.environment, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
                timeout=self._seconds + PATIENCE,
                preexec_fn=partial(os.sched_setaffinity, 0, {self._client_core}),
            )
        except subprocess.TimeoutExpired:
            raise MeasurementFailed("the client did not come to its end") from None
        if done.returncode:
            raise MeasurementFailed(f"the client ended with {done.returncode}: {done.stderr[-2000:].strip()}")
        measured: dict[str, Any] = json.loads(done.stdout)
        return measured
