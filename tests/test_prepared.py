"""A prepared message: sent as the message it was made of, and framed once for all that would frame it alike."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import trio

from trio_websock import (
    Binary,
    Deflate,
    Handler,
    Message,
    MessageError,
    Ok,
    Ping,
    Pong,
    Push,
    Result,
    Text,
    open_websocket,
    prepare,
    serve,
)
from trio_websock.behaviour.enforce import Enforcer
from trio_websock.codes import Opcode
from trio_websock.messages import MAX_FRAMES, Prepared, encode_message
from trio_websock.protocol.deflate import DeflateParameters, PerMessageDeflate
from trio_websock.protocol.machine import Limits, Machine, Role
from trio_websock.testing import open_test_connection

LIMITS = Limits(max_message_size=None, max_frame_size=None, max_empty_fragments=10, validate_utf8=True)
LARGE = b"large " * 12_000  # more than is copied behind its head
MESSAGES: list[Message] = [
    "",
    "grüße",
    "a" * 125,
    "a" * 126,
    b"\xff\x00",
    Text([b"gr\xc3", b"\xbc\xc3\x9fe"]),
    Binary("text" * 100),
    Ping(b"ping"),
    Pong(),
    LARGE,
]
WAYS: dict[str, DeflateParameters | None] = {
    "plain": None,
    "without takeover": DeflateParameters(server_no_context_takeover=True),
    "without takeover, a small window": DeflateParameters(server_no_context_takeover=True, server_max_window_bits=9),
    "with takeover": DeflateParameters(),
}
ways = pytest.mark.parametrize("parameters", WAYS.values(), ids=WAYS)
sharing_ways = pytest.mark.parametrize("parameters", list(WAYS.values())[:3], ids=list(WAYS)[:3])


def machine(parameters: DeflateParameters | None, role: Role = Role.SERVER) -> Machine:
    return Machine(role, LIMITS, PerMessageDeflate(parameters, role) if parameters else None)


def frames_of(target: Machine, *prepared: Prepared) -> list[bytes]:
    for one in prepared:
        target.send_message(one._outgoing)
    return target.data_to_send()


@ways
@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: f"{message!r:.20}")
def test_bytes_are_those_of_the_message_itself(message: Message, parameters: DeflateParameters | None) -> None:
    ordinary, prepared = machine(parameters), prepare(message)
    for _ in range(3):
        ordinary.send_message(encode_message(message))
    assert frames_of(machine(parameters), prepared, prepared, prepared) == ordinary.data_to_send()


@sharing_ways
@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: f"{message!r:.20}")
def test_a_frame_is_made_once_for_five_hundred_connections(
    message: Message, parameters: DeflateParameters | None
) -> None:
    prepared = prepare(message)
    sent = [frames_of(machine(parameters), prepared) for _ in range(500)]
    assert all(one is other for before, after in pairwise(sent) for one, other in zip(before, after, strict=True))


def test_a_large_payload_is_sent_as_it_lies_there() -> None:
    assert frames_of(machine(None), prepare(LARGE))[1] is LARGE


@pytest.mark.parametrize(
    "other",
    [
        DeflateParameters(server_no_context_takeover=True, server_max_window_bits=10),
        DeflateParameters(server_no_context_takeover=True, level=0),
        DeflateParameters(server_no_context_takeover=True, memory_level=1),
        None,
    ],
)
def test_other_parameters_have_frames_of_their_own(other: DeflateParameters | None) -> None:
    prepared = prepare(LARGE)
    frames_of(machine(WAYS["without takeover"]), prepared)
    assert frames_of(machine(other), prepared) == frames_of(machine(other), prepare(LARGE))


def test_what_does_not_change_the_bytes_does_not_split_the_sharing() -> None:
    prepared = prepare("text")
    one = DeflateParameters(server_no_context_takeover=True, client_max_window_bits=9)
    other = DeflateParameters(server_no_context_takeover=True, client_no_context_takeover=True)
    assert frames_of(machine(one), prepared)[0] is frames_of(machine(other), prepared)[0]


def test_frames_that_are_kept_are_bounded_and_the_rest_still_right() -> None:
    prepared = prepare("text" * 100)
    kinds = [
        DeflateParameters(server_no_context_takeover=True, server_max_window_bits=bits, level=level)
        for bits in range(9, 16)
        for level in range(9)
    ]
    assert all(
        frames_of(machine(kind), prepared) == frames_of(machine(kind), prepare("text" * 100)) for kind in kinds * 2
    )
    assert len(prepared._outgoing.frames) == MAX_FRAMES


def test_a_client_masks_each_frame_with_a_key_of_its_own() -> None:
    prepared = prepare("text" * 10)
    (data,) = frames_of(machine(None, Role.CLIENT), prepared, prepared)
    assert data[: len(data) // 2] != data[len(data) // 2 :]
    receiver = machine(None)
    receiver.receive_data(data)
    assert receiver.next_batch(10) == ["text" * 10] * 2


def test_nothing_is_sent_behind_a_close() -> None:
    target = machine(None)
    target.send_close(1000)
    assert len(frames_of(target, prepare("late"))) == 1


@pytest.mark.parametrize(
    "message", [Text(b"\xff"), "\ud800", Ping(b"x" * 126), 1, None, ["a"]], ids=lambda message: f"{message!r:.20}"
)
def test_what_cannot_be_pushed_cannot_be_prepared(message: Any) -> None:
    with pytest.raises(MessageError) as refused:
        prepare(message)
    with pytest.raises(MessageError) as pushed:
        encode_message(message)
    assert str(refused.value) == str(pushed.value)


def test_later_changes_of_what_it_was_made_of_change_nothing() -> None:
    given = bytearray(b"before")
    prepared = prepare(given)
    given[:] = b"behind"
    assert prepared.payload == b"before"


def test_it_cannot_be_changed() -> None:
    prepared: Any = prepare("text")
    with pytest.raises(AttributeError):
        prepared.payload = b"other"
    with pytest.raises(AttributeError):
        prepared.note = "other"


def test_it_says_what_it_carries() -> None:
    prepared = prepare("text")
    assert (prepared.opcode, prepared.payload) == (Opcode.TEXT, b"text")
    assert repr(prepared) == "<Prepared text of 4 bytes>"


def test_preparing_it_again_gives_the_same() -> None:
    prepared = prepare("text")
    assert prepare(prepared) is prepared


@pytest.mark.parametrize("validate_utf8", [True, False])
def test_it_is_accepted_wherever_a_message_is(validate_utf8: bool) -> None:
    enforcer = Enforcer("Chat", validate_utf8)
    prepared = prepare("text")
    assert [*enforcer.check("init", Push(prepared, None))[0]] == [(Opcode.TEXT, b"text")]
    mixed = enforcer.check("init", Push([prepared, b"bytes", prepared], None))[0]
    assert [*mixed] == [(Opcode.TEXT, b"text"), (Opcode.BINARY, b"bytes"), (Opcode.TEXT, b"text")]


WELCOME = [prepare("hello " * 10), prepare(b"\xff"), prepare(LARGE)]


class Repeater(Handler[None, None]):
    def init(self, args: object) -> Result[None]:
        return Push([*WELCOME, "ordinary"], None)

    def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        return Push(prepare(message), state) if message else Ok(state)


async def test_a_handler_under_test_pushes_it_as_any_other() -> None:
    async with open_test_connection(Repeater) as test:
        assert [await test.receive() for _ in range(4)] == ["hello " * 10, b"\xff", LARGE, "ordinary"]
        await test.send(prepare("there"))
        assert await test.receive() == "there"


@pytest.mark.parametrize("compress", [False, True, Deflate(server_no_context_takeover=True)])
async def test_a_server_and_a_client_send_it_as_any_other(compress: bool | Deflate) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, Repeater, host="127.0.0.1", port=0, compress=compress))
        for _ in range(2):
            async with open_websocket(f"ws://127.0.0.1:{server.port}/", compress=compress) as websocket:
                await websocket.send(prepare(b"there"))
                arrived = [await websocket.receive() for _ in range(5)]
            assert arrived == ["hello " * 10, b"\xff", LARGE, "ordinary", b"there"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("given", ["text", b"bytes", (Opcode.TEXT, b"text"), None])
def test_only_prepare_makes_one(given: Any) -> None:
    with pytest.raises(TypeError, match=r"a Prepared is made by prepare\(message\), not from "):
        Prepared(given)
