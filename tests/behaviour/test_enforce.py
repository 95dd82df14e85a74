"""From a raw result to a checked outcome, or to an error that leaves nothing of it in effect."""

from __future__ import annotations

import enum
import inspect
from array import array
from collections.abc import Callable, Generator
from types import coroutine
from typing import Any, NamedTuple, cast

import pytest

from trio_websock.behaviour.enforce import Ending, Enforcer
from trio_websock.behaviour.reasons import DISCONNECTED, NORMAL, RESTART, Close, Error, Normal, Reason
from trio_websock.behaviour.results import Ok, Push, Reply, Stop
from trio_websock.codes import CloseCode, Opcode
from trio_websock.errors import MessageError, ResultError
from trio_websock.messages import Binary, Ping, Pong, Text

CALLBACKS = ["init", "handle_in", "handle_control", "handle_info"]
A_TEXT = (Opcode.TEXT, b"a")
FAILURE = ValueError("the password is hunter2")


class Private(enum.IntEnum):
    GONE_FISHING = 4001


def check(result: object, callback: str = "handle_in", *, validate_utf8: bool = True) -> tuple[list[Any], Any]:
    messages, ending = Enforcer("Chat", validate_utf8).check(callback, result)
    return list(messages), ending


def refusal_of(result: object, callback: str = "handle_in") -> ResultError:
    with pytest.raises(ResultError) as caught:
        check(result, callback)
    return caught.value


@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize(
    ("result", "messages", "ending"),
    [
        pytest.param(Ok(1), [], None, id="Ok(s)"),
        pytest.param(Push("a", 1), [A_TEXT], None, id="Push(m, s)"),
        pytest.param(Reply("term", "a", 1), [A_TEXT], None, id="Reply(term, m, s)"),
        pytest.param(Push([], 1), [], None, id="Push(m, s): [] sends nothing"),
        pytest.param(Reply("term", [], 1), [], None, id="Reply(term, m, s): [] sends nothing"),
        pytest.param(Stop(NORMAL, 1), [], Ending(Normal(), Close(1000)), id="Stop(NORMAL, s)"),
        pytest.param(Stop(RESTART, 1), [], Ending(Normal(), Close(1012)), id="Stop(RESTART, s)"),
        pytest.param(Stop(DISCONNECTED, 1), [], Ending(Normal(), Close(1000)), id="Stop(DISCONNECTED, s)"),
        pytest.param(Stop(FAILURE, 1), [], Ending(Error(FAILURE), Close(1011)), id="Stop(anything else, s)"),
        pytest.param(Stop(None, 1), [], Ending(Error(None), Close(1011)), id="Stop(anything else, s): None"),
        pytest.param(Stop(NORMAL, 1, 4000), [], Ending(Normal(), Close(4000)), id="Stop(r, s, close=code)"),
        pytest.param(
            Stop(FAILURE, 1, (1008, "no")),
            [],
            Ending(Error(FAILURE), Close(1008, b"no")),
            id="Stop(r, s, (code, text))",
        ),
        pytest.param(Stop(RESTART, 1, (1001, None)), [], Ending(Normal(), Close(1001)), id="Stop(r, s, (code, None))"),
        pytest.param(
            Stop(NORMAL, 1, (1001, b"bye"), ["a", b"b"]),
            [A_TEXT, (Opcode.BINARY, b"b")],
            Ending(Normal(), Close(1001, b"bye")),
            id="Stop(r, s, close, messages)",
        ),
        pytest.param(
            Stop(NORMAL, 1, messages="a"), [A_TEXT], Ending(Normal(), Close(1000)), id="Stop(r, s, close, one message)"
        ),
    ],
)
def test_what_every_callback_may_return_init_included(
    callback: str, result: object, messages: list[Any], ending: Ending | None
) -> None:
    assert check(result, callback) == (messages, ending)


