"""The Autobahn|Testsuite's verdict, chapter by chapter.

``tests/e2e/autobahn.sh setup`` fetches the suite. A plain run takes about a minute and leaves out most of chapters 12
and 13 (compression), where it sends the small messages only. From the environment:

``AUTOBAHN_CASES=all``: all 517 cases, ten minutes or more.
``AUTOBAHN_BUSY_LOOPS=2``: as many processes that take the processor from us meanwhile.
``AUTOBAHN_REPORTS=DIRECTORY``: where to keep the suite's HTML reports.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from trio_websock import Handler, Ok, Push, serve

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("autobahn.sh")

PLAIN = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
COMPRESSION = [*(f"12.{section}" for section in range(1, 6)), *(f"13.{section}" for section in range(1, 8))]
SMALL = (1, 2, 3)  # of 18 in a section: 1,000 messages of 16, 64 and 256 bytes

# No verdict by design: data behind a close frame in 7.1.6, close codes that the RFC leaves undefined in 7.13.
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}


class Echo(Handler):
    async def init(self, args: object) -> Ok[None]:
        return Ok(None)

    async def handle_in(self, message: str | bytes, state: None) -> Push[None]:
        return Push(message, state)


def sections() -> list[list[str]]:
    """The patterns of the cases to run, one list for each run of the suite."""
    plain = [[chapter] for chapter in PLAIN]
    if os.environ.get("AUTOBAHN_CASES") == "all":
        return plain + [[f"{section}.*"] for section in COMPRESSION]
    return plain + [[f"{section}.{size}" for size in SMALL] for section in COMPRESSION]


@pytest.fixture(scope="module")
def suite() -> Path:
    """The script that runs the suite; CI must have it, anyone else is told how to get it."""
    if subprocess.run([SCRIPT, "ready"], check=False).returncode == 0:
        return SCRIPT
    instruction = f"the Autobahn|Testsuite is not set up: run {os.path.relpath(SCRIPT)} setup"
    return pytest.fail(instruction) if os.environ.get("CI") else pytest.skip(instruction)


@pytest.fixture(scope="module")
def busy_loops() -> Iterator[None]:
    """Processes that use all the processor time they get, if asked for."""
    with ExitStack() as stack:
        for _ in range(int(os.environ.get("AUTOBAHN_BUSY_LOOPS", "0"))):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(process.kill)
        yield


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Where the suite writes its reports."""
    return Path(os.environ.get("AUTOBAHN_REPORTS", tmp_path)).absolute()


def passes(case: str, result: dict[str, str]) -> bool:
    """Whether both verdicts, on the messages and on the way the connection was closed, are good."""
    good = {"OK", "INFORMATIONAL"} if case in INFORMATIONAL else {"OK"}
    return {result["behavior"], result["behaviorClose"]} <= good


@pytest.mark.parametrize("cases", sections(), ids=lambda cases: cases[0])
@pytest.mark.usefixtures("busy_loops")
async def test_autobahn_finds_no_fault(cases: list[str], suite: Path, reports: Path, nursery: trio.Nursery) -> None:
    server = await nursery.start(lambda **kw: serve(Echo, port=0, compress=True, max_message_size=2**24, **kw))
    agent = f"trio_websock {cases[0]}"
    spec = {
        "outdir": str(reports / cases[0].rstrip(".*")),
        "servers": [{"agent": agent, "url": f"ws://127.0.0.1:{server.port}"}],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    reports.mkdir(parents=True, exist_ok=True)
    spec_file = reports / "fuzzingclient.json"
    spec_file.write_text(json.dumps(spec))
    run = await trio.run_process([suite, "run", spec_file], capture_stdout=True, stderr=subprocess.STDOUT, check=False)
    assert run.returncode == 0, run.stdout.decode()
    verdicts = json.loads((Path(spec["outdir"]) / "index.json").read_text())[agent]
    assert len(verdicts) >= len(cases)
    assert {case: result for case, result in verdicts.items() if not passes(case, result)} == {}
