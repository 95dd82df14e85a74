"""The protocol's machine under any bytes at all.

An input is seven bytes of choices (role, limits, compression, how the stream is cut, how much is taken at once, when
we close) and the stream of the peer. It is fed whole and fed cut, every message is echoed, and then:

1. No exception leaves the machine; a fault is a ``RemoteError`` with a close code that may be sent, and a section.
2. Cutting changes nothing: the same arrivals, the same fault or close, the same state.
3. What we send is whole frames of the shortest form, masked or not as our role wants, nothing behind a close; another
   machine reads the same messages out of it, and a pong for each ping.
4. What the machine keeps is bounded by the limits, not by what it was fed.
5. Once it has finished, nothing arrives any more; once we have closed, nothing arrives and nobody is blamed.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from types import FunctionType, ModuleType
from typing import NamedTuple

from trio_websock.codes import Opcode, is_sendable
from trio_websock.errors import InvalidPayload, MessageTooBig, RemoteError
from trio_websock.messages import Incoming, Ping, Pong, encode_message
from trio_websock.protocol.deflate import DeflateParameters, PerMessageDeflate
from trio_websock.protocol.machine import Limits, Machine, PeerClose, Role

from .choices import Choices, Cut, whole

__all__ = ["check_input", "kept_size", "split_frames"]

MESSAGE_SIZES = (None, 1, 10, 125, 126, 1000, 70_000)
FRAME_SIZES = (None, 1, 50, 1000)
EMPTY_FRAGMENTS = (1024, 1, 3)
BATCHES = (64, 1, 2, 5)
MAX_PONGS = 64
BROKEN, TOO_BIG = (InvalidPayload, 1007), (MessageTooBig, 1009)
SLACK = 2 * (14 + 125)  # an unfinished control frame with its head, and a key


class Setup(NamedTuple):
    """What an input wants of the machine."""

    role: Role
    limits: Limits
    deflate: DeflateParameters | None
    max_messages: int
    close_at: int | None  # bytes of the stream that come before our close frame
    is_read: bool  # whether our output is taken, or piles up until the end

    def machine(self, *, twin: bool = False) -> Machine:
        """The machine under test, or the peer's: without limits, so that it reads all we may send."""
        role = {Role.SERVER: Role.CLIENT, Role.CLIENT: Role.SERVER}[self.role] if twin else self.role
        unlimited = Limits(max_message_size=None, max_frame_size=None, max_empty_fragments=1, validate_utf8=False)
        deflate = None if self.deflate is None else PerMessageDeflate(self.deflate, role)
        return Machine(role, unlimited if twin else self.limits, deflate)


class Outcome(NamedTuple):
    """All that the driver of a machine can see of it."""

    arrivals: list[Incoming]
    failure: tuple[type[RemoteError], int] | None
    peer_close: PeerClose | None
    finished: bool


def check_input(data: bytes) -> None:
    """Run one input; an ``AssertionError`` is a finding, and so is any other exception."""
    choices = Choices(data)
    setup, cut = _setup(choices), choices.cut()
    stream = choices.rest()
    first, second = (_run(setup, stream, way) for way in (whole, cut))
    if setup.deflate is not None and {BROKEN, TOO_BIG} == {first.failure, second.failure}:
        # zlib tells of a broken code right behind the limit in place of what it has inflated up to there.
        first, second = first._replace(failure=None), second._replace(failure=None)
    assert first == second, "cutting changes the outcome"


def _setup(choices: Choices) -> Setup:
    bits = choices.below(256)
    role = Role.CLIENT if bits & 1 else Role.SERVER
    takeover = bool(bits & 16)
    parameters = DeflateParameters(
        server_no_context_takeover=takeover, client_no_context_takeover=takeover, server_max_window_bits=9 + bits // 64
    )
    limits = Limits(
        max_message_size=choices.one_of(MESSAGE_SIZES),
        max_frame_size=choices.one_of(FRAME_SIZES),
        max_empty_fragments=choices.one_of(EMPTY_FRAGMENTS),
        validate_utf8=not bits & 4,
    )
    close_at = choices.below(256)
    return Setup(
        role, limits, parameters if bits & 2 else None, choices.one_of(BATCHES), close_at or None, not bits & 8
    )


def _run(setup: Setup, stream: bytes, cut: Cut) -> Outcome:
    machine = setup.machine()
    driver = _Driver(setup, machine)
    if setup.close_at is None:
        driver.feed(cut(stream))
        driver.end()
    else:
        driver.feed(cut(stream[: setup.close_at]))
        driver.end()
        driver.feed_closed(cut(stream[setup.close_at :]))
    failure = machine.failure and (type(machine.failure), machine.failure.close_code)
    return Outcome(driver.arrivals, failure, machine.peer_close, machine.finished)