@pytest.mark.parametrize("push", [lambda messages: Push(messages, 0), lambda messages: Reply(..., messages, 0)])
@pytest.mark.parametrize(
    ("messages", "sent"),
    [
        pytest.param("", [(Opcode.TEXT, b"")], id="an empty text is a message"),
        pytest.param(b"", [(Opcode.BINARY, b"")], id="an empty binary is a message"),
        pytest.param(bytearray(b"a"), [(Opcode.BINARY, b"a")], id="bytearray"),
        pytest.param(memoryview(array("H", [0, 0])), [(Opcode.BINARY, b"\0\0\0\0")], id="memoryview of words"),
        pytest.param(Text([b"a", None]), [A_TEXT], id="Text of iodata"),
        pytest.param(Ping(), [(Opcode.PING, b"")], id="Ping"),
        pytest.param((), [], id="empty tuple"),
        pytest.param(["a"], [A_TEXT], id="list of one"),
        pytest.param(("a", "a"), [A_TEXT, A_TEXT], id="tuple"),
        pytest.param(
            ["a", b"b", Text("c"), Binary("d"), Ping("e"), Pong("f")],
            [A_TEXT, (2, b"b"), (1, b"c"), (2, b"d"), (9, b"e"), (10, b"f")],
            id="every kind, in order",
        ),
    ],
)
def test_messages_of_a_result(push: Callable[[Any], object], messages: Any, sent: list[Any]) -> None:
    assert check(push(messages)) == (sent, None)


def stop_with(messages: Any) -> Stop[int]:
    return Stop(NORMAL, 0, None, messages)


@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize(
    "result",
    [
        pytest.param(None, id="a return forgotten"),
        pytest.param(Ok, id="the class instead of a value"),
        pytest.param(NORMAL, id="a reason"),
        pytest.param("a", id="a message"),
        pytest.param(["a"], id="messages"),
        pytest.param(("push", "a", 0), id="a tuple as on the BEAM"),
        pytest.param({"state": 0}, id="a dict"),
        pytest.param(..., id="Ellipsis"),
        pytest.param(Normal(), id="a reason of terminate"),
        pytest.param(NotImplemented, id="NotImplemented"),
    ],
)
def test_what_is_no_result_is_refused(result: object, callback: str) -> None:
    error = refusal_of(result, callback)
    assert str(error) == f"Chat.{callback} returned {result!r}: expected Ok, Push, Reply or Stop"


@pytest.mark.parametrize("wrap", [lambda m: Push(m, 0), lambda m: Reply(..., m, 0), stop_with])
@pytest.mark.parametrize(
    ("messages", "words"),
    [
        pytest.param(None, "None is not a message", id="None is not a message"),
        pytest.param([None], "None is not a message", id="nor in a list"),
        pytest.param(5, "5 is not a message", id="a number"),
        pytest.param({"a": 1}, r"\{'a': 1\} is not a message", id="a dict"),
        pytest.param([["a"]], r"\['a'\] is not a message", id="a list in a list"),
        pytest.param(["a", "b", 5], "5 is not a message", id="the last of many"),
        pytest.param(iter(["a"]), "iterator object .* is not a message", id="an iterator"),
        pytest.param(Text(b"\xff"), "text message is not UTF-8", id="text payload of bytes that is not UTF-8"),
        pytest.param(chr(0xD800), "not encodable as UTF-8", id="text payload with a surrogate"),
        pytest.param(Ping(b"x" * 126), "a ping carries at most 125 bytes, not 126", id="ping over 125 bytes"),
        pytest.param(Pong("é" * 63), "a pong carries at most 125 bytes, not 126", id="pong over 125 bytes"),
        pytest.param(Text(5), "5 is not a payload", id="a bad payload"),
        pytest.param(Binary(["a", [{}]]), r"\{\} is not a payload", id="a bad payload in a list"),
    ],
)
def test_a_bad_message_or_payload_is_refused(wrap: Callable[[Any], object], messages: Any, words: str) -> None:
    with pytest.raises(ResultError, match=words):
        check(wrap(messages))


@pytest.mark.parametrize(
    "code",
    [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999, CloseCode.BAD_GATEWAY, Private.GONE_FISHING],
)
@pytest.mark.parametrize("detail", [lambda code: code, lambda code: (code, None), lambda code: (code, "")])
def test_a_code_that_may_travel_wins_over_the_reasons_own(detail: Any, code: int) -> None:
    assert check(Stop(FAILURE, 0, detail(code))) == ([], Ending(Error(FAILURE), Close(code)))


