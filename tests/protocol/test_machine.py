"""RFC 6455 §5 to §7: one connection's side of the protocol.

Each case is fed whole, byte by byte, and with a tail behind it.
"""

from __future__ import annotations

import tracemalloc
import zlib

import pytest

from trio_websock.codes import Opcode
from trio_websock.errors import FrameError, InvalidPayload, MessageTooBig, PolicyViolation
from trio_websock.messages import Ping, Pong
from trio_websock.protocol.deflate import DeflateParameters, PerMessageDeflate
from trio_websock.protocol.frames import serialize_head
from trio_websock.protocol.machine import Limits, Machine, PeerClose, Role
from trio_websock.protocol.masking import apply_mask

KEY = b"\x37\xfa\x21\x3d"
TEXT, BINARY, PING, PONG = Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.PONG
MANY = 10_000
LIMITS = {"max_message_size": 100_000, "max_frame_size": 90_000, "max_empty_fragments": 3, "validate_utf8": True}


def machine(role: Role = Role.SERVER, compress: bool = False, **limits: object) -> Machine:
    deflate = PerMessageDeflate(DeflateParameters(), role) if compress else None
    return Machine(role, Limits(**(LIMITS | limits)), deflate)


def frame(first: int, payload: bytes = b"", key: bytes | None = KEY) -> bytes:
    """A frame as a client sends it, or without a key as a server does."""
    return serialize_head(first, len(payload), key) + (payload if key is None else apply_mask(payload, key))


def feed(target: Machine, data: bytes, size: int | None = None) -> list[object]:
    """Everything that arrives, fed in pieces of ``size``."""
    arrived: list[object] = []
    for at in range(0, len(data), size or len(data) or 1):
        target.receive_data(data[at : at + (size or len(data))])
        arrived += target.next_batch(MANY)
        while target.has_backlog:
            arrived += target.next_batch(MANY)
    return arrived


def sent(target: Machine) -> bytes:
    return b"".join(target.data_to_send())


WAYS = {"whole": (None, b""), "byte by byte": (1, b""), "with a tail": (None, b"\x82\x01T"), "in threes": (3, b"")}

# Whole frames, as a server sends them; used in both directions.
FRAMES = [
    (TEXT, b"", b"\x81\x00", ""),
    (TEXT, b"Hello", b"\x81\x05Hello", "Hello"),
    (TEXT, b"gr\xc3\xbc\xc3\x9fe", b"\x81\x07gr\xc3\xbc\xc3\x9fe", "grüße"),
    (BINARY, b"\xff\x00", b"\x82\x02\xff\x00", b"\xff\x00"),
    (BINARY, b"x" * 125, b"\x82\x7d" + b"x" * 125, b"x" * 125),
    (BINARY, b"x" * 126, b"\x82\x7e\x00\x7e" + b"x" * 126, b"x" * 126),
    (TEXT, b"y" * 65535, b"\x81\x7e\xff\xff" + b"y" * 65535, "y" * 65535),
    (BINARY, b"z" * 65536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + b"z" * 65536, b"z" * 65536),
    (PING, b"", b"\x89\x00", Ping(b"")),
    (PING, b"x" * 125, b"\x89\x7d" + b"x" * 125, Ping(b"x" * 125)),
    (PONG, b"pong", b"\x8a\x04pong", Pong(b"pong")),
]
FRAME_IDS = [f"{opcode.name.lower()} of {len(payload)}" for opcode, payload, _, _ in FRAMES]

# Frames of a client, as (first byte, payload), and what arrives.
SEQUENCES = {
    "fragments": ([(0x01, b"a"), (0x00, b"b"), (0x80, b"c")], ["abc"]),
    "a ping between fragments": ([(0x02, b"a"), (0x89, b"p"), (0x80, b"b")], [Ping(b"p"), b"ab"]),
    "a code point over fragments": ([(0x01, b"\xc3"), (0x80, b"\xbc")], ["ü"]),
    "empty fragments": ([(0x01, b""), (0x00, b""), (0x80, b"")], [""]),
    "a large fragment between small ones": (
        [(0x02, b"a"), (0x00, b"b" * 70_000), (0x80, b"c")],
        [b"a" + b"b" * 70_000 + b"c"],
    ),
    "message after message": ([(0x81, b"1"), (0x82, b"2"), (0x8A, b"3"), (0x81, b"4")], ["1", b"2", Pong(b"3"), "4"]),
}

