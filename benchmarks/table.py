"""Results as a Markdown table: a summary of all loads, the ratios, and each load in full.

In: results. Out: text. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .loads import GROWTH, LOADS, Load
from .peers import OWN, PEERS
from .results import Results, Spread

__all__ = ["describe", "details", "ratios", "report", "summary"]

MISSING = "–"

# In the order of the columns: key, heading, factor.
MESSAGE_COLUMNS = (
    ("cpu_us", "CPU µs per {unit}"),
    ("per_second", "{unit}s per second"),
    ("p50_us", "p50 µs"),
    ("p99_us", "p99 µs"),
    ("p999_us", "p99.9 µs"),
)
IDLE_COLUMNS = (
    ("kib_per_connection", "KiB per connection"),
    ("kib_per_connection_used", "after an echo"),
    ("idle_cpu_percent", "idle CPU %"),
    ("cpu_us", "CPU µs per {unit}"),
    ("per_second", "{unit}s per second"),
)


def report(results: Results) -> str:
    """Everything, as one text."""
    return "\n\n".join((describe(results), summary(results), ratios(results), *details(results))) + "\n"


def describe(results: Results) -> str:
    """Where, when, how often, and with which versions."""
    machine = results.machine
    averages = [run.load_average for run in results.runs]
    versions = {f"{name} {version}" for named in results.versions.values() for name, version in named.items()}
    return (
        f"{machine['date']}, {machine['processor']} ({machine['cores']} cores), {machine['system']}. "
        f"{results.rounds} rounds of {results.seconds:g} seconds each; load average of the machine "
        f"{min(averages, default=0):.1f} to {max(averages, default=0):.1f}.\n\n"
        f"{', '.join(sorted(versions, key=str.casefold))}."
    )


def summary(results: Results) -> str:
    """The headline of every load for every server: median (least–most)."""
    head = ["CPU µs per message", *(PEERS[server].title for server in results.servers)]
    rows = [
        [_row_title(load), *(_spread(results.spread(server, load.name, load.headline)) for server in results.servers)]
        for load in _known(results.loads)
    ]
    return _table(head, rows)


def ratios(results: Results) -> str:
    """What we take of what each peer takes, and how each one grows with its connections."""
    others = [server for server in results.servers if PEERS[server].family != "own"]
    if OWN.name not in results.servers or not others:
        return ""
    head = [f"{OWN.title} ÷", *(PEERS[server].title for server in others)]
    rows = [
        [load.title, *(_number(results.ratio(OWN.name, server, load.name, load.headline)) for server in others)]
        for load in _known(results.loads)
    ]
    return _table(head, rows)


def growth(results: Results) -> str:
    """CPU per message on 5,000 connections against 50, for every server."""
    few, many = GROWTH[1], GROWTH[-1]
    if not {few.name, many.name} <= set(results.loads):
        return ""
    row = ["growth of CPU per message, 50 → 5,000"]
    for server in results.servers:
        before, after = results.spread(server, few.name, "cpu_us"), results.spread(server, many.name, "cpu_us")
        row.append(f"{after.median / before.median:.2f}" if before and after else MISSING)
    return _table(["", *(PEERS[server].title for server in results.servers)], [row])


def details(results: Results) -> Iterable[str]:
    """Each load in full."""
    if table := growth(results):
        yield table
    for load in _known(results.loads):
        yield _detail(results, load)


def _detail(results: Results, load: Load) -> str:
    columns = IDLE_COLUMNS if load.mode == "idle" else MESSAGE_COLUMNS
    present = [
        (key, heading.format(unit=_plural(load.unit) if "{unit}s" in heading else load.unit))
        for key, heading in ((key, heading.replace("{unit}s", "{unit}s")) for key, heading in columns)
        if any(results.by_round(server, load.name, key) for server in results.servers)
    ]
    rows = [
        [PEERS[server].title, *(_spread(results.spread(server, load.name, key)) for key, _ in present)]
        for server in results.servers
    ]
    return _table([load.title, *(heading for _, heading in present)], rows)


def _plural(unit: str) -> str:
    return "deliverie" if unit == "delivery" else unit


def _known(names: Sequence[str]) -> list[Load]:
    return [LOADS[name] for name in names if name in LOADS]


def _row_title(load: Load) -> str:
    return f"{load.title} (per {load.unit})" if load.unit in ("delivery", "connection") else load.title


def _number(value: float | None) -> str:
    if value is None:
        return MISSING
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 10 else f"{value:.1f}"


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return MISSING
    return f"{_number(spread.median)} ({_number(spread.least)}–{_number(spread.most)})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