@pytest.mark.parametrize(
    "code", [-1, 0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535, 65536, 70000, 10**20]
)
@pytest.mark.parametrize("detail", [lambda code: code, lambda code: (code, "bye")], ids=["code", "(code, text)"])
def test_a_close_with_a_code_that_may_not_travel_is_refused(detail: Any, code: int) -> None:
    words = f"close code {code} may not be sent: allowed are 1000-1003, 1007-1014 and 3000-4999"
    with pytest.raises(ResultError, match=words):
        check(Stop(NORMAL, 0, detail(code)))


@pytest.mark.parametrize("detail", [lambda code: code, lambda code: (code, "bye")], ids=["code", "(code, text)"])
def test_a_code_too_large_to_be_written_out_is_refused(detail: Any) -> None:
    with pytest.raises(ResultError, match="close code <int whose repr raises ValueError> may not be sent"):
        check(Stop(NORMAL, 0, detail(10**5000)))


async def a_message() -> str:
    return "a"


@pytest.mark.parametrize(
    "result_with",
    [
        pytest.param(lambda made: made, id="as the result"),
        pytest.param(lambda made: ("push", made, 0), id="in a tuple as on the BEAM"),
        pytest.param(lambda made: Push(made, 0), id="as the message of a Push"),
        pytest.param(lambda made: Reply(..., ["a", made], 0), id="as one message of a Reply"),
        pytest.param(lambda made: Push(Text([b"a", [made]]), 0), id="in a payload"),
        pytest.param(lambda made: Stop(NORMAL, 0, None, made), id="as the message of a Stop"),
        pytest.param(lambda made: Stop(NORMAL, 0, made), id="as the close of a Stop"),
        pytest.param(lambda made: Stop(NORMAL, 0, (1000, made)), id="as the text of a close"),
    ],
)
def test_a_coroutine_is_told_as_a_forgotten_await_and_closed(result_with: Callable[[Any], object]) -> None:
    made = a_message()
    assert str(refusal_of(result_with(made))).endswith(" (is an await missing?)")
    assert inspect.getcoroutinestate(made) == inspect.CORO_CLOSED  # or there would be a warning of it elsewhere


def test_every_forgotten_coroutine_of_a_result_is_closed() -> None:
    made = [a_message(), a_message()]
    refusal_of(Push(made, 0))  # type: ignore[arg-type]  # what it is about
    assert [inspect.getcoroutinestate(each) for each in made] == [inspect.CORO_CLOSED] * 2


def test_a_coroutine_that_somebody_else_awaits_stays_as_it_is() -> None:
    @coroutine
    def pause() -> Generator[None, None, str]:
        yield
        return "a message"

    async def wait() -> str:
        return await pause()

    made = wait()
    made.send(None)
    refusal_of(Push(made, 0))  # type: ignore[arg-type]  # what it is about
    assert inspect.getcoroutinestate(made) == inspect.CORO_SUSPENDED
    made.close()


def test_a_coroutine_that_is_the_state_stays_as_it_is() -> None:
    state = a_message()
    refusal_of(Push(5, state))  # type: ignore[arg-type]  # what it is about
    assert inspect.getcoroutinestate(state) == inspect.CORO_CREATED
    state.close()


def test_a_result_that_contains_itself_is_refused_all_the_same() -> None:
    messages: list[Any] = [5]
    messages.append(messages)
    refusal_of(Push(messages, 0))
    refusal_of(messages)


