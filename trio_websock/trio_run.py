"""Whether Trio runs here, as it has to for all that waits.

In: the name of what was called. Out: nothing, or an error that says what was found in its place.
"""

from __future__ import annotations

import sys

import trio

from .errors import StateError

__all__ = ["check_trio"]


def check_trio(name: str) -> None:
    """Refuse a call that is not made by a task of Trio, before anything is opened for it.

    Raises:
        StateError: this is no task of Trio.
    """
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        raise StateError(f"{name} runs in Trio, but was called {_describe_place()}") from None


def _describe_place() -> str:
    asyncio = sys.modules.get("asyncio")  # where it has not been imported, it does not run
    if asyncio is not None and asyncio._get_running_loop() is not None:
        return "in an event loop of asyncio: use trio.run, or trio_websock.hosts.asgi to serve beside asyncio"
    return "where Trio does not run: use trio.run"