# Frames of a client, the error, and a word of it. The messages before the fault are always ["ok"].
FAULTS = {
    "a stray continuation": ([(0x80, b"x")], FrameError, "continuation"),
    "a message inside a message": ([(0x01, b"a"), (0x81, b"b")], FrameError, "expected a continuation"),
    "a reserved opcode": ([(0x83, b"")], FrameError, "opcode 0x3"),
    "RSV1 without compression": ([(0xC1, b"")], FrameError, "RSV1"),
    "a fragmented ping": ([(0x09, b"")], FrameError, "fragmented"),
    "a close of one byte": ([(0x88, b"\x03")], FrameError, "1 byte"),
    "a close code that may not travel": ([(0x88, b"\x03\xed")], FrameError, "1005"),
    "a close text that is not UTF-8": ([(0x88, b"\x03\xe8\xff")], InvalidPayload, "close frame"),
    "a small text that is not UTF-8": ([(0x81, b"a\xff")], InvalidPayload, "text came that is not UTF-8"),
    "a large text that is not UTF-8": ([(0x81, b"a" * 200 + b"\xff")], InvalidPayload, "not UTF-8"),
    "a fragment that is not UTF-8": ([(0x01, b"\xff")], InvalidPayload, "not UTF-8"),
    "a text that ends too early": ([(0x01, b"a"), (0x80, b"\xc3")], InvalidPayload, "not UTF-8"),
    "a frame over its limit": ([(0x82, b"x" * 90_001)], MessageTooBig, "a frame of 90001 bytes"),
    "fragments over the limit": ([(0x02, b"x" * 60_000), (0x80, b"x" * 40_001)], MessageTooBig, "100001"),
    "empty fragments without end": ([(0x01, b"")] + [(0x00, b"")] * 3, PolicyViolation, "more than 3"),
}


class TestReceiving:
    @pytest.mark.parametrize(("opcode", "payload", "wire", "message"), FRAMES, ids=FRAME_IDS)
    @pytest.mark.parametrize("way", WAYS)
    def test_a_client_receives_a_whole_frame(self, opcode, payload, wire, message, way) -> None:
        size, tail = WAYS[way]
        assert feed(machine(Role.CLIENT), wire + tail, size) == [message] + [b"T"] * bool(tail)

    @pytest.mark.parametrize(("opcode", "payload", "wire", "message"), FRAMES, ids=FRAME_IDS)
    @pytest.mark.parametrize("way", WAYS)
    def test_a_server_receives_a_whole_masked_frame(self, opcode, payload, wire, message, way) -> None:
        size, tail = WAYS[way]
        data = frame(0x80 | opcode, payload) + (frame(0x82, b"T") if tail else b"")
        assert feed(machine(), data, size) == [message] + [b"T"] * bool(tail)

    @pytest.mark.parametrize("sequence", SEQUENCES)
    @pytest.mark.parametrize("way", WAYS)
    def test_frames_become_messages_in_their_order(self, sequence: str, way: str) -> None:
        frames, messages = SEQUENCES[sequence]
        size, tail = WAYS[way]
        data = b"".join(frame(*parts) for parts in frames) + (frame(0x82, b"T") if tail else b"")
        assert feed(machine(), data, size) == messages + [b"T"] * bool(tail)

    def test_small_fragments_that_carry_bytes_pass_at_any_number(self) -> None:
        data = frame(0x02, b"x" * 64) + frame(0x00, b"x" * 64) * 65_534 + frame(0x80, b"x" * 64)
        target = machine(max_message_size=None)
        assert feed(target, data, 65536) == [b"x" * 64 * 65_536]

    def test_a_limit_below_the_size_of_a_small_frame_holds(self) -> None:
        target = machine(max_message_size=4)
        assert feed(target, frame(0x81, b"1234") + frame(0x81, b"12345")) == ["1234"]
        assert isinstance(target.failure, MessageTooBig)

    def test_without_limits_everything_arrives(self) -> None:
        target = machine(max_message_size=None, max_frame_size=None)
        assert feed(target, frame(0x82, bytes(200_000))) == [bytes(200_000)]

    def test_without_validation_text_keeps_its_bytes_as_surrogates(self) -> None:
        target = machine(validate_utf8=False)
        assert feed(target, frame(0x81, b"a\xff") + frame(0x81, b"b" * 200 + b"\xff")) == [
            "a\udcff",
            "b" * 200 + "\udcff",
        ]

    def test_a_batch_without_data_is_empty(self) -> None:
        assert machine().next_batch(MANY) == []