@pytest.mark.parametrize(
    "close",
    [
        pytest.param((None, "bye"), id="(None, text)"),
        pytest.param((None, None), id="(None, None)"),
        pytest.param(True, id="a bool"),
        pytest.param(False, id="False is not None"),
        pytest.param((True, "bye"), id="a bool with text"),
        pytest.param(1000.0, id="a float"),
        pytest.param("1000", id="a str"),
        pytest.param((), id="empty"),
        pytest.param((1000,), id="one part"),
        pytest.param((1000, "a", "b"), id="three parts"),
        pytest.param([1000, "a"], id="a list"),
        pytest.param({1000: "a"}, id="a dict"),
        pytest.param(("bye", 1000), id="the wrong way round"),
        pytest.param(NORMAL, id="a reason"),
    ],
)
def test_a_close_that_is_neither_code_nor_pair(close: Any) -> None:
    error = refusal_of(Stop(NORMAL, 0, close))
    assert f"close {close!r} is neither a code nor (code, text)" in str(error)


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        pytest.param("bye", b"bye", id="str"),
        pytest.param(b"bye", b"bye", id="bytes"),
        pytest.param(bytearray(b"bye"), b"bye", id="bytearray"),
        pytest.param(memoryview(b"bye"), b"bye", id="memoryview"),
        pytest.param(memoryview(array("I", [0])), b"\0\0\0\0", id="memoryview of words"),
        pytest.param("", b"", id="empty"),
        pytest.param(b"", b"", id="empty bytes"),
        pytest.param(None, b"", id="None"),
        pytest.param("é", b"\xc3\xa9", id="two bytes"),
        pytest.param("x" * 123, b"x" * 123, id="123 bytes"),
        pytest.param(b"x" * 123, b"x" * 123, id="123 bytes as bytes"),
        pytest.param("é" * 61 + "x", b"\xc3\xa9" * 61 + b"x", id="123 bytes of 62 characters"),
        pytest.param("€" * 41, b"\xe2\x82\xac" * 41, id="123 bytes of 41 characters"),
    ],
)
def test_the_text_of_a_close(text: Any, payload: bytes) -> None:
    assert check(Stop(NORMAL, 0, (1000, text)))[1].close == Close(1000, payload)


@pytest.mark.parametrize(
    "text", ["x" * 124, b"x" * 124, "é" * 62, "€" * 41 + "x", "😀" * 31, memoryview(array("I", [0] * 31))], ids=len
)
def test_a_close_text_over_123_bytes(text: Any) -> None:
    with pytest.raises(ResultError, match="a close text has at most 123 bytes, not 124"):
        check(Stop(NORMAL, 0, (1000, text)))


@pytest.mark.parametrize(
    "text",
    [chr(0xD800), f"a{chr(0xDCFF)}", b"\xff", b"\xc3", bytearray(b"\xc0\x80"), memoryview(b"\xed\xa0\x80")],
    ids=repr,
)
def test_a_close_text_that_is_not_encodable(text: Any) -> None:
    with pytest.raises(ResultError, match=r"close text .*'utf-8' codec can't"):
        check(Stop(NORMAL, 0, (1000, text)))


@pytest.mark.parametrize("text", [5, False, ["bye"], {}, ("bye",)], ids=repr)
def test_a_close_text_of_another_type(text: Any) -> None:
    error = refusal_of(Stop(NORMAL, 0, (1000, text)))
    assert f"close text {text!r} is not str, bytes or None" in str(error)


def test_changing_the_text_of_a_close_after_the_return_changes_nothing() -> None:
    text = bytearray(b"bye")
    close = check(Stop(NORMAL, 0, (1000, text)))[1].close  # type: ignore[arg-type]  # a bytearray will do
    text[:] = b"xyz"
    assert close.text == b"bye"


def test_changing_the_messages_after_the_return_changes_nothing() -> None:
    buffer = bytearray(b"a")
    given: list[Any] = [Text(buffer), "a"]
    messages, _ = check(Push(given, 0))
    given.clear()
    buffer[:] = b"xyz"
    assert messages == [A_TEXT, A_TEXT]


def test_nothing_of_a_stop_with_a_bad_close_is_sent() -> None:
    with pytest.raises(ResultError, match="close code 1005"):
        check(Stop(NORMAL, 0, 1005, ["a"]))


def test_nothing_of_a_stop_with_a_bad_message_is_sent() -> None:
    with pytest.raises(ResultError, match="5 is not a message"):
        check(Stop(NORMAL, 0, 1000, ["a", 5]))  # type: ignore[list-item]  # what is tested


