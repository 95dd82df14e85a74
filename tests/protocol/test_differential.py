"""Two independent implementations as oracles: wsproto and websockets, without input and output.

Random sequences of frames, valid and mutated, with and without compression, in both roles: the same messages must come
out and the same verdict must fall. A difference counts only where it is one of the rulings listed below.

A short run is part of every test run. The long one, 120,000 sequences in all::

    TRIO_WEBSOCK_DIFFERENTIAL_EXAMPLES=40000 \\
        python -m pytest -o faulthandler_timeout=0 tests/protocol/test_differential.py
"""

from __future__ import annotations

import codecs
import importlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import PayloadTooBig
from websockets.extensions.permessage_deflate import PerMessageDeflate as WebsocketsDeflate
from websockets.frames import Frame as WebsocketsFrame
from websockets.frames import Opcode as WebsocketsOpcode
from websockets.protocol import OPEN, Protocol, Side
from wsproto import events
from wsproto.connection import Connection, ConnectionType
from wsproto.extensions import PerMessageDeflate as WsprotoDeflate

from trio_websock.codes import Opcode
from trio_websock.errors import RemoteError
from trio_websock.messages import Ping, Pong
from trio_websock.protocol.deflate import DeflateParameters, PerMessageDeflate
from trio_websock.protocol.machine import Limits, Machine, Role

sys.path.append(str(Path(__file__).parent))  # tests are no package

streams = importlib.import_module("streams")

EXAMPLES = int(os.environ.get("TRIO_WEBSOCK_DIFFERENTIAL_EXAMPLES", "150"))
long_or_short = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

# Large enough for most messages below and small enough for the rest; see LIMIT in the rulings.
LIMIT = 4096
PARAMETERS = {
    "plain": None,
    "takeover": DeflateParameters(),
    "no takeover": DeflateParameters(
        server_max_window_bits=10,
        client_max_window_bits=11,
        server_no_context_takeover=True,
        client_no_context_takeover=True,
    ),
}


# What came out.


@dataclass
class Outcome:
    """What one implementation made of a stream."""

    arrived: list[object] = field(default_factory=list)
    verdict: tuple[object, ...] = ("open",)
    pending: bool = False  # bytes or a head are waiting for the rest of their frame
    words: str = ""

    @property
    def failed(self) -> int | None:
        return self.verdict[1] if self.verdict[0] == "failed" else None  # type: ignore[return-value]

    def fail(self, code: int, words: str = "") -> None:
        self.verdict, self.words = ("failed", int(code)), words


def ours(data: bytes, role: Role, parameters: DeflateParameters | None, limit: int | None, size: int) -> Outcome:
    limits = Limits(max_message_size=limit, max_frame_size=None, max_empty_fragments=10**6, validate_utf8=True)
    machine = Machine(role, limits, parameters and PerMessageDeflate(parameters, role))
    outcome = Outcome()
    for at in range(0, len(data), size):
        machine.receive_data(data[at : at + size])
        outcome.arrived += machine.next_batch(3)
        while machine.has_backlog:
            outcome.arrived += machine.next_batch(3)
    if machine.peer_close is not None:
        outcome.verdict = ("closed", *machine.peer_close)
    elif machine.failure is not None:
        outcome.fail(machine.failure.close_code, str(machine.failure))
    return outcome


def websockets_deflate(parameters: DeflateParameters | None, role: Role) -> list[WebsocketsDeflate]:
    if parameters is None:
        return []
    server = (parameters.server_no_context_takeover, parameters.server_max_window_bits)
    client = (parameters.client_no_context_takeover, parameters.client_max_window_bits)
    local, remote = (server, client) if role is Role.SERVER else (client, server)
    return [WebsocketsDeflate(remote[0], local[0], remote[1], local[1])]


def websockets_protocol(role: Role, parameters: DeflateParameters | None) -> Protocol:
    protocol = Protocol(Side.SERVER if role is Role.SERVER else Side.CLIENT, state=OPEN, max_size=LIMIT)
    protocol.extensions = websockets_deflate(parameters, role)
    return protocol