class TestBatches:
    def test_a_batch_holds_at_most_the_number_asked_for(self) -> None:
        target = machine()
        target.receive_data(frame(0x81, b"a") + frame(0x89) + frame(0x01, b"b") + frame(0x80, b"c"))
        assert [target.next_batch(1), target.next_batch(1), target.next_batch(1)] == [["a"], [Ping(b"")], ["bc"]]

    def test_a_batch_that_was_cut_short_leaves_a_backlog(self) -> None:
        target = machine()
        target.receive_data(frame(0x81, b"a") * 3)
        backlogs = [(len(target.next_batch(2)), target.has_backlog) for _ in range(2)]
        assert backlogs == [(2, True), (1, False)]

    def test_a_full_batch_that_took_everything_leaves_none(self) -> None:
        target = machine()
        target.receive_data(frame(0x81, b"a") * 2)
        target.next_batch(2)
        assert not target.has_backlog

    def test_part_of_a_frame_is_no_backlog(self) -> None:
        target = machine()
        target.receive_data(frame(0x81, b"abc")[:-1])
        assert (target.next_batch(2), target.has_backlog) == ([], False)

    def test_part_of_a_frame_does_not_keep_what_came_with_it(self) -> None:
        target = machine()
        tracemalloc.start()
        try:
            feed(target, frame(0x89, bytes(100)) * 1000 + b"\x89")
            target.data_to_send()
            assert tracemalloc.get_traced_memory()[0] < 10_000
        finally:
            tracemalloc.stop()

    def test_data_may_come_on_top_of_a_backlog(self) -> None:
        target = machine()
        target.receive_data(frame(0x81, b"a") * 2 + b"\x81")
        assert target.next_batch(1) == ["a"]
        target.receive_data(frame(0x81, b"b")[1:])
        assert target.next_batch(MANY) == ["a", "b"]


class TestFaults:
    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.parametrize("way", WAYS)
    def test_a_fault_ends_parsing_after_the_messages_before_it(self, fault: str, way: str) -> None:
        frames, error, words = FAULTS[fault]
        size, tail = WAYS[way]
        target = machine()
        data = frame(0x81, b"ok") + b"".join(frame(*parts) for parts in frames) + tail
        assert feed(target, data, size) == ["ok"]
        assert type(target.failure) is error
        assert words in str(target.failure)
        assert target.finished

    def test_a_client_takes_no_masked_frame(self) -> None:
        target = machine(Role.CLIENT)
        feed(target, frame(0x81, b"x"))
        assert isinstance(target.failure, FrameError)

    def test_a_server_takes_no_unmasked_frame(self) -> None:
        target = machine()
        feed(target, b"\x81\x00")
        assert isinstance(target.failure, FrameError)

    @pytest.mark.parametrize("size", [None, 1])
    def test_a_length_that_is_not_in_its_shortest_form_is_a_fault(self, size: int | None) -> None:
        target = machine()
        feed(target, b"\x82\xfe\x00\x7d" + KEY + bytes(125), size)
        assert isinstance(target.failure, FrameError)

    def test_a_failure_keeps_nothing_of_what_was_being_parsed(self) -> None:
        target = machine()
        feed(target, frame(0x81, b"\xff"))
        assert target.failure is not None
        assert target.failure.__traceback__ is None

    def test_a_size_over_the_limit_fails_before_the_payload(self) -> None:
        target = machine()
        feed(target, b"\x82\xff\x00\x00\x00\x00\x00\x01\x86\xa1" + KEY)
        assert isinstance(target.failure, MessageTooBig)

    def test_text_that_cannot_become_valid_fails_inside_the_frame(self) -> None:
        target = machine()
        feed(target, frame(0x81, b"a" * 50 + b"\xff" + b"a" * 50)[:-40])
        assert isinstance(target.failure, InvalidPayload)

    def test_nothing_is_parsed_behind_a_fault(self) -> None:
        target = machine()
        assert feed(target, frame(0x80) + frame(0x81, b"x")) == []
        assert feed(target, frame(0x81, b"x")) == []
        assert not target.has_backlog

    def test_no_close_is_sent_of_its_own_accord(self) -> None:
        target = machine()
        feed(target, frame(0x80))
        assert not target.output_size

    def test_a_close_can_still_be_sent(self) -> None:
        target = machine()
        feed(target, frame(0x80))
        target.send_close(1002)
        assert sent(target) == b"\x88\x02\x03\xea"


