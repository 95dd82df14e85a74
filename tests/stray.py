"""A cancellation that nobody is waiting for any more."""

from __future__ import annotations

import pytest
import trio

TOLD_BY_TRIO = pytest.mark.skipif(not hasattr(trio.Cancelled, "source"), reason="Trio tells it from 0.31 on")


async def stray_cancelled() -> trio.Cancelled:
    """What a scope of the application's own has caught; raised outside of it, no scope will catch it."""
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as exc:
            stray = exc
    return stray
