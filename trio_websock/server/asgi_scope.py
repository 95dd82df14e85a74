"""What an ASGI application is told before it is called: the scope.

In: a request, or the beginning of a server's life. Out: dictionaries as the ASGI specification has them. Pure.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from ..request import Request

__all__ = ["ServerAddress", "http_scope", "lifespan_scope"]

ServerAddress: TypeAlias = tuple[str, int | None]
"""Where a server listens: a host and a port, or the path of a Unix socket and ``None``."""

# From 2.4 on Starlette learns that a client has left by sending only, and a stream that waits for something to send
# would wait on. What 2.4 adds, that sending then raises OSError, is done all the same.
_HTTP_VERSION = "2.3"
_LIFESPAN_VERSION = "2.0"


def http_scope(request: Request, server: ServerAddress | None, state: dict[str, Any]) -> dict[str, Any]:
    """The scope of one request.

    Args:
        request: its head; the body is not looked at.
        server: where it came in.
        state: what the lifespan has left for requests; copied, one level deep.

    Source: ASGI, HTTP connection scope.
    """
    path, _, query = _origin_form(request.target).partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": _HTTP_VERSION},
        "http_version": request.http_version,
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.pairs()
        ],
        "client": request.client,
        "server": server,
        "state": state.copy(),
        "extensions": {},
    }


def lifespan_scope(state: dict[str, Any]) -> dict[str, Any]:
    """The scope of the whole life of a server; the application may fill ``state``.

    Source: ASGI, lifespan scope.
    """
    return {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": _LIFESPAN_VERSION}, "state": state}


def _origin_form(target: str) -> str:
    # RFC 9112 §3.2.2: a proxy is asked with a whole URL, and a server has to accept that.
    scheme, separator, rest = target.partition("://")
    if target.startswith("/") or not separator or not scheme.isalnum():
        return target
    start = min((index for index in (rest.find("/"), rest.find("?")) if index >= 0), default=len(rest))
    return rest[start:] if rest[start : start + 1] == "/" else "/" + rest[start:]
