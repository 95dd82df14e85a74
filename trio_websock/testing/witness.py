"""A handler around a handler: passes every call on, and keeps what a test wants to know.

In: the calls of the runtime. Out: the same calls to the handler under test, and what came of them: its newest state,
its first failure, its ``Stop``. A callback without an ``await`` stays one without; nothing here is a checkpoint.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any, final

from ..behaviour.awaitless import finish
from ..behaviour.enforce import Enforcer
from ..behaviour.handler import BoundHandler, Callbacks, StandIn
from ..behaviour.reasons import Error, Reason
from ..behaviour.results import Ok
from ..errors import StateError
from ..messages import Ping, Pong
from ..options import Options

__all__ = ["WatchedHandler"]


@final
class WatchedHandler(StandIn):
    """The handler of one connection under test, watched.

    Args:
        handler: under test.
        options: of the connection.
    """

    def __init__(self, handler: BoundHandler, options: Options) -> None:
        self.__name__: str = handler.name  # what logs and errors call it
        self._handler = handler
        self._enforcer = Enforcer(handler.name, options.validate_utf8)
        self._callbacks: Callbacks | None = None
        self._states: list[Any] = []
        #: The first exception of a callback, or of what it returned.
        self.failure: Exception | None = None
        #: What the handler's ``Stop`` means for ``terminate``.
        self.stopped: Reason | None = None
        #: What ``terminate`` was told, or would have been if there was one.
        self.told: Reason | None = None

    @property
    def state(self) -> Any:
        """What the last successful callback returned.

        Raises:
            StateError: ``init`` has not succeeded.
        """
        if not self._states:
            raise StateError(f"{self.__name__} has no state: its init has not succeeded")
        return self._states[0]

    def is_own_end(self, reason: Reason) -> bool:
        """Whether the handler has ended the connection for ``reason`` by a ``Stop``."""
        return isinstance(reason, Error) and isinstance(self.stopped, Error) and self.stopped.cause is reason.cause

    @property
    def first(self) -> str:
        """``__init__`` where that of the handler under test has failed."""
        return self._opened.first

    def init(self, args: Any) -> Any:
        """Call the first callback."""
        return self._watch("init", self._opened.init, args)

    def handle_in(self, message: str | bytes, state: Any) -> Any:
        """Pass on a message."""
        return self._watch("handle_in", self._opened.handle_in, message, state)

    def handle_control(self, frame: Ping | Pong, state: Any) -> Any:
        """Pass on a control frame, or do what the runtime does where nobody wants it."""
        callback = self._opened.handle_control
        return Ok(state) if callback is None else self._watch("handle_control", callback, frame, state)

    def handle_info(self, info: Any, state: Any) -> Any:
        """Pass on an item of the mailbox."""
        return self._watch("handle_info", self._opened.handle_info, info, state)

    def terminate(self, reason: Reason, state: Any) -> Any:
        """Keep the reason, and pass it on to who wants it."""
        self.told = reason
        callback = self._opened.terminate
        return None if callback is None else self._watch("terminate", callback, reason, state)

    @property
    def _opened(self) -> Callbacks:
        if self._callbacks is None:  # not before the runtime asks: a class is made where it will run
            self._callbacks = self._handler.open()
        return self._callbacks

    def _watch(self, name: str, callback: Callable[..., Any], *arguments: Any) -> Any:
        try:
            result = callback(*arguments)
            if isinstance(result, CoroutineType) and result.cr_code in self._opened.awaitless:
                result = finish(result)
            return self._watch_awaited(name, result) if isinstance(result, Awaitable) else self._keep(name, result)
        except Exception as exc:
            self._note(exc)
            raise

    async def _watch_awaited(self, name: str, running: Awaitable[Any]) -> Any:
        try:
            return self._keep(name, await running)
        except Exception as exc:
            self._note(exc)
            raise

    def _keep(self, name: str, result: Any) -> Any:
        if name == "terminate":
            return None
        _, ending = self._enforcer.check(name, result)  # as the runtime will: a bad result leaves the state as it was
        self._states = [result.state]
        self.stopped = None if ending is None else ending.reason
        return result

    def _note(self, exc: Exception) -> None:
        self.failure = self.failure or exc
