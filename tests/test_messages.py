"""From what a callback pushes to ``(opcode, payload bytes)``, and what never gets that far."""

from __future__ import annotations

import enum
import inspect
from array import array
from collections.abc import Callable
from typing import Any

import pytest

from trio_websock.codes import Opcode
from trio_websock.errors import MessageError
from trio_websock.messages import Binary, Ping, Pong, Text, encode_message

CONTROLS = [pytest.param(Ping, Opcode.PING, id="ping"), pytest.param(Pong, Opcode.PONG, id="pong")]
WRAPPERS = [Text, Binary, Ping, Pong]


class Name(str):
    __slots__ = ()


class Command(enum.StrEnum):
    GO = "go"


class Blob(bytes):
    __slots__ = ()


class Parts(list[Any]):
    pass


NUMBERS = array("I", [1, 2]).tobytes()


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        pytest.param("", b"", id="empty"),
        pytest.param("hello", b"hello", id="str"),
        pytest.param("é€😀", b"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", id="str of two, three and four bytes"),
        pytest.param("\x00\uffff", b"\x00\xef\xbf\xbf", id="NUL and a noncharacter"),
        pytest.param(Name("hello"), b"hello", id="str subclass"),
        pytest.param(Command.GO, b"go", id="StrEnum"),
        pytest.param(Text(), b"", id="Text of nothing"),
        pytest.param(Text("hello"), b"hello", id="Text of str"),
        pytest.param(Text(b"\xc3\xa9"), b"\xc3\xa9", id="Text of bytes"),
        pytest.param(Text([b"\xc3", b"\xa9"]), b"\xc3\xa9", id="a code point split over the parts of a Text"),
    ],
)
def test_str_and_text_become_text_in_utf8(message: str | Text, payload: bytes) -> None:
    assert encode_message(message) == (Opcode.TEXT, payload)


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        pytest.param(b"", b"", id="empty"),
        pytest.param(b"\xff\x00", b"\xff\x00", id="bytes"),
        pytest.param(Blob(b"\xff"), b"\xff", id="bytes subclass"),
        pytest.param(bytearray(b"\xff"), b"\xff", id="bytearray"),
        pytest.param(memoryview(b"abc")[1:], b"bc", id="memoryview"),
        pytest.param(memoryview(b"abcdef")[::2], b"ace", id="memoryview with gaps"),
        pytest.param(memoryview(array("I", [1, 2])), NUMBERS, id="memoryview of words"),
        pytest.param(array("I", [1, 2]), NUMBERS, id="array"),
        pytest.param(Binary(["a", array("B", b"b")]), b"ab", id="an array among iodata"),
        pytest.param(Binary(), b"", id="Binary of nothing"),
        pytest.param(Binary("é"), b"\xc3\xa9", id="Binary of str is its UTF-8"),
        pytest.param(Binary(b"\xff"), b"\xff", id="Binary of bytes"),
    ],
)
def test_bytes_like_and_binary_become_binary(message: Any, payload: bytes) -> None:
    assert encode_message(message) == (Opcode.BINARY, payload)


@pytest.mark.parametrize(
    ("iodata", "payload"),
    [
        pytest.param(None, b"", id="None"),
        pytest.param([], b"", id="empty list"),
        pytest.param((), b"", id="empty tuple"),
        pytest.param([[], [[]], ()], b"", id="empty lists in lists"),
        pytest.param(["a", b"b", bytearray(b"c"), memoryview(b"d"), None], b"abcd", id="every kind of part"),
        pytest.param(("a", ["b", ("c", [["d"]]), "e"], "f"), b"abcdef", id="lists in lists, in order"),
        pytest.param([[["a"], "b"], "c"], b"abc", id="grown at the right"),
        pytest.param(["a", ["b", ["c"]]], b"abc", id="grown at the left"),
        pytest.param(Parts(["a", Parts([b"b"])]), b"ab", id="list subclasses"),
        pytest.param(["é", memoryview(b"ab")], b"\xc3\xa9ab", id="text is joined as UTF-8"),
    ],
)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_message_takes_iodata(wrapper: Any, iodata: Any, payload: bytes) -> None:
    assert encode_message(wrapper(iodata))[1] == payload


