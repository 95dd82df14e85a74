"""Scripts: what is to happen to a connection, and what its callbacks are to do.

Hypothesis writes them; ``connection.py`` plays them. The simplest come first, as that is where it shrinks to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

__all__ = ["FAULT_NAMES", "SCRIPTS", "Plan", "Script"]

FAULT_NAMES = ("bad close", "not UTF-8", "reserved", "stray", "too big", "unmasked")
PAUSES = ("none", "checkpoint", "sleep", "wait", "none")
RESULTS = (
    *("ok", "push", "several", "big", "post"),
    *("stop", "restart", "error", "farewell", "raise", "wrong", "unsendable", "task", "hang up"),
)


@dataclass(frozen=True)
class Plan:
    """What one callback does."""

    pause: str = "none"
    result: str = "ok"


@dataclass(frozen=True)
class Script:
    """What happens: how the connection is set up, what its callbacks do, and the steps from outside."""

    options: dict[str, Any]
    awaits: bool  # whether each callback has an await; otherwise it is run without one as far as it goes
    first: int  # messages in one packet with the handshake
    plans: list[Plan]
    farewell: str  # what terminate does
    steps: list[tuple[Any, ...]]


def steps() -> st.SearchStrategy[tuple[Any, ...]]:
    kinds = st.sampled_from(["text", "binary", "ping", "pong", "fragments", "big"])
    return st.one_of(
        st.tuples(st.just("peer_sends"), kinds, st.integers(0, 5)),
        st.tuples(st.just("post"), st.integers(1, 3)),
        st.just(("settle",)),
        st.just(("release",)),
        st.tuples(st.just("advance"), st.sampled_from([0.5, 6, 15, 35, 70])),
        st.just(("tick",)),
        st.tuples(st.just("peer_takes"), st.sampled_from([math.inf, 0, 1, 7, 1000])),
        st.tuples(st.just("peer_closes"), st.sampled_from([None, 1000, 3001])),
        st.tuples(st.just("peer_errs"), st.sampled_from(FAULT_NAMES)),
        st.sampled_from([("peer_leaves",), ("peer_resets",), ("fail_task",), ("cancel",)]),
        st.tuples(st.just("shutdown"), st.booleans(), st.sampled_from([20, 3, 0, -math.inf])),
    )


SCRIPTS = st.builds(
    Script,
    options=st.fixed_dictionaries(
        {"timeout": st.sampled_from([60, math.inf])},
        optional={
            "cancel_on_disconnect": st.just(True),
            "ping_interval": st.just(20),
            "read_ahead_messages": st.sampled_from([2, 1]),
            "mailbox_size": st.sampled_from([2, 1]),
        },
    ),
    awaits=st.booleans(),
    first=st.integers(0, 2),
    plans=st.lists(st.builds(Plan, st.sampled_from(PAUSES), st.sampled_from(RESULTS)), max_size=8),
    farewell=st.sampled_from(["none", "sleep", "raise", "for ever"]),
    steps=st.lists(steps(), max_size=25),
)
