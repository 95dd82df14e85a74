"""The Autobahn|Testsuite's verdict on our client: its fuzzing server, chapter by chapter.

``tests/e2e/autobahn.sh setup`` fetches the suite. A plain run leaves out the large messages of chapter 9, and of
chapters 12 and 13 (compression) all but the small ones. From the environment, as for the server's test:

``AUTOBAHN_CASES=all``: all 517 cases, ten minutes or more.
``AUTOBAHN_REPORTS=DIRECTORY``: where to keep the suite's HTML reports.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from trio_websock import ConnectFailed, ConnectionClosed, Deflate, open_websocket

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("autobahn.sh")
MAX_SIZE = 2**24

PLAIN = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
LARGE = [f"9.{section}" for section in range(1, 9)]
COMPRESSION = [*(f"12.{section}" for section in range(1, 6)), *(f"13.{section}" for section in range(1, 8))]

# No verdict by design: data behind a close frame in 7.1.6, close codes that the RFC leaves undefined in 7.13.
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}

# A fault behind a message that was good: the connection has failed (RFC 6455 §7.1.7 does not let us wait) before the
# application has had the time to answer. It still receives the message.
NON_STRICT = {"3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"}

# There the suite's server asks for a window of 32 KiB even if a smaller one was offered.
LARGE_WINDOW = {"13.4", "13.6"}


def sections() -> list[list[str]]:
    """The patterns of the cases to run, one list for each run of the suite."""
    plain = [[chapter] for chapter in PLAIN]
    if os.environ.get("AUTOBAHN_CASES") == "all":
        return plain + [[f"{section}.*"] for section in LARGE + COMPRESSION]
    return [*plain, ["9.1.1", "9.2.1", "9.3.1", "9.5.1", "9.7.1"], *([f"{section}.1"] for section in COMPRESSION)]


@pytest.fixture(scope="module")
def suite() -> Path:
    """The script that runs the suite; CI must have it, anyone else is told how to get it."""
    if subprocess.run([SCRIPT, "ready"], check=False).returncode == 0:
        return SCRIPT
    instruction = f"the Autobahn|Testsuite is not set up: run {os.path.relpath(SCRIPT)} setup"
    return pytest.fail(instruction) if os.environ.get("CI") else pytest.skip(instruction)


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Where the suite writes its reports."""
    return Path(os.environ.get("AUTOBAHN_REPORTS", tmp_path)).absolute()


def passes(case: str, result: dict[str, str]) -> bool:
    """Whether both verdicts, on the messages and on the way the connection was closed, are good."""
    if case in INFORMATIONAL:
        return {result["behavior"], result["behaviorClose"]} <= {"OK", "INFORMATIONAL"}
    good = {"OK", "NON-STRICT"} if case in NON_STRICT else {"OK"}
    return result["behavior"] in good and result["behaviorClose"] == "OK"


@asynccontextmanager
async def run_server(suite: Path, spec_file: Path, url: str) -> AsyncIterator[None]:
    """The suite's server, from the moment at which it answers to the end of the block."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.run_process, [suite, "serve", spec_file], stdout=subprocess.DEVNULL))
        while not await is_answered(url):  # noqa: ASYNC110  # another process knows no events of ours
            await trio.sleep(0.1)
        yield
        nursery.cancel_scope.cancel()


async def is_answered(url: str) -> bool:
    try:
        async with open_websocket(f"{url}/getCaseCount") as websocket:
            return await websocket.receive() != "0"
    except ConnectFailed:
        return False


async def run_case(url: str, compress: bool | Deflate) -> None:
    """Echo whatever comes, to the end."""
    try:
        async with open_websocket(url, compress=compress, max_message_size=MAX_SIZE) as websocket:
            while True:
                await websocket.send(await websocket.receive())
    except ConnectionClosed:
        pass  # how it was closed is what the suite judges


async def run_cases(url: str, agent: str, compress: bool | Deflate) -> None:
    async with open_websocket(f"{url}/getCaseCount") as websocket:
        count = int(await websocket.receive())
    for number in range(1, count + 1):
        await run_case(f"{url}/runCase?case={number}&agent={agent}", compress)
    async with open_websocket(f"{url}/updateReports?agent={agent}", close_timeout=60) as websocket:
        await websocket.receive_or_none()


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.parametrize("cases", sections(), ids=lambda cases: cases[0])
async def test_autobahn_finds_no_fault_with_the_client(cases: list[str], suite: Path, reports: Path) -> None:
    section = ".".join(cases[0].rstrip(".*").split(".")[:2])
    compress = Deflate(server_max_window_bits=15, client_max_window_bits=15) if section in LARGE_WINDOW else True
    agent = f"trio_websock-{section}"
    url = f"ws://127.0.0.1:{unused_port()}"
    outdir = reports / f"client-{section}"
    spec = {"outdir": str(outdir), "url": url, "cases": cases, "exclude-cases": [], "exclude-agent-cases": {}}
    reports.mkdir(parents=True, exist_ok=True)
    spec_file = reports / "fuzzingserver.json"
    spec_file.write_text(json.dumps(spec))
    async with run_server(suite, spec_file, url):
        await run_cases(url, agent, compress)
    verdicts = json.loads((outdir / "index.json").read_text())[agent]
    assert len(verdicts) >= len(cases)
    assert {case: result for case, result in verdicts.items() if not passes(case, result)} == {}