@pytest.mark.parametrize(("wrapper", "opcode"), CONTROLS)
def test_a_control_frame_without_a_payload_is_empty(wrapper: Any, opcode: Opcode) -> None:
    assert encode_message(wrapper()) == (opcode, b"")


@pytest.mark.parametrize("payload", [b"x" * 125, ["x" * 100, b"x" * 25], memoryview(array("B", b"x" * 125))])
@pytest.mark.parametrize(("wrapper", "opcode"), CONTROLS)
def test_a_control_frame_takes_125_bytes(wrapper: Any, opcode: Opcode, payload: Any) -> None:
    assert encode_message(wrapper(payload)) == (opcode, b"x" * 125)


@pytest.mark.parametrize("payload", [b"x" * 126, ["x" * 100, b"x" * 26], "é" * 63, memoryview(array("H", range(63)))])
@pytest.mark.parametrize(("wrapper", "opcode"), CONTROLS)
def test_a_control_frame_takes_no_126_bytes(wrapper: Any, opcode: Opcode, payload: Any) -> None:
    words = rf"a {opcode.name.lower()} carries at most 125 bytes, not 126 \(RFC 6455 §5\.5\)"
    with pytest.raises(MessageError, match=words):
        encode_message(wrapper(payload))


def test_a_control_frame_may_carry_what_is_not_text() -> None:
    assert encode_message(Ping(b"\xff")) == (Opcode.PING, b"\xff")


def test_a_payload_of_bytes_is_not_copied() -> None:
    payload = b"x" * 1000
    assert encode_message(payload)[1] is payload


@pytest.mark.parametrize("message", [bytearray(b"abc"), *[wrapper(bytearray(b"abc")) for wrapper in WRAPPERS]])
def test_changing_a_bytearray_after_the_push_changes_nothing(message: Any) -> None:
    payload = encode_message(message)[1]
    buffer = message if isinstance(message, bytearray) else message.payload
    buffer[:] = b"xyz"
    assert payload == b"abc"


def test_changing_what_a_memoryview_looks_at_changes_nothing() -> None:
    buffer = bytearray(b"abc")
    payload = encode_message(memoryview(buffer))[1]
    buffer[:] = b"xyz"
    assert payload == b"abc"


def test_a_bytearray_may_grow_after_the_push() -> None:
    buffer = bytearray(b"abc")
    encode_message(Text(buffer))
    buffer += b"more"
    assert bytes(buffer) == b"abcmore"


@pytest.mark.parametrize(
    "message", [None, 5, 1.5, True, [], ["a"], ("a",), {"a": 1}, {"a"}, object(), str, Text, Opcode.TEXT]
)
def test_what_is_no_message_is_refused_by_name(message: Any) -> None:
    with pytest.raises(MessageError) as caught:
        encode_message(message)
    assert str(caught.value) == f"{message!r} is not a message: expected str, bytes, Text, Binary, Ping or Pong"


@pytest.mark.parametrize("payload", [5, 1.5, False, {"a": 1}, {"a"}, object(), Text("a"), Ping()])
@pytest.mark.parametrize(
    "shape", [lambda payload: payload, lambda payload: ["a", [payload]]], ids=["bare", "in a list"]
)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_what_is_no_payload_is_refused_by_name(wrapper: Any, shape: Any, payload: Any) -> None:
    with pytest.raises(MessageError) as caught:
        encode_message(wrapper(shape(payload)))
    assert str(caught.value) == f"{payload!r} is not a payload: expected str, bytes-like, None or a list of those"


