"""A server under a mixed load for as long as you like, and what it has kept in the end.

::

    python benchmarks/soak.py --minutes 20

A server in a process of its own serves on the loopback while clients of every kind come and go: some echo, some
broadcast through mailboxes, some connect for one message; others reset, send half a frame, send garbage, never read,
are slow to ask, or hit a handler that fails. Every few seconds memory, file descriptors and tasks of the server are
noted. A tenth of the time goes into warming up. In the end, when everyone has left, there must be as many descriptors,
tasks and blocks of Python's memory as after the warming up, no growth of resident memory between the second and the
last quarter of the run, and the counters must add up. The exit status says so. In a run of less than ten minutes,
resident memory is shown and not judged: the allocator has not settled yet.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import trio
from soak_clients import LOAD, bear_down

__all__ = ["main", "soak"]

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
KIB = 1024
SPARE_BLOCKS = 2000  # that may come and go: caches of the interpreter, what the last questions left behind
WARM = 600  # seconds of a run from which on memory is judged


class Sample(NamedTuple):
    """The server at one moment."""

    seconds: float
    memory: int  # KiB resident
    descriptors: int
    tasks: int
    open_clients: int
    snapshot: Counter[str]


class Inspector:
    """Asks the server and the kernel about the server, each time on a connection of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self._port = port
        self._start = time.monotonic()

    async def sample(self) -> Sample:
        async with self._ask() as snapshot:
            directory = Path("/proc", str(self._process.pid))
            memory = int((directory / "statm").read_text().split()[1]) * PAGE_SIZE // KIB
            descriptors = len(os.listdir(directory / "fd"))
        now = time.monotonic() - self._start
        return Sample(now, memory, descriptors, snapshot["tasks"], snapshot["open_clients"], snapshot)

    @asynccontextmanager
    async def _ask(self) -> AsyncIterator[Counter[str]]:
        async with await trio.open_tcp_stream("127.0.0.1", self._port) as stream:
            await stream.send_all(b"GET /snapshot HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                data = await stream.receive_some()
                assert data, f"no answer behind {answer!r}"
                answer += data
            yield Counter(json.loads(answer.partition(b"\r\n\r\n")[2]))

    async def wait_alone(self) -> Sample:
        """Wait until nobody is left but us."""
        with trio.fail_after(60):
            while (sample := await self.sample()).open_clients > 1:  # noqa: ASYNC110  # it is in another process
                await trio.sleep(0.2)
        return sample


async def soak(port: int, process: subprocess.Popen[str], seconds: float) -> bool:
    done: Counter[str] = Counter()
    samples: list[Sample] = []
    inspector = Inspector(process, port)
    with trio.move_on_after(seconds / 10):  # what is kept once, however long it goes on
        await bear_down(port, done)
    before = await inspector.wait_alone()
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bear_down, port, done)
            while True:
                await trio.sleep(min(5, seconds / 20))
                samples.append(await inspector.sample())
                if len(samples) % 12 == 0:
                    print(_line(samples[-1]), flush=True)
    after = await inspector.wait_alone()
    return report(before, samples, after, done)


def _line(sample: Sample) -> str:
    return (
        f"{sample.seconds:6.0f} s: {sample.memory} KiB, {sample.descriptors} descriptors, {sample.tasks} tasks,"
        f" {sample.open_clients} clients, {sample.snapshot['connections']} connections so far"
    )


def report(before: Sample, samples: list[Sample], after: Sample, done: Counter[str]) -> bool:
    snapshot = after.snapshot
    quarter = math.ceil(len(samples) / 4)
    early = median(sample.memory for sample in samples[quarter : 2 * quarter])
    late = median(sample.memory for sample in samples[-quarter:])
    print(f"{after.seconds:.0f} seconds, {len(samples)} samples")
    print(f"clients: {dict(sorted(done.items()))}")
    print(f"server: {dict(sorted(snapshot.items()))}")
    print(f"most at once: {max(s.open_clients for s in samples)} clients, {max(s.tasks for s in samples)} tasks")
    print(f"memory in KiB: {before.memory} before, {early:.0f} early, {late:.0f} late, {after.memory} after")
    # Plain requests are ours, and the last one was not answered yet when the server counted.
    unasked = snapshot["clients"] - snapshot["connections"] - snapshot["handshake_failures"] - snapshot["requests"] - 1
    blocks = snapshot["blocks"] - before.snapshot["blocks"]
    connections = snapshot["connections"] - before.snapshot["connections"]
    verdicts = {
        f"file descriptors: {before.descriptors} before, {after.descriptors} after": (
            before.descriptors == after.descriptors
        ),
        f"tasks: {before.tasks} before, {after.tasks} after": before.tasks == after.tasks,
        f"memory late is at most 3 % and 1 MiB above early: {late - early:+.0f} KiB": (
            late <= early * 1.03 + KIB or after.seconds < WARM
        ),
        f"blocks of Python's memory: {blocks:+} in {connections} connections, at most {SPARE_BLOCKS}": (
            blocks <= SPARE_BLOCKS
        ),
        "every init that succeeded was told its end": snapshot["begun"] == snapshot["ended"] > 0,
        "every connection succeeded in init or failed in it": (
            snapshot["connections"] == snapshot["begun"] + snapshot["failed inits"]
        ),
        f"every client upgraded, failed to, or was cut off by the end of the load: {unasked} of these": (
            0 <= unasked <= 2 * sum(LOAD.values())
        ),
        "no connection is open, no mailbox kept": snapshot["open_connections"] == snapshot["members"] == 0,
        "the application function never failed": snapshot["application_errors"] == 0,
    }
    for words, holds in verdicts.items():
        print(f"{'ok    ' if holds else 'FAILED'}  {words}")
    return all(verdicts.values())


def main() -> None:
    parser = argparse.ArgumentParser(description="Soak a server in a mixed load.")
    parser.add_argument("--minutes", type=float, default=1)
    arguments = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, str(Path(__file__).with_name("soak_server.py"))]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            sys.exit(not trio.run(soak, port, process, arguments.minutes * 60))
        finally:
            process.kill()


if __name__ == "__main__":
    main()
