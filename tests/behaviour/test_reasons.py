"""The one table from why a connection ends to what is said about it, on the wire and to ``terminate``."""

from __future__ import annotations

from typing import Any

import pytest

from trio_websock.behaviour.reasons import (
    DISCONNECTED,
    NORMAL,
    RESTART,
    Close,
    Error,
    Normal,
    Reason,
    Remote,
    Shutdown,
    StopReason,
    Timeout,
    close_for,
    stop_outcome,
)
from trio_websock.errors import (
    ConnectionLost,
    FrameError,
    InvalidPayload,
    MessageTooBig,
    PolicyViolation,
    RemoteError,
    ResultError,
    WriteTimeout,
)


@pytest.mark.parametrize(
    ("reason", "close"),
    [
        pytest.param(NORMAL, Close(1000), id="Stop(NORMAL, s)"),
        pytest.param(RESTART, Close(1012), id="Stop(RESTART, s)"),
        pytest.param(DISCONNECTED, Close(1000), id="Stop(DISCONNECTED, s)"),
    ],
)
def test_a_stop_that_is_no_error(reason: StopReason, close: Close) -> None:
    assert stop_outcome(reason) == (Normal(), close)


@pytest.mark.parametrize(
    "reason",
    [
        ValueError("the password is hunter2"),
        FrameError("it broke", "RFC 6455 §5.2"),
        ConnectionLost("gone"),
        "normal",
        "restart",
        None,
        1000,
        ("shutdown", "restart"),
        Normal(),
        Shutdown(),
        StopReason,
    ],
    ids=repr,
)
def test_a_stop_for_anything_else_is_an_error_of_which_the_peer_learns_nothing(reason: object) -> None:
    assert stop_outcome(reason) == (Error(reason), Close(1011, b""))


def test_there_are_three_reasons_that_are_no_error() -> None:
    assert list(StopReason) == [NORMAL, RESTART, DISCONNECTED]


@pytest.mark.parametrize(
    ("reason", "close"),
    [
        pytest.param(Normal(), Close(1000), id="normal"),
        pytest.param(Remote(1000, "bye"), Close(1000), id="peer's close: echoed, no text"),
        pytest.param(Remote(1013, ""), Close(1013), id="peer's close with a code registered since"),
        pytest.param(Remote(4999, "bye"), Close(4999), id="peer's close with a code of its own"),
        pytest.param(Remote(None, ""), Close(None), id="peer's close: empty stays empty"),
        pytest.param(Shutdown(), Close(1001), id="server shutdown"),
        pytest.param(Shutdown(restart=True), Close(1012), id="server restart"),
        pytest.param(Timeout(), Close(1001, b"idle timeout"), id="idle timeout"),
        pytest.param(Timeout("ping timeout"), Close(1001, b"ping timeout"), id="ping timeout"),
        pytest.param(Error(ValueError("secret")), Close(1011), id="exception in a callback"),
        pytest.param(Error(ResultError("A", "init", 5, "Ok")), Close(1011), id="bad result"),
        pytest.param(Error(ExceptionGroup("several", [ValueError()])), Close(1011), id="several exceptions"),
        pytest.param(Error(FrameError("RSV1", "RFC 6455 §5.2")), Close(1002), id="peer's frame"),
        pytest.param(Error(InvalidPayload("UTF-8", "RFC 6455 §8.1")), Close(1007), id="peer's text"),
        pytest.param(Error(PolicyViolation("empty", "ours")), Close(1008), id="peer's empty fragments"),
        pytest.param(Error(MessageTooBig("2 MiB", "ours")), Close(1009), id="peer's large message"),
        pytest.param(Error(RemoteError("x", "y", close_code=1010)), Close(1010), id="a code of its own"),
    ],
)
def test_the_close_frame_for_a_reason(reason: Reason, close: Close) -> None:
    assert close_for(reason) == close


@pytest.mark.parametrize("error", [FrameError("RSV1 came", "RFC 6455 §5.2"), InvalidPayload("a", "b"), ValueError("c")])
def test_no_error_puts_its_words_on_the_wire(error: Exception) -> None:
    assert close_for(Error(error)).text == b""


@pytest.mark.parametrize("cause", [ConnectionLost("reset"), WriteTimeout("stalled")])
def test_a_lost_connection_is_no_fault_of_the_peers_protocol(cause: Exception) -> None:
    assert close_for(Error(cause)) == Close(1011)


def described(reason: Reason) -> str:
    match reason:
        case Normal():
            return "normal"
        case Remote(1001):
            return "left"
        case Remote(code, text):
            return f"{code} {text}"
        case Shutdown(restart=True):
            return "restart"
        case Shutdown():
            return "shutdown"
        case Timeout():
            return "timeout"
        case Error(ConnectionLost()):
            return "lost"
        case Error(cause):
            return f"error {cause}"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (Normal(), "normal"),
        (Remote(1001, ""), "left"),
        (Remote(), "None "),
        (Remote(4000, "bye"), "4000 bye"),
        (Shutdown(), "shutdown"),
        (Shutdown(True), "restart"),
        (Timeout("ping timeout"), "timeout"),
        (Error(ConnectionLost("reset")), "lost"),
        (Error(5), "error 5"),
    ],
)
def test_reasons_are_made_for_match(reason: Reason, words: str) -> None:
    assert described(reason) == words


@pytest.mark.parametrize(
    ("reason", "name"), [(Remote(), "code"), (Shutdown(), "restart"), (Timeout(), "text"), (Error(5), "cause")]
)
def test_a_reason_is_frozen(reason: Any, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(reason, name, 1)
