"""Results as pictures: CPU per message of every server, latency and bandwidth against size, growth with connections.

In: results. Out: SVG files. They have no background, and words and lines in a grey that can be read on white and on
black, so that they fit a light page and a dark one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from .loads import GROWTH, LOADS, SIZES
from .peers import PEERS
from .results import Results

__all__ = ["draw_all", "draw_bars", "draw_lines"]

GREY = "#768089"
FAINT = "#76808940"
COLOURS = {
    "own": "#e5484d",
    "own-await": "#ee8a8d",
    "own-pure": "#f2b5b6",
    "own-hypercorn": "#c2185b",
    "own-uvicorn": "#d81b60",
    "own-trio-websocket": "#ad1457",
    "trio-websocket": "#d08700",
    "websockets-trio": "#b8a200",
    "hypercorn": "#a2693b",
    "websockets": "#3f9b5c",
    "uvicorn": "#169c9c",
    "aiohttp": "#4a86e0",
    "picows": "#9666d8",
}
BARS = ("echo-50x1-32", "echo-50x16-32", "echo-1000x1-32", "echo-10x1-16384", "fan-500-64", "churn")
BAR_HEIGHT = 19
PANEL_WIDTH, LABEL_WIDTH, VALUE_WIDTH = 500, 190, 70
PLOT_LEFT, PLOT_TOP, PLOT_WIDTH, PLOT_HEIGHT, LEGEND_WIDTH = 64, 44, 520, 330, 220

Point = tuple[float, float]


def draw_all(results: Results, directory: Path) -> None:
    """Every picture for which there is something to show."""
    pictures = {
        "cpu": draw_bars(results, [name for name in BARS if name in results.loads]),
        "latency": _draw_sizes(results, "p50_us", "Median latency, µs, of one message after another"),
        "bandwidth": _draw_sizes(results, "mb_per_second", "MB/s echoed, one message after another"),
        "growth": _draw_growth(results),
    }
    for name, picture in pictures.items():
        if picture:
            (directory / f"{name}.svg").write_text(picture)


def _draw_sizes(results: Results, figure: str, title: str) -> str:
    sizes = [load for load in SIZES if load.name in results.loads]
    lines: dict[str, list[Point]] = {
        server: [(load.size, found.median) for load in sizes if (found := results.spread(server, load.name, figure))]
        for server in _one_of_ours(results)
    }
    return draw_lines(title, "bytes of a message", lines, _size) if len(sizes) > 1 else ""


def _draw_growth(results: Results) -> str:
    loads = [load for load in GROWTH if load.name in results.loads]
    lines: dict[str, list[Point]] = {
        server: [
            (load.connections, found.median) for load in loads if (found := results.spread(server, load.name, "cpu_us"))
        ]
        for server in _one_of_ours(results)
    }
    title = "CPU µs per message at 2,500 messages a second in all"
    return draw_lines(title, "connections", lines, lambda x: f"{x:,.0f}") if len(loads) > 1 else ""


def _one_of_ours(results: Results) -> list[str]:
    """Without our variants: their lines would lie on each other."""
    return [server for server in results.servers if server == "own" or PEERS[server].family != "own"]


# Bars.


def draw_bars(results: Results, loads: Sequence[str]) -> str:
    """A panel for each load, a bar for each server, least first."""
    panels = [panel for load in loads if (panel := _measured(results, load))]
    if not panels:
        return ""
    rows = max(len(panel) for panel in panels)
    panel_height = rows * BAR_HEIGHT + 58
    parts = []
    for number, (load, panel) in enumerate(zip(loads, panels, strict=True)):
        x, y = (number % 2) * (PANEL_WIDTH + 30), (number // 2) * panel_height
        parts.append(f'<g transform="translate({x} {y})">{_draw_panel(load, panel)}</g>')
    columns = min(len(panels), 2)
    return _svg(columns * (PANEL_WIDTH + 30) - 30, math.ceil(len(panels) / 2) * panel_height, parts)


def _measured(results: Results, load: str) -> list[tuple[str, float]]:
    found = [(server, results.spread(server, load, "cpu_us")) for server in results.servers]
    return sorted(((server, spread.median) for server, spread in found if spread), key=lambda pair: pair[1])


def _draw_panel(load: str, panel: Sequence[tuple[str, float]]) -> str:
    most = max(value for _, value in panel)
    scale = (PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH) / most
    parts = [_text(0, 20, LOADS[load].title, weight=600, size=15)]
    parts.append(_text(PANEL_WIDTH, 20, f"CPU µs per {LOADS[load].unit}", anchor="end", size=12))
    for row, (server, value) in enumerate(panel):
        y = 34 + row * BAR_HEIGHT
        weight = 700 if PEERS[server].family == "own" else 400
        width = max(1.0, value * scale)
        parts.append(_text(LABEL_WIDTH - 8, y + 13, PEERS[server].title, anchor="end", weight=weight))
        parts.append(
            f'<rect x="{LABEL_WIDTH}" y="{y + 2}" width="{width:.1f}" height="{BAR_HEIGHT - 5}" rx="2" '
            f'fill="{COLOURS[server]}"/>'
        )
        parts.append(_text(LABEL_WIDTH + width + 6, y + 13, _number(value), weight=weight))
    return "".join(parts)


# Lines, on logarithmic axes.


def draw_lines(title: str, axis: str, lines: dict[str, list[Point]], tick: Callable[[float], str]) -> str:
    """A line for each server, named in a legend that is in the order of the lines' ends."""
    lines = {server: points for server, points in lines.items() if points}
    xs = sorted({x for points in lines.values() for x, _ in points})
    ys = [y for points in lines.values() for _, y in points]
    low, high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)) + 1e-9)

    def place(point: Point) -> Point:
        across = (math.log(point[0]) - math.log(xs[0])) / (math.log(xs[-1]) - math.log(xs[0]))
        up = (math.log10(point[1]) - low) / (high - low)
        return PLOT_LEFT + across * PLOT_WIDTH, PLOT_TOP + (1 - up) * PLOT_HEIGHT

    parts = [_text(0, 18, title, weight=600, size=15)]
    parts += _draw_grid(xs, range(low, high + 1), place, tick)
    parts.append(_text(PLOT_LEFT + PLOT_WIDTH / 2, PLOT_TOP + PLOT_HEIGHT + 40, axis, anchor="middle"))
    ranked = sorted(lines, key=lambda server: -lines[server][-1][1])
    for row, server in enumerate(ranked):
        parts.append(_draw_line(server, [place(point) for point in lines[server]]))
        parts.append(_draw_key(server, PLOT_TOP + 12 + row * 24))
    return _svg(PLOT_LEFT + PLOT_WIDTH + LEGEND_WIDTH, PLOT_TOP + PLOT_HEIGHT + 52, parts)


