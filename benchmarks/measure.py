"""One measurement: a fresh server on one core, the load generator on another.

In: a peer and a load. Out: the generator's figures. Builds the generator when its source has changed. A server lives
for one measurement; before it, it gets a burst of clients that reset their connections, as the C library's allocator
then settles (without it, servers that read into large buffers may have them mapped anew for each read, and measure up
to twice too slow).
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .loads import Load
from .peers import CannotInstall, Peer, find_python

__all__ = [
    "MeasurementFailed",
    "RunningServer",
    "Workbench",
    "build_generator",
    "compile_program",
    "make_certificate",
    "pick_cores",
]

ROOT = Path(__file__).parents[1]
SOURCE = Path(__file__).with_name("load.c")
COMPILE = ("-O2", "-std=gnu11", "-Wall", "-Wextra")
LIBRARIES = ("-lssl", "-lcrypto", "-lz")
START_PATIENCE = 60  # seconds
WARMUP = 0.5  # seconds
BURST = ("--mode=burst", "--connections=20")
BURST_MESSAGES = 5
SPARE_DESCRIPTORS = 200


class MeasurementFailed(Exception):
    """A server or the load generator did not do what it should; the text has what they said."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that takes connections."""

    pid: int
    port: int
    versions: dict[str, str]


def build_generator(cache: Path) -> Path:
    """Compile ``load.c``, unless that has been done.

    Raises:
        MeasurementFailed: there is no gcc, or it cannot compile it.
    """
    return compile_program(SOURCE, cache)


def compile_program(source: Path, cache: Path) -> Path:
    """Compile a program of one file, unless that has been done.

    Raises:
        MeasurementFailed: there is no gcc, or it cannot compile it.
    """
    binary = cache / f"{source.stem}-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if binary.exists():
        return binary
    if shutil.which("gcc") is None:
        raise MeasurementFailed(f"{source.name} needs gcc, and the headers of OpenSSL and zlib")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as directory:
        fresh = Path(directory, source.stem)
        compiled = subprocess.run(
            ["gcc", *COMPILE, "-o", fresh, source, *LIBRARIES], capture_output=True, text=True, check=False
        )
        if compiled.returncode:
            hint = "on Debian: apt-get install gcc libssl-dev zlib1g-dev"
            raise MeasurementFailed(f"gcc cannot compile {source.name} ({hint}):\n{compiled.stderr}")
        fresh.rename(binary)
    return binary


def make_certificate(directory: Path) -> Path:
    """A file with a fresh certificate for 127.0.0.1 and its key."""
    path = directory / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    command += f" -addext subjectAltName=IP:127.0.0.1 -keyout {directory / 'key.pem'} -out {path}"
    subprocess.run(command.split(), check=True, capture_output=True)
    path.write_text(path.read_text() + (directory / "key.pem").read_text())
    return path


def pick_cores() -> tuple[int, int]:
    """The core of the servers and the core of the generator: the same one where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[-1]


def raise_descriptor_limit() -> int:
    """As many descriptors as we may have; the processes we start inherit that."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Workbench:
    """All that a measurement needs beside a peer and a load.

    Args:
        cache: directory for the generator and the environments.
        scratch: directory for what is gone afterwards.
        seconds: of the window in which messages are counted.
        cores: of the server, and of the generator.
    """

    def __init__(self, cache: Path, scratch: Path, seconds: float, cores: tuple[int, int]) -> None:
        self.generator = build_generator(cache)
        self._cache = cache
        self._scratch = scratch
        self._certificate = str(make_certificate(scratch))
        self._seconds = seconds
        self._server_core, self._generator_core = cores
        self._descriptors = raise_descriptor_limit()

    def measure(self, peer: Peer, load: Load) -> dict[str, Any]:
        """Figures of one run, and the versions of what ran.

        Raises:
            MeasurementFailed: something did not do what it should.
        """
        if load.connections + SPARE_DESCRIPTORS > self._descriptors:
            raise MeasurementFailed(f"{load.connections} connections need more than {self._descriptors} descriptors")
        with self.run_server(peer, load.server_arguments(self._certificate)) as server:
            # Each connection has had its first message before the window begins, and has another one in it.
            seconds = max(self._seconds, load.one_pass)
            warmup = max(min(WARMUP, self._seconds), load.one_pass)
            window = [f"--seconds={seconds}", f"--warmup={warmup}", f"--pid={server.pid}"]
            arguments = load.generator_arguments(self._certificate)
            self.run_generator(server, [*arguments, *BURST, f"--depth={0 if load.mode == 'ticks' else BURST_MESSAGES}"])
            figures = self.run_generator(server, [*arguments, *window])
        if load.deflate and not figures["deflate"]:
            raise MeasurementFailed(f"{peer.title} does not compress")
        return {"versions": server.versions, "figures": figures}

    @contextmanager
    def run_server(self, peer: Peer, arguments: Sequence[str]) -> Iterator[RunningServer]:
        """A server from its first client to the end of the block."""
        try:
            python = find_python(peer, self._cache)
        except CannotInstall as failed:
            raise MeasurementFailed(str(failed)) from None
        command = [str(python), "-m", f"benchmarks.servers.{peer.module}", *peer.arguments]
        complaints = self._scratch / "complaints"
        with (
            complaints.open("w") as stderr,
            subprocess.Popen(
                [*command, *arguments],
                cwd=ROOT,
                env={**os.environ, **peer.environment, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                preexec_fn=partial(os.sched_setaffinity, 0, {self._server_core}),
            ) as process,
        ):
            try:
                yield _wait_ready(process)
            except MeasurementFailed as failed:
                raise MeasurementFailed(f"{peer.title}: {failed}\n{complaints.read_text()[-2000:]}".strip()) from None
            finally:
                process.kill()

    def run_generator(self, server: RunningServer, arguments: Sequence[str]) -> dict[str, Any]:
        """The figures of one run of the generator against a server.

        Raises:
            MeasurementFailed: with what it did not like.
        """
        try:
            done = subprocess.run(
                [self.generator, f"--port={server.port}", *arguments],
                capture_output=True,
                text=True,
                check=False,
                timeout=self._seconds + 120,
                preexec_fn=partial(os.sched_setaffinity, 0, {self._generator_core}),
            )
        except subprocess.TimeoutExpired:
            raise MeasurementFailed("the load generator did not come to its end") from None
        if done.returncode:
            raise MeasurementFailed(f"the load generator ended with {done.returncode}: {done.stderr.strip()}")
        figures: dict[str, Any] = json.loads(done.stdout)
        return figures


def _wait_ready(process: subprocess.Popen[str]) -> RunningServer:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_PATIENCE)
    line = process.stdout.readline() if ready else ""
    if not line:
        raise MeasurementFailed("the server did not start")
    said = json.loads(line)
    return RunningServer(process.pid, said["port"], said["versions"])
