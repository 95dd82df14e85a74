"""Results as Markdown tables: a summary of all loads, the ratios, each load in full, and what one stuck peer costs.

In: results. Out: text. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from .loads import GROWTH, LOADS, STUCK, Load
from .peers import OWN, PEERS
from .results import Results, Spread

__all__ = [
    "describe",
    "details",
    "growth",
    "ratios",
    "render_spread",
    "render_table",
    "report",
    "stuck",
    "summary",
]

MISSING = "–"

MANY = 50  # connections from which on their memory stands out

MESSAGE_COLUMNS = {
    "cpu_us": "CPU µs per {unit}",
    "per_second": "per second",
    "p50_us": "p50 µs",
    "p99_us": "p99 µs",
    "p999_us": "p99.9 µs",
}
MEMORY_COLUMNS = {"kib_per_connection": "KiB per connection"}
STUCK_LATENCIES = {"p50_us": "p50 µs", "p99_us": "p99 µs", "p999_us": "p99.9 µs"}
IDLE_COLUMNS = {
    "kib_per_connection": "KiB per connection",
    "kib_per_connection_used": "after an echo",
    "idle_cpu_percent": "idle CPU %",
    "cpu_us": "CPU µs per {unit}",
    "per_second": "per second",
}


def report(results: Results) -> str:
    """Everything, as one text."""
    parts = (describe(results), summary(results), ratios(results), growth(results), stuck(results), *details(results))
    return "\n\n".join(part for part in parts if part) + "\n"


def describe(results: Results) -> str:
    """Where, when, how often, and with which versions."""
    machine = results.machine
    averages = [run.load_average for run in results.runs]
    versions = {
        f"{name} {version}" for named in results.versions.values() for name, version in named.items() if name != "codec"
    }
    codec = results.versions.get(OWN.name, {}).get("codec", "unknown")
    rounds = [results.rounds_of(load) for load in results.loads]
    several = f"{min(rounds)}" if len(set(rounds)) == 1 else f"{min(rounds)} to {max(rounds)}"
    return (
        f"{machine['date']}, {machine['processor']} ({machine['cores']} cores), {machine['system']}. "
        f"{several} rounds of {results.seconds:g} seconds each; load average of the machine "
        f"{min(averages, default=0):.1f} to {max(averages, default=0):.1f}.\n\n"
        f"{', '.join(sorted(versions, key=str.casefold))}; {OWN.title}'s codec: {codec}."
    )


def summary(results: Results) -> str:
    """The headline of every load for every server: median (least–most)."""
    head = ["CPU µs per message", *(PEERS[server].title for server in results.servers)]
    rows = [
        [
            _row_title(load),
            *(render_spread(results.spread(server, load.name, load.headline)) for server in results.servers),
        ]
        for load in _known(results.loads)
    ]
    return render_table(head, rows)


def ratios(results: Results) -> str:
    """What we take of what each peer takes."""
    others = [server for server in results.servers if PEERS[server].family != "own"]
    if OWN.name not in results.servers or not others:
        return ""
    head = [f"{OWN.title} ÷", *(PEERS[server].title for server in others)]
    rows = [
        [load.title, *(render_spread(results.ratio(OWN.name, server, load.name, load.headline)) for server in others)]
        for load in _known(results.loads)
    ]
    return render_table(head, rows)


def growth(results: Results) -> str:
    """CPU per message on 5,000 connections against 50, for every server."""
    few, many = GROWTH[1], GROWTH[-1]
    if not {few.name, many.name} <= set(results.loads):
        return ""
    row = ["growth of CPU per message, 50 → 5,000"]
    for server in results.servers:
        before, after = results.spread(server, few.name, "cpu_us"), results.spread(server, many.name, "cpu_us")
        row.append(f"{after.median / before.median:.2f}" if before and after else MISSING)
    return render_table(["", *(PEERS[server].title for server in results.servers)], [row])


def details(results: Results) -> list[str]:
    """Each load in full."""
    return [_detail(results, load) for load in _known(results.loads)]


def _detail(results: Results, load: Load) -> str:
    present = {
        figure: heading.format(unit=load.unit)
        for figure, heading in _columns(load).items()
        if any(results.by_round(server, load.name, figure) for server in results.servers)
    }
    rows = [
        [PEERS[server].title, *(render_spread(results.spread(server, load.name, figure)) for figure in present)]
        for server in results.servers
        if results.by_round(server, load.name, "cpu_us")
    ]
    return render_table([load.title, *present.values()], rows)


def stuck(results: Results) -> str:
    """What the others notice of one peer that does not read: a table for each such load."""
    loads = [load for load in STUCK if load.name in results.loads]
    return "\n\n".join(_stuck_table(results, load) for load in loads)


def _stuck_table(results: Results, load: Load) -> str:
    rows = [
        [PEERS[server].title, *_stuck_cells(results, server, load.name)]
        for server in results.servers
        if results.by_round(server, load.name, "stalled")
    ]
    return render_table([load.title, *STUCK_LATENCIES.values(), "MiB more", "the stuck one"], rows)


def _stuck_cells(results: Results, server: str, load: str) -> list[str]:
    grown, ended = results.spread(server, load, "grown_mib"), results.spread(server, load, "stuck_seconds")
    stalled = results.by_round(server, load, "stalled").values()
    cells = [_beside(results, server, load, figure) for figure in STUCK_LATENCIES]
    if any(stalled):
        cells = [f"**stalled**, {sum(stalled):.0f} of {len(stalled)}"] + [MISSING] * (len(cells) - 1)
    return [*cells, render_number(grown and grown.median), f"reset after {ended.median:.1f} s" if ended else "stays"]


def _beside(results: Results, server: str, load: str, figure: str) -> str:
    """A latency without and with the stuck peer, and the median of the ratios within a run."""
    alone, beside = results.spread(server, load, f"alone_{figure}"), results.spread(server, load, figure)
    if alone is None or beside is None:
        return MISSING
    before, after = (results.by_round(server, load, name) for name in (f"alone_{figure}", figure))
    ratio = median(after[number] / before[number] for number in before.keys() & after.keys())
    return f"{render_number(alone.median)} → {render_number(beside.median)} (×{ratio:.2f})"


def _columns(load: Load) -> dict[str, str]:
    if load.mode == "idle":
        return IDLE_COLUMNS
    return MESSAGE_COLUMNS | (MEMORY_COLUMNS if load.connections >= MANY else {})


def _known(names: Sequence[str]) -> list[Load]:
    """The loads of these names that are measured in one way: those with a stuck peer have a table of their own."""
    return [LOADS[name] for name in names if name in LOADS and not LOADS[name].stuck]


def _row_title(load: Load) -> str:
    return f"{load.title} (per {load.unit})" if load.unit in ("delivery", "connection") else load.title


def render_number(value: float | None) -> str:
    """A figure with as many digits as mean something."""
    if value is None:
        return MISSING
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def render_spread(spread: Spread | None) -> str:
    """Median (least–most)."""
    if spread is None:
        return MISSING
    if spread.least == spread.most:
        return render_number(spread.median)
    return f"{render_number(spread.median)} ({render_number(spread.least)}–{render_number(spread.most)})"


def render_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown: a first column of words, and figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
