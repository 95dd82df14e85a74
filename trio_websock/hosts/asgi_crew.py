"""The tasks that do a carrier's work, on Trio and on asyncio.

In: a carrier. Out: nothing; it has been carried to its end. Knows no event.

What a carrier awaits is the server's, and is not cancelled half-way: its tasks are shielded from whoever cancels the
call they belong to. On asyncio they are asyncio's own, of which no scope of anyio's knows: its task groups would do the
same, for a quarter of all that a short connection costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import final

import anyio
import trio

from .asgi_exchange import Carrier

__all__ = ["FutureRest", "carry_on_asyncio", "carry_on_trio"]


async def carry_on_trio(carrier: Carrier, body: Callable[[], Awaitable[object]]) -> None:
    """Carry events until Trio's end, which is ``body`` in the caller's own task, has come to its end.

    Checkpoint: always. Cancelled: ``body`` is.
    """
    shield = trio.CancelScope(shield=True)
    carrier.halt = shield.cancel
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_carry, carrier, shield)
        await body()


async def _carry(carrier: Carrier, shield: trio.CancelScope) -> None:
    try:
        with shield:
            if carrier.source is not None:
                await carrier.send_all()
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(carrier.read_all)
                await carrier.send_all()
                nursery.cancel_scope.cancel()
    finally:
        carrier.close()


async def carry_on_asyncio(carrier: Carrier, begin: Callable[[], object]) -> None:
    """Carry events until Trio's end, in another loop, has come to its end.

    Args:
        carrier: what has to be done.
        begin: has Trio's end begin; called when there is somebody to carry for it.

    Cancelled: Trio's end is, and has its time to come to an end.
    """
    sending, reading = asyncio.create_task(carrier.send_all()), asyncio.create_task(carrier.read_all())
    sending.add_done_callback(lambda _: reading.cancel())
    # By the server, which cancels what waits for a client that has gone: nobody would tell Trio's end of it.
    reading.add_done_callback(lambda _: reading.cancelled() and sending.cancel())
    carrier.halt = sending.cancel
    try:
        begin()
        await _outlast({sending, reading}, carrier.cancel)
    finally:
        carrier.close()


async def _outlast(tasks: set[asyncio.Task[None]], on_cancelled: Callable[[], None]) -> None:
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        on_cancelled()
        with anyio.CancelScope(shield=True):  # a scope of anyio's would cancel us again in each turn of the loop
            await _insist(tasks)
        raise


async def _insist(tasks: set[asyncio.Task[None]]) -> None:
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            pass  # it is known already


@final
class FutureRest:
    """A place for one task of asyncio's to wait in."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None

    async def park(self) -> None:
        """Wait for :meth:`wake`."""
        self._future = asyncio.get_running_loop().create_future()
        await self._future

    def wake(self) -> None:
        """Let the parked task go on, if there is one."""
        future, self._future = self._future, None
        if future is not None and not future.done():
            future.set_result(None)