@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize("result", [None, Push(5, 0), Stop(NORMAL, 0, 999)])  # type: ignore[arg-type]  # what is tested
def test_an_error_names_handler_callback_and_value(result: object, callback: str) -> None:
    error = refusal_of(result, callback)
    assert (error.handler, error.callback, error.value) == ("Chat", callback, result)
    assert str(error).startswith(f"Chat.{callback} returned {result!r}: expected ")


def test_an_error_about_a_message_says_where_it_comes_from() -> None:
    assert isinstance(refusal_of(Push(5, 0)).__cause__, MessageError)  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize("state", [None, [], FAILURE, Ok(0), ...], ids=repr)
def test_a_state_may_be_anything(state: object) -> None:
    assert check(Ok(state)) == ([], None)


def test_without_validation_a_text_may_be_what_was_received() -> None:
    received = b"a\xff"
    text = received.decode("utf-8", "surrogateescape")
    assert check(Push(text, 0), validate_utf8=False) == ([(Opcode.TEXT, received)], None)


def test_without_validation_a_close_text_is_still_utf8() -> None:
    with pytest.raises(ResultError, match="close text"):
        check(Stop(NORMAL, 0, (1000, b"\xff")), validate_utf8=False)


def reason_told(result: Stop[Any]) -> Reason:
    ending = check(result)[1]
    assert isinstance(ending, Ending)
    return ending.reason


@pytest.mark.parametrize("close", [None, 1000, (4000, "bye")])
@pytest.mark.parametrize(
    ("reason", "told"), [(NORMAL, Normal()), (RESTART, Normal()), (DISCONNECTED, Normal()), ("oops", Error("oops"))]
)
def test_terminate_is_told_by_the_reason_whatever_the_close(reason: object, told: Reason, close: Any) -> None:
    assert reason_told(Stop(reason, 0, close)) == told


class Unspeakable:
    def __repr__(self) -> str:
        raise KeyError("no words")


@pytest.mark.parametrize(
    "result",
    [
        pytest.param(Unspeakable(), id="not a result"),
        pytest.param(Push(cast("Any", Unspeakable()), 0), id="a bad message"),
        pytest.param(Push(Text(cast("Any", Unspeakable())), 0), id="a bad payload"),
        pytest.param(Stop(NORMAL, 0, cast("Any", Unspeakable())), id="a bad close"),
        pytest.param(Stop(NORMAL, 0, (1000, cast("Any", Unspeakable()))), id="a bad close text"),
    ],
)
def test_a_bad_result_without_a_repr_is_a_result_error_all_the_same(result: object) -> None:
    assert refusal_of(result).value is result


def test_an_error_does_not_repeat_a_large_result() -> None:
    assert len(str(refusal_of(Push(["x" * 10**6, 5], 0)))) < 500  # type: ignore[list-item]  # what is tested


class Parts(list[Any]):
    pass


class Pair(NamedTuple):
    first: str
    second: str


@pytest.mark.parametrize("messages", [Parts(["a", "a"]), Pair("a", "a")], ids=["list subclass", "named tuple"])
@pytest.mark.parametrize("wrap", [lambda m: Push(m, 0), lambda m: Reply(..., m, 0), stop_with])
def test_a_list_is_a_list_whatever_its_class(wrap: Callable[[Any], object], messages: Any) -> None:
    assert check(wrap(messages))[0] == [A_TEXT, A_TEXT]


def test_a_close_text_that_was_released_is_refused() -> None:
    text = memoryview(b"bye")
    text.release()
    with pytest.raises(ResultError, match="close text cannot be sent: operation forbidden on released memoryview"):
        check(Stop(NORMAL, 0, (1000, text)))  # type: ignore[arg-type]  # a memoryview will do


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (Push(Ping(b"x" * 126), 0), "but a ping carries at most 125 bytes, not 126 (RFC 6455 §5.5)"),
        (Stop(NORMAL, 0, 1005), "but close code 1005 may not be sent: allowed are 1000-1003, 1007-1014 and 3000-4999"),
    ],
)
def test_an_error_about_a_part_reads_as_a_sentence(result: object, words: str) -> None:
    assert str(refusal_of(result)).endswith(f": expected a result that can be sent, {words}")
