"""What clients need for a message, as Markdown tables.

In: results. Out: text. Knows nothing of files.
"""

from __future__ import annotations

from .client_loads import CLIENT_LOADS, CLIENTS
from .loads import Load
from .peers import OWN, Peer
from .results import Results
from .table import render_spread, render_table

__all__ = ["clients"]


def clients(results: Results) -> str:
    """CPU per message of every client under every load, and what ours takes of each; "" if none was measured."""
    loads = [CLIENT_LOADS[name] for name in results.loads if name in CLIENT_LOADS]
    peers = [
        peer
        for peer in CLIENTS.values()
        if any(results.by_round(peer.name, load.name, load.headline) for load in loads)
    ]
    if not peers:
        return ""
    head = ["CPU µs per message", *(peer.title for peer in peers)]
    rows = [
        [load.title, *(render_spread(results.spread(peer.name, load.name, load.headline)) for peer in peers)]
        for load in loads
    ]
    return "\n\n".join(part for part in (render_table(head, rows), _ratios(results, loads, peers)) if part)


def _ratios(results: Results, loads: list[Load], peers: list[Peer]) -> str:
    others = [peer for peer in peers if peer.family != "own"]
    if not others or OWN.name not in [peer.name for peer in peers]:
        return ""
    head = [f"{OWN.title} ÷", *(peer.title for peer in others)]
    rows = [
        [load.title, *(render_spread(results.ratio(OWN.name, peer.name, load.name, load.headline)) for peer in others)]
        for load in loads
    ]
    return render_table(head, rows)
