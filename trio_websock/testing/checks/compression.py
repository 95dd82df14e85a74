"""Chapter "Compression": which offers are taken, and what goes over the wire once one has been.

The compressed bytes are those of RFC 7692 §7.2.3 and §8.2.3, all of them "Hello".
"""

from __future__ import annotations

import zlib
from typing import Any

from trio_websock import Deflate, FrameError, InvalidPayload, MessageTooBig, Push

from ..scripted_peer import ScriptedPeer, binary, close, frame, ping, text, upgrade_request
from ..stage import Capability, Checks, Stage, Witness
from .witnesses import Echo, Noting

__all__ = ["CHECKS"]

CHECKS = Checks("compression", Capability.COMPRESSION)

OFFER = "Sec-WebSocket-Extensions: permessage-deflate"
HELLO = b"\xf2\x48\xcd\xc9\xc9\x07\x00"


async def negotiate(stage: Stage, *extra: str, **options: Any) -> str | None:
    """The extension header of the answer to a handshake with ``extra`` header lines."""
    async with stage.serve(Echo(stage), **options) as server, await stage.connect(server) as peer:
        await peer.send(upgrade_request(peer.authority, "/", *extra))
        return (await peer.expect_status(101)).header("Sec-WebSocket-Extensions")


def parameters_of(header: str | None) -> dict[str, str]:
    """The parameters of an accepted permessage-deflate; fails on one that RFC 7692 does not know."""
    assert header is not None
    name, *parameters = [part.strip() for part in header.split(";")]
    assert name == "permessage-deflate"
    known = {
        "server_no_context_takeover",
        "client_no_context_takeover",
        "server_max_window_bits",
        "client_max_window_bits",
    }
    pairs = dict(parameter.partition("=")[::2] for parameter in parameters)
    assert len(pairs) == len(parameters)
    assert set(pairs) <= known
    return pairs


# -- negotiation


@CHECKS.add()
async def it_is_off_by_default(stage: Stage) -> None:
    assert await negotiate(stage, OFFER) is None


@CHECKS.add()
async def it_is_off_where_nothing_is_offered(stage: Stage) -> None:
    assert await negotiate(stage, compress=True) is None


@CHECKS.add_each(
    {
        "the bare name": (OFFER,),
        "no context takeover, both": (OFFER + "; server_no_context_takeover; client_no_context_takeover",),
        "windows": (OFFER + "; server_max_window_bits=10; client_max_window_bits=10",),
        "a window left to us": (OFFER + "; client_max_window_bits",),
        "the smallest window of the client": (OFFER + "; client_max_window_bits=8",),
        "an unknown extension before it": ("Sec-WebSocket-Extensions: x-webkit-deflate-frame, permessage-deflate",),
        "spaces and none": ("Sec-WebSocket-Extensions:permessage-deflate ;  client_max_window_bits",),
    }
)
async def an_offer_is_taken_with(stage: Stage, offer: str) -> None:
    parameters_of(await negotiate(stage, offer, compress=True))


BAD_OFFERS = {
    "an unknown parameter": "bogus",
    "a repeated parameter": "server_no_context_takeover; server_no_context_takeover",
    "a repeated window": "client_max_window_bits; client_max_window_bits=10",
    "a server window without value": "server_max_window_bits",
    "a window of 7": "client_max_window_bits=7",
    "a window of 16": "server_max_window_bits=16",
    "a window with a leading zero": "server_max_window_bits=010",
    "a window that is no number": "client_max_window_bits=ten",
    "an empty window": "server_max_window_bits=",
    "a negative window": "client_max_window_bits=-9",
    "a value where none may be": "server_no_context_takeover=1",
    "a value where none may be, of the client": "client_no_context_takeover=true",
}


@CHECKS.add_each({name: (f"{OFFER}; {parameters}",) for name, parameters in BAD_OFFERS.items()}, Capability.OFFERS)
async def an_offer_is_skipped_with(stage: Stage, offer: str) -> None:
    assert await negotiate(stage, offer, compress=True) is None


@CHECKS.add_each({name: (f"{OFFER}; {parameters}",) for name, parameters in BAD_OFFERS.items()}, Capability.OFFERS)
async def the_next_offer_is_taken_after(stage: Stage, offer: str) -> None:
    header = await negotiate(stage, f"{offer}, permessage-deflate; server_no_context_takeover", compress=True)
    assert "server_no_context_takeover" in parameters_of(header)


