"""A whole connection under any interleaving of what can happen to it, in virtual time.

A script of Hypothesis is played against the real runtime and the real protocol over a wire in memory, and in the end
the laws of a connection are asked for one by one (``laws.py``). Under ``fuzzing.run`` the scripts are guided by
coverage; ``tests/test_connection_machine.py`` has Hypothesis write them alone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable
from dataclasses import dataclass, field

import trio
from hypothesis import HealthCheck, given, settings
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_websock import NORMAL, RESTART, Ok, Ping, Pong, Push, Reply, Stop
from trio_websock.behaviour.handler import bind_handler
from trio_websock.connection import Connection
from trio_websock.hosts.stream import StreamTransport
from trio_websock.nursery import run_connection
from trio_websock.options import Options
from trio_websock.protocol.machine import Limits, Machine, Role

from .laws import check_laws
from .memory_wire import MemoryWire, frame, split
from .scripts import SCRIPTS, Plan, Script

__all__ = ["World", "check_input", "check_script", "play"]

BIG = 3000
LIMITS = Limits(max_message_size=2 * BIG, max_frame_size=None, max_empty_fragments=9, validate_utf8=True)
UNFIT = {"wrong": 17, "unsendable": Push("\ud800", 0)}
FAULTS = {
    "unmasked": frame(0x81, b"x", masked=False),
    "reserved": frame(0x83),
    "not UTF-8": frame(0x81, b"\xff"),
    "too big": frame(0x82, bytes(2 * BIG + 1)),
    "stray": frame(0x80),
    "bad close": frame(0x88, b"\x03\xed"),
}


@dataclass
class Result:
    """What a callback returned: its messages as frames, and the close frame of a ``Stop``."""

    value: object
    frames: list[tuple[int, bytes]] = field(default_factory=list)
    close: bytes | None = None


class Scripted:
    """The handler: notes every call, and does what the script says."""

    def __init__(self, world: World) -> None:
        self.world = world

    def init(self, args: object) -> object:
        return self.world.call("init", None, 0)

    def handle_in(self, message: str | bytes, state: int) -> object:
        return self.world.call("arrival", message, state)

    def handle_control(self, message: Ping | Pong, state: int) -> object:
        return self.world.call("arrival", message, state)

    def handle_info(self, info: int, state: int) -> object:
        return self.world.call("info", info, state)

    async def terminate(self, reason: object, state: int) -> None:
        await self.world.terminate(reason, state)


class Awaiting(Scripted):
    """The same, but run by the connection's own task, as each callback has an ``await``."""

    async def init(self, args: object) -> object:
        return await settle(super().init(args))

    async def handle_in(self, message: str | bytes, state: int) -> object:
        return await settle(super().handle_in(message, state))

    async def handle_control(self, message: Ping | Pong, state: int) -> object:
        return await settle(super().handle_control(message, state))

    async def handle_info(self, info: int, state: int) -> object:
        return await settle(super().handle_info(info, state))


async def settle(result: object) -> object:
    return await result if isinstance(result, Awaitable) else result


