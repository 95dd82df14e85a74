"""What an ASGI application is told before it is called."""

from __future__ import annotations

from typing import Any

import pytest

from trio_websock import Headers, Request
from trio_websock.server.asgi_scope import http_scope, lifespan_scope


def scope_of(target: str = "/", **fields: Any) -> dict[str, Any]:
    return http_scope(Request("GET", target, **fields), ("127.0.0.1", 80), {})


def test_a_scope_has_every_key_of_the_specification() -> None:
    request = Request("POST", "/a?b=c", Headers([("Host", "x")]), client=("::1", 9), scheme="https")
    assert http_scope(request, ("/run/socket", None), {"pool": 1}) == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "https",
        "path": "/a",
        "raw_path": b"/a",
        "query_string": b"b=c",
        "root_path": "",
        "headers": [(b"host", b"x")],
        "client": ("::1", 9),
        "server": ("/run/socket", None),
        "state": {"pool": 1},
        "extensions": {},
    }


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        ("/caf%C3%A9%2F?q=%20", "/café/", b"/caf%C3%A9%2F", b"q=%20"),
        ("/a??", "/a", b"/a", b"?"),
        ("*", "*", b"*", b""),
        ("http://example.com/a?b", "/a", b"/a", b"b"),
        ("http://example.com", "/", b"/", b""),
        ("http://example.com?b", "/", b"/", b"b"),
        ("/a://b", "/a://b", b"/a://b", b""),
    ],
)
def test_a_target_is_told_decoded_and_raw(target: str, path: str, raw_path: bytes, query: bytes) -> None:
    scope = scope_of(target)
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw_path, query)


def test_headers_keep_their_order_and_repetition_in_lower_case() -> None:
    scope = scope_of(headers=Headers([("Cookie", "a"), ("X-Y", "\xe9"), ("cookie", "b")]))
    assert scope["headers"] == [(b"cookie", b"a"), (b"x-y", b"\xe9"), (b"cookie", b"b")]


def test_each_request_has_a_copy_of_the_state() -> None:
    state: dict[str, Any] = {"a": []}
    scope = http_scope(Request("GET", "/"), None, state)
    scope["state"]["b"] = 1
    scope["state"]["a"].append(1)
    assert state == {"a": [1]}


def test_a_lifespan_fills_the_state_itself() -> None:
    state: dict[str, Any] = {}
    scope = lifespan_scope(state)
    assert scope["state"] is state
    assert (scope["type"], scope["asgi"]) == ("lifespan", {"version": "3.0", "spec_version": "2.0"})