@CHECKS.add_each(
    {"a semicolon too many": (OFFER + ";",), "two equals signs": (OFFER + "; client_max_window_bits==9",)},
    Capability.OFFERS,
)
async def a_malformed_offer_is_never_an_error(stage: Stage, offer: str) -> None:
    assert await negotiate(stage, offer, compress=True) is None


@CHECKS.add(Capability.OFFERS)
async def the_first_acceptable_offer_wins(stage: Stage) -> None:
    offers = f"{OFFER}; server_max_window_bits=9, permessage-deflate; server_max_window_bits=11"
    assert parameters_of(await negotiate(stage, offers, compress=True))["server_max_window_bits"] == "9"


@CHECKS.add(Capability.OFFERS)
async def offers_may_be_spread_over_headers(stage: Stage) -> None:
    header = await negotiate(stage, OFFER + "; bogus", OFFER + "; server_max_window_bits=9", compress=True)
    assert parameters_of(header)["server_max_window_bits"] == "9"


@CHECKS.add(Capability.OFFERS)
async def the_clients_window_is_answered_only_where_it_was_offered(stage: Stage) -> None:
    assert "client_max_window_bits" not in parameters_of(await negotiate(stage, OFFER, compress=True))


@CHECKS.add(Capability.OFFERS)
async def the_answer_never_exceeds_what_the_client_asked_for(stage: Stage) -> None:
    offer = OFFER + "; server_max_window_bits=10; client_max_window_bits=9; server_no_context_takeover"
    parameters = parameters_of(await negotiate(stage, offer, compress=True))
    assert int(parameters["server_max_window_bits"]) <= 10
    assert int(parameters.get("client_max_window_bits", "9")) <= 9
    assert "server_no_context_takeover" in parameters


@CHECKS.add_each(
    {
        "a server window": (Deflate(server_max_window_bits=9), "server_max_window_bits", "9"),
        "a client window": (Deflate(client_max_window_bits=10), "client_max_window_bits", "10"),
        "no server takeover": (Deflate(server_no_context_takeover=True), "server_no_context_takeover", ""),
        "no client takeover": (Deflate(client_no_context_takeover=True), "client_no_context_takeover", ""),
    }
)
async def the_answer_tells_our_settings(stage: Stage, settings: Deflate, name: str, value: str) -> None:
    header = await negotiate(stage, OFFER + "; client_max_window_bits", compress=settings)
    assert parameters_of(header)[name] == value


# -- what the peer sends


@CHECKS.add_each(
    {
        "one frame": (frame(0xC1, HELLO), "Hello"),
        "fragments": (frame(0x41, HELLO[:3]) + frame(0x80, HELLO[3:]), "Hello"),
        "an empty fragment at the end": (frame(0x41, HELLO) + frame(0x80), "Hello"),
        "a block without compression": (frame(0xC1, b"\x00\x05\x00\xfa\xffHello\x00"), "Hello"),
        "a final block": (frame(0xC1, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), "Hello"),
        "two blocks": (frame(0xC1, b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), "Hello"),
        "binary": (frame(0xC2, HELLO), b"Hello"),
        "an empty message": (frame(0xC1, b"\x00"), ""),
        "a plain message": (text("Hello"), "Hello"),
    }
)
async def a_message_may_be(stage: Stage, sent: bytes, message: object) -> None:
    async with stage.open(Noting, OFFER, compress=True) as peer:
        await peer.send(sent)
        await stage.expect_notes(message)


@CHECKS.add()
async def the_window_is_kept_from_message_to_message(stage: Stage) -> None:
    async with stage.open(Noting, OFFER, compress=True) as peer:
        await peer.send(frame(0xC1, HELLO), text("plain"), frame(0xC1, b"\xf2\x00\x11\x00\x00"))
        await stage.expect_notes("Hello", "plain", "Hello")


@CHECKS.add()
async def messages_after_a_final_block_are_read(stage: Stage) -> None:
    async with stage.open(Noting, OFFER, compress=True) as peer:
        await peer.send(frame(0xC1, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), frame(0xC1, HELLO))
        await stage.expect_notes("Hello", "Hello")


@CHECKS.add()
async def control_frames_between_compressed_fragments_are_plain(stage: Stage) -> None:
    async with stage.open(Noting, OFFER, compress=True) as peer:
        await peer.send(frame(0x41, HELLO[:3]), ping(b"p"), frame(0x80, HELLO[3:]))
        await peer.expect(b"\x8a\x01p")


