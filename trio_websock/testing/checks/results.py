"""Chapter "Results": what each result puts on the wire, what ``terminate`` is told, and what is refused."""

from __future__ import annotations

from typing import Any

from trio_websock import (
    DISCONNECTED,
    NORMAL,
    RESTART,
    Binary,
    Error,
    Normal,
    Ok,
    Ping,
    Pong,
    Push,
    Reply,
    ResultError,
    Stop,
    Text,
    current_connection,
    prepare,
)

from ..scripted_peer import close, ping, pong, text
from ..stage import Capability, Checks, Stage, Witness

__all__ = ["CHECKS"]

CHECKS = Checks("results")


def answering(result: Any) -> type[Witness]:
    """A handler that answers every message with ``result``; its first state is ``"old"``."""

    class Answering(Witness):
        def init(self, args: Any) -> Any:
            return Ok("old")

        def handle_in(self, message: Any, state: Any) -> Any:
            return result

        def terminate(self, reason: Any, state: Any) -> None:
            self.stage.note(reason)
            self.stage.note(state)

    return Answering


# -- what goes on the wire


@CHECKS.add_each(
    {
        "Ok": (Ok("new"), b""),
        "Push of text": (Push("Grüße", "new"), b"\x81\x07Gr\xc3\xbc\xc3\x9fe"),
        "Push of empty text": (Push("", "new"), b"\x81\x00"),
        "Push of bytes": (Push(b"\x00\xff", "new"), b"\x82\x02\x00\xff"),
        "Push of empty bytes": (Push(b"", "new"), b"\x82\x00"),
        "Push of a bytearray": (Push(bytearray(b"ab"), "new"), b"\x82\x02ab"),
        "Push of a memoryview": (Push(memoryview(b"ab"), "new"), b"\x82\x02ab"),
        "Push of Text": (Push(Text("ab"), "new"), b"\x81\x02ab"),
        "Push of Text made of bytes": (Push(Text("ü".encode()), "new"), b"\x81\x02\xc3\xbc"),
        "Push of Binary": (Push(Binary(b"ab"), "new"), b"\x82\x02ab"),
        "Push of Binary made of text": (Push(Binary("ü"), "new"), b"\x82\x02\xc3\xbc"),
        "Push of Ping": (Push(Ping(b"p"), "new"), b"\x89\x01p"),
        "Push of an empty Ping": (Push(Ping(), "new"), b"\x89\x00"),
        "Push of Pong": (Push(Pong("p"), "new"), b"\x8a\x01p"),
        "Push of a Ping of 125 bytes": (Push(Ping(b"p" * 125), "new"), b"\x89\x7d" + b"p" * 125),
        "Push of a list": (Push(["a", b"b", Ping(b"c")], "new"), b"\x81\x01a\x82\x01b\x89\x01c"),
        "Push of a tuple": (Push(("a", "b"), "new"), b"\x81\x01a\x81\x01b"),
        "Push of an empty list": (Push([], "new"), b""),
        "Push of an empty tuple": (Push((), "new"), b""),
        "Push of a prepared message": (Push(prepare("Grüße"), "new"), b"\x81\x07Gr\xc3\xbc\xc3\x9fe"),
        "Push of a prepared message, between others": (
            Push(["a", prepare(b"b"), "c"], "new"),
            b"\x81\x01a\x82\x01b\x81\x01c",
        ),
        "Reply": (Reply("term", "a", "new"), b"\x81\x01a"),
        "Reply of a list": (Reply(None, ["a", Pong()], "new"), b"\x81\x01a\x8a\x00"),
        "a payload of None": (Push([Text(None), Binary(None), Ping(None)], "new"), b"\x81\x00\x82\x00\x89\x00"),
        "iodata": (Push(Text(["a", b"b", None, ["c", [bytearray(b"d")]]]), "new"), b"\x81\x04abcd"),
        "iodata that is empty": (Push(Binary([]), "new"), b"\x82\x00"),
        "a code point over parts of iodata": (Push(Text([b"\xc3", b"\xbc"]), "new"), b"\x81\x02\xc3\xbc"),
    }
)
async def on_the_wire(stage: Stage, result: Any, output: bytes) -> None:
    async with stage.open(answering(result)) as peer:
        await peer.send(text("x"))
        await peer.expect(output)
        await peer.send(close(1000))
        await peer.expect(b"\x88\x02\x03\xe8")
        await stage.next_note()
        await stage.expect_notes("new")