def by_websockets(data: bytes, role: Role, parameters: DeflateParameters | None) -> Outcome:
    protocol = websockets_protocol(role, parameters)
    protocol.receive_data(data)
    outcome = Outcome()
    opcode, decoder, parts = None, None, []
    for frame in protocol.events_received():
        if frame.opcode in (WebsocketsOpcode.PING, WebsocketsOpcode.PONG):
            outcome.arrived.append((Ping if frame.opcode is WebsocketsOpcode.PING else Pong)(bytes(frame.data)))
        elif frame.opcode is not WebsocketsOpcode.CLOSE:
            # websockets leaves the decoding of text to its connection classes: this does what they do.
            if frame.opcode is not WebsocketsOpcode.CONT:
                opcode, decoder, parts = frame.opcode, codecs.getincrementaldecoder("utf-8")(), []
            try:
                is_text = opcode is WebsocketsOpcode.TEXT
                parts.append(decoder.decode(bytes(frame.data), frame.fin) if is_text else bytes(frame.data))
            except UnicodeDecodeError:
                outcome.fail(1007)
                return outcome
            if frame.fin:
                outcome.arrived.append(("" if is_text else b"").join(parts))
    if protocol.parser_exc is not None:
        outcome.fail(protocol.close_sent.code, str(protocol.parser_exc))
        if isinstance(protocol.parser_exc, PayloadTooBig):
            assert outcome.failed == 1009
    elif protocol.close_rcvd is not None:
        code = protocol.close_rcvd.code
        outcome.verdict = ("closed", None if code == 1005 else code, protocol.close_rcvd.reason)
    else:
        protocol.receive_eof()  # its complaint tells whether a frame was under way
        outcome.pending = "stream ends after" in str(protocol.parser_exc)
    return outcome


def wsproto_deflate(parameters: DeflateParameters | None, role: Role) -> list[WsprotoDeflate]:
    if parameters is None:
        return []
    extension = WsprotoDeflate()
    flags = [name for name in ("server", "client") if getattr(parameters, f"{name}_no_context_takeover")]
    terms = [f"{name}_no_context_takeover" for name in flags] + [
        f"server_max_window_bits={parameters.server_max_window_bits}",
        f"client_max_window_bits={parameters.client_max_window_bits}",
    ]
    (extension.accept if role is Role.SERVER else extension.finalize)("; ".join(["permessage-deflate", *terms]))
    return [extension]


def wsproto_connection(role: Role, parameters: DeflateParameters | None) -> Connection:
    kind = ConnectionType.SERVER if role is Role.SERVER else ConnectionType.CLIENT
    return Connection(kind, wsproto_deflate(parameters, role))


def by_wsproto(data: bytes, role: Role, parameters: DeflateParameters | None) -> Outcome:
    connection, outcome, parts = wsproto_connection(role, parameters), Outcome(), []
    connection.receive_data(data)
    for event in connection.events():
        if isinstance(event, events.Message):
            parts.append(event.data)
            if event.message_finished:
                outcome.arrived.append(type(event.data)().join(parts))
                parts = []
        elif isinstance(event, events.Ping):
            outcome.arrived.append(Ping(bytes(event.payload)))
        elif isinstance(event, events.Pong):
            outcome.arrived.append(Pong(bytes(event.payload)))
        elif connection.state.name == "OPEN":  # it did not parse a close frame, it found a fault
            outcome.fail(event.code, str(event.reason))
        else:
            code = int(event.code)
            outcome.verdict = ("closed", None if code == 1005 else code, event.reason)
    # Nothing public tells whether it waits for more.
    decoder = connection._proto._frame_decoder
    outcome.pending = bool(len(decoder.buffer) or decoder.header)
    return outcome


# The rulings in which we differ on purpose. Each says why; everything else must be equal.

