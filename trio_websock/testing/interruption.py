"""Cancellation, and worse, at every checkpoint of a scenario: one run of it for each moment there is.

In: a scenario in the body of a loop. Out: the same scenario, cancelled or struck at its first moment, at its second,
until it gets through untouched.

A moment is either end of a step of a task: it has just been woken, with whatever it waited for in its hands, or it has
just been suspended. A cancellation meets it at the checkpoint it is about to reach, or at the one it waits in.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextvars import ContextVar, Token
from types import TracebackType
from typing import final

import trio

from ..connection import Connection, _current
from ..errors import StateError

__all__ = ["Interruption", "cancel_connection", "each_checkpoint"]

_running: ContextVar[Interruption | None] = ContextVar("trio_websock.testing.interruption", default=None)


def cancel_connection(connection: Connection) -> None:
    """A strike for :func:`each_checkpoint`: cancel the connection's callbacks and tasks, as the end of a grace does."""
    if connection._nursery is not None:  # there is nothing to cancel at the very beginning, and in terminate
        connection._nursery.cancel_scope.cancel()


def each_checkpoint(strike: Callable[[Connection], object] | None = None) -> Iterator[Interruption]:
    """Run a scenario once for every checkpoint it has, interrupted there; a last time it is not interrupted.

    ::

        for interruption in each_checkpoint():
            shop = Shop()
            with interruption:
                await shop.sell("book")
            assert shop.is_consistent()

    Steps of the tasks that the scenario starts count too. How often it runs is for the scheduler to say: Trio shuffles
    what is due at the same time.

    Args:
        strike: ``None`` cancels the body of the ``with``. A function is called instead, with the connection, at every
            checkpoint of the callbacks and tasks of the connections opened inside: :func:`cancel_connection`, or one
            that ends a connection in another way. It runs between two steps of the scheduler and must not wait.

    Raises:
        StateError: a run has not been entered with ``with``: nothing could be interrupted.
    """
    for moment in itertools.count():
        interruption = Interruption(moment, strike)
        yield interruption
        if interruption._token is None:
            raise StateError("this run was not interrupted: its scenario has to stand in a 'with interruption:'")
        if not interruption.has_struck:
            return


@final
class Interruption(trio.abc.Instrument):
    """One run of a scenario; made by :func:`each_checkpoint` and entered with ``with``.

    What a strike raises comes out of the ``with``. An exception of the body gets a note that says where it was
    interrupted.
    """

    def __init__(self, moment: int, strike: Callable[[Connection], object] | None) -> None:
        #: Whether the moment has come.
        self.has_struck: bool = False
        #: Where the task was that was interrupted: file, line and function; empty before.
        self.place: str = ""
        self._left = moment
        self._strike = strike
        self._scope = trio.CancelScope()
        self._failure: BaseException | None = None
        self._token: Token[Interruption | None] | None = None

    def __enter__(self) -> Interruption:
        self._token = _running.set(self)
        trio.lowlevel.add_instrument(self)
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        assert self._token is not None
        try:
            is_over = self._scope.__exit__(kind, exc, traceback)
        finally:
            trio.lowlevel.remove_instrument(self)
            _running.reset(self._token)
        if self._failure is not None:
            raise self._failure
        if exc is not None and self.has_struck and not is_over:
            exc.add_note(f"Interrupted at {self.place}")
        return bool(is_over)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """For Trio: ``task`` has been woken."""
        self._count(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """For Trio: ``task`` has been suspended, or has ended."""
        self._count(task)

    def _count(self, task: trio.lowlevel.Task) -> None:
        if self.has_struck or task.context.get(_running) is not self:
            return
        connection = task.context.get(_current)
        if self._strike is not None and connection is None:
            return
        self._left -= 1
        if self._left < 0:
            self.has_struck = True
            self.place = _place_of(task)
            self._interrupt(connection)

    def _interrupt(self, connection: Connection | None) -> None:
        if self._strike is None:
            self._scope.cancel()
            return
        assert connection is not None
        try:
            self._strike(connection)
        except BaseException as exc:  # Trio would only log it
            self._failure = exc


def _place_of(task: trio.lowlevel.Task) -> str:
    """The innermost place in a task that is not Trio's own."""
    frames = [(frame.f_code, line) for frame, line in task.iter_await_frames()]
    own = [(code, line) for code, line in frames if "trio/_" not in code.co_filename.replace("\\", "/")]
    if not own:
        return f"the end of {task.name}"
    code, line = own[-1]
    return f"{code.co_filename}:{line} in {code.co_qualname}"
