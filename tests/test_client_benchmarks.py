"""The instrument for clients: its server echoes, its clients check what comes back, and its tables are complete."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))  # the benchmarks are no part of the package

client_loads = importlib.import_module("benchmarks.client_loads")
client_measure = importlib.import_module("benchmarks.client_measure")
client_table = importlib.import_module("benchmarks.client_table")
measuring = importlib.import_module("benchmarks.measure")
results = importlib.import_module("benchmarks.results")
tally = importlib.import_module("benchmarks.clients.tally")

CLIENTS = ROOT / "benchmarks" / "clients"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("cache")
    try:
        measuring.compile_program(client_measure.ECHO, cache)
    except measuring.MeasurementFailed as failed:
        pytest.skip(str(failed))
    return cache


def test_every_client_has_its_module() -> None:
    assert {f"{client.module}.py" for client in client_loads.CLIENTS.values()} == {
        path.name for path in CLIENTS.glob("*.py") if path.name not in ("__init__.py", "tally.py")
    }


def test_the_echo_server_compiles_without_a_warning(cache: Path) -> None:
    command = ["gcc", *measuring.COMPILE, "-Werror", "-o", cache / "echo", client_measure.ECHO, *measuring.LIBRARIES]
    assert subprocess.run(command, capture_output=True, check=False).stderr == b""


@pytest.mark.parametrize("load", client_loads.CLIENT_LOADS.values(), ids=lambda load: load.name)
def test_our_client_gets_every_load_echoed(cache: Path, load: object) -> None:
    bench = client_measure.ClientBench(cache, 0.1, measuring.pick_cores())
    assert bench.measure(client_loads.CLIENTS["own"], load)["figures"]["cpu_us"] > 0


def test_a_client_ends_when_what_came_back_is_not_what_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["client", "--port=1"])
    with pytest.raises(SystemExit, match="not what was sent"):
        tally.Tally().check("abcdefghijklmnopqrstuvwxyz01234!")


def test_a_client_to_which_nothing_comes_back_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["client", "--port=1"])
    waiting = tally.Tally()
    waiting.begin()
    with pytest.raises(SystemExit, match="nothing came back"):
        waiting.end()


def test_the_tables_have_every_client_and_the_ratios_within_a_round() -> None:
    runs = [
        results.Run(number, "client-1x1-32", name, {"cpu_us": 10.0 * number * share})
        for number in (1, 2)
        for name, share in (("own", 1), ("aiohttp", 2))
    ]
    lines = client_table.clients(results.Results({}, 1.0, {}, runs)).splitlines()
    assert lines[0] == "| CPU µs per message | trio-websock | aiohttp |"
    assert lines[2] == "| client 1×1, 32 B | 15.0 (10.0–20.0) | 30.0 (20.0–40.0) |"
    assert lines[-1] == "| client 1×1, 32 B | 0.50 |"


def test_without_clients_there_is_no_table() -> None:
    assert client_table.clients(results.Results({}, 1.0)) == ""


def test_a_tiny_run_gives_a_whole_table(cache: Path, tmp_path: Path) -> None:
    options = ["--servers=own", "--loads=client-1x1-32", "--rounds=1", "--seconds=0.1"]
    command = [sys.executable, "-m", "benchmarks", *options, f"--output={tmp_path}", f"--cache={cache}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    head, _, row = done.stdout.splitlines()
    assert head == "| CPU µs per message | trio-websock |"
    assert re.fullmatch(r"\| client 1×1, 32 B \| \d+\.\d+ \|", row)