# Facts that leave nothing to compare, because the oracle loses its way.
# RFC 7692 §7.2.3.4 lets a sender set BFINAL. Both oracles lose what follows the end of a stream, we begin a new one.
# A compressed message without a byte is no deflate data at all: both let the tail alone corrupt what follows.
BEYOND_WEBSOCKETS = {"a deflate stream ends", "compressed message without a byte"}
# A control frame makes wsproto forget that the message around it is compressed.
BEYOND_WSPROTO = {*BEYOND_WEBSOCKETS, "control inside a compressed message"}


def is_ruling_against_wsproto(mine: Outcome, theirs: Outcome) -> bool:
    return (
        # It knows the close codes up to 1013; 1014 has been registered since.
        ("unknown reserved code" in theirs.words and (mine.verdict[:2] == ("closed", 1014) or mine.failed == 1007))
        # We judge a head by its first two bytes, it waits for the whole head and the first byte behind it.
        or (mine.failed == 1002 and theirs.verdict == ("open",) and theirs.pending)
        # It inflates a frame before it asks whether the frame may stand there.
        or (mine.failed == 1002 and theirs.failed == 1007 and "inside a message" in mine.words)
        or is_cut_off(mine)
    )


def is_cut_off(mine: Outcome) -> bool:
    # Compressed data that stops inside a block is broken (RFC 7692 §7.2.2); both oracles hand out what there is.
    return "ends inside a block" in mine.words


def is_ruling_against_websockets(mine: Outcome, theirs: Outcome, facts: set[str]) -> bool:
    too_big = theirs.failed == 1009
    return (
        # §5.2 demands the shortest form of a length and a most significant bit of 0; it reads any length.
        "shortest form" in mine.words
        or "extended length" in mine.words
        or ("most significant bit" in mine.words and (too_big or theirs.pending))
        # §5.4 lets control frames stand inside a message, and a close is one.
        or ("close inside a message" in facts and "incomplete fragmented message" in theirs.words)
        # Broken deflate data is a payload that cannot be read, 1007; it says 1002.
        or (mine.failed == 1007 and theirs.failed == 1002 and "decompression failed" in theirs.words)
        # We fail as early as we can, it judges frames that are whole.
        or (mine.failed is not None and theirs.verdict == ("open",) and theirs.pending)
        # Of two faults of one frame we name the form first, it the size; and the code of a close first, it the text.
        or (mine.failed == 1002 and too_big)
        or ("close code" in mine.words and theirs.failed == 1007)
        # It counts what travels, we count what a message inflates to.
        or ("compressed" in facts and too_big and mine.failed in (None, 1007))
        or is_cut_off(mine)
    )


def check_same(mine: Outcome, theirs: Outcome, is_ruling: bool) -> None:
    if not is_ruling:
        assert (mine.arrived, mine.verdict) == (theirs.arrived, theirs.verdict)
    elif mine.failed is not None and mine.failed != 1009:
        # What was complete before the fault has arrived with both.
        assert mine.arrived == theirs.arrived[: len(mine.arrived)]


roles = st.sampled_from(Role)
modes = st.sampled_from(sorted(PARAMETERS))
sizes = st.one_of(st.just(1 << 20), st.integers(1, 40))


@long_or_short
@given(roles, modes, streams.steps, streams.mutations, sizes)
def test_any_stream_gets_the_verdict_of_wsproto(role, mode, script, changes, size) -> None:
    parameters, data = PARAMETERS[mode], stream(role, mode, script, changes)
    facts = streams.facts_about(data, parameters is not None)
    mine = ours(data, role, parameters, None, size)
    assert (mine.arrived, mine.verdict) == tuple(vars(ours(data, role, parameters, None, 1 << 20)).values())[:2]
    if not facts & BEYOND_WSPROTO:
        theirs = by_wsproto(data, role, parameters)
        check_same(mine, theirs, is_ruling_against_wsproto(mine, theirs))


