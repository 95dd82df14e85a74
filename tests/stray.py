"""A cancellation that nobody is waiting for any more."""

from __future__ import annotations

import trio


async def stray_cancelled() -> trio.Cancelled:
    """What a scope of the application's own has caught; raised outside of it, no scope will catch it."""
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as exc:
            stray = exc
    return stray
