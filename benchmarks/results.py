"""What has been measured: figures by round, load and server; saved and read again as JSON.

In: one run after another. Out: medians, spreads and ratios. Knows nothing of how they came about or are shown.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

__all__ = ["Results", "Run", "Spread", "describe_machine"]


class Spread(NamedTuple):
    """Figures of several rounds."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement.

    Attributes:
        round: from 1.
        load: its name.
        server: its name.
        figures: what the load generator said; empty if the run failed.
        failure: what went wrong, or "".
        load_average: of the machine, over a minute, when the run began.
    """

    round: int
    load: str
    server: str
    figures: dict[str, Any]
    failure: str = ""
    load_average: float = 0.0


@dataclass(slots=True)
class Results:
    """Everything that was measured: by one command, or by one and those that added to it."""

    machine: dict[str, str]
    seconds: float
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)

    @property
    def servers(self) -> list[str]:
        return list(dict.fromkeys(run.server for run in self.runs))

    @property
    def loads(self) -> list[str]:
        return list(dict.fromkeys(run.load for run in self.runs))

    def rounds_of(self, load: str) -> int:
        return max((run.round for run in self.runs if run.load == load), default=0)

    def by_round(self, server: str, load: str, figure: str) -> dict[int, float]:
        """A figure in each round in which it was measured."""
        return {
            run.round: float(run.figures[figure])
            for run in self.runs
            if run.server == server and run.load == load and figure in run.figures
        }

    def spread(self, server: str, load: str, figure: str) -> Spread | None:
        """Median and extremes of a figure; ``None`` if there is none."""
        return _spread(self.by_round(server, load, figure).values())

    def ratio(self, server: str, other: str, load: str, figure: str) -> Spread | None:
        """How much of the other's a server takes, over the rounds in which both were measured.

        Taken round by round, as what disturbs a machine for minutes disturbs both.
        """
        ours, theirs = self.by_round(server, load, figure), self.by_round(other, load, figure)
        ratios = [ours[number] / theirs[number] for number in ours.keys() & theirs.keys() if theirs[number] > 0]
        return _spread(ratios)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        saved = json.loads(path.read_text())
        return cls(**{**saved, "runs": [Run(**run) for run in saved["runs"]]})


def _spread(values: Collection[float]) -> Spread | None:
    return Spread(median(values), min(values), max(values)) if values else None


def describe_machine() -> dict[str, str]:
    """What a reader has to know about where the figures come from."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(": ")[2] for line in cpuinfo if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