class TestPings:
    def test_the_pong_is_queued_before_the_ping_is_returned(self) -> None:
        target = machine()
        assert feed(target, frame(0x89, b"now")) == [Ping(b"now")]
        assert sent(target) == b"\x8a\x03now"

    def test_a_ping_inside_an_unfinished_message_is_answered(self) -> None:
        target = machine()
        feed(target, frame(0x01, b"a") + frame(0x89, b"p"))
        assert sent(target) == b"\x8a\x01p"

    def test_a_pong_needs_no_answer(self) -> None:
        target = machine()
        feed(target, frame(0x8A, b"p"))
        assert not target.output_size

    def test_beyond_64_waiting_pongs_the_newest_replaces_the_one_before(self) -> None:
        target = machine()
        pings = [b"%03d" % number for number in range(70)]
        assert len(feed(target, b"".join(frame(0x89, ping) for ping in pings))) == 70
        assert target.data_to_send() == [b"".join(b"\x8a\x03" + ping for ping in [*pings[:63], pings[-1]])]

    def test_messages_keep_their_place_among_replaced_pongs(self) -> None:
        target = machine()
        feed(target, frame(0x89, b"p") * 64)
        target.send_message((TEXT, b"t"))
        feed(target, frame(0x89, b"q"))
        assert target.data_to_send()[0].endswith(b"\x8a\x01p" + b"\x81\x01t" + b"\x8a\x01q")

    def test_pongs_that_were_taken_wait_no_longer(self) -> None:
        target = machine()
        feed(target, frame(0x89) * 64)
        target.data_to_send()
        feed(target, frame(0x89) * 64)
        assert target.data_to_send() == [b"\x8a\x00" * 64]


class TestPeerClose:
    @pytest.mark.parametrize(
        ("payload", "close"),
        [(b"", PeerClose(None, "")), (b"\x03\xe8", PeerClose(1000, "")), (b"\x03\xe9bye", PeerClose(1001, "bye"))],
    )
    @pytest.mark.parametrize("way", WAYS)
    def test_the_peers_close_ends_parsing(self, payload: bytes, close: PeerClose, way: str) -> None:
        size, tail = WAYS[way]
        target = machine()
        assert feed(target, frame(0x81, b"ok") + frame(0x88, payload) + tail, size) == ["ok"]
        assert (target.peer_close, target.failure, target.finished) == (close, None, True)

    def test_what_follows_a_close_is_ignored(self) -> None:
        target = machine()
        assert feed(target, frame(0x88) + frame(0x81, b"x")) == []
        assert feed(target, b"\xff\xff") == []
        assert target.failure is None

    def test_a_close_may_come_inside_a_message(self) -> None:
        target = machine()
        assert feed(target, frame(0x01, b"a") + frame(0x88)) == []
        assert target.peer_close == PeerClose(None, "")

    def test_the_machine_leaves_the_answer_to_its_driver(self) -> None:
        target = machine()
        feed(target, frame(0x88))
        assert (target.output_size, target.close_sent) == (False, False)

    def test_messages_may_be_sent_until_the_answer(self) -> None:
        target = machine()
        feed(target, frame(0x88))
        target.send_message((TEXT, b"late"))
        target.send_close(None)
        assert sent(target) == b"\x81\x04late\x88\x00"


