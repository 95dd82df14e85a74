"""What an application function answers: an HTTP response, or the wish to upgrade.

``upgrade`` mirrors WebSockAdapter's ``upgrade/4``. Both are values: nothing is sent, and the handshake is not even
looked at, before the application function returns one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Unpack, cast

from .errors import StateError, describe, is_encodable
from .headers import FIELD_NAME, FIELD_VALUE, HeaderInput, Headers
from .options import CONNECTION_NAMES, ConnectionKeywords, Options, check_names

__all__ = [
    "BODILESS",
    "RESPONSE_FIELDS",
    "SWITCH_FIELDS",
    "Response",
    "Upgrade",
    "check_field",
    "content_type_of",
    "encoded_body",
    "encoded_fields",
    "refusal",
    "unavailable",
    "upgrade",
]

# Statuses of a response that ends with its head, whatever that says, and has no length: RFC 9110 §15.3.5, §15.4.5.
BODILESS = frozenset({204, 304})

# Seconds after which a client that was turned away may ask again: long enough for a restart, short enough for people.
RETRY_AFTER = 5

# What says where a response ends, or what the connection is from now on, is the server's to say.
RESPONSE_FIELDS = frozenset({"content-length", "transfer-encoding"})
SWITCH_FIELDS = frozenset(
    {
        "connection",
        "content-length",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
        "transfer-encoding",
        "upgrade",
    }
)


@dataclass(frozen=True, slots=True)
class Response:
    """A whole HTTP response.

    Args:
        status: 200 to 599.
        body: text is sent as UTF-8.
        headers: further headers; ``Content-Length`` and ``Date`` are added.
        content_type: its default is plain text or octets, by the type of ``body``.
    """

    status: int = 200
    body: str | bytes = b""
    headers: HeaderInput = field(default=())
    content_type: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.status, int) or not 200 <= self.status <= 599:
            raise ValueError(f"status must be an integer from 200 to 599, not {describe(self.status)}")
        if not isinstance(self.body, (str, bytes, bytearray, memoryview)):
            raise TypeError(f"body must be str or bytes, not {type(self.body).__name__}")
        if isinstance(self.body, str) and not is_encodable(self.body):
            raise ValueError(f"body must be encodable as UTF-8, not {describe(self.body)}")
        if self.content_type is not None and not isinstance(self.content_type, str):
            raise TypeError(f"content_type must be str or None, not {type(self.content_type).__name__}")
        object.__setattr__(self, "headers", Headers(self.headers))


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The wish to speak WebSocket with this client; made by :func:`upgrade`.

    Args:
        handler: class, instance or module with the callbacks.
        args: what ``init`` is given.
        keywords: options of this connection, over those of the server.
        headers: further headers of the 101.
        subprotocol: chosen by the application itself, instead of by ``subprotocols``.
    """

    handler: object
    args: object
    keywords: ConnectionKeywords
    headers: HeaderInput = ()
    subprotocol: str | None = None


def upgrade(
    handler: object,
    args: Any = None,
    *,
    headers: HeaderInput = (),
    subprotocol: str | None = None,
    **options: Unpack[ConnectionKeywords],
) -> Upgrade:
    """Ask for an upgrade of the request at hand; return it from the application function.

    Args:
        handler: class (one instance per connection), instance or module (shared).
        args: given to ``init`` as it is.
        headers: further headers of the 101, cookies too.
        subprotocol: the subprotocol to answer with; the client must have offered it.
        options: see :class:`Options`; they win over those given to ``serve``.

    Raises:
        TypeError: an option that does not exist. A handler without ``init`` or ``handle_in`` is noticed when the
            application function has returned, and is logged as its failure: 500.
        OptionError: an option with a value that is not allowed.

    Source: WebSockAdapter ``upgrade/4``.
    """
    check_names(options, CONNECTION_NAMES)
    # As they were checked: a list may change and an iterator is now empty.
    checked = Options(**options)
    keywords = cast("ConnectionKeywords", {name: getattr(checked, name) for name in options})
    return Upgrade(handler, args, keywords, Headers(headers), subprotocol)


def refusal(status: int, reason: str, headers: HeaderInput = ()) -> Response:
    """A plain-text answer that says what is wrong."""
    return Response(status, reason + "\n", headers)


def unavailable(reason: str = "the server is shutting down") -> Response:
    """503: turned away now, welcome soon."""
    return refusal(503, reason, {"Retry-After": str(RETRY_AFTER)})


def encoded_body(response: Response) -> bytes:
    """The body as it travels."""
    return response.body.encode() if isinstance(response.body, str) else bytes(response.body)


def content_type_of(response: Response, body: bytes) -> str | None:
    """What to say about its body; ``None``: nothing, as that is empty, or is told of among the headers."""
    if response.content_type is not None or not body or "content-type" in Headers(response.headers):
        return response.content_type
    return "text/plain; charset=utf-8" if isinstance(response.body, str) else "application/octet-stream"


def check_field(name: str, value: str, reserved: frozenset[str] = frozenset()) -> None:
    """Refuse a header of an application that may not be sent.

    Args:
        name: in any case.
        value: as the application gave it.
        reserved: names in lower case that are for the server alone, e.g. :data:`SWITCH_FIELDS`.

    Raises:
        StateError: with the name but not the value, which may be a secret.

    Source: RFC 9110 §5.
    """
    if not FIELD_NAME.fullmatch(name):
        raise StateError(f"{describe(name)} is not the name of a header (RFC 9110 §5.1)")
    if not FIELD_VALUE.fullmatch(value):
        raise StateError(f"header {name}: its value may not be sent (RFC 9110 §5.5)")
    if name.lower() in reserved:
        raise StateError(f"header {name} is set by the server, not by the application")


def encoded_fields(
    pairs: Iterable[tuple[str, str]], reserved: frozenset[str] = frozenset()
) -> list[tuple[bytes, bytes]]:
    """The headers of an application as ASGI and h11 take them: names in lower case, values without outer spaces.

    Raises:
        StateError: see :func:`check_field`.
    """
    encoded = []
    for name, value in pairs:
        check_field(name, value, reserved)
        encoded.append((name.lower().encode("ascii"), value.strip(" \t").encode("latin-1")))
    return encoded