class World:
    """One script on its way: the connection, both ends of it, and everything that was seen."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.options = Options(**script.options)
        self.is_roomy = not script.options.keys() & {"read_ahead_messages", "mailbox_size"}
        self.wire = MemoryWire()
        self.scope = trio.CancelScope()
        self.held = b""  # the last bytes of a message, and which
        self.held_back: tuple[object, int] = (None, 0)
        self.sent: list[tuple[object, int]] = []  # messages that have wholly arrived, and in which epoch
        self.posted: list[tuple[int, int]] = []  # mailbox items that were accepted, and in which epoch
        self.is_over = False  # whether anything the peer sends still counts
        self.epoch = 0  # settled so many times
        self.deadline = math.inf
        self.was_stalled = False
        self.is_calm = False  # whether nothing was moving when the present step came
        self.must_pass_on = False  # whether a cancellation has come that nothing else could forestall
        self.wait = trio.Event()
        self.plans = iter(script.plans)
        self.running = 0
        self.calls: list[tuple[str, object]] = []
        self.pushed: list[tuple[int, bytes]] = []
        self.stop: bytes | None = None
        self.state: int | None = None
        self.farewells: list[tuple[object, int, bytes]] = []
        self.violations: list[str] = []
        self.reason: object = None
        self.has_ended = False
        leftover = b"".join(self.arriving("text") for _ in range(script.first))
        transport = StreamTransport(self.wire, Machine(Role.SERVER, LIMITS), None, leftover)
        self.connection = Connection(transport, self.options)

    # The handler's side.

    def call(self, name: str, item: object, state: int) -> object:
        self.claim(not self.running, "callbacks overlap")
        self.claim(not self.farewells, "a callback after terminate")
        self.claim(name == "init" or state == self.state, "not the newest state")
        if isinstance(item, Ping):
            pong = (0x8A, item.payload)
            self.claim(self.is_stalled or pong in split(self.wire.taken)[0], "a ping before its pong")
        self.calls.append((name, item))
        self.running += 1
        plan = next(self.plans, Plan())
        return self.finish(plan, state) if plan.pause == "none" else self.suspend(plan, state)

    async def suspend(self, plan: Plan, state: int) -> object:
        pushed = list(self.pushed)
        try:
            match plan.pause:
                case "checkpoint":
                    await trio.lowlevel.checkpoint()
                case "sleep":
                    await trio.sleep(25)
                case "wait":
                    await self.wait.wait()
            self.claim(self.is_stalled or self.pushes_taken() == pushed, "output waits behind a callback")
        except BaseException:
            self.running -= 1
            raise
        return self.finish(plan, state)

    def finish(self, plan: Plan, state: int) -> object:
        self.running -= 1
        if plan.result in UNFIT:
            return UNFIT[plan.result]
        result = self.result_of(plan.result, state + 1)
        self.state = state + 1
        self.pushed += result.frames
        self.stop = result.close
        return result.value

    def result_of(self, kind: str, state: int) -> Result:
        match kind:
            case "push":
                return Result(Push(f"push {state}", state), [(0x81, b"push %d" % state)])
            case "several":
                messages = [b"%d" % state, Ping(b"mine"), ""]
                return Result(Reply("term", messages, state), [(0x82, b"%d" % state), (0x89, b"mine"), (0x81, b"")])
            case "big":
                return Result(Push(bytes(BIG), state), [(0x82, bytes(BIG))])
            case "stop":
                return Result(Stop(NORMAL, state), close=b"\x03\xe8")
            case "restart":
                return Result(Stop(RESTART, state), close=b"\x03\xf4")
            case "error":
                return Result(Stop("an error", state), close=b"\x03\xf3")
            case "farewell":
                return Result(Stop(NORMAL, state, (3000, "bye"), "last"), [(0x81, b"last")], b"\x0b\xb8bye")
            case "raise":
                raise RuntimeError("raised by the script")
            case "post":
                self.post(1)
            case "task":
                self.fail_task()
            case "hang up":
                self.connection.mailbox.close()
        return Result(Ok(state))

    async def terminate(self, reason: object, state: int) -> None:
        self.claim(not self.running, "terminate overlaps a callback")
        self.claim(state == self.state, "terminate has not the newest state")
        self.farewells.append((reason, state, self.wire.taken))
        match self.script.farewell:
            case "sleep":
                await trio.sleep(4)
            case "raise":
                raise RuntimeError("raised by terminate")
            case "for ever":
                await trio.sleep_forever()

    def claim(self, holds: bool, words: str) -> None:
        # Not an assertion: the runtime would take that for a failure of the handler.
        if not holds:
            self.violations.append(words)

    # What happens from outside: the steps.

    def arriving(self, kind: str) -> bytes:
        """The frames of one message; it counts as arrived."""
        text = f"{kind} {len(self.sent)}"
        data = text.encode()
        bodies: dict[str, tuple[object, bytes]] = {
            "text": (text, frame(0x81, data)),
            "binary": (data, frame(0x82, data)),
            "ping": (Ping(data), frame(0x89, data)),
            "pong": (Pong(data), frame(0x8A, data)),
            "fragments": (text, frame(0x01, data[:3]) + frame(0x00) + frame(0x80, data[3:])),
            "big": (data.ljust(BIG), frame(0x82, data.ljust(BIG))),
        }
        message, body = bodies[kind]
        self.sent.append((message, self.epoch))
        return body

    def peer_sends(self, kind: str, held: int) -> None:
        """Send a message; its last bytes are held back until more is sent."""
        if self.is_over:
            return
        self.release_held()
        data = self.arriving(kind)
        if held:
            self.held = data[-held:]
            self.held_back = self.sent.pop()
        self.wire.put(data[: len(data) - held])

    def release_held(self) -> None:
        if self.held:
            self.sent.append((self.held_back[0], self.epoch))
            data, self.held = self.held, b""
            self.wire.put(data)

    def end_of_peer(self, data: bytes) -> None:
        if not self.is_over:
            self.release_held()
            self.is_over = True
            self.wire.put(data)

    def peer_closes(self, code: int | None) -> None:
        self.end_of_peer(frame(0x88, b"" if code is None else code.to_bytes(2, "big")))

    def peer_errs(self, fault: str) -> None:
        self.end_of_peer(FAULTS[fault])

    def peer_leaves(self) -> None:
        self.end_of_peer(b"")

    def peer_resets(self) -> None:
        self.is_over = True
        self.wire.reset()

    def peer_takes(self, room: float) -> None:
        self.was_stalled = True
        self.wire.room = room
        self.wire.notify()

    def post(self, count: int) -> None:
        for _ in range(count):
            number = len(self.posted)
            try:
                self.connection.mailbox.send_nowait(number)
            except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
                return
            self.posted.append((number, self.epoch))

    def fail_task(self) -> None:
        async def fail() -> None:
            raise RuntimeError("raised by a task")

        if self.connection._nursery is not None and not self.connection.is_closing:
            self.connection.nursery.start_soon(fail)

    def release(self) -> None:
        self.wait.set()
        self.wait = trio.Event()

    def cancel(self) -> None:
        if self.is_calm and self.connection._nursery is not None and not self.connection.is_closing:
            self.must_pass_on = True
        self.scope.cancel()

    def shutdown(self, restart: bool, seconds: float) -> None:
        self.deadline = min(self.deadline, trio.current_time() + seconds)
        self.connection.shutdown_nowait(restart=restart, deadline=self.deadline)

    async def tick(self) -> None:
        await trio.lowlevel.checkpoint()

    async def advance(self, seconds: float) -> None:
        trio.lowlevel.current_clock().jump(seconds)
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing moves any more, and ask for what must hold then."""
        await wait_all_tasks_blocked()
        self.epoch += 1
        if trio.current_time() >= self.deadline:
            self.claim(self.has_ended, "alive behind its deadline")
        if self.is_roomy and not self.has_ended:
            self.claim(not self.is_over or self.connection.is_closing, "the peer's end was not noticed")
            if not self.is_stalled and not self.connection.is_closing:
                self.claim(self.pongs_taken() == self.pings_sent(), "a ping without its pong")

    # What can be seen of the wire.

    @property
    def is_stalled(self) -> bool:
        """Whether the peer has ever not taken everything at once."""
        return self.was_stalled or self.wire.is_gone

    def pongs_taken(self) -> list[bytes]:
        return [payload for first, payload in split(self.wire.taken)[0] if first == 0x8A]

    def pings_sent(self) -> list[bytes]:
        return [message.payload for message, _ in self.sent if isinstance(message, Ping)]

    def pushes_taken(self) -> list[tuple[int, bytes]]:
        """What callbacks have sent and the peer has got: no pongs, no close, no keepalive."""
        frames = split(self.wire.taken)[0]
        return [(first, body) for first, body in frames if first in (0x81, 0x82) or (first, body) == (0x89, b"mine")]

    # The whole life.

    async def run(self) -> None:
        handler = Awaiting(self) if self.script.awaits else Scripted(self)
        with self.scope:
            self.reason = await run_connection(self.connection, bind_handler(handler), None)
        self.has_ended = True

    async def live(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.run)
            for name, *arguments in self.script.steps:
                result = getattr(self, name)(*arguments)
                if result is not None:
                    await result
                self.is_calm = name in ("settle", "advance")
            await self.settle()
            self.end_of_peer(b"")
            for _ in range(12):  # longer than all pauses and timeouts together
                self.release()
                await self.advance(100)
            self.claim(self.has_ended, "it does not end")
            nursery.cancel_scope.cancel()


def play(script: Script) -> World:
    """The world as it is when everything is over."""

    async def main() -> World:
        world = World(script)
        await world.live()
        return world

    return trio.run(main, clock=MockClock())


def check_script(script: Script) -> None:
    """Play one script; an ``AssertionError`` is a finding, and so is any other exception."""
    # Handlers fail by the thousand here; formatting it costs more than all the rest.
    logging.disable(logging.CRITICAL)
    try:
        check_laws(play(script))
    finally:
        logging.disable(logging.NOTSET)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(SCRIPTS)
def _check_any(script: Script) -> None:
    check_script(script)


check_input = _check_any.hypothesis.fuzz_one_input
