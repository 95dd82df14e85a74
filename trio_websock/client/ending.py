"""How a client's connection ended, and with which close frame one may be ended.

In: a reason of the runtime, or what the application wants. Out: the one ending of a connection, and the error that
tells of it. Knows no connection.
"""

from __future__ import annotations

from typing import NamedTuple, final

from ..behaviour.reasons import Close, Error, Reason, Remote, Timeout, close_for
from ..codes import SENDABLE, CloseCode, Opcode, is_sendable
from ..errors import ConnectionLost, MessageError, RemoteError, describe
from ..messages import encode_message
from .failures import ClosedBy, ConnectionClosed

__all__ = ["Ending", "checked_close", "ending_for"]

MAX_CLOSE_TEXT = 123  # bytes; RFC 6455 §5.5.1


@final
class Ending(NamedTuple):
    """How a connection ended.

    Args:
        code: of the close frame that came first; ``None`` if it was empty, or if there was none.
        text: of that close frame.
        closed_by: whose it was.
        cause: what broke the connection, if anything did.
    """

    code: int | None
    text: str
    closed_by: ClosedBy
    cause: BaseException | None = None

    def error(self) -> ConnectionClosed:
        """The error that says so; a new one each time, as raising one adds to it."""
        error = ConnectionClosed(self.code, self.text, self.closed_by)
        error.__cause__ = self.cause
        return error


def ending_for(reason: Reason) -> tuple[Ending, Close | None]:
    """The ending that ``reason`` is, and the close frame that tells the server, if there is one to tell."""
    cause = reason.cause if isinstance(reason, Error) else None
    if isinstance(reason, Remote):
        return Ending(reason.code, reason.text, "peer"), close_for(reason)
    if isinstance(reason, Timeout):
        silence = ConnectionLost(f"nothing came from the server: {reason.text}")
        return Ending(CloseCode.GOING_AWAY, reason.text, "us", silence), close_for(reason)
    if isinstance(cause, RemoteError):
        return Ending(cause.close_code, "", "us", cause), close_for(reason)
    return Ending(None, "", "nobody", cause if isinstance(cause, BaseException) else None), None


def checked_close(code: int | None, text: str) -> Close:
    """The payload of a close frame.

    Raises:
        MessageError: a code or text that may not be sent.

    Source: RFC 6455 §5.5.1 and §7.4.
    """
    if not isinstance(code, int) or isinstance(code, bool) or not is_sendable(code):
        raise MessageError(f"close code {describe(code)}: allowed are {SENDABLE}")
    opcode, payload = encode_message(text) if isinstance(text, str) else (Opcode.CLOSE, b"")
    if opcode is not Opcode.TEXT:
        raise MessageError(f"close text {describe(text)} is not a str")
    if len(payload) > MAX_CLOSE_TEXT:
        raise MessageError(f"a close text has at most {MAX_CLOSE_TEXT} bytes, not {len(payload)}")
    return Close(code, payload)