@CHECKS.add_each(
    {
        "125 bytes": (125, b"\x82\x7d"),
        "126 bytes": (126, b"\x82\x7e\x00\x7e"),
        "65535 bytes": (65535, b"\x82\x7e\xff\xff"),
        "65536 bytes": (65536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        "a megabyte": (1048576, b"\x82\x7f\x00\x00\x00\x00\x00\x10\x00\x00"),
    }
)
async def the_length_has_its_shortest_form_for(stage: Stage, size: int, head: bytes) -> None:
    async with stage.open(answering(Push(b"x" * size, "new"))) as peer:
        await peer.send(text("x"))
        await peer.expect(head)
        assert await peer.receive_exactly(size) == b"x" * size


class Everywhere(Witness):
    """Returns what ``result`` says from the callback that a check provokes."""

    def result(self, state: Any) -> Any:
        return Push("pushed", state)

    def handle_in(self, message: Any, state: Any) -> Any:
        if message == "mail":
            current_connection().mailbox.send_nowait("x")
            return Ok(state)
        return self.result(state)

    def handle_control(self, frame: Any, state: Any) -> Any:
        return self.result(state)

    def handle_info(self, info: Any, state: Any) -> Any:
        return self.result(state)


CALLBACKS = {"handle_in": (text("x"),), "handle_control": (pong(),), "handle_info": (text("mail"),)}


@CHECKS.add_each(CALLBACKS, also={"handle_control": Capability.CONTROL})
async def a_push_may_come_from(stage: Stage, sent: bytes) -> None:
    async with stage.open(Everywhere) as peer:
        await peer.send(sent)
        await peer.expect(b"\x81\x06pushed")


@CHECKS.add_each(CALLBACKS, also={"handle_control": Capability.CONTROL})
async def a_stop_may_come_from(stage: Stage, sent: bytes) -> None:
    class Stopping(Everywhere):
        def result(self, state: Any) -> Any:
            return Stop(NORMAL, state)

    async with stage.open(Stopping) as peer:
        await peer.send(sent)
        await stage.expect_close(peer, b"\x88\x02\x03\xe8", Normal())


@CHECKS.add_each(CALLBACKS, also={"handle_control": Capability.CONTROL})
async def a_bad_result_may_not_come_from(stage: Stage, sent: bytes) -> None:
    class Failing(Everywhere):
        def result(self, state: Any) -> Any:
            return "not a result"

    async with stage.open(Failing) as peer:
        await peer.send(sent)
        await stage.expect_failure(peer, b"\x88\x02\x03\xf3", ResultError)


# -- stopping


@CHECKS.add_each(
    {
        "NORMAL": (Stop(NORMAL, "new"), b"\x88\x02\x03\xe8", Normal()),
        "RESTART": (Stop(RESTART, "new"), b"\x88\x02\x03\xf4", Normal()),
        "DISCONNECTED": (Stop(DISCONNECTED, "new"), b"\x88\x02\x03\xe8", Normal()),
        "a string": (Stop("secret", "new"), b"\x88\x02\x03\xf3", Error("secret")),
        "None": (Stop(None, "new"), b"\x88\x02\x03\xf3", Error(None)),
        "a code": (Stop(NORMAL, "new", 4000), b"\x88\x02\x0f\xa0", Normal()),
        "a code and text": (Stop(NORMAL, "new", (4000, "bye")), b"\x88\x05\x0f\xa0bye", Normal()),
        "a code and bytes": (Stop(NORMAL, "new", (4000, b"bye")), b"\x88\x05\x0f\xa0bye", Normal()),
        "a code and None": (Stop(NORMAL, "new", (4000, None)), b"\x88\x02\x0f\xa0", Normal()),
        "a code and empty text": (Stop(NORMAL, "new", (4000, "")), b"\x88\x02\x0f\xa0", Normal()),
        "a code over that of RESTART": (Stop(RESTART, "new", 1001), b"\x88\x02\x03\xe9", Normal()),
        "NORMAL with an error's code": (Stop(NORMAL, "new", 1008), b"\x88\x02\x03\xf0", Normal()),
        "an error with a good code": (Stop("e", "new", (1000, "ok")), b"\x88\x04\x03\xe8ok", Error("e")),
        "123 bytes of text": (Stop(NORMAL, "new", (3000, "x" * 123)), b"\x88\x7d\x0b\xb8" + b"x" * 123, Normal()),
        "a message": (Stop(NORMAL, "new", messages="m"), b"\x81\x01m\x88\x02\x03\xe8", Normal()),
        "messages": (Stop(NORMAL, "new", 3000, ["m", b"n"]), b"\x81\x01m\x82\x01n\x88\x02\x0b\xb8", Normal()),
        "an error and a message": (Stop("e", "new", messages=("m",)), b"\x81\x01m\x88\x02\x03\xf3", Error("e")),
    }
)
async def stop_with(stage: Stage, result: Any, output: bytes, reason: object) -> None:
    async with stage.open(answering(result)) as peer:
        await peer.send(text("x"))
        await stage.expect_close(peer, output, reason)
        await stage.expect_notes("new")


SENDABLE = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)


