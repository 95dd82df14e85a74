"""HTTP as ASGI has it: a scope becomes a request, a response becomes events.

In: the scope of an ASGI server or of the framework we are mounted in, and what an application answers. Out: a
:class:`~trio_websock.request.Request` as on any host, and events that have been checked. Pure.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

from ..request import Headers, Request
from ..response import (
    BODILESS,
    RESPONSE_FIELDS,
    SWITCH_FIELDS,
    Response,
    content_type_of,
    encoded_body,
    encoded_fields,
)
from .asgi_hop import Event

__all__ = ["Scope", "accept_event", "may_deny", "request_from", "response_events"]

Scope: TypeAlias = Mapping[str, Any]
"""What an ASGI server says about a connection or a request."""

_DENIAL = "websocket.http.response"

_SCHEMES = {"ws": "http", "wss": "https"}
_UNRESERVED = "/:@!$&'()*+,;=~"  # RFC 3986 §3.3: what may stand in a path as it is


def request_from(scope: Scope, body: bytes = b"") -> Request:
    """The request behind an ASGI scope.

    A WebSocket over HTTP/2 or HTTP/3 begins with an extended CONNECT that has neither ``Connection`` and ``Upgrade``
    nor a ``Sec-WebSocket-Key``. It becomes what a gateway would make of it, an upgrade in HTTP/1.1, so that
    ``is_upgrade`` and ``check_upgrade`` tell what they tell elsewhere.

    Args:
        scope: of type ``http`` or ``websocket``. What ``root_path`` names is left out of the path: an application
            that is mounted somewhere sees what is below.
        body: of a plain request.

    Source: ASGI's HTTP & WebSocket specification 2.5; RFC 8441 §5.
    """
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    version = _version_of(scope)
    if scope["type"] == "websocket" and version in ("2", "3"):
        version = "1.1"
        pairs += _gateway_fields(pairs)
    scheme = scope.get("scheme") or "http"
    client = scope.get("client")
    return Request(
        scope.get("method", "GET"),
        _target_of(scope),
        Headers(pairs),
        http_version=version,
        body=body,
        scheme=_SCHEMES.get(scheme, scheme),
        client=None if client is None or client[1] is None else (str(client[0]), int(client[1])),
    )


def _version_of(scope: Scope) -> str:
    version = str(scope.get("http_version") or "1.1")
    return {"2.0": "2", "3.0": "3"}.get(version, version)


def _gateway_fields(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    known = {name.lower() for name, _ in pairs}
    authority = next((value for name, value in pairs if name == ":authority"), "")
    wanted = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": base64.b64encode(bytes(16)).decode(),
        **({"host": authority} if authority else {}),
    }
    return [(name, value) for name, value in wanted.items() if name not in known]


def _target_of(scope: Scope) -> str:
    path, root = scope["path"], (scope.get("root_path") or "").rstrip("/")
    raw = (scope.get("raw_path") or b"").partition(b"?")[0].decode("latin-1")
    target = raw if raw and unquote(raw) == path else quote(path, safe=_UNRESERVED)
    below = path.removeprefix(root)
    # Some servers say what they are mounted at and leave it out of the path: then there is nothing to take away.
    if root and below != path and below[:1] in ("", "/"):
        below_raw = target.removeprefix(quote(root, safe=_UNRESERVED))
        target = below_raw if unquote(below_raw) == below else quote(below, safe=_UNRESERVED)
    query = scope.get("query_string", b"").decode("latin-1")
    return (target or "/") + (f"?{query}" if query else "")


def accept_event(subprotocol: str | None, pairs: Iterable[tuple[str, str]]) -> Event:
    """What opens the WebSocket.

    Raises:
        StateError: a header that may not be sent.
    """
    return {
        "type": "websocket.accept",
        "subprotocol": subprotocol,
        "headers": encoded_fields(pairs, SWITCH_FIELDS),
    }


def may_deny(scope: Scope) -> bool:
    """Whether the server can answer a WebSocket's request with a response of ours."""
    return scope["type"] == "http" or _DENIAL in (scope.get("extensions") or {})


def response_events(scope: Scope, response: Response) -> list[Event]:
    """What answers a request, or denies a WebSocket; where a server cannot send that, the denial it has: 403.

    Raises:
        StateError: a header that may not be sent.
    """
    if not may_deny(scope):
        return [{"type": "websocket.close", "code": 1000, "reason": ""}]
    prefix = "http.response" if scope["type"] == "http" else _DENIAL
    body = encoded_body(response)
    is_bodiless = response.status in BODILESS
    fields = encoded_fields(_content_pairs(response, body)) if not is_bodiless else []
    fields += encoded_fields(Headers(response.headers).pairs(), RESPONSE_FIELDS)
    shown = b"" if is_bodiless or scope.get("method") == "HEAD" else body
    return [
        {"type": f"{prefix}.start", "status": response.status, "headers": fields},
        {"type": f"{prefix}.body", "body": shown, "more_body": False},
    ]


def _content_pairs(response: Response, body: bytes) -> list[tuple[str, str]]:
    pairs = [("content-length", str(len(body)))]
    content_type = content_type_of(response, body)
    if content_type is not None:
        pairs.append(("content-type", content_type))
    return pairs
