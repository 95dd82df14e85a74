"""A nursery for what runs beside a test, without a trace of it in what the test raises.

In: the body of an ``async with``. Out: its exception as it is, not in a group. Knows nothing of connections.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from ..errors import only_exception

__all__ = ["open_room"]


@asynccontextmanager
async def open_room() -> AsyncIterator[trio.Nursery]:
    """A nursery whose tasks are cancelled at the end of the block, and whose body raises what it raises.

    An exception of a task of the nursery comes out as it is too, if there is but one and the body has none.

    Cancelled: the tasks of the nursery are too.
    """
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as exc:  # raised again below, outside of the nursery's group
                failure = exc
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if failure is None or isinstance(failure, trio.Cancelled):  # of the nursery, because of this very group
            failure = only_exception(group)
    if failure is not None:
        raise failure
