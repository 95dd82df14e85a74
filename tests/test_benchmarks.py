"""The instrument measures what it says: it checks what comes back, and its table is complete."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from trio_websock import Handler, Ok, Push, Result, Server, Stop, serve

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))  # the benchmarks are no part of the package

compression = importlib.import_module("benchmarks.compression")
loads = importlib.import_module("benchmarks.loads")
measuring = importlib.import_module("benchmarks.measure")
peers = importlib.import_module("benchmarks.peers")
publish = importlib.import_module("benchmarks.publish")
plots = importlib.import_module("benchmarks.plots")
table = importlib.import_module("benchmarks.table")
results = importlib.import_module("benchmarks.results")

SERVERS = sorted((ROOT / "benchmarks" / "servers").glob("[a-z]*_*.py"))


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return measuring.build_generator(tmp_path_factory.mktemp("generator"))
    except measuring.MeasurementFailed as failed:
        pytest.skip(str(failed))


class Answering(Handler[None, str]):
    """Answers each message with another."""

    ANSWER = ""

    def init(self, args: object) -> Result[None]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        return Push(self.ANSWER or message, state)


class Wrong(Answering):
    ANSWER = "abcdefghijklmnopqrstuvwxyz01234!"


class Short(Answering):
    ANSWER = "abcdefghijklmnopqrstuvwxyz01234"


class Twice(Answering):
    def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        return Push([message, message], state)


class Leaving(Answering):
    def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        return Stop("enough", state)


async def drive(generator: Path, handler: type[Answering], *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """What the load generator says of a handler."""
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(partial(serve, handler, port=0, grace=0))
        command = [str(generator), f"--port={server.port}", "--seconds=0.1", "--warmup=0", *arguments]
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        nursery.cancel_scope.cancel()
    return done


@pytest.mark.parametrize(
    ("handler", "status", "words"),
    [
        (Wrong, 4, b"the content differs from what was sent"),
        (Short, 4, b"the message was cut short"),
        (Twice, 4, b"more messages came back than were sent"),
        (Leaving, 3, b"close frame 1011"),
    ],
)
async def test_the_generator_notices_a_wrong_echo(
    generator: Path, handler: type[Answering], status: int, words: bytes
) -> None:
    done = await drive(generator, handler)
    assert (done.returncode, done.stderr.strip()) == (status, words)


@pytest.mark.parametrize("mode", ["echo", "idle", "churn", "burst"])
async def test_the_generator_is_content_with_an_echo(generator: Path, mode: str) -> None:
    done = await drive(generator, Answering, f"--mode={mode}", "--connections=3", "--size=300")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verified"] > 0


async def test_one_that_does_not_read_beside_an_echo_is_measured_apart(generator: Path) -> None:
    done = await drive(generator, Answering, "--stuck", "--connections=3", "--size=300", "--seconds=0.3")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["flooded"] > 100_000
    assert figures["stalled"] == 0
    assert figures["alone_p50_us"] > 0


class Holding(Answering):
    """Answers nobody any more once a fourth client is there."""

    clients = 0

    def init(self, args: object) -> Result[None]:
        Holding.clients += 1
        return Ok(None)

    async def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        if self.clients > 3:
            await trio.sleep_forever()
        return Push(message, state)


@pytest.mark.slow  # it takes 5 seconds to be sure
async def test_a_server_that_lets_one_hold_up_the_others_is_stalled(generator: Path) -> None:
    done = await drive(generator, Holding, "--stuck", "--connections=3")
    assert json.loads(done.stdout)["stalled"] == 1


def test_the_generator_compiles_without_a_warning(generator: Path, tmp_path: Path) -> None:
    command = ["gcc", *measuring.COMPILE, "-Werror", "-o", tmp_path / "load", measuring.SOURCE, *measuring.LIBRARIES]
    assert subprocess.run(command, capture_output=True, check=False).stderr == b""


def test_a_tiny_run_gives_a_whole_table(generator: Path, tmp_path: Path) -> None:
    options = ["--servers=own", "--loads=echo-50x1-32", "--rounds=1", "--seconds=0.2"]
    command = [sys.executable, "-m", "benchmarks", *options, f"--output={tmp_path}", f"--cache={generator.parent}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    head, _, row = done.stdout.splitlines()
    assert head == "| CPU µs per message | trio-websock |"
    assert re.fullmatch(r"\| echo 50×1, 32 B \| \d+\.\d+ \|", row)


def test_more_rounds_are_added_to_those_before(generator: Path, tmp_path: Path) -> None:
    begun = example()
    begun.save(tmp_path / "results.json")  # type: ignore[attr-defined]
    options = ["--servers=own", "--loads=echo-50x1-32", "--rounds=1", "--more"]
    command = [sys.executable, "-m", "benchmarks", *options, f"--output={tmp_path}", f"--cache={generator.parent}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    added = results.Results.load(tmp_path / "results.json")
    assert added.runs[:-1] == begun.runs  # type: ignore[attr-defined]
    assert (added.runs[-1].round, added.runs[-1].load) == (3, "echo-50x1-32")
    assert "2 to 3 rounds" in table.describe(added)


def test_the_price_of_compression_is_told_for_every_kind_of_message() -> None:
    command = [sys.executable, "-m", "benchmarks.compression", "--messages=3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()[2:]
    assert len(rows) == len(compression.KINDS)
    assert all(re.fullmatch(r"\| [\w ]+, [\d,]+ B \|( \d+%, \d+\.\d µs \|)+", row) for row in rows)


def example() -> object:
    """Results of two rounds, in which everybody needed twice the time in the second."""
    runs = [
        results.Run(
            number, load.name, name, {load.headline: 10.0 * number * share, "p50_us": 30.0, "mb_per_second": 1.0}
        )
        for number in (1, 2)
        for load in loads.LOADS.values()
        for name, share in (("own", 1), ("aiohttp", 2))
    ]
    machine = {"processor": "P", "cores": "2", "system": "S", "date": "D"}
    return results.Results(machine, 1.0, {"own": {"trio": "1"}}, runs)


def test_the_summary_shows_median_and_spread_of_every_load() -> None:
    lines = table.summary(example()).splitlines()
    assert lines[:3] == [
        "| CPU µs per message | trio-websock | aiohttp |",
        "| --- | ---: | ---: |",
        "| echo 1×1, 32 B | 15.0 (10.0–20.0) | 30.0 (20.0–40.0) |",
    ]
    assert len(lines) == 2 + len(loads.LOADS) - len(loads.STUCK)


def test_ratios_are_taken_within_a_round() -> None:
    assert table.ratios(example()).splitlines()[2] == "| echo 1×1, 32 B | 0.50 |"


def test_a_ratio_tells_how_far_the_rounds_are_apart() -> None:
    noisy = example()
    slow = results.Run(3, "echo-1x1-32", "own", {"cpu_us": 90.0})
    noisy.runs += [slow, results.Run(3, "echo-1x1-32", "aiohttp", {"cpu_us": 60.0})]  # type: ignore[attr-defined]
    assert table.ratios(noisy).splitlines()[2] == "| echo 1×1, 32 B | 0.50 (0.50–1.50) |"


def beside_stuck(number: int, alone: float, beside: float, **figures: float) -> object:
    latencies = {"p50_us": beside, "p99_us": beside, "p999_us": beside}
    before = {f"alone_{name}": alone for name in latencies}
    return results.Run(number, "stuck-fan", "own", {"grown_mib": 0.5, "stalled": 0, **before, **latencies, **figures})


def stuck_row(*runs: object) -> str:
    return table.stuck(results.Results({}, 1.0, {}, list(runs))).splitlines()[-1]  # type: ignore[no-any-return]


def test_what_a_stuck_peer_costs_is_compared_within_a_run() -> None:
    row = stuck_row(beside_stuck(1, 10, 11), beside_stuck(2, 20, 22), beside_stuck(3, 40, 44, stuck_seconds=1.5))
    assert row == f"| trio-websock |{' 20.0 → 22.0 (×1.10) |' * 3} 0.50 | reset after 1.5 s |"


def test_who_stalls_has_no_latencies() -> None:
    assert (
        stuck_row(beside_stuck(1, 10, 10, stalled=1)) == "| trio-websock | **stalled**, 1 of 1 | – | – | 0.50 | stays |"
    )


def test_results_are_read_as_they_were_saved(tmp_path: Path) -> None:
    example().save(tmp_path / "results.json")  # type: ignore[attr-defined]
    assert results.Results.load(tmp_path / "results.json") == example()


def test_pictures_are_drawn(tmp_path: Path) -> None:
    plots.draw_all(example(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bandwidth.svg", "cpu.svg", "growth.svg", "latency.svg"]


@pytest.mark.parametrize("peer", peers.PEERS.values(), ids=lambda peer: peer.name)
def test_every_peer_but_ours_is_pinned(peer: object) -> None:
    requirements = peer.requirements  # type: ignore[attr-defined]
    assert all(re.fullmatch(r"[\w\[\]-]+==[\d.]+", requirement) for requirement in requirements)
    assert bool(requirements) == (peer.family != "own")  # type: ignore[attr-defined]


@pytest.mark.parametrize("server", SERVERS, ids=lambda path: path.stem)
def test_every_server_is_a_peer(server: Path) -> None:
    assert server.stem in {peer.module for peer in peers.PEERS.values()}


def test_the_page_has_a_place_for_everything_that_is_published() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    names = re.findall(r"<!-- (\w+): written by benchmarks.publish -->", page)
    assert names == ["machine", "summary", "ratios", "growth", "stuck", "clients", "details"]
    filled = publish.fill_page(page, dict.fromkeys(names, "a table"))
    assert filled.count("a table") == len(names)
    assert publish.fill_page(filled, dict.fromkeys(names, "a table")) == filled