class _Driver:
    """Does with a machine what a connection does, and looks closely."""

    def __init__(self, setup: Setup, machine: Machine) -> None:
        self.setup = setup
        self.machine = machine
        self.arrivals: list[Incoming] = []
        self.output: list[bytes] = []

    def feed(self, pieces: Iterable[bytes]) -> None:
        for number, piece in enumerate(pieces):
            self.machine.receive_data(piece)
            self._drain()
            if number % 64 == 0:  # looking costs more than feeding
                self._check_kept()
        self._check_kept()
        self._check_verdict()

    def _drain(self) -> None:
        machine, most = self.machine, self.setup.max_messages
        while True:
            was_finished = machine.finished
            batch = machine.next_batch(most)
            assert len(batch) <= most, "more than was asked for"
            assert not (batch and was_finished), "an arrival behind the end"
            self.arrivals += batch
            if self.setup.is_read:
                for message in batch:
                    self._echo(message)
                self.output += machine.data_to_send()
                assert not machine.output_size
            if not machine.has_backlog:
                return

    def _echo(self, message: Incoming) -> None:
        if isinstance(message, str | bytes):
            self.machine.send_message(encode_message(message, validate_utf8=self.setup.limits.validate_utf8))

    def _check_kept(self) -> None:
        limit = self.setup.limits.max_message_size
        if limit is not None:
            waiting = 0 if self.setup.is_read else MAX_PONGS * (125 + 6)
            assert kept_size(self.machine) <= limit + waiting + SLACK, "more is kept than the limits allow"

    def _check_verdict(self) -> None:
        machine = self.machine
        assert machine.finished == (machine.failure is not None or machine.peer_close is not None)
        assert machine.failure is None or machine.peer_close is None
        if machine.failure is not None:
            assert isinstance(machine.failure, RemoteError)
            assert machine.failure.close_code in (1002, 1007, 1008, 1009)
            assert machine.failure.section.startswith("RFC ")
            assert machine.failure.section in str(machine.failure)
        if machine.peer_close is not None:
            assert machine.peer_close.code is None or is_sendable(machine.peer_close.code)

    def end(self) -> None:
        """Send our close and look at everything we have sent."""
        self.machine.send_close(1000, b"end")
        self.machine.send_close(1001)
        self.machine.send_message((Opcode.TEXT, b"too late"))
        self.output += self.machine.data_to_send()
        self._check_output(b"".join(self.output))

    def _check_output(self, output: bytes) -> None:
        frames = list(split_frames(output, self.setup.role, compressed=self.setup.deflate is not None))
        assert frames[-1] == Opcode.CLOSE
        assert frames.count(Opcode.CLOSE) == 1
        twin = self.setup.machine(twin=True)
        twin.receive_data(output)
        received = twin.next_batch(len(output))
        while twin.has_backlog:
            received += twin.next_batch(len(output))
        assert twin.failure is None, twin.failure
        assert twin.peer_close == (1000, "end")
        pings = [message.payload for message in self.arrivals if isinstance(message, Ping)]
        pongs = [message.payload for message in received if isinstance(message, Pong)]
        if self.setup.is_read:
            assert pongs == pings, "not every ping has its pong"
            echoed = [message for message in received if isinstance(message, str | bytes)]
            assert echoed == [message for message in self.arrivals if isinstance(message, str | bytes)]
        else:
            assert pongs[:-1] == pings[: len(pongs) - 1 if pongs else 0]
            assert pongs[-1:] == pings[-1:], "the newest ping has no pong"
            assert len(pongs) == min(len(pings), MAX_PONGS)

    def feed_closed(self, pieces: Iterable[bytes]) -> None:
        """Feed what comes behind our close."""
        machine = self.machine
        failure = machine.failure
        for piece in pieces:
            machine.receive_data(piece)
            assert machine.next_batch(self.setup.max_messages) == []
            assert not machine.has_backlog
        assert not machine.output_size
        assert machine.failure is failure, "blamed behind our close"
        self._check_kept()


def split_frames(output: bytes, role: Role, *, compressed: bool) -> Iterator[int]:
    """The opcodes of frames as an endpoint of ``role`` may send them; written from RFC 6455 §5.2, not from our code."""
    position = 0
    while position < len(output):
        first, second = output[position], output[position + 1]
        opcode, length = first & 0x0F, second & 0x7F
        assert first & 0x80, "a fragment"
        assert opcode in (0x1, 0x2, 0x8, 0x9, 0xA)
        assert first & 0x70 == (0x40 if compressed and opcode < 0x8 else 0)
        assert (second >= 0x80) == (role is Role.CLIENT)
        assert opcode < 0x8 or length <= 125
        position += 2
        for code, size, least in ((126, 2, 126), (127, 8, 65536)):
            if second & 0x7F == code:
                length = int.from_bytes(output[position : position + size], "big")
                assert least <= length < 1 << 63, "not the shortest form"
                position += size
        position += length + (4 if role is Role.CLIENT else 0)
        yield opcode
    assert position == len(output), "half a frame"


def kept_size(owner: object) -> int:
    """Bytes of every ``bytes`` and ``bytearray`` that ``owner`` keeps alive, through however many objects."""
    size, seen, waiting = 0, set[int](), [owner]
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, type | ModuleType | FunctionType | BaseException):
            continue
        seen.add(id(item))
        if isinstance(item, bytes | bytearray):
            size += len(item)
        else:
            waiting += gc.get_referents(item)
    return size
