"""Every error of this library, by who is at fault.

::

    WebSockError
      LocalError               you: a misuse of this library
        OptionError            an option with a value that is not allowed (also a ValueError)
        MessageError           a message that cannot be sent (also a ValueError)
        ResultError            a callback returned what the behaviour does not allow
        StateError             an act that is not possible now (also a RuntimeError)
        StartupFailed          an ASGI application beside the handlers could not start
      RemoteError              they: the peer broke RFC 6455 or RFC 7692 (close_code, section)
        FrameError             1002: a frame that the RFC forbids
        InvalidPayload         1007: text that is not UTF-8, or broken deflate data
        PolicyViolation        1008: legal, but more than we put up with
        MessageTooBig          1009: a message or frame over the limit
        UpgradeRefused         a handshake answered with an HTTP error (status, reason)
      TransportError           the world between us
        ConnectionLost         the connection ended without a close frame
        WriteTimeout           the peer stopped reading

Codes are plain ints and errors know nothing of frames, so that every room can import them.
"""

from __future__ import annotations

from .headers import HeaderInput, Headers

__all__ = [
    "ConnectionLost",
    "FrameError",
    "InvalidPayload",
    "LocalError",
    "MessageError",
    "MessageTooBig",
    "OptionError",
    "PolicyViolation",
    "RemoteError",
    "ResultError",
    "StartupFailed",
    "StateError",
    "TransportError",
    "UpgradeRefused",
    "WebSockError",
    "WriteTimeout",
    "describe",
    "is_encodable",
    "only_exception",
]

MAX_DESCRIPTION = 200  # characters of a stranger's value in the text of an error


def describe(value: object) -> str:
    """``repr(value)`` for the text of an error: cut to about two lines, and never an exception itself."""
    try:
        text = repr(value)
    except Exception as exc:  # whatever is wrong with the value, the error about it has to come through
        return f"<{type(value).__name__} whose repr raises {type(exc).__name__}>"
    return text if len(text) <= MAX_DESCRIPTION else f"{text[:MAX_DESCRIPTION]}…"


def only_exception(exc: BaseException) -> BaseException:
    """The exception itself, out of however many groups, as long as there is but one in each."""
    while isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1:
        exc = exc.exceptions[0]
    return exc


def is_encodable(text: str) -> bool:
    """Whether ``text`` has a form in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class WebSockError(Exception):
    """The root: catches everything this library raises on its own account."""


class LocalError(WebSockError):
    """The application misused this library."""


class OptionError(LocalError, ValueError):
    """An option was given a value that is not allowed.

    Args:
        option: name of the option.
        value: what was given.
        expected: what is allowed, in words.
    """

    def __init__(self, option: str, value: object, expected: str) -> None:
        super().__init__(f"{option} must be {expected}, not {describe(value)}")
        self.option = option
        self.value = value
        self.expected = expected


class MessageError(LocalError, ValueError):
    """A message cannot be sent as it is: wrong type, not UTF-8, or too long for its frame."""


class ResultError(LocalError):
    """A callback returned what the behaviour does not allow; the connection closes with 1011.

    Args:
        handler: name of the handler.
        callback: name of the callback.
        value: what it returned.
        expected: what is allowed, in words.
    """

    def __init__(self, handler: str, callback: str, value: object, expected: str) -> None:
        super().__init__(f"{handler}.{callback} returned {describe(value)}: expected {expected}")
        self.handler = handler
        self.callback = callback
        self.value = value
        self.expected = expected


class StateError(LocalError, RuntimeError):
    """The act is not possible in the present state."""


class StartupFailed(LocalError):
    """The ASGI application given as ``http=`` says that it could not start; nothing has been served.

    What it raised, if anything, is the ``__cause__``.
    """


class RemoteError(WebSockError):
    """The peer broke the protocol.

    Args:
        message: what came and what was expected.
        section: the clause that was broken, e.g. ``"RFC 6455 §5.5"``.
        close_code: the code our close frame carries.
    """

    close_code: int = 1002

    def __init__(self, message: str, section: str, close_code: int | None = None) -> None:
        super().__init__(f"{message} ({section})")
        self.section = section
        if close_code is not None:
            self.close_code = close_code


class FrameError(RemoteError):
    """A frame that the RFC forbids; close code 1002."""

    close_code = 1002


class InvalidPayload(RemoteError):
    """Text that is not UTF-8, or compressed data that does not inflate; close code 1007."""

    close_code = 1007


class PolicyViolation(RemoteError):
    """Legal by the RFC, but more than this endpoint puts up with; close code 1008."""

    close_code = 1008


class MessageTooBig(RemoteError):
    """A message or a frame over the limit; close code 1009."""

    close_code = 1009


class UpgradeRefused(RemoteError):
    """A request is not upgraded to a WebSocket and gets an HTTP error instead.

    An application function may raise it to answer any status of its own.

    Args:
        status: HTTP status of the answer, 400 to 599.
        reason: text of the answer's body: what came and what was expected.
        headers: further headers of the answer, a mapping or a list of pairs.
        section: the clause behind the refusal.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        headers: HeaderInput = (),
        section: str = "RFC 6455 §4.2",
    ) -> None:
        if not isinstance(status, int) or not 400 <= status <= 599:
            raise ValueError(f"the status of a refusal must be an integer from 400 to 599, not {describe(status)}")
        if not isinstance(reason, str) or not is_encodable(reason):
            words = "the reason of a refusal must be a str that is encodable as UTF-8"
            raise ValueError(f"{words}, not {describe(reason)}")
        super().__init__(f"{status}: {reason}" if reason else f"{status}", section)
        self.status = status
        self.reason = reason
        self.headers: Headers = Headers(headers)


class TransportError(WebSockError):
    """The connection ended by nobody's protocol fault."""


class ConnectionLost(TransportError):
    """The connection ended without a close frame: end of stream, reset, or a broken TLS record."""


class WriteTimeout(TransportError):
    """The peer took no byte for ``write_timeout`` seconds."""