def _draw_grid(
    xs: Sequence[float], decades: Sequence[int], place: Callable[[Point], Point], tick: Callable[[float], str]
) -> list[str]:
    parts = []
    for decade in decades:
        x, y = place((xs[0], 10.0**decade))
        parts.append(f'<path d="M{x:.1f} {y:.1f}h{PLOT_WIDTH}" stroke="{FAINT}"/>')
        parts.append(_text(x - 8, y + 4, f"{10.0**decade:,.{max(0, -decade)}f}", anchor="end", size=12))
    for value in xs:
        x, _ = place((value, 10.0 ** decades[0]))
        parts.append(f'<path d="M{x:.1f} {PLOT_TOP}v{PLOT_HEIGHT}" stroke="{FAINT}"/>')
        parts.append(_text(x, PLOT_TOP + PLOT_HEIGHT + 19, tick(value), anchor="middle", size=12))
    return parts


def _stroke(server: str) -> str:
    family = PEERS[server].family
    dash = ' stroke-dasharray="6 4"' if family == "trio" else ""
    return f'stroke="{COLOURS[server]}" stroke-width="{3.5 if family == "own" else 2}"{dash} fill="none"'


def _draw_line(server: str, points: Sequence[Point]) -> str:
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[server]}"/>' for x, y in points)
    return f'<path d="M{path}" stroke-linejoin="round" {_stroke(server)}/>{dots}'


def _draw_key(server: str, y: float) -> str:
    x = PLOT_LEFT + PLOT_WIDTH + 26
    weight = 700 if PEERS[server].family == "own" else 400
    return f'<path d="M{x} {y}h28" {_stroke(server)}/>' + _text(x + 38, y + 4, PEERS[server].title, weight=weight)


# Words.


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _size(size: float) -> str:
    for factor, unit in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= factor:
            return f"{size / factor:g} {unit}"
    return f"{size:g} B"


def _text(x: float, y: float, words: str, *, anchor: str = "start", weight: int = 400, size: int = 13) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-weight="{weight}" font-size="{size}">{escape(words)}</text>'


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    font = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'font-family="{font}" fill="{GREY}">\n' + "\n".join(parts) + "\n</svg>\n"
    )
