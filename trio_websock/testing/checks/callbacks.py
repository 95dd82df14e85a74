"""Chapter "Callbacks", first part: which are called, by whom, with what."""

from __future__ import annotations

import math
from collections.abc import Awaitable
from functools import partial
from typing import Any

import trio
import trio.testing

from trio_websock import (
    NORMAL,
    Normal,
    Ok,
    OptionError,
    Ping,
    Pong,
    Push,
    Remote,
    Reply,
    Request,
    Stop,
    current_connection,
    serve,
    upgrade,
)

from ..scripted_peer import binary, close, frame, ping, pong, text
from ..stage import Capability, Checks, Stage, Witness
from .witnesses import Echo, Noting

__all__ = ["CHECKS"]

CHECKS = Checks("callbacks")


# -- init


@CHECKS.add()
async def init_runs_once_the_101_is_on_the_wire(stage: Stage) -> None:
    class Patient(Witness):
        async def init(self, args: Any) -> Any:
            await self.stage.gate.wait()
            return Push("after", None)

    async with stage.open(Patient) as peer:
        stage.gate.set()
        await peer.expect(b"\x81\x05after")


@CHECKS.add()
async def init_is_given_what_upgrade_was_given(stage: Stage) -> None:
    class Greeter(Witness):
        def init(self, args: Any) -> Any:
            return Push(args, None)

    async with (
        stage.serve(lambda request: upgrade(Greeter(stage), "room 7")) as server,
        await stage.connect(server) as peer,
    ):
        await peer.open()
        await peer.expect(b"\x81\x06room 7")


@CHECKS.add()
async def init_is_given_the_request_where_a_handler_is_served(stage: Stage) -> None:
    class Greeter(Witness):
        def init(self, args: Request) -> Any:
            return Push(f"{args.path} {args.query['name']}", None)

    async with stage.serve(Greeter(stage)) as server, await stage.connect(server) as peer:
        await peer.open(target="/a%20b?name=x%2By")
        await peer.expect(b"\x81\x08/a b x+y")


@CHECKS.add_each(
    {
        "Ok": (Ok(0), b""),
        "Push": (Push("hi", 0), b"\x81\x02hi"),
        "Reply": (Reply("term", ["a", b"b"], 0), b"\x81\x01a\x82\x01b"),
    }
)
async def init_may_go_on_with(stage: Stage, result: Any, output: bytes) -> None:
    class Starter(Echo):
        def init(self, args: Any) -> Any:
            return result

    async with stage.open(Starter) as peer:
        await peer.send(text("x"))
        await peer.expect(output, b"\x81\x01x")


@CHECKS.add()
async def init_may_stop_and_terminate_is_called(stage: Stage) -> None:
    class Refuser(Witness):
        def init(self, args: Any) -> Any:
            return Stop(NORMAL, 0, messages="bye")

    async with stage.open(Refuser) as peer:
        await peer.expect(b"\x81\x03bye")
        await stage.expect_close(peer, b"\x88\x02\x03\xe8", Normal())


# -- messages and control frames


@CHECKS.add_each(
    {
        "a text message": (text("Grüße"), "Grüße"),
        "a binary message": (binary(b"\x00\xff"), b"\x00\xff"),
        "an empty text message": (text(""), ""),
        "an empty binary message": (binary(b""), b""),
        "a message in fragments": (frame(0x01, b"He") + frame(0x00, b"l") + frame(0x80, b"lo"), "Hello"),
        "a binary message in fragments": (frame(0x02, b"a") + frame(0x80, b"b"), b"ab"),
        "a message of empty fragments": (frame(0x01) + frame(0x00) + frame(0x80), ""),
        "a message with a 16-bit length": (text("x" * 126), "x" * 126),
        "a message with a 64-bit length": (text("x" * 65536), "x" * 65536),
    }
)
async def handle_in_is_called_once_for(stage: Stage, sent: bytes, message: object) -> None:
    async with stage.open(Noting) as peer:
        await peer.send(sent, close())
        await stage.expect_notes(message, Remote(None, ""))


@CHECKS.add_each(
    {
        "a ping": (ping(b"p"), Ping(b"p")),
        "an empty ping": (ping(), Ping(b"")),
        "a pong": (pong(b"p"), Pong(b"p")),
        "an empty pong": (pong(), Pong(b"")),
    },
    Capability.CONTROL,
)
async def handle_control_is_called_once_for(stage: Stage, sent: bytes, control: object) -> None:
    async with stage.open(Noting) as peer:
        await peer.send(sent, close())
        await stage.expect_notes(control, Remote(None, ""))


@CHECKS.add(Capability.CONTROL)
async def handle_control_is_called_between_fragments(stage: Stage) -> None:
    async with stage.open(Noting) as peer:
        await peer.send(frame(0x01, b"a"), ping(b"p"), frame(0x00, b"b"), pong(b"q"), frame(0x80, b"c"))
        await stage.expect_notes(Ping(b"p"), Pong(b"q"), "abc")
        await peer.expect(b"\x8a\x01p")


@CHECKS.add()
async def handle_control_is_never_called_for_a_close(stage: Stage) -> None:
    async with stage.open(Noting) as peer:
        await peer.send(close(1000, "bye"))
        await stage.expect_notes(Remote(1000, "bye"))


