"""Turning a client away, while there are too many.

In: a wire that has been accepted, and the reason. Out: nothing; when it returns, the client is gone.
"""

from __future__ import annotations

import ssl

import trio

from ..errors import ConnectionLost
from ..hosts.wire import Wire
from ..response import unavailable
from .answers import serialize_response
from .encryption import agree_on_keys
from .http import HttpChannel

__all__ = ["refuse_wire"]

# Seconds a client has for taking in a refusal, all in all.
REFUSAL_TIMEOUT = 2.0


async def refuse_wire(wire: Wire, context: ssl.SSLContext | None, reason: str) -> None:
    """Turn a client away with 503, as cheaply as it goes: its request is not even parsed.

    Checkpoint: always. Cancelled: the client is dropped.
    """
    answer = serialize_response(unavailable(reason), closes=True)
    try:
        with trio.move_on_after(REFUSAL_TIMEOUT):
            if context is not None:
                wire = await agree_on_keys(wire, context)
            await wire.receive()
            await wire.send_all([answer])
            await HttpChannel(wire, 0, 0).linger()
    except ConnectionLost:
        pass  # it went by itself
    finally:
        await wire.aclose()
