"""Why a connection ends: what an application says, what ``terminate`` is told, and the close code between them.

In: a ``Stop`` result, or an event of the runtime. Out: the reason given to ``terminate`` and the close frame to
send. The one table from reason to code is :func:`close_for` and :func:`stop_outcome`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ..codes import CloseCode
from ..errors import RemoteError

__all__ = [
    "DISCONNECTED",
    "NORMAL",
    "RESTART",
    "Close",
    "Error",
    "Normal",
    "Reason",
    "Remote",
    "Shutdown",
    "StopReason",
    "Timeout",
    "close_for",
    "stop_outcome",
]


class StopReason(enum.Enum):
    """The reasons of a ``Stop`` that are not errors.

    Source: WebSock's ``:normal``, ``{:shutdown, :restart}`` and ``{:shutdown, :disconnected}``.
    """

    NORMAL = "normal"
    RESTART = "restart"
    DISCONNECTED = "disconnected"


NORMAL = StopReason.NORMAL
RESTART = StopReason.RESTART
DISCONNECTED = StopReason.DISCONNECTED


@dataclass(frozen=True, slots=True)
class Normal:
    """The handler stopped the connection without an error."""


@dataclass(frozen=True, slots=True)
class Remote:
    """The peer closed the connection.

    Args:
        code: the code of its close frame; ``None`` if it carried none.
        text: the text of its close frame.
    """

    code: int | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The server is shutting down.

    Args:
        restart: whether it said that it will be back (1012 instead of 1001).
    """

    restart: bool = False


@dataclass(frozen=True, slots=True)
class Timeout:
    """The peer was silent for too long.

    Args:
        text: which silence: of everything, or after a ping.
    """

    text: str = "idle timeout"


@dataclass(frozen=True, slots=True)
class Error:
    """The connection ended by a failure.

    Args:
        cause: the exception of a callback or of a task, a ``RemoteError``, ``ConnectionLost``, ``WriteTimeout``,
            or the reason of a ``Stop`` that is none of the constants.
    """

    cause: object


Reason: TypeAlias = Normal | Remote | Shutdown | Timeout | Error
"""What ``terminate`` is given; made for ``match``."""


class Close(NamedTuple):
    """The payload of a close frame: ``code`` ``None`` leaves it empty."""

    code: int | None
    text: bytes = b""


_STOP_OUTCOMES: dict[StopReason, tuple[Reason, Close]] = {
    NORMAL: (Normal(), Close(CloseCode.NORMAL_CLOSURE)),
    RESTART: (Normal(), Close(CloseCode.SERVICE_RESTART)),
    DISCONNECTED: (Normal(), Close(CloseCode.NORMAL_CLOSURE)),
}


def stop_outcome(reason: object) -> tuple[Reason, Close]:
    """What ``terminate`` is told and the close frame for the reason of a ``Stop``."""
    if isinstance(reason, StopReason):
        return _STOP_OUTCOMES[reason]
    # Never the exception's words: they may tell a stranger about the inside of the application.
    return Error(reason), Close(CloseCode.INTERNAL_ERROR)


def close_for(reason: Reason) -> Close:
    """The close frame that ends a connection for ``reason``, where no ``Stop`` chose another."""
    match reason:
        case Normal():
            return Close(CloseCode.NORMAL_CLOSURE)
        case Remote(code=code):
            return Close(code)
        case Shutdown(restart=restart):
            return Close(CloseCode.SERVICE_RESTART if restart else CloseCode.GOING_AWAY)
        case Timeout(text=text):
            return Close(CloseCode.GOING_AWAY, text.encode())
        case Error(cause=RemoteError(close_code=code)):
            return Close(code)
    return Close(CloseCode.INTERNAL_ERROR)
