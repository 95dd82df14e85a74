"""``run``: Trio, a server, and the signals of a terminal or a supervisor.

In: what ``serve`` takes. Out: nothing; the first SIGINT or SIGTERM shuts down gracefully, the second at once.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias, Unpack

import trio

from ..application import Application
from ..errors import only_exception
from ..options import ServerKeywords
from .serve import Server, serve

__all__ = ["run", "run_announced"]

_Serving: TypeAlias = Callable[..., Awaitable[None]]


def run(handler_or_app: object | Application, **options: Unpack[ServerKeywords]) -> None:
    """Run Trio and :func:`serve` until SIGINT or SIGTERM, and then until the last client has gone.

    The first signal shuts down gracefully, the second aborts at once; from the third on signals do what they do in
    any program. While the application given as ``http`` starts, SIGTERM cancels that, and SIGINT is a
    ``KeyboardInterrupt``.

    Args:
        handler_or_app: see :func:`serve`.
        options: see :func:`serve`.

    Raises:
        TypeError: as :func:`serve`.
        OptionError: as :func:`serve`.
        OSError: as :func:`serve`.

    Source: our own ruling; a process manager sends SIGTERM and expects a clean end.
    """
    run_announced(handler_or_app, _keep_quiet, options)


def run_announced(
    handler_or_app: object | Application, announce: Callable[[Server], object], options: ServerKeywords
) -> None:
    """:func:`run`, calling ``announce`` as soon as the server listens and signals are heeded."""
    try:
        trio.run(_serve_until_signal, partial(serve, handler_or_app, **options), announce)
        return
    except BaseExceptionGroup as group:
        failure = only_exception(group)
    raise failure  # out here, where it keeps its context and does not get the group for one


def _keep_quiet(server: Server) -> None:
    pass


async def _serve_until_signal(serving: _Serving, announce: Callable[[Server], object]) -> None:
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as startup:
            await startup.start(_cancel_at_sigterm, nursery.cancel_scope)
            server: Server = await nursery.start(_serve_to_the_end, serving, nursery.cancel_scope)
            startup.cancel_scope.cancel()
        await nursery.start(_heed_signals, server, nursery)
        announce(server)


async def _cancel_at_sigterm(scope: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
    # SIGINT is left to Python, which also gets through to a startup that blocks.
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        task_status.started()
        await anext(signals)
        scope.cancel()


async def _serve_to_the_end(serving: _Serving, scope: trio.CancelScope, task_status: trio.TaskStatus[Server]) -> None:
    await serving(task_status=task_status)
    scope.cancel()  # there is nobody left to be signalled


async def _heed_signals(server: Server, nursery: trio.Nursery, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        await anext(signals)
        nursery.start_soon(server.shutdown)
        await anext(signals)
    await server.shutdown(grace=0)