BOMB = zlib.compress(b"\0" * 4_000_000, 9, wbits=-15)


@CHECKS.add_each(
    {
        "broken data": (frame(0xC1, b"\xff\xff\xff"), b"\x03\xef", InvalidPayload),
        "broken data in a fragment": (frame(0x41, b"\xff\xff\xff"), b"\x03\xef", InvalidPayload),
        "text that inflates to no UTF-8": (frame(0xC1, b"\x00\x01\x00\xfe\xff\xff\x00"), b"\x03\xef", InvalidPayload),
        "RSV1 on a continuation": (frame(0x41, HELLO[:3]) + frame(0xC0, HELLO[3:]), b"\x03\xea", FrameError),
        "RSV1 on a ping": (frame(0xC9), b"\x03\xea", FrameError),
        "RSV1 on a close": (frame(0xC8), b"\x03\xea", FrameError),
        "RSV2": (frame(0xE1, HELLO), b"\x03\xea", FrameError),
        "a bomb": (frame(0xC2, BOMB + b"\x00"), b"\x03\xf1", MessageTooBig),
        "a bomb in an unfinished message": (frame(0x42, BOMB), b"\x03\xf1", MessageTooBig),
    }
)
async def a_fault_is(stage: Stage, sent: bytes, code: bytes, kind: Any) -> None:
    async with stage.open(Witness, OFFER, compress=True) as peer:
        await peer.send(sent)
        await peer.expect(b"\x88\x02", code)
        await peer.expect_end()
        await stage.expect_error(kind)


@CHECKS.add()
async def max_message_size_is_that_of_the_inflated_message(stage: Stage) -> None:
    async with stage.open(Noting, OFFER, compress=True, max_message_size=5) as peer:
        await peer.send(frame(0xC1, HELLO), frame(0xC1, b"\x00\x06\x00\xf9\xffHello!\x00"))
        await stage.expect_notes("Hello")
        await peer.expect(b"\x88\x02\x03\xf1")


# -- what we send


async def receive_inflated(peer: ScriptedPeer, inflater: Any) -> tuple[int, bytes]:
    """The next frame: its first byte, its payload inflated."""
    first, payload = await peer.receive_frame()
    return first, inflater.decompress(payload + b"\x00\x00\xff\xff")


@CHECKS.add()
async def every_data_message_is_compressed(stage: Stage) -> None:
    async with stage.open(Echo, OFFER, compress=True) as peer:
        inflater = zlib.decompressobj(wbits=-15)
        for sent, first, message in (
            (text("Hello"), 0xC1, b"Hello"),
            (binary(b"x" * 5000), 0xC2, b"x" * 5000),
            (text(""), 0xC1, b""),
            (frame(0xC1, HELLO), 0xC1, b"Hello"),
        ):
            await peer.send(sent)
            assert await receive_inflated(peer, inflater) == (first, message)


@CHECKS.add()
async def control_frames_are_never_compressed(stage: Stage) -> None:
    async with stage.open(Echo, OFFER, compress=True) as peer:
        await peer.send(ping(b"p" * 100), close(1000))
        await peer.expect(b"\x8a\x64", b"p" * 100, b"\x88\x02\x03\xe8")


@CHECKS.add_each({"forgotten when told so": (True,), "kept otherwise": (False,)})
async def our_window_is(stage: Stage, forgotten: bool) -> None:
    settings = Deflate(server_no_context_takeover=forgotten)
    async with stage.open(Echo, OFFER, compress=settings) as peer:
        message = bytes(range(200))
        await peer.send(binary(message), binary(message))
        first, again = await peer.receive_frame(), await peer.receive_frame()
        assert (first == again) is forgotten
        assert forgotten or len(again[1]) < len(first[1]) // 2


@CHECKS.add()
async def our_window_is_as_small_as_the_client_asked(stage: Stage) -> None:
    class Pushing(Witness):
        def init(self, args: Any) -> Any:
            return Push([MESSAGE, MESSAGE], 0)

    async with stage.open(Pushing, OFFER + "; server_max_window_bits=9", compress=True) as peer:
        inflater = zlib.decompressobj(wbits=-9)
        assert await receive_inflated(peer, inflater) == (0xC2, MESSAGE)
        assert await receive_inflated(peer, inflater) == (0xC2, MESSAGE)


MESSAGE = b"".join(number.to_bytes(2) for number in range(2000)) * 2
