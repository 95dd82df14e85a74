"""Events as lines of JSON: what a program is told."""

from __future__ import annotations

import json

import pytest

from trio_websock import ConnectFailed, ConnectionClosed, Headers, UpgradeRejected
from trio_websock.client import HandshakeResponse
from trio_websock.command.events import Closed, Failed, Noted, Opened, Pinged, Ponged, Received, json_line

SWITCHING = HandshakeResponse(101, "", Headers([("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("Server", "s")]))

LINES = [
    (
        Opened("ws://h/", "chat", SWITCHING),
        {
            "event": "open",
            "url": "ws://h/",
            "status": 101,
            "subprotocol": "chat",
            "headers": {"set-cookie": ["a=1", "b=2"], "server": ["s"]},
        },
    ),
    (Received("ä\n"), {"event": "message", "kind": "text", "data": "ä\n"}),
    (Received(b"\x00\xff"), {"event": "message", "kind": "binary", "data": "AP8="}),
    (Pinged(b""), {"event": "ping", "data": ""}),
    (Ponged(b"x", 0.5), {"event": "pong", "data": "eA==", "latency": 0.5}),
    (Ponged(b"x", None), {"event": "pong", "data": "eA==", "latency": None}),
    (
        Failed(ConnectFailed("nobody listens")),
        {"event": "error", "error": "ConnectFailed", "text": "nobody listens"},
    ),
    (
        Failed(UpgradeRejected(HandshakeResponse(403, "No", body=b"not you"))),
        {
            "event": "error",
            "error": "UpgradeRejected",
            "text": "the server answered 403 No: expected 101; it says 'not you' (RFC 6455 §4.1)",
            "status": 403,
            "headers": {},
            "body": "not you",
        },
    ),
]


@pytest.mark.parametrize(("event", "fields"), LINES, ids=[type(event).__name__ for event, _ in LINES])
def test_an_event_is_one_line_of_json(event, fields):
    line = json_line(event)
    assert "\n" not in line
    assert json.loads(line) == fields


def test_the_end_is_told_with_code_text_and_whether_it_was_clean():
    fields = {"event": "close", "code": 4000, "text": "why", "by": "peer", "clean": False, "cause": None}
    assert json.loads(json_line(Closed(ConnectionClosed(4000, "why", "peer")))) == fields


def test_what_broke_a_connection_is_told():
    ending = ConnectionClosed(None, "", "nobody")
    ending.__cause__ = OSError("reset")
    assert json.loads(json_line(Closed(ending)))["cause"] == "reset"


def test_a_remark_for_people_is_no_event():
    assert json_line(Noted("hello")) == ""


def test_what_would_steer_a_terminal_or_break_a_line_is_written_out():
    line = json_line(Received("\x1b\x7f\x85\x9b\u2028\u2029\u202e"))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["data"] == "\x1b\x7f\x85\x9b\u2028\u2029\u202e"
