"""What people read: an event as text, and nothing a server sends can do more than be read."""

from __future__ import annotations

import pytest

from trio_websock import ConnectFailed, ConnectionClosed, Headers, ProxyFailed, UpgradeRejected
from trio_websock.client import HandshakeResponse
from trio_websock.command.events import Closed, Failed, Noted, Opened, Pinged, Ponged, Received
from trio_websock.command.rendering import message_line, printable, terminal_lines

DEFLATE = Headers({"Sec-WebSocket-Extensions": "permessage-deflate"})

LINES = [
    (Opened("ws://h/", None, HandshakeResponse(101)), "* connected to ws://h/"),
    (
        Opened("ws://h/", "chat", HandshakeResponse(101, "", DEFLATE)),
        "* connected to ws://h/, subprotocol chat, compressed",
    ),
    (Received("hello"), "< hello"),
    (Received("two\nlines"), "< two\n  lines"),
    (Received(b"\x00"), "< binary, 1 byte: 00"),
    (Received(b"\x00\xff"), "< binary, 2 bytes: 00 ff"),
    (Pinged(b""), "* ping"),
    (Pinged(b"you?"), "* ping: you?"),
    (Pinged(b"\xff\x00"), "* ping: ff 00"),
    (Ponged(b"", 0.0123), "* pong after 12.3 ms"),
    (Ponged(b"x", None), "* pong that nobody asked for: x"),
    (Closed(ConnectionClosed(1000, "", "us")), "* closed with 1000 (normal closure)"),
    (Closed(ConnectionClosed(4000, "why", "peer")), "* closed by the server with 4000: why"),
    (Closed(ConnectionClosed(None, "", "peer")), "* closed by the server with no code"),
    (Closed(ConnectionClosed(None, "", "nobody")), "* the connection was lost"),
    (Failed(ConnectFailed("nobody listens")), "* nobody listens"),
    (
        Failed(UpgradeRejected(HandshakeResponse(403, "No", body=b"not you\n"))),
        "* the server answered 403 No: expected 101; it says 'not you' (RFC 6455 §4.1)",
    ),
    (
        Failed(UpgradeRejected(HandshakeResponse(403, "No", body=b"<p>not you\n"))),
        "* the server answered 403 No: expected 101 (RFC 6455 §4.1); it says '<p>not you'",
    ),
    (
        Failed(ProxyFailed("http://p", "it answered 407", HandshakeResponse(407, "", body=b"who\n"))),
        "* no connection through the proxy http://p: it answered 407; it says 'who'",
    ),
    (Noted("a remark"), "* a remark"),
]


@pytest.mark.parametrize(("event", "text"), LINES)
def test_an_event_is_shown(event, text):
    assert terminal_lines(event) == text


def test_a_cause_is_shown():
    ending = ConnectionClosed(None, "", "nobody")
    ending.__cause__ = OSError("reset")
    assert terminal_lines(Closed(ending)) == "* the connection was lost (reset)"


@pytest.mark.parametrize("event", [Received, lambda text: Pinged(text.encode()), lambda text: Noted(text)])
@pytest.mark.parametrize("text", ["\x1b[2J", "\x07", "\x9b2J", "\r", "\x7f", "\u202e"])
def test_no_control_character_reaches_the_terminal(event, text):
    assert text not in terminal_lines(event(f"a{text}b"))


def test_what_can_be_read_stays_as_it_is():
    assert printable("tab\tnewline\nä 中 🙂\u00ad") == "tab\tnewline\nä 中 🙂\u00ad"


def test_a_large_binary_message_is_cut():
    shown = terminal_lines(Received(bytes(1000)))
    assert shown.startswith("< binary, 1000 bytes: 00 00")
    assert shown.endswith("… and 744 bytes more")


@pytest.mark.parametrize(("message", "line"), [("a\x1bb", "a\x1bb"), (b"\x00\xff", "00ff")])
def test_a_pipe_gets_text_as_it_is_and_digits_for_the_rest(message, line):
    assert message_line(message) == line
