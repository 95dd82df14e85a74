"""A Trio loop beside a loop of another kind, mostly in a thread of its own.

In: functions and tasks from other threads. Out: nothing; the loop ends when it is told to, when it fails, or with the
process, and whoever has business with it is told.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import final

import trio

from ..errors import StateError

__all__ = ["EXIT_TIMEOUT", "TrioLoop", "start_loop"]

logger: logging.Logger = logging.getLogger("trio_websock.hosts")

EXIT_TIMEOUT = 5.0  # seconds the process, or the server's loop, waits at its own end for terminate callbacks


@final
class TrioLoop:
    """What other threads know of a Trio loop: the one in which :meth:`serve` runs.

    :func:`start_loop` makes one in a thread; anyone may run ``serve`` in a Trio loop that is there already.
    """

    def __init__(self) -> None:
        self._is_over = False
        self._is_ending = False
        self._lock = threading.Lock()
        self._on_end: set[Callable[[], object]] = set()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or is about to."""
        return self._is_over or self._is_ending

    def post(self, function: Callable[[], None]) -> None:
        """Have a function called in the loop soon; dropped if it is over. From any thread."""
        if self._token is not None:
            try:
                self._token.run_sync_soon(function)
            except trio.RunFinishedError:
                pass  # whoever cares has registered with on_end

    def start_soon(self, function: Callable[[], Awaitable[object]]) -> None:
        """Start a task in the loop; an exception that leaves it ends the loop. To be posted, or called there."""
        assert self._nursery is not None
        try:
            self._nursery.start_soon(function)
        except RuntimeError:  # the nursery has ended and the loop is about to
            logger.debug("a task came too late for its Trio loop")

    def watch(self, on_end: Callable[[], object]) -> None:
        """Have a function called when the loop has ended, in its own thread.

        Raises:
            StateError: it has ended.
        """
        with self._lock:
            if self._is_over:
                raise StateError("the Trio loop has ended")
            self._on_end.add(on_end)

    def unwatch(self, on_end: Callable[[], object]) -> None:
        """No longer, please."""
        with self._lock:
            self._on_end.discard(on_end)

    def end(self) -> None:
        """Cancel all that runs there. From any thread; may be repeated."""
        self._is_ending = True
        self.post(self._scope.cancel)

    def join(self, timeout: float | None = None) -> None:
        """Wait until it is over, ``timeout`` seconds at most. From any thread but its own."""
        self._ended.wait(timeout)
        if self._thread is not None:
            self._thread.join(timeout)

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be a Trio loop's part in this, until :meth:`end`.

        Checkpoint: always. Cancelled: as :meth:`end`.
        """
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    self._token = trio.lowlevel.current_trio_token()
                    task_status.started()
                    await trio.sleep_forever()
        finally:
            self._close()

    def _close(self) -> None:
        with self._lock:
            self._is_over = True
            watchers = list(self._on_end)
        for on_end in watchers:
            on_end()
        self._ended.set()


def start_loop() -> TrioLoop:
    """A Trio loop in a thread of its own, ready for tasks; it ends with the process at the latest.

    Raises:
        StateError: it could not begin, out of file descriptors say; why is logged.
    """
    loop, is_ready = TrioLoop(), threading.Event()
    # A daemon, or the interpreter would wait for it before the exit handlers could end it.
    thread = threading.Thread(target=_run, args=(loop, is_ready), name="trio_websock ASGI", daemon=True)
    loop._thread = thread
    thread.start()
    is_ready.wait()
    if loop._token is None:
        raise StateError("no Trio loop could be had beside the ASGI server")
    return loop


def _run(loop: TrioLoop, is_ready: threading.Event) -> None:
    farewell = partial(_end_with_process, loop)
    atexit.register(farewell)
    try:
        trio.run(_serve, loop, is_ready)
    except BaseException:  # there is nobody above a thread: what ends it is told here or nowhere
        logger.critical("the Trio loop beside the ASGI server has failed", exc_info=True)
    finally:
        is_ready.set()
        atexit.unregister(farewell)


async def _serve(loop: TrioLoop, is_ready: threading.Event) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(loop.serve)
        is_ready.set()


def _end_with_process(loop: TrioLoop) -> None:
    loop.end()
    loop.join(EXIT_TIMEOUT)
