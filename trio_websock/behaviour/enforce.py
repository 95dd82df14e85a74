"""From a raw result to a checked outcome.

In: whatever a callback returned. Out: messages that can be sent and, for a ``Stop``, how the connection ends; or
:class:`ResultError`, with nothing of the result in effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import CoroutineType
from typing import Any, NamedTuple, TypeAlias, final

from ..codes import SENDABLE, Opcode, is_sendable
from ..errors import MessageError, ResultError, describe
from ..messages import AWAIT_HINT, Binary, Outgoing, Ping, Pong, Text, close_forgotten, encode_message
from .reasons import Close, Reason, stop_outcome
from .results import CloseDetail, Messages, Ok, Push, Reply, Stop

__all__ = ["MAX_CLOSE_TEXT", "Ending", "Enforcer", "Outcome", "enforcer_for"]

MAX_CLOSE_TEXT = 123  # bytes; RFC 6455 §5.5: 125 less the code

_EXPECTED = "Ok, Push, Reply or Stop"


class Ending(NamedTuple):
    """How a connection ends: what ``terminate`` is told, and the close frame to send (``None``: none)."""

    reason: Reason
    close: Close | None


Outcome: TypeAlias = tuple[Sequence[Outgoing], Ending | None]
"""The messages to send and, for a ``Stop``, the ending."""

_NOTHING: Outcome = ((), None)
_BINARY = Opcode.BINARY  # looked up for every message


@final
class Enforcer:
    """Checks the results of one handler.

    Args:
        handler: its name, for errors.
        validate_utf8: whether text must be UTF-8.
    """

    __slots__ = ("_handler", "_validate_utf8")

    def __init__(self, handler: str, validate_utf8: bool) -> None:
        self._handler = handler
        self._validate_utf8 = validate_utf8

    def check(self, callback: str, result: object) -> Outcome:
        """What ``result`` of ``callback`` asks for.

        Raises:
            ResultError: it is no result, or one of its parts is not allowed.

        Source: semantics of WebSock's return values; checks of payloads and codes are our own, the BEAM hosts send
        such frames.
        """
        kind = type(result)
        if kind is Ok:
            return _NOTHING
        try:
            if kind is Push or kind is Reply:
                messages = result.messages  # type: ignore[attr-defined]  # narrowed by identity
                # The most frequent forms, a call or two shorter.
                if type(messages) is bytes:
                    return ((_BINARY, messages),), None
                if type(messages) is str:
                    return (encode_message(messages, self._validate_utf8),), None
                return self._encode(messages), None
            if kind is Stop:
                return self._check_stop(result)  # type: ignore[arg-type]  # narrowed by identity
        except MessageError as exc:
            raise self._refusal(callback, result, f"a result that can be sent, but {exc}") from exc
        raise self._refusal(callback, result, _EXPECTED)

    def _refusal(self, callback: str, result: object, expected: str) -> ResultError:
        forgotten = [coroutine for coroutine in _coroutines_in(result) if close_forgotten(coroutine)]
        hint = AWAIT_HINT if forgotten and not expected.endswith(AWAIT_HINT) else ""
        return ResultError(self._handler, callback, result, expected + hint)

    def _check_stop(self, result: Stop[object]) -> Outcome:
        reason, close = stop_outcome(result.reason)
        messages = self._encode(result.messages)
        if result.close is not None:
            close = _check_close(result.close)
        return messages, Ending(reason, close)

    def _encode(self, messages: Messages) -> Sequence[Outgoing]:
        if isinstance(messages, (list, tuple)):
            return [encode_message(message, self._validate_utf8) for message in messages]
        return (encode_message(messages, self._validate_utf8),)  # type: ignore[arg-type]  # the one other form


@lru_cache
def enforcer_for(handler: str, validate_utf8: bool) -> Enforcer:
    """An :class:`Enforcer`, the same one for all connections that would have the same: it keeps nothing."""
    return Enforcer(handler, validate_utf8)


def _coroutines_in(result: object) -> list[CoroutineType[Any, Any, Any]]:
    """Wherever a result that was refused has messages or a close."""
    found: list[CoroutineType[Any, Any, Any]] = []
    seen: dict[int, object] = {}
    rest = [result]
    while rest:
        part = rest.pop()
        if id(part) in seen:
            continue
        seen[id(part)] = part
        if isinstance(part, CoroutineType):
            found.append(part)
        elif isinstance(part, (list, tuple)):
            rest += part
        elif isinstance(part, (Push, Reply)):
            rest.append(part.messages)
        elif isinstance(part, Stop):
            rest += [part.messages, part.close]
        elif isinstance(part, (Text, Binary, Ping, Pong)):
            rest.append(part.payload)
    return found


def _check_close(detail: CloseDetail) -> Close:
    code, text = detail if isinstance(detail, tuple) and len(detail) == 2 else (detail, None)
    if not isinstance(code, int) or isinstance(code, bool):
        raise MessageError(f"close {describe(detail)} is neither a code nor (code, text)")
    if not is_sendable(code):
        raise MessageError(f"close code {describe(code)} may not be sent: allowed are {SENDABLE}")
    payload = _encode_close_text(text)
    if len(payload) > MAX_CLOSE_TEXT:
        raise MessageError(f"a close text has at most {MAX_CLOSE_TEXT} bytes, not {len(payload)}")
    return Close(code, payload)


def _encode_close_text(text: object) -> bytes:
    if text is None:
        return b""
    try:
        if isinstance(text, str):
            return text.encode()
        if isinstance(text, (bytes, bytearray, memoryview)):
            payload = bytes(text)
            payload.decode()
            return payload
    except ValueError as exc:  # not UTF-8, or a memoryview that has been released
        raise MessageError(f"close text cannot be sent: {exc}") from exc
    raise MessageError(f"close text {describe(text)} is not str, bytes or None")
