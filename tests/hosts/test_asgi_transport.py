"""The transport over ASGI's events, with a server in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from trio_websock import ConnectionLost, Error, MessageTooBig, Remote, StateError
from trio_websock.codes import Opcode
from trio_websock.hosts.asgi_crew import carry_on_trio
from trio_websock.hosts.asgi_exchange import SEND_SIZE, open_exchange
from trio_websock.hosts.asgi_hop import Event
from trio_websock.hosts.asgi_transport import AsgiTransport


@asynccontextmanager
async def opened(*came: Event, max_message_size: int | None = 10) -> AsyncIterator[tuple[AsgiTransport, list[Event]]]:
    """A transport whose server has told ``came``, and what it is given to send."""
    tell, told = trio.open_memory_channel[Event](100)
    sent: list[Event] = []

    async def send(event: Event) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(event)

    carrier = open_exchange(told.receive, send, lambda call: call(), lambda call: call())
    for event in came:
        tell.send_nowait(event)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry_on_trio, carrier, trio.lowlevel.checkpoint)
        await trio.testing.wait_all_tasks_blocked()
        yield AsgiTransport(carrier.exchange, max_message_size, "chat", "peer:1"), sent
        carrier.exchange.abort()


def text(words: str) -> Event:
    return {"type": "websocket.receive", "text": words, "bytes": None}


def binary(data: bytes) -> Event:
    return {"type": "websocket.receive", "bytes": data}


def gone(**facts: Any) -> Event:
    return {"type": "websocket.disconnect", **facts}


async def test_messages_come_in_a_batch_of_what_is_asked_for() -> None:
    async with opened(text("a"), binary(b"b"), text("")) as (transport, _):
        assert await transport.receive(2) == ["a", b"b"]
        assert transport.receive_nowait(2) == [""]
        assert transport.received_size == 8


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (gone(code=1000), Remote(1000, "")),
        (gone(code=3000, reason="enough"), Remote(3000, "enough")),
        (gone(code=1001, reason=None), Remote(1001, "")),
        (gone(code=1005), Remote(None, "")),
        (gone(), Remote(None, "")),
    ],
    ids=str,
)
async def test_a_close_of_the_peers_is_told_as_the_server_tells_it(event: Event, reason: Remote) -> None:
    async with opened(text("a"), event, text("b")) as (transport, _):
        assert await transport.receive(64) == ["a", reason]


async def test_1006_is_a_lost_connection() -> None:
    async with opened(gone(code=1006)) as (transport, _):
        (reason,) = await transport.receive(64)
        assert isinstance(reason, Error)
        assert isinstance(reason.cause, ConnectionLost)


@pytest.mark.parametrize("event", [text("x" * 11), text("ä" * 6), binary(b"x" * 11)], ids=["text", "umlauts", "bytes"])
async def test_a_message_over_the_limit_is_an_error(event: Event) -> None:
    async with opened(event) as (transport, _):
        (reason,) = await transport.receive(64)
        assert isinstance(reason, Error)
        assert isinstance(reason.cause, MessageTooBig)


async def test_without_a_limit_every_message_passes() -> None:
    async with opened(text("x" * 100_000), max_message_size=None) as (transport, _):
        assert await transport.receive(64) == ["x" * 100_000]


async def test_messages_are_sent_by_their_kind() -> None:
    async with opened() as (transport, sent):
        transport.send_nowait((Opcode.TEXT, "ä".encode()))
        transport.send_nowait((Opcode.BINARY, b"\xff"))
        assert transport.unsent_size > 0
        assert transport.flush_nowait()
        await trio.testing.wait_all_tasks_blocked()
        assert sent == [{"type": "websocket.send", "text": "ä"}, {"type": "websocket.send", "bytes": b"\xff"}]


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG])
async def test_a_control_frame_cannot_be_sent(opcode: Opcode) -> None:
    async with opened() as (transport, _):
        with pytest.raises(StateError, match=opcode.name.lower()):
            transport.send_nowait((opcode, b""))


async def test_a_large_message_counts_until_the_server_has_sent_it() -> None:
    async with opened() as (transport, _):
        transport.send_nowait((Opcode.BINARY, b"x" * 2 * SEND_SIZE))
        assert not transport.flush_nowait()
        transport.send_nowait((Opcode.TEXT, b"more"))
        assert not transport.flush_nowait()
        await transport.flush_some()
        assert transport.flush_nowait()


@pytest.mark.parametrize(("code", "sent_code"), [(1001, 1001), (None, 1000)])
async def test_the_close_is_the_last_event_and_counts_until_it_has_been_sent(code: int | None, sent_code: int) -> None:
    async with opened() as (transport, sent):
        transport.send_close_nowait(code, b"bye")
        transport.send_close_nowait(1011, b"")
        transport.send_nowait((Opcode.TEXT, b"too late"))
        assert not transport.flush_nowait()
        await transport.flush_some()
        assert transport.flush_nowait()
        assert sent == [{"type": "websocket.close", "code": sent_code, "reason": "bye"}]


async def test_the_servers_answer_to_a_close_is_not_sent_again() -> None:
    async with opened(gone(code=1000)) as (transport, sent):
        await transport.receive(1)
        transport.send_close_nowait(1000, b"")
        await trio.testing.wait_all_tasks_blocked()
        assert transport.flush_nowait()
        assert sent == []


async def test_waiting_for_the_close_throws_away_what_comes_before_it() -> None:
    async with opened(text("a"), text("b"), gone(code=1000)) as (transport, _):
        await transport.wait_closed()
        await transport.wait_closed()
        transport.send_eof_nowait()
        assert transport.receive_nowait(64) == []


async def test_nothing_can_be_sent_behind_an_abort() -> None:
    async with opened() as (transport, sent):
        transport.abort()
        transport.send_nowait((Opcode.TEXT, b"a"))
        with pytest.raises(ConnectionLost):
            await transport.flush_some()
        assert sent == []


async def test_what_was_queued_is_sent_before_it_is_given_back() -> None:
    async with opened() as (transport, sent):
        transport.send_nowait((Opcode.TEXT, b"a"))
        await transport.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert sent == [{"type": "websocket.send", "text": "a"}]
