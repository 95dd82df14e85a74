"""What a client may be told instead of a message: it could not connect, was not upgraded, or is closed.

In: the facts. Out: errors below the library's own two kinds, the peer's fault and nobody's. Knows nothing of how
the facts came about.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..errors import RemoteError, TransportError, describe

if TYPE_CHECKING:
    from .answer import HandshakeResponse

__all__ = [
    "ClosedBy",
    "ConnectFailed",
    "ConnectionClosed",
    "HandshakeError",
    "ProxyFailed",
    "UpgradeRejected",
    "first_line",
    "words_for",
]

ClosedBy: TypeAlias = Literal["us", "peer", "nobody"]
"""Whose close frame came first; ``"nobody"``: the connection was lost."""


class ConnectFailed(TransportError):
    """There is no connection: no such host, nobody listens, TLS failed, the stream ended, or it took too long.

    What happened underneath is its ``__cause__``, if anything did.
    """


class ProxyFailed(ConnectFailed):
    """There is no connection because the proxy is not there, or refused to make one.

    Args:
        proxy: its URL, without credentials.
        why: what happened, in words.
        response: what it answered, if it speaks HTTP and refused.
    """

    def __init__(self, proxy: str, why: str, response: HandshakeResponse | None = None) -> None:
        super().__init__(f"no connection through the proxy {proxy}: {why}")
        self.proxy: str = proxy
        self.response: HandshakeResponse | None = response


class HandshakeError(RemoteError):
    """The server answered the opening handshake with something that RFC 6455 does not allow.

    Args:
        message: what came and what was expected.
        section: the clause that was broken.
        response: the answer, as far as it was HTTP.
    """

    def __init__(self, message: str, section: str, response: HandshakeResponse | None = None) -> None:
        super().__init__(message, section)
        self.response = response


class UpgradeRejected(HandshakeError):
    """The server answered with something else than 101: an error, a login page, a redirect that was not followed.

    Args:
        response: the whole answer.
        note: why it was not followed, for a redirect.
    """

    response: HandshakeResponse

    def __init__(self, response: HandshakeResponse, note: str = "") -> None:
        words = f"the server answered {response.status} {response.reason}".rstrip()
        line = first_line(response.body)
        says = f"; it says {describe(line)}" if line else ""
        super().__init__(f"{words}: {note or 'expected 101'}{says}", "RFC 6455 §4.1", response)
        self.note = note


class ConnectionClosed(TransportError):
    """The connection is closed, or was lost, and there is nothing more to receive.

    What broke it is its ``__cause__``: a ``RemoteError`` of the peer, ``ConnectionLost`` or ``WriteTimeout``.

    Args:
        code: of the close frame that came first; ``None`` if it was empty, or if there was none.
        text: of that close frame.
        closed_by: ``"us"``, ``"peer"`` or ``"nobody"``.
    """

    def __init__(self, code: int | None, text: str, closed_by: ClosedBy) -> None:
        words = "the connection was lost" if closed_by == "nobody" else f"closed by {closed_by}"
        if code is not None:
            words += f" with {code}"
        super().__init__(f"{words}: {describe(text)}" if text else words)
        self.code = code
        self.text = text
        self.closed_by: ClosedBy = closed_by

    @property
    def is_clean(self) -> bool:
        """Whether it ended without a fault: we closed it, or the server did with 1000, 1001 or an empty close frame."""
        if self.closed_by == "us":
            return self.__cause__ is None
        return self.closed_by == "peer" and self.code in (None, 1000, 1001)


def first_line(body: bytes) -> str:
    """The first line of the body of an answer, if it is something to read: neither a page nor compressed."""
    line = body.strip().partition(b"\n")[0].strip()
    try:
        return "" if line.startswith(b"<") else line.decode()
    except UnicodeDecodeError:
        return ""


def words_for(exc: Exception) -> str:
    """Why there is no connection. Trio says only that every attempt has failed, and keeps the reasons in the cause."""
    cause = exc.__cause__
    causes = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (cause,)
    reasons = dict.fromkeys(os.strerror(each.errno) for each in causes if isinstance(each, OSError) and each.errno)
    own = exc.strerror if isinstance(exc, OSError) else None
    return ", ".join(reasons) or own or str(exc) or type(exc).__name__