@CHECKS.add_each({str(code): (code,) for code in SENDABLE})
async def stop_may_close_with(stage: Stage, code: int) -> None:
    async with stage.open(answering(Stop(NORMAL, "new", code))) as peer:
        await peer.send(text("x"))
        await stage.expect_close(peer, b"\x88\x02" + code.to_bytes(2), Normal())


# -- what is refused


UNSENDABLE = (-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535, 65536)

REFUSED_CLOSES: dict[str, Any] = {
    **{f"the close code {code}": code for code in UNSENDABLE},
    "a close code that is a string": "1000",
    "a close text without a code": (None, "text"),
    "a close text of 124 bytes": (1000, "x" * 124),
    "a close text of 62 umlauts": (1000, "ü" * 62),
    "a close text that is not encodable": (1000, "\ud800"),
    "a close text of bytes that are not UTF-8": (1000, b"\xff"),
    "a close text that is a number": (1000, 5),
    "a close of three parts": (1000, "a", "b"),
}

REFUSED_MESSAGES: dict[str, Any] = {
    "None": None,
    "a number": 5,
    "None in a list": [None],
    "a list in a list": [["a"]],
    "a class of message": Text,
    "a good message, then a bad one": ["good", 5],
    "text that is not UTF-8": Text(b"\xff"),
    "text that ends in the middle of a code point": Text([b"a", b"\xc3"]),
    "a lone surrogate": "\ud800",
    "a lone surrogate in Binary": Binary("\ud800"),
    "a ping of 126 bytes": Ping(b"x" * 126),
    "a pong of 126 bytes": Pong("ü" * 63),
    "a number as payload": Text(5),  # type: ignore[arg-type]  # what the check is about
    "a number in iodata": Binary([b"a", 5]),  # type: ignore[list-item]  # what the check is about
}

REFUSED: dict[str, tuple[Any, ...]] = {
    "None": (None,),
    "a string": ("ok",),
    "a tuple": (("ok", 0),),
    "a state alone": (0,),
    "a class of result": (Ok,),
    "an exception": (ValueError("returned, not raised"),),
    **{f"Push of {name}": (Push(message, "new"),) for name, message in REFUSED_MESSAGES.items()},
    **{f"Stop with {name}": (Stop(NORMAL, "new", closing),) for name, closing in REFUSED_CLOSES.items()},
    "Reply of None": (Reply(None, None, "new"),),  # type: ignore[arg-type]  # what the check is about
    "Stop with a bad message": (Stop(NORMAL, "new", 1000, ["good", 5]),),  # type: ignore[list-item]  # what the check is about
}


@CHECKS.add_each(REFUSED)
async def nothing_is_sent_and_the_state_stays_for(stage: Stage, result: Any) -> None:
    async with stage.open(answering(result)) as peer:
        await peer.send(text("x"))
        error = await stage.expect_failure(peer, b"\x88\x02\x03\xf3", ResultError)
        await stage.expect_notes("old")
        assert (error.handler, error.callback, error.value) == ("Answering", "handle_in", result)


@CHECKS.add()
async def what_was_sent_before_a_bad_result_stays_sent(stage: Stage) -> None:
    class Worsening(Witness):
        def handle_in(self, message: Any, state: Any) -> Any:
            return Push(message, state) if message == "good" else Push(5, state)  # type: ignore[arg-type]  # on purpose

    async with stage.open(Worsening) as peer:
        await peer.send(text("good"), ping(b"p"), text("bad"))
        frames = sorted([await peer.receive_frame(), await peer.receive_frame()])
        assert frames == [(0x81, b"good"), (0x8A, b"p")]
        await stage.expect_failure(peer, b"\x88\x02\x03\xf3", ResultError)
