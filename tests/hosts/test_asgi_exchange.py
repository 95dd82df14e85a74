"""ASGI events on their way between two loops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from trio_websock import ConnectionLost
from trio_websock.hosts.asgi_crew import carry_on_trio
from trio_websock.hosts.asgi_exchange import READ_SIZE, SEND_SIZE, Exchange, open_exchange
from trio_websock.hosts.asgi_hop import Event


class Server:
    """What an ASGI server gives its application, in memory."""

    def __init__(self) -> None:
        self.tell, self._told = trio.open_memory_channel[Event](1000)
        self.sent: list[Event] = []
        self.gate = trio.Event()
        self.gate.set()
        self.fault: Exception | None = None

    async def receive(self) -> Event:
        return await self._told.receive()

    async def send(self, event: Event) -> None:
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        self.sent.append(event)


def text(words: str) -> Event:
    return {"type": "websocket.receive", "text": words}


@asynccontextmanager
async def carried(server: Server) -> AsyncIterator[Exchange]:
    """An exchange with its carrier running in the same loop."""
    carrier = open_exchange(server.receive, server.send, lambda call: call(), lambda call: call())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry_on_trio, carrier, trio.lowlevel.checkpoint)
        await trio.testing.wait_all_tasks_blocked()
        yield carrier.exchange
        carrier.exchange.end()


async def test_events_come_in_order(autojump_clock: object) -> None:
    server = Server()
    async with carried(server) as exchange:
        for words in "abc":
            await server.tell.send(text(words))
        await trio.testing.wait_all_tasks_blocked()
        await exchange.wait_event()
        assert [exchange.pop()["text"] for _ in range(3)] == ["a", "b", "c"]
        assert not exchange.has_events


async def test_what_nobody_takes_is_bounded(autojump_clock: object) -> None:
    server = Server()
    async with carried(server) as exchange:
        for _ in range(20):
            server.tell.send_nowait(text("x" * (READ_SIZE // 8)))
        await trio.testing.wait_all_tasks_blocked()
        waiting = server.tell.statistics().current_buffer_used
        assert 10 <= waiting < 20
        while exchange.has_events:
            exchange.pop()
            await trio.testing.wait_all_tasks_blocked()
        assert server.tell.statistics().current_buffer_used == 0


async def test_what_is_sent_goes_out_in_order_and_counts_until_it_has_gone(autojump_clock: object) -> None:
    server = Server()
    server.gate = trio.Event()
    async with carried(server) as exchange:
        exchange.send_nowait({"type": "websocket.send", "text": "a"})
        exchange.send_nowait({"type": "websocket.send", "text": "b"})
        assert exchange.queued_size > 0
        assert exchange.flush_nowait()
        assert exchange.queued_size == 0
        assert exchange.unsent_size > 0
        server.gate.set()
        await exchange.wait_sent()
        assert exchange.unsent_size == 0
        assert [event["text"] for event in server.sent] == ["a", "b"]


async def test_what_counts_is_what_was_handed_over_whatever_middleware_makes_of_it(autojump_clock: object) -> None:
    server = Server()

    async def compress(event: Event) -> None:  # in place, as Starlette's GZipMiddleware does
        event["body"] = b""

    carrier = open_exchange(server.receive, compress, lambda call: call(), lambda call: call())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry_on_trio, carrier, trio.lowlevel.checkpoint)
        carrier.exchange.send_nowait({"type": "http.response.body", "body": b"x" * 100})
        with trio.fail_after(1):
            await carrier.exchange.wait_sent()
        carrier.exchange.end()


async def test_a_server_that_does_not_send_is_given_no_more(autojump_clock: object) -> None:
    server = Server()
    server.gate = trio.Event()
    async with carried(server) as exchange:
        exchange.send_nowait({"type": "websocket.send", "bytes": b"x" * SEND_SIZE})
        assert exchange.flush_nowait()
        exchange.send_nowait({"type": "websocket.send", "text": "more"})
        assert not exchange.flush_nowait()
        server.gate.set()
        await exchange.wait_progress()
        assert exchange.flush_nowait()


async def test_a_send_that_fails_is_a_lost_connection(autojump_clock: object) -> None:
    server = Server()
    server.fault = OSError("gone")
    async with carried(server) as exchange:
        exchange.send_nowait(text("a"))
        with pytest.raises(ConnectionLost):
            await exchange.wait_sent()
        exchange.send_nowait(text("b"))
        assert exchange.queued_size == 0


async def test_a_receive_that_fails_is_the_end(autojump_clock: object) -> None:
    async def receive() -> Event:
        raise RuntimeError("called too often")

    server = Server()
    server.receive = receive  # type: ignore[method-assign]  # the server of this test
    async with carried(server) as exchange:
        await exchange.wait_event()
        assert exchange.pop() == {"type": "websocket.disconnect", "code": 1006}


async def test_the_end_waits_for_what_was_sent(autojump_clock: object) -> None:
    server = Server()
    server.gate = trio.Event()
    async with carried(server) as exchange:
        exchange.send_nowait(text("last words"))
        exchange.end()
        exchange.send_nowait(text("too late"))
        await trio.testing.wait_all_tasks_blocked()
        server.gate.set()
    assert server.sent == [text("last words")]


async def test_an_abort_waits_for_nothing(autojump_clock: object) -> None:
    server = Server()
    server.gate = trio.Event()
    async with carried(server) as exchange:
        exchange.send_nowait(text("never sent"))
        exchange.flush_nowait()
        exchange.abort()
        exchange.abort()
    assert server.sent == []


@pytest.mark.parametrize("farewell", [{"type": "websocket.close", "code": 1011}, None], ids=["a close", "nothing"])
async def test_a_carrier_that_lost_trio_says_farewell(autojump_clock: object, farewell: Any) -> None:
    server = Server()
    carrier = open_exchange(server.receive, server.send, lambda call: call(), lambda call: call())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry_on_trio, carrier, trio.lowlevel.checkpoint)
        carrier.give_up(farewell)
        carrier.give_up(farewell)
    assert server.sent == [event for event in [farewell] if event]


async def test_a_channel_of_trios_is_read_without_a_task_in_between(autojump_clock: object) -> None:
    tell, told = trio.open_memory_channel[Event](10)
    server = Server()
    carrier = open_exchange(told.receive, server.send, lambda call: call(), lambda call: call())
    tell.send_nowait(text("a"))
    tell.send_nowait(text("b"))
    with trio.move_on_after(0):
        await carrier.exchange.wait_event()
    await carrier.exchange.wait_event()
    assert [carrier.exchange.pop()["text"], carrier.exchange.pop()["text"]] == ["a", "b"]
    tell.close()
    await carrier.exchange.wait_event()
    assert carrier.exchange.pop() == {"type": "websocket.disconnect", "code": 1006}


async def test_the_method_of_anything_else_is_read_by_the_carrier() -> None:
    _, told = trio.open_memory_channel[Event](10)
    for receive in (told.aclose, told.receive_nowait, Server().receive):
        assert open_exchange(receive, Server().send, print, print).source is None  # type: ignore[arg-type]
