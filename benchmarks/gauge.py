"""A gauge that does not care how busy the machine is: instructions per message, counted by valgrind.

::

    python -m benchmarks.gauge --output before.json
    python -m benchmarks.gauge --against before.json

The codec is measured on its own, then one whole connection over a wire in memory: what runs there is what runs on a
socket, without the system calls. All scenarios run in one process under callgrind, which writes its counters whenever
a marker function is called; each scenario runs twice, for few and for many messages, and the difference of the two
counts is what the messages cost. Chance and time are taken out, so
repeated runs differ by a few thousandths at most.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, final

import trio
from trio.testing import MockClock

from trio_websock import Deflate, Handler, Ok, Opcode, Options, Push, Result, current_connection
from trio_websock.behaviour.handler import bind_handler
from trio_websock.connection import Connection
from trio_websock.hosts.stream import StreamTransport
from trio_websock.hosts.wire import Wire
from trio_websock.nursery import run_connection
from trio_websock.protocol.deflate import PerMessageDeflate
from trio_websock.protocol.machine import Limits, Machine, Role
from trio_websock.protocol.negotiation import negotiate_deflate

__all__ = ["SCENARIOS", "main", "measure_instructions"]

ROOT = Path(__file__).parents[1]
MARKER = "getpgrp"  # a function of the C library that nothing else calls
FEW, MANY = 64, 256  # messages, or connections; both are multiples of a batch
BATCH = 16
PATIENCE = 600  # seconds for everything; it takes half a minute on an idle machine
KEY = b"\x12\xa4\x5b\xc7"
LIMITS = Limits(max_message_size=1 << 20, max_frame_size=None, max_empty_fragments=1024, validate_utf8=True)


def masked_frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([first]) + length + KEY + bytes(byte ^ KEY[index % 4] for index, byte in enumerate(payload))


TEXT = masked_frame(0x81, b"abcdefghijklmnopqrstuvwxyz012345")
BINARY = masked_frame(0x82, bytes(range(256)) * 64)  # 16 KiB
ROW = b'{"id":%d,"name":"user","ok":true},'
JSON = b"".join(ROW % (number * 7919) for number in range(26))


# The codec.


def echo_by_machine(machine: Machine, data: bytes) -> None:
    machine.receive_data(data)
    for message in machine.next_batch(64):
        if isinstance(message, str):
            machine.send_message((Opcode.TEXT, message.encode()))
        elif isinstance(message, bytes):
            machine.send_message((Opcode.BINARY, message))
    machine.data_to_send()


def run_codec(data: bytes, messages: int = 1) -> Callable[[int], None]:
    def run(count: int) -> None:
        machine = Machine(Role.SERVER, LIMITS)
        for _ in range(count // messages):
            echo_by_machine(machine, data)

    return run


def run_deflate(count: int) -> None:
    agreed = negotiate_deflate(["permessage-deflate; client_no_context_takeover"], Deflate())
    assert agreed is not None
    machine = Machine(Role.SERVER, LIMITS, PerMessageDeflate(agreed[1], Role.SERVER))
    squeezed = PerMessageDeflate(agreed[1], Role.CLIENT).compress(JSON)
    frame = masked_frame(0xC1, squeezed)
    for _ in range(count):
        echo_by_machine(machine, frame)


# A connection.


@final
class MemoryWire(Wire):
    """Yields the same bytes a number of times, then the end; takes everything."""

    def __init__(self, data: bytes, count: int) -> None:
        self.received_size = self.unsent_size = 0
        self.client = None
        self.scheme = "http"
        self._data = data
        self._left = count

    async def receive(self) -> bytes:
        await trio.lowlevel.cancel_shielded_checkpoint()
        if not self._left:
            return b""
        self._left -= 1
        self.received_size += len(self._data)
        return self._data

    def write_nowait(self, chunks: Iterable[bytes]) -> None:
        self.unsent_size += sum(map(len, chunks))

    def flush_nowait(self) -> bool:
        self.unsent_size = 0
        return True

    async def flush_some(self) -> None:
        await trio.lowlevel.checkpoint()

    def send_eof_nowait(self) -> None: ...

    async def aclose(self) -> None: ...

    def abort(self) -> None: ...


class Echo(Handler[None, str]):
    async def init(self, args: object) -> Result[None]:
        return Ok(None)

    async def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        return Push(message, state)


class AwaitingEcho(Echo):
    """Does the same, but its callback has an await."""

    async def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        return await super().handle_in(message, state)


class Messenger(Echo):
    """Sends each message to its own mailbox, and what comes out of it to the peer."""

    async def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        current_connection().mailbox.send_nowait(message)
        return Ok(state)

    async def handle_info(self, info: str, state: None) -> Result[None]:
        return Push(info, state)


def run_in_trio(function: Callable[..., Awaitable[object]], *args: object) -> None:
    """Run without chance: trio shuffles tasks that are ready together, and deadlines depend on the time."""
    trio._core._run._r.seed(0)
    trio.run(function, *args, clock=MockClock())


async def run_one(handler: type[Handler[None, str]], data: bytes, count: int) -> None:
    transport = StreamTransport(MemoryWire(data, count), Machine(Role.SERVER, LIMITS), None)
    await run_connection(Connection(transport, Options()), bind_handler(handler), None)


def run_messages(handler: type[Handler[None, str]], data: bytes, messages: int = 1) -> Callable[[int], None]:
    return lambda count: run_in_trio(run_one, handler, data, count // messages)


def run_connections(count: int) -> None:
    async def open_and_close() -> None:
        for _ in range(count):
            await run_one(Echo, TEXT, 1)

    run_in_trio(open_and_close)


SCENARIOS: dict[str, Callable[[int], None]] = {
    "codec: 32 B": run_codec(TEXT),
    "codec: 32 B, 16 at once": run_codec(TEXT * BATCH, BATCH),
    "codec: 16 KiB": run_codec(BINARY),
    "codec: JSON 1 KiB, deflate": run_deflate,
    "connection: 32 B": run_messages(Echo, TEXT),
    "connection: 32 B, with an await": run_messages(AwaitingEcho, TEXT),
    "connection: 32 B, 16 at once": run_messages(Echo, TEXT * BATCH, BATCH),
    "connection: through its mailbox": run_messages(Messenger, TEXT),
    "connection: begin, echo, end": run_connections,
}


# Counting.


def run_scenarios(names: Iterable[str]) -> None:
    """Run each scenario for few and for many; a marker before and after each run cuts the counters."""
    for name in names:
        run = SCENARIOS[name]
        run(BATCH)  # the interpreter specialises what runs often
        for count in (FEW, MANY):
            gc.collect()
            gc.freeze()
            os.getpgrp()
            run(count)
            os.getpgrp()


def measure_instructions(names: Iterable[str]) -> dict[str, int]:
    """Instructions per message of each scenario.

    Raises:
        SystemExit: valgrind is not there, or something failed under it.
        subprocess.TimeoutExpired: a scenario did not come to its end.
    """
    chosen = list(names)
    if shutil.which("valgrind") is None:
        raise SystemExit("the gauge needs valgrind; on Debian: apt-get install valgrind")
    with tempfile.TemporaryDirectory() as directory:
        command = ["valgrind", "--tool=callgrind", f"--dump-before={MARKER}"]
        command += [f"--callgrind-out-file={directory}/out", sys.executable, "-m", "benchmarks.gauge"]
        command += [f"--run={name}" for name in chosen]
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        dumps = [Path(directory, f"out.{number}") for number in range(1, 4 * len(chosen) + 1)]
        totals = [int(_TOTALS.findall(dump.read_text())[-1]) for dump in dumps]
    # Of a scenario's four dumps, the second ends with few messages, the fourth with many.
    pairs = zip(totals[1::4], totals[3::4], strict=True)
    return {name: round((many - few) / (MANY - FEW)) for name, (few, many) in zip(chosen, pairs, strict=True)}


_TOTALS = re.compile(r"^totals: (\d+)$", re.MULTILINE)


def show(counts: dict[str, int], before: dict[str, int]) -> None:
    for name, count in counts.items():
        change = f"  {count / before[name] - 1:+7.1%}" if name in before else ""
        print(f"{name:36}{count:>12,}{change}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gauge", description="Instructions per message.")
    parser.add_argument("--scenarios", default="", help=f"a part of their names: {'; '.join(SCENARIOS)}")
    parser.add_argument("--output", type=Path, help="save the counts as JSON")
    parser.add_argument("--against", type=Path, help="saved counts to compare with")
    parser.add_argument("--run", action="append", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    if arguments.run:
        run_scenarios(arguments.run)
        return
    counts = measure_instructions(name for name in SCENARIOS if arguments.scenarios in name)
    before: dict[str, Any] = json.loads(arguments.against.read_text()) if arguments.against else {}
    show(counts, before)
    if arguments.output:
        arguments.output.write_text(json.dumps(counts, indent=1) + "\n")


if __name__ == "__main__":
    main()