@CHECKS.add(Capability.CONTROL)
async def the_pong_is_sent_before_handle_control_runs(stage: Stage) -> None:
    class Slow(Witness):
        async def handle_control(self, frame: Any, state: Any) -> Any:
            await self.stage.gate.wait()
            return Push("later", state)

    async with stage.open(Slow) as peer:
        await peer.send(ping(b"now"))
        await peer.expect(b"\x8a\x03now")
        stage.gate.set()
        await peer.expect(b"\x81\x05later")


@CHECKS.add()
async def pings_are_answered_and_pongs_ignored_without_handle_control(stage: Stage) -> None:
    async with stage.open(Echo) as peer:
        await peer.send(ping(b"a"), pong(b"b"), text("c"))
        await peer.expect(b"\x8a\x01a\x81\x01c")


@CHECKS.add()
async def output_of_earlier_callbacks_never_waits_for_a_later_one(stage: Stage) -> None:
    class Slow(Witness):
        async def handle_in(self, message: Any, state: Any) -> Any:
            if message == "wait":
                await self.stage.gate.wait()
            return Push(message, state)

    async with stage.open(Slow) as peer:
        await peer.send(text("a"), text("b"), text("wait"))
        await peer.expect(b"\x81\x01a\x81\x01b")
        stage.gate.set()
        await peer.expect(b"\x81\x04wait")


# -- handlers


class Counting:
    """Counts the connections of an instance; subclasses nothing, its callbacks are plain functions."""

    def __init__(self) -> None:
        self.connections: int = 0

    def init(self, args: Any) -> Any:
        self.connections += 1
        return Push(str(self.connections), 0)

    def handle_in(self, message: Any, state: Any) -> Any:
        return Push(message, state)


@CHECKS.add_each({"a class: one instance each": (Counting, b"1", b"1"), "an instance: shared": (None, b"1", b"2")})
async def connections_of(stage: Stage, handler: object, first: bytes, second: bytes) -> None:
    async with (
        stage.serve(handler or Counting()) as server,
        await stage.connect(server) as one,
        await stage.connect(server) as other,
    ):
        await one.open()
        await one.expect(b"\x81\x01", first)
        await other.open()
        await other.expect(b"\x81\x01", second)


@CHECKS.add(Capability.CONTROL)
async def coroutines_do_for_every_callback(stage: Stage) -> None:
    class Slow:
        async def init(self, args: Any) -> Any:
            await trio.lowlevel.checkpoint()
            return Ok(1)

        async def handle_in(self, message: Any, state: Any) -> Any:
            await trio.lowlevel.checkpoint()
            current_connection().mailbox.send_nowait("mail")
            return Push(f"in {state}", state + 1)

        async def handle_control(self, frame: Any, state: Any) -> Any:
            await trio.lowlevel.checkpoint()
            return Push(f"control {state}", state + 1)

        async def handle_info(self, info: Any, state: Any) -> Any:
            await trio.lowlevel.checkpoint()
            return Push(f"info {state}", state + 1)

        async def terminate(self, reason: Any, state: Any) -> None:
            await trio.lowlevel.checkpoint()
            stage.note(state)

    async with stage.serve(Slow) as server, await stage.connect(server) as peer:
        await peer.open()
        await peer.send(pong())
        await peer.expect(b"\x81\x09control 1")
        await peer.send(text("x"))
        await peer.expect(b"\x81\x04in 2\x81\x06info 3")
        await peer.aclose()
        await stage.expect_notes(4)


@CHECKS.add_each({"init": ("init",), "handle_in": ("handle_in",)})
async def serving_fails_at_once_without(stage: Stage, name: str) -> None:
    callbacks = {"init": lambda self, args: Ok(0), "handle_in": lambda self, message, state: Ok(0)}
    del callbacks[name]
    words = None
    try:
        await serve(type("Incomplete", (), callbacks), port=0)
    except TypeError as exc:
        words = str(exc)
    assert words is not None
    assert name in words


async def refusal_of(taker: Any, **options: Any) -> Exception:
    """The exception that ``taker`` raises at once for ``options``."""
    try:
        result = taker(Counting, **options)
        if isinstance(result, Awaitable):
            await result
    except (TypeError, ValueError) as exc:
        return exc
    raise AssertionError(f"{options} were accepted")


TAKERS = {"serve": partial(serve, port=0), "upgrade": upgrade}
UNKNOWN = ("bogus", "fullsweep_after", "max_heap_size", "active_n")
WRONG: tuple[dict[str, Any], ...] = (
    {"timeout": 0},
    {"timeout": -1},
    {"timeout": "60"},
    {"timeout": None},
    {"compress": "yes"},
    {"max_message_size": 0},
    {"max_message_size": -1},
    {"max_frame_size": 0},
    {"mailbox_size": 0},
    {"close_timeout": math.nan},
    {"ping_interval": 0},
    {"subprotocols": "chat"},
    {"subprotocols": ["not a token"]},
    {"origins": "some"},
)


@CHECKS.add_each({f"{by}: {name}": (taker, name) for by, taker in TAKERS.items() for name in UNKNOWN})
async def unknown_options_are_refused_by(stage: Stage, taker: Any, name: str) -> None:
    exc = await refusal_of(taker, **{name: 1})
    assert isinstance(exc, TypeError)
    assert name in str(exc)


@CHECKS.add_each({f"{by}: {wrong}": (taker, wrong) for by, taker in TAKERS.items() for wrong in WRONG})
async def wrong_values_are_refused_by(stage: Stage, taker: Any, wrong: dict[str, Any]) -> None:
    exc = await refusal_of(taker, **wrong)
    assert isinstance(exc, OptionError)
    assert exc.option in wrong
