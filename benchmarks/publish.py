"""Put saved results into the documentation: the tables between the markers of its page, the pictures beside it.

::

    python -m benchmarks.publish benchmarks/results/results.json
    python -m benchmarks.publish benchmarks/results/results.json --only stuck
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .client_table import clients
from .plots import draw_all
from .results import Results
from .table import describe, details, growth, ratios, stuck, summary

__all__ = ["fill_page", "main"]

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- {}: written by benchmarks.publish -->", "<!-- end of {} -->"


def fill_page(page: str, parts: dict[str, str]) -> str:
    """The page with new parts between its markers.

    Raises:
        ValueError: it has no markers for a part.
    """
    for name, text in parts.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, found, rest = page.partition(begin)
        _, also_found, after = rest.partition(end)
        if not found or not also_found:
            raise ValueError(f"the page has no place for the {name}: {begin} … {end}")
        page = f"{before}{begin}\n\n{text}\n\n{end}{after}"
    return page


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publish", description="Results into the documentation.")
    parser.add_argument("results", type=Path)
    parser.add_argument("--only", action="append", metavar="PART", help="of the page; pictures are left as they are")
    arguments = parser.parse_args()
    results = Results.load(arguments.results)
    parts = {
        "machine": describe(results),
        "summary": summary(results),
        "ratios": ratios(results),
        "growth": growth(results),
        "stuck": stuck(results),
        "clients": clients(results),
        "details": "\n\n".join(details(results)),
    }
    wanted = {name: text for name, text in parts.items() if name in (arguments.only or parts)}
    page = DOCS / "benchmarks.md"
    page.write_text(fill_page(page.read_text(), wanted))
    if arguments.only:
        return
    pictures = DOCS / "benchmarks"
    pictures.mkdir(exist_ok=True)
    draw_all(results, pictures)


if __name__ == "__main__":
    main()
