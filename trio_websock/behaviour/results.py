"""What a callback may return.

Each is a value that says what to do next; nothing happens until the connection's loop has checked it. The effect of
each is written here and nowhere else; ``enforce.py`` carries it out.

One of them is made for every message, so those that are made often set their slots directly: the ``__init__`` of a
frozen dataclass takes twice the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar, final

from ..messages import Message

__all__ = ["RESULT_TYPES", "CloseDetail", "Messages", "Ok", "Push", "Reply", "Result", "State", "Stop"]

State = TypeVar("State", covariant=True)

Messages: TypeAlias = Message | Sequence[Message]
"""One message, or a list or tuple of messages; an empty list sends nothing."""

CloseDetail: TypeAlias = int | tuple[int, str | bytes | None]
"""A close code, or a code and the text that goes with it (at most 123 bytes of UTF-8)."""


@final
@dataclass(frozen=True, slots=True, init=False)
class Ok(Generic[State]):
    """Go on with ``state`` and send nothing.

    Source: WebSock ``{:ok, state}``.
    """

    state: State

    def __init__(self, state: State) -> None:
        _set_state_of_ok(self, state)


@final
@dataclass(frozen=True, slots=True, init=False)
class Push(Generic[State]):
    """Send ``messages`` in order and go on with ``state``.

    Source: WebSock ``{:push, messages, state}``.
    """

    messages: Messages
    state: State

    def __init__(self, messages: Messages, state: State) -> None:
        _set_messages_of_push(self, messages)
        _set_state_of_push(self, state)


@final
@dataclass(frozen=True, slots=True)
class Reply(Generic[State]):
    """The same as :class:`Push`; ``term`` is ignored.

    Source: WebSock ``{:reply, term, messages, state}``.
    """

    term: object
    messages: Messages
    state: State


@final
@dataclass(frozen=True, slots=True)
class Stop(Generic[State]):
    """Send ``messages``, close the connection, and call ``terminate`` with ``state``.

    Args:
        reason: ``NORMAL``, ``RESTART`` or ``DISCONNECTED``; any other object makes it an error (close code 1011).
        state: what ``terminate`` is given.
        close: the close frame's code, or ``(code, text)``, in place of the reason's own.
        messages: sent before the close frame.

    Source: WebSock ``{:stop, reason, state}`` and its longer forms.
    """

    reason: object
    state: State
    close: CloseDetail | None = None
    messages: Messages = ()


def _setter_of(kind: type, slot: str) -> Callable[[object, object], None]:
    setter: Callable[[object, object], None] = kind.__dict__[slot].__set__
    return setter


_set_state_of_ok = _setter_of(Ok, "state")
_set_messages_of_push = _setter_of(Push, "messages")
_set_state_of_push = _setter_of(Push, "state")


Result: TypeAlias = Ok[State] | Push[State] | Reply[State] | Stop[State]
"""What every callback but ``terminate`` returns."""

RESULT_TYPES = frozenset((Ok, Push, Reply, Stop))