class TestSending:
    @pytest.mark.parametrize(("opcode", "payload", "wire", "message"), FRAMES, ids=FRAME_IDS)
    def test_a_server_sends_whole_unmasked_frames_in_the_shortest_form(self, opcode, payload, wire, message) -> None:
        target = machine()
        target.send_message((opcode, payload))
        assert sent(target) == wire

    @pytest.mark.parametrize(("opcode", "payload", "wire", "message"), FRAMES, ids=FRAME_IDS)
    def test_a_client_sends_what_a_server_understands(self, opcode, payload, wire, message) -> None:
        client = machine(Role.CLIENT)
        client.send_message((opcode, payload))
        data = sent(client)
        assert data[1] & 0x80
        assert feed(machine(), data) == [message]

    def test_every_frame_of_a_client_has_a_new_key(self) -> None:
        client = machine(Role.CLIENT)
        for _ in range(20):
            client.send_message((BINARY, b""))
        data = client.data_to_send()[0]
        assert len({data[start : start + 4] for start in range(2, len(data), 6)}) > 1

    def test_a_small_frame_is_one_piece(self) -> None:
        target = machine()
        target.send_message((BINARY, bytes(16 * 1024)))
        assert len(target.data_to_send()) == 1

    def test_a_large_payload_is_not_copied(self) -> None:
        target, payload = machine(), bytes(100_000)
        target.send_message((BINARY, payload))
        assert target.data_to_send()[1] is payload

    def test_output_is_taken_once(self) -> None:
        target = machine()
        target.send_message((TEXT, b"x"))
        assert (target.output_size, len(target.data_to_send())) == (3, 1)
        assert (target.output_size, target.data_to_send()) == (0, [])

    def test_an_empty_message_is_output_too(self) -> None:
        target = machine()
        target.send_message((TEXT, b""))
        assert target.output_size

    def test_small_frames_leave_together(self) -> None:
        target = machine()
        for payload in (b"a", b"b"):
            target.send_message((TEXT, payload))
        assert target.data_to_send() == [b"\x81\x01a\x81\x01b"]

    @pytest.mark.parametrize(
        ("code", "text", "wire"),
        [(None, b"", b"\x88\x00"), (1000, b"", b"\x88\x02\x03\xe8"), (1001, b"bye", b"\x88\x05\x03\xe9bye")],
    )
    def test_a_close_says_its_code_and_text(self, code: int | None, text: bytes, wire: bytes) -> None:
        target = machine()
        target.send_close(code, text)
        assert (sent(target), target.close_sent) == (wire, True)

    def test_nothing_is_sent_after_the_close(self) -> None:
        target = machine()
        target.send_close(1000)
        target.send_message((TEXT, b"late"))
        target.send_close(1001)
        feed(target, frame(0x89))
        assert sent(target) == b"\x88\x02\x03\xe8"


class TestAfterOurClose:
    def closing(self, before: bytes = b"", **limits: object) -> Machine:
        target = machine(**limits)
        feed(target, before)
        target.send_close(1000)
        target.data_to_send()
        return target

    @pytest.mark.parametrize("way", WAYS)
    def test_only_the_peers_close_is_looked_for(self, way: str) -> None:
        size, tail = WAYS[way]
        target = self.closing()
        data = frame(0x81, b"x" * 300) + frame(0x89, b"p") + frame(0x02) + frame(0x88, b"\x03\xe8") + tail
        assert feed(target, data, size) == []
        assert (target.peer_close, target.output_size) == (PeerClose(1000, ""), False)

    @pytest.mark.parametrize("size", [None, 1])
    def test_the_rest_of_a_frame_that_was_arriving_is_skipped(self, size: int | None) -> None:
        data = frame(0x81, b"x" * 500)
        target = self.closing(before=data[:100])
        feed(target, data[100:] + frame(0x88), size)
        assert target.peer_close == PeerClose(None, "")

    def test_what_was_buffered_and_not_parsed_is_skipped(self) -> None:
        target = machine()
        target.receive_data(frame(0x81, b"a") * 5 + frame(0x88))
        target.next_batch(1)
        target.send_close(1000)
        assert (target.next_batch(1), target.peer_close) == ([], PeerClose(None, ""))

    @pytest.mark.parametrize(
        "ignored",
        [frame(0x82, bytes(100_001)), frame(0x80), frame(0x81, b"\xff"), frame(0x01) * 9],
        ids=["too big", "stray", "not UTF-8", "empty fragments"],
    )
    def test_neither_limits_nor_contents_matter_any_longer(self, ignored: bytes) -> None:
        target = self.closing()
        feed(target, ignored + frame(0x88))
        assert target.peer_close == PeerClose(None, "")

    @pytest.mark.parametrize("fault", [frame(0x83), b"\x81\x00", frame(0x88, b"\x00")])
    def test_a_fault_ends_parsing_and_nobody_is_blamed(self, fault: bytes) -> None:
        target = self.closing()
        feed(target, fault + frame(0x88))
        assert (target.finished, target.failure, target.peer_close) == (True, None, None)

    def test_nothing_is_kept_of_what_is_skipped(self) -> None:
        target = self.closing(max_message_size=None)
        feed(target, frame(0x82, bytes(300_000))[:-1], 65536)
        assert not target.has_backlog
        assert not target.finished


