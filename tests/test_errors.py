"""Every error says what came and what was expected, and whose fault it is."""

from __future__ import annotations

from typing import Any

import pytest

from trio_websock import errors
from trio_websock.errors import (
    ConnectionLost,
    FrameError,
    InvalidPayload,
    LocalError,
    MessageError,
    MessageTooBig,
    OptionError,
    PolicyViolation,
    RemoteError,
    ResultError,
    StateError,
    TransportError,
    UpgradeRefused,
    WebSockError,
    WriteTimeout,
    describe,
    only_exception,
)


@pytest.mark.parametrize("name", errors.__all__)
def test_one_root_catches_all(name: str) -> None:
    thing = getattr(errors, name)
    assert not isinstance(thing, type) or issubclass(thing, WebSockError)


@pytest.mark.parametrize(
    ("error", "at_fault"),
    [
        (OptionError, LocalError),
        (MessageError, LocalError),
        (ResultError, LocalError),
        (StateError, LocalError),
        (FrameError, RemoteError),
        (InvalidPayload, RemoteError),
        (PolicyViolation, RemoteError),
        (MessageTooBig, RemoteError),
        (UpgradeRefused, RemoteError),
        (ConnectionLost, TransportError),
        (WriteTimeout, TransportError),
    ],
)
def test_an_error_is_one_partys_fault(error: type, at_fault: type) -> None:
    parties = (LocalError, RemoteError, TransportError)
    assert [party for party in parties if issubclass(error, party)] == [at_fault]


@pytest.mark.parametrize(
    ("error", "builtin"), [(OptionError, ValueError), (MessageError, ValueError), (StateError, RuntimeError)]
)
def test_a_misuse_is_also_the_builtin_error_it_resembles(error: type, builtin: type) -> None:
    assert issubclass(error, builtin)


@pytest.mark.parametrize(
    ("error", "code"), [(FrameError, 1002), (InvalidPayload, 1007), (PolicyViolation, 1008), (MessageTooBig, 1009)]
)
def test_a_fault_of_the_peer_knows_its_close_code(error: type[RemoteError], code: int) -> None:
    assert (error.close_code, error("it broke", "RFC 6455 §5").close_code) == (code, code)


def test_one_fault_may_have_a_code_of_its_own() -> None:
    error = RemoteError("it broke", "RFC 6455 §5", close_code=1010)
    assert (error.close_code, RemoteError.close_code) == (1010, 1002)


def test_a_fault_of_the_peer_names_the_clause_it_broke() -> None:
    error = FrameError("RSV1 came without its extension", "RFC 6455 §5.2")
    assert (str(error), error.section) == ("RSV1 came without its extension (RFC 6455 §5.2)", "RFC 6455 §5.2")


def test_an_option_error_names_option_value_and_what_is_allowed() -> None:
    error = OptionError("timeout", "soon", "a positive number of seconds")
    assert str(error) == "timeout must be a positive number of seconds, not 'soon'"


def test_an_option_error_keeps_its_parts() -> None:
    error = OptionError("timeout", "soon", "a number")
    assert (error.option, error.value, error.expected) == ("timeout", "soon", "a number")


def test_a_result_error_names_handler_callback_value_and_what_was_expected() -> None:
    error = ResultError("Chat", "handle_in", None, "Ok or Push")
    assert str(error) == "Chat.handle_in returned None: expected Ok or Push"


def test_a_result_error_keeps_its_parts() -> None:
    error = ResultError("Chat", "handle_in", 5, "Ok or Push")
    assert (error.handler, error.callback, error.value, error.expected) == ("Chat", "handle_in", 5, "Ok or Push")


def test_a_refusal_carries_the_whole_answer() -> None:
    error = UpgradeRefused(401, "a token is needed", {"WWW-Authenticate": "Bearer"})
    assert (error.status, error.reason, error.headers["WWW-Authenticate"]) == (401, "a token is needed", "Bearer")


def test_a_refusal_keeps_repeated_headers() -> None:
    challenges = [("WWW-Authenticate", "Basic"), ("WWW-Authenticate", "Bearer")]
    assert UpgradeRefused(401, "who are you?", challenges).headers.pairs() == tuple(challenges)


def test_a_refusal_keeps_its_own_copy_of_the_headers() -> None:
    headers = {"Retry-After": "5"}
    error = UpgradeRefused(503, "full", headers)
    headers.clear()
    assert error.headers["Retry-After"] == "5"


class Unspeakable:
    def __repr__(self) -> str:
        raise KeyError("no words")


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [None, 5, "a", b"a", [1, "b"], "x" * 198])
def test_a_value_is_described_by_its_repr(value: object) -> None:
    assert describe(value) == repr(value)


@pytest.mark.parametrize("value", ["x" * 199, b"x" * 100_000, list(range(1000))], ids=["str", "bytes", "list"])
def test_the_description_of_a_large_value_is_cut(value: object) -> None:
    assert describe(value) == repr(value)[:200] + "…"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param(Unspeakable(), "<Unspeakable whose repr raises KeyError>", id="broken repr"),
        pytest.param(10**5000, "<int whose repr raises ValueError>", id="huge number"),
        pytest.param(nested(100_000), "<list whose repr raises RecursionError>", id="deep list"),
    ],
)
def test_a_value_that_cannot_be_shown_is_named_by_its_type(value: object, words: str) -> None:
    assert describe(value) == words


def test_an_error_about_a_value_without_a_repr_is_still_that_error() -> None:
    error = ResultError("Chat", "init", Unspeakable(), "Ok or Push")
    assert "returned <Unspeakable whose repr raises KeyError>: expected" in str(error)


def test_an_option_error_about_a_value_without_a_repr_is_still_one() -> None:
    assert str(OptionError("timeout", Unspeakable(), "a number")).endswith(
        "not <Unspeakable whose repr raises KeyError>"
    )


@pytest.mark.parametrize("status", [400, 403, 426, 503, 599])
def test_a_status_that_refuses(status: int) -> None:
    assert UpgradeRefused(status, "no").status == status


@pytest.mark.parametrize("status", [99, 101, 200, 302, 399, 600, True, "403", None, 403.0])
def test_a_status_that_refuses_nothing(status: Any) -> None:
    words = f"the status of a refusal must be an integer from 400 to 599, not {status!r}"
    with pytest.raises(ValueError, match=words):
        UpgradeRefused(status, "no")


@pytest.mark.parametrize("reason", [None, b"no", 5, "a" + chr(0xD800)])
def test_a_reason_that_cannot_be_told(reason: Any) -> None:
    with pytest.raises(ValueError, match="the reason of a refusal must be a str that is encodable as UTF-8, not "):
        UpgradeRefused(403, reason)


def test_an_exception_that_is_alone_comes_out_of_all_its_groups() -> None:
    alone = ValueError()
    assert only_exception(ExceptionGroup("outer", [ExceptionGroup("inner", [alone])])) is alone


def test_exceptions_that_came_together_stay_together() -> None:
    both = ExceptionGroup("inner", [ValueError(), KeyError()])
    assert only_exception(ExceptionGroup("outer", [both])) is both