@pytest.mark.parametrize("surrogate", [0xD800, 0xDBFF, 0xDC80, 0xDFFF], ids=hex)
@pytest.mark.parametrize("wrapper", [str, *WRAPPERS, lambda text: Text([text]), Name])
def test_a_lone_surrogate_is_refused(wrapper: Any, surrogate: int) -> None:
    with pytest.raises(MessageError, match="text is not encodable as UTF-8: 'utf-8' codec can't encode"):
        encode_message(wrapper(f"a{chr(surrogate)}b"))


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\xff", id="no UTF-8 at all"),
        pytest.param(b"\xc3", id="cut short"),
        pytest.param(b"\xc0\x80", id="overlong"),
        pytest.param(b"\xed\xa0\x80", id="a surrogate"),
        pytest.param(b"\xf4\x90\x80\x80", id="beyond U+10FFFF"),
        pytest.param(bytearray(b"a\xff"), id="bytearray"),
        pytest.param(memoryview(b"a\xff"), id="memoryview"),
        pytest.param(["a", b"\xff"], id="in a list"),
        pytest.param([b"\xc3", "a"], id="split by text"),
    ],
)
def test_a_text_of_bytes_that_are_not_utf8_is_refused(payload: Any) -> None:
    with pytest.raises(MessageError, match="the payload of a text message is not UTF-8: 'utf-8' codec can't decode"):
        encode_message(Text(payload))


@pytest.mark.parametrize("received", [b"\xff", b"a\xc3", b"\xed\xa0\x80", "é".encode()])
@pytest.mark.parametrize("wrapper", [str, Text, lambda text: Text([text])])
def test_without_validation_what_was_received_may_be_pushed_back(wrapper: Any, received: bytes) -> None:
    text = received.decode("utf-8", "surrogateescape")
    assert encode_message(wrapper(text), validate_utf8=False) == (Opcode.TEXT, received)


def test_without_validation_a_text_of_any_bytes_is_sent() -> None:
    assert encode_message(Text([b"\xff", "a"]), validate_utf8=False) == (Opcode.TEXT, b"\xffa")


def test_without_validation_a_surrogate_that_stands_for_no_byte_is_still_refused() -> None:
    with pytest.raises(MessageError, match="not encodable"):
        encode_message("\ud800", validate_utf8=False)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_message_is_a_frozen_value(wrapper: Any) -> None:
    message = wrapper("a")
    assert message == wrapper("a")
    with pytest.raises(AttributeError):
        message.payload = "b"


def test_messages_of_different_kinds_are_never_equal() -> None:
    assert len({wrapper(b"") for wrapper in WRAPPERS}) == 4


def released() -> memoryview:
    view = memoryview(b"abc")
    view.release()
    return view


@pytest.mark.parametrize(
    "message", [released(), *[wrapper(released()) for wrapper in WRAPPERS], Text(["a", released()])]
)
def test_a_memoryview_that_was_released_is_refused(message: Any) -> None:
    with pytest.raises(MessageError, match="bytes cannot be read: operation forbidden on released memoryview"):
        encode_message(message)


@pytest.mark.parametrize("wrapper", [Text, Binary])
@pytest.mark.parametrize(
    "grow", [lambda iodata: [iodata, "x"], lambda iodata: ["x", iodata], lambda iodata: ("x", iodata)]
)
def test_iodata_may_be_as_deep_as_it_is_long(grow: Any, wrapper: Any) -> None:
    iodata: Any = []
    for _ in range(20_000):
        iodata = grow(iodata)
    assert encode_message(wrapper(iodata))[1] == b"x" * 20_000


def test_one_list_may_stand_in_a_payload_many_times() -> None:
    part = ["a", ["b"]]
    assert encode_message(Text([part, part, [part]]))[1] == b"ababab"


@pytest.mark.parametrize("wrap", [lambda payload: payload, lambda payload: ["a", (payload,)]], ids=["itself", "deeper"])
def test_a_list_that_contains_itself_is_refused(wrap: Any) -> None:
    payload: list[Any] = ["a"]
    payload.append(wrap(payload))
    with pytest.raises(MessageError, match="a payload contains itself"):
        encode_message(Text(payload))


async def a_word() -> str:
    return "word"


@pytest.mark.parametrize("message_of", [lambda word: word, Text, lambda word: Binary([b"a", [word]])])
def test_a_coroutine_is_told_as_a_forgotten_await_and_closed(message_of: Callable[[Any], Any]) -> None:
    word = a_word()
    with pytest.raises(MessageError, match=r"\(is an await missing\?\)$"):
        encode_message(message_of(word))
    assert inspect.getcoroutinestate(word) == inspect.CORO_CLOSED  # or there would be a warning of it elsewhere