@long_or_short
@given(roles, modes, streams.steps, streams.mutations, sizes)
def test_any_stream_gets_the_verdict_of_websockets(role, mode, script, changes, size) -> None:
    parameters, data = PARAMETERS[mode], stream(role, mode, script, changes)
    facts = streams.facts_about(data, parameters is not None) | ({"compressed"} if parameters else set())
    mine = ours(data, role, parameters, LIMIT, size)
    if not facts & BEYOND_WEBSOCKETS:
        theirs = by_websockets(data, role, parameters)
        check_same(mine, theirs, is_ruling_against_websockets(mine, theirs, facts))


def stream(
    role: Role, mode: str, script: list[streams.Data | streams.Single], changes: list[streams.Mutation]
) -> bytes:
    sender = streams.Sender(role, PARAMETERS[mode])
    data = b"".join(map(sender.write, script))
    for change in changes:
        data = streams.mutate(data, change)
    return data


# The other direction: what we send, they read; what they send, we read.

messages = st.lists(
    st.one_of(st.text(max_size=200), st.binary(max_size=200), st.sampled_from(["", b"", "ü" * 500, b"b" * 3000])),
    max_size=8,
)


def other(role: Role) -> Role:
    return Role.CLIENT if role is Role.SERVER else Role.SERVER


def sent_by_us(role: Role, parameters: DeflateParameters | None, script: list[str | bytes]) -> bytes:
    limits = Limits(max_message_size=None, max_frame_size=None, max_empty_fragments=1, validate_utf8=True)
    machine = Machine(role, limits, parameters and PerMessageDeflate(parameters, role))
    for message in script:
        if isinstance(message, str):
            machine.send_message((Opcode.TEXT, message.encode()))
        else:
            machine.send_message((Opcode.BINARY, message))
    machine.send_message((Opcode.PING, b"ping"))
    machine.send_close(1000, b"done")
    return b"".join(machine.data_to_send())


def sent_by_wsproto(role: Role, parameters: DeflateParameters | None, script: list[str | bytes]) -> bytes:
    connection = wsproto_connection(role, parameters)
    kinds = [(events.TextMessage if isinstance(message, str) else events.BytesMessage, message) for message in script]
    frames = [connection.send(kind(data=message)) for kind, message in kinds]
    return b"".join(
        [*frames, connection.send(events.Ping(b"ping")), connection.send(events.CloseConnection(1000, "done"))]
    )


def sent_by_websockets(role: Role, parameters: DeflateParameters | None, script: list[str | bytes]) -> bytes:
    protocol = websockets_protocol(role, parameters)
    for message in script:
        if isinstance(message, str):
            protocol.send_text(message.encode())
        else:
            protocol.send_binary(message)
    protocol.send_frame(WebsocketsFrame(WebsocketsOpcode.PING, b"ping"))
    protocol.send_close(1000, "done")
    return b"".join(protocol.data_to_send())


@long_or_short
@given(roles, modes, messages)
def test_messages_cross_between_all_three(role, mode, script) -> None:
    parameters = PARAMETERS[mode]
    expected = ([*script, Ping(b"ping")], ("closed", 1000, "done"))
    for read in (by_wsproto, by_websockets):
        outcome = read(sent_by_us(role, parameters, script), other(role), parameters)
        assert (outcome.arrived, outcome.verdict) == expected
    for write in (sent_by_wsproto, sent_by_websockets):
        outcome = ours(write(role, parameters, script), other(role), parameters, None, 1 << 20)
        assert (outcome.arrived, outcome.verdict) == expected


@pytest.mark.parametrize("mode", PARAMETERS)
def test_the_oracles_are_driven_rightly(mode: str) -> None:
    data = stream(
        Role.SERVER, mode, [streams.Data(1, b"Hello", [2], None, True), streams.Single(0x88, b"\x03\xe8", True, 0)], []
    )
    for read in (by_wsproto, by_websockets):
        outcome = read(data, Role.SERVER, PARAMETERS[mode])
        assert (outcome.arrived, outcome.verdict) == (["Hello"], ("closed", 1000, ""))


def test_a_fault_carries_its_words() -> None:
    outcome = ours(b"\x83\x80", Role.SERVER, None, None, 1)
    assert outcome.failed == RemoteError.close_code
    assert "reserved" in outcome.words