class TestCompression:
    HELLO = b"\xf2\x48\xcd\xc9\xc9\x07\x00"

    @pytest.mark.parametrize("way", WAYS)
    def test_a_compressed_message_arrives_inflated(self, way: str) -> None:
        size, tail = WAYS[way]
        data = frame(0xC1, self.HELLO) + (frame(0x82, b"T") if tail else b"")
        assert feed(machine(compress=True), data, size) == ["Hello"] + [b"T"] * bool(tail)

    @pytest.mark.parametrize("way", WAYS)
    def test_fragments_of_a_compressed_message_carry_rsv1_once(self, way: str) -> None:
        size, _ = WAYS[way]
        data = frame(0x41, self.HELLO[:3]) + frame(0x89) + frame(0x80, self.HELLO[3:])
        assert feed(machine(compress=True), data, size) == [Ping(b""), "Hello"]

    def test_the_peer_may_send_plain_messages(self) -> None:
        assert feed(machine(compress=True), frame(0x81, b"plain")) == ["plain"]

    @pytest.mark.parametrize("first", [0xC0, 0xC8, 0xC9, 0xCA])
    def test_rsv1_elsewhere_is_a_fault(self, first: int) -> None:
        target = machine(compress=True)
        feed(target, frame(0x01, b"a") + frame(first))
        assert isinstance(target.failure, FrameError)

    def test_broken_data_is_an_invalid_payload(self) -> None:
        target = machine(compress=True)
        feed(target, frame(0xC1, b"\x06\xff\xff"))
        assert isinstance(target.failure, InvalidPayload)

    def test_inflated_text_is_validated(self) -> None:
        target = machine(compress=True)
        feed(target, frame(0xC1, b"\x00\x01\x00\xfe\xff\xff\x00"))
        assert isinstance(target.failure, InvalidPayload)

    def test_a_batch_ends_once_it_has_inflated_to_much(self) -> None:
        client, target = machine(Role.CLIENT, compress=True), machine(compress=True)
        for _ in range(10):
            client.send_message((BINARY, bytes(90_000)))
        target.receive_data(sent(client))
        batches = [(len(target.next_batch(MANY)), target.has_backlog) for _ in range(5)]
        assert batches == [(3, True), (3, True), (3, True), (1, False), (0, False)]

    def test_a_batch_of_fragmented_messages_ends_once_it_has_inflated_to_much(self) -> None:
        target, zeros = machine(compress=True), bytes(90_000)
        payload = zlib.compress(zeros, wbits=-15)  # BFINAL set, so that it may be sent again
        target.receive_data((frame(0x42, payload) + frame(0x80)) * 4)
        batches = [(target.next_batch(MANY), target.has_backlog) for _ in range(2)]
        assert batches == [([zeros] * 3, True), ([zeros], False)]

    def test_every_data_message_is_sent_compressed(self) -> None:
        target = machine(compress=True)
        target.send_message((TEXT, b"Hello"))
        target.send_message((BINARY, b""))
        assert sent(target) == b"\xc1\x07" + self.HELLO + b"\xc2\x01\x00"

    def test_control_frames_are_never_compressed(self) -> None:
        target = machine(compress=True)
        target.send_message((PING, b"p"))
        target.send_message((PONG, b"q"))
        target.send_close(1000)
        assert sent(target) == b"\x89\x01p\x8a\x01q\x88\x02\x03\xe8"

    @pytest.mark.parametrize("size", [0, 5, 300, 70_000])
    def test_both_sides_understand_each_other(self, size: int) -> None:
        client, server = machine(Role.CLIENT, compress=True), machine(compress=True)
        payload = (b"0123456789" * 7000)[:size]
        client.send_message((BINARY, payload))
        assert feed(server, sent(client)) == [payload]
        server.send_message((BINARY, payload))
        assert feed(client, sent(server)) == [payload]
