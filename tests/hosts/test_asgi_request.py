"""ASGI's scopes as requests, and responses as its events."""

from __future__ import annotations

from typing import Any

import pytest

from trio_websock import Response, StateError, check_upgrade, is_upgrade
from trio_websock.hosts.asgi_request import accept_event, request_from, response_events


def scope_of(**facts: Any) -> dict[str, Any]:
    return {"type": "websocket", "path": "/", "headers": [], "scheme": "ws", **facts}


@pytest.mark.parametrize(
    ("facts", "path", "target"),
    [
        ({"path": "/a b", "raw_path": b"/a%20b"}, "/a b", "/a%20b"),
        ({"path": "/ä"}, "/ä", "/%C3%A4"),
        ({"path": "/a", "query_string": b"x=%201"}, "/a", "/a?x=%201"),
        ({"path": "/a", "raw_path": b"/a?x=1", "query_string": b"x=1"}, "/a", "/a?x=1"),
        ({"path": "/sub/a", "root_path": "/sub"}, "/a", "/a"),
        ({"path": "/sub/a", "raw_path": b"/sub/a", "root_path": "/sub/"}, "/a", "/a"),
        ({"path": "/ü/a/b", "raw_path": b"/%C3%BC/a%2Fb", "root_path": "/ü"}, "/a/b", "/a%2Fb"),
        ({"path": "/sub", "root_path": "/sub"}, "/", "/"),
        ({"path": "/subway", "root_path": "/sub"}, "/subway", "/subway"),
        ({"path": "/a", "raw_path": b"/sub/a"}, "/a", "/a"),
    ],
    ids=str,
)
def test_the_path_is_what_is_below_the_mount(facts: dict[str, Any], path: str, target: str) -> None:
    request = request_from(scope_of(**facts))
    assert (request.path, request.target) == (path, target)


@pytest.mark.parametrize(
    ("given", "seen"), [("ws", "http"), ("wss", "https"), ("http", "http"), ("https", "https"), (None, "http")]
)
def test_the_scheme_is_that_of_http(given: str | None, seen: str) -> None:
    assert request_from(scope_of(scheme=given)).scheme == seen


@pytest.mark.parametrize(
    ("given", "seen"), [(["::1", 5], ("::1", 5)), (None, None), (("/socket", None), None)], ids=["TCP", "none", "Unix"]
)
def test_the_client_is_an_address_or_nobody(given: Any, seen: Any) -> None:
    assert request_from(scope_of(client=given)).client == seen


def test_a_plain_request_has_its_method_and_body() -> None:
    request = request_from(scope_of(type="http", method="POST", headers=[(b"a", b"\xe4")]), b"body")
    assert (request.method, request.body, request.headers["A"]) == ("POST", b"body", "ä")


@pytest.mark.parametrize("version", ["1.0", "1.1", "2", "3"])
def test_a_plain_request_has_the_version_it_came_in(version: str) -> None:
    assert request_from(scope_of(type="http", http_version=version)).http_version == version


@pytest.mark.parametrize("version", ["2", "2.0", "3"])
def test_an_extended_connect_is_an_upgrade_like_any_other(version: str) -> None:
    headers = [(b":authority", b"example.com"), (b"sec-websocket-version", b"13")]
    request = request_from(scope_of(http_version=version, headers=headers))
    assert is_upgrade(request)
    assert (request.http_version, request.headers["host"]) == ("1.1", "example.com")
    check_upgrade(request)


def test_nothing_is_added_to_a_handshake_over_http_1() -> None:
    assert not is_upgrade(request_from(scope_of(http_version="1.1")))


def test_what_accepts_has_subprotocol_and_headers() -> None:
    assert accept_event("chat", [("Set-Cookie", "a=b")]) == {
        "type": "websocket.accept",
        "subprotocol": "chat",
        "headers": [(b"set-cookie", b"a=b")],
    }


@pytest.mark.parametrize("pair", [("a", "b\r\nc: d"), ("a b", "c"), ("Upgrade", "h2c"), ("Sec-WebSocket-Accept", "x")])
def test_a_header_that_may_not_be_sent_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(StateError):
        accept_event(None, [pair])


def test_a_response_is_a_start_and_a_body() -> None:
    start, body = response_events(scope_of(type="http"), Response(201, "ä", headers={"X-A": "b"}))
    assert (start["type"], start["status"]) == ("http.response.start", 201)
    assert dict(start["headers"]) == {
        b"content-length": b"2",
        b"content-type": b"text/plain; charset=utf-8",
        b"x-a": b"b",
    }
    assert (body["type"], body["body"]) == ("http.response.body", "ä".encode())


@pytest.mark.parametrize(
    ("response", "content_type"),
    [
        (Response(200, b"x"), b"application/octet-stream"),
        (Response(200, "x", content_type="text/html"), b"text/html"),
        (Response(200, "x", headers={"Content-Type": "a/b"}), b"a/b"),
        (Response(200), None),
    ],
)
def test_a_response_says_what_its_body_is(response: Response, content_type: bytes | None) -> None:
    start, _ = response_events(scope_of(type="http"), response)
    assert dict(start["headers"]).get(b"content-type") == content_type


def test_a_response_without_content_has_no_length() -> None:
    start, body = response_events(scope_of(type="http"), Response(204, "lost"))
    assert (start["headers"], body["body"]) == ([], b"")


def test_head_is_answered_with_the_length_alone() -> None:
    start, body = response_events(scope_of(type="http", method="HEAD"), Response(200, "page"))
    assert (dict(start["headers"])[b"content-length"], body["body"]) == (b"4", b"")


def test_a_websocket_is_denied_by_the_extension() -> None:
    start, body = response_events(scope_of(extensions={"websocket.http.response": {}}), Response(401, "who?"))
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert (body["type"], body["body"]) == ("websocket.http.response.body", b"who?")


def test_a_server_without_the_extension_denies_its_own_way() -> None:
    (event,) = response_events(scope_of(), Response(401, "who?"))
    assert event["type"] == "websocket.close"
