"""The command: measure servers and clients under loads, print the tables, save them.

::

    python -m benchmarks
    python -m benchmarks --servers own,aiohttp --loads 'echo-*,churn' --rounds 5
    python -m benchmarks --loads churn --rounds 4 --more
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import tempfile
from collections.abc import Collection, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeVar

from .client_loads import CLIENT_LOADS, CLIENTS
from .client_measure import ClientBench
from .client_table import clients
from .loads import LOADS, Load
from .measure import MeasurementFailed, Workbench, pick_cores
from .peers import PEERS, Peer
from .plots import draw_all
from .results import Results, Run, describe_machine
from .table import report, summary

__all__ = ["main"]

Thing = TypeVar("Thing")

ALL_LOADS = LOADS | CLIENT_LOADS


def default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "trio-websock-benchmarks")


def select_named(patterns: str, known: Mapping[str, Thing]) -> list[Thing]:
    """Those whose name fits one of the patterns, in the order they are known in."""
    wanted = patterns.split(",")
    for pattern in wanted:
        if not any(fnmatch(name, pattern) for name in known):
            raise SystemExit(f"nothing is named {pattern}; there are {', '.join(known)}")
    return [thing for name, thing in known.items() if any(fnmatch(name, pattern) for pattern in wanted)]


def clients_of(peers: Collection[Peer]) -> list[Peer]:
    """The clients that have the names of the chosen servers."""
    return [CLIENTS[peer.name] for peer in peers if peer.name in CLIENTS]


def is_possible(peer: Peer, load: Load) -> bool:
    return peer.deflates or not load.deflate


def run_once(workbench: Workbench | ClientBench, results: Results, number: int, peer: Peer, load: Load) -> Run:
    average = os.getloadavg()[0]
    try:
        measured = workbench.measure(peer, load)
    except MeasurementFailed as failed:
        print(f"round {number}: {load.title}: {peer.title}: FAILED: {failed}", file=sys.stderr)
        return Run(number, load.name, peer.name, {}, str(failed), average)
    figures = measured["figures"]
    results.versions[peer.name] = measured["versions"]
    print(f"round {number}: {load.title}: {peer.title}: {figures.get(load.headline, math.inf):.1f}", file=sys.stderr)
    return Run(number, load.name, peer.name, figures, "", average)


def measure_all(
    workbench: Workbench | ClientBench,
    results: Results,
    rounds: int,
    peers: Collection[Peer],
    loads: Collection[Load],
    saved: Path,
) -> None:
    """Round after round, load after load, and all of a load right after each other."""
    for load in [load for _ in range(rounds) for load in loads]:
        number = results.rounds_of(load.name) + 1
        for peer in peers:
            if is_possible(peer, load):
                results.runs.append(run_once(workbench, results, number, peer, load))
                results.save(saved)


def parse_arguments() -> argparse.Namespace:
    cores = pick_cores()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="What a message costs, here and elsewhere."
    )
    parser.add_argument("--servers", default="*", help=f"names or patterns, with commas; of {', '.join(PEERS)}")
    parser.add_argument("--loads", default="*", help=f"names or patterns, with commas; of {', '.join(ALL_LOADS)}")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (3)")
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement, after a warm-up (2)")
    parser.add_argument(
        "--more", action="store_true", help="rounds behind those that --output has: of what is unsteady"
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="directory for table and plots")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="directory for what is built once")
    parser.add_argument("--server-core", type=int, default=cores[0], help="of all servers")
    parser.add_argument("--generator-core", type=int, default=cores[1], help="of the load generator")
    parser.add_argument("--show", type=Path, metavar="RESULTS", help="measure nothing: show saved results.json again")
    return parser.parse_args()


def measure(arguments: argparse.Namespace) -> Results:
    peers, loads = select_named(arguments.servers, PEERS), select_named(arguments.loads, ALL_LOADS)
    for_clients = [load for load in loads if load.name in CLIENT_LOADS]
    for_servers = [load for load in loads if load.name in LOADS]
    saved = arguments.output / "results.json"
    if arguments.more and not saved.exists():
        raise SystemExit(f"there are no results to add to in {arguments.output}")
    results = Results.load(saved) if arguments.more else Results(describe_machine(), arguments.seconds)
    cores = (arguments.server_core, arguments.generator_core)
    with tempfile.TemporaryDirectory() as scratch:
        workbench = Workbench(arguments.cache, Path(scratch), results.seconds, cores)
        bench = ClientBench(arguments.cache, results.seconds, cores)
        try:
            measure_all(workbench, results, arguments.rounds, peers, for_servers, saved)
            measure_all(bench, results, arguments.rounds, clients_of(peers), for_clients, saved)
        except KeyboardInterrupt:
            print("interrupted; this is what there is", file=sys.stderr)
    return results


def main() -> None:
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or a server would be left behind
    arguments.output.mkdir(parents=True, exist_ok=True)
    try:
        results = Results.load(arguments.show) if arguments.show else measure(arguments)
    except MeasurementFailed as failed:
        raise SystemExit(str(failed)) from None
    of_clients = clients(results)
    (arguments.output / "table.md").write_text("\n".join(part for part in (report(results), of_clients) if part) + "\n")
    draw_all(results, arguments.output)
    of_servers = summary(results) if any(name in LOADS for name in results.loads) else ""
    print("\n\n".join(part for part in (of_servers, of_clients) if part))
    sys.exit(any(run.failure for run in results.runs))


if __name__ == "__main__":
    main()
