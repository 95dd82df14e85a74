"""A handler on one connection of a client: nothing of it changes, and its last state is kept."""

from __future__ import annotations

import pytest
import trio

from trio_websock import Handler, Normal, Ok, Ping
from trio_websock.behaviour.handler import bind_handler
from trio_websock.client.forwarding import Forwarded, Forwarding
from trio_websock.client.tenancy import Tenancy
from trio_websock.connection import Connection
from trio_websock.options import Options
from trio_websock.testing.memory_transport import MemoryTransport


class Counter(Handler):
    def init(self, start):
        return Ok(start)

    def handle_in(self, message, count):
        return Ok(count + 1)

    def handle_info(self, info, count):
        return Ok((info, count))


class Watcher(Counter):
    def handle_control(self, frame, count):
        return Ok(frame)

    def terminate(self, reason, count):
        return f"{reason} {count}"


@pytest.fixture
async def connection(nursery):
    """A connection that is running, as far as its nursery goes."""
    connection = Connection(MemoryTransport(), Options())
    connection._nursery = nursery
    yield connection
    nursery.cancel_scope.cancel()


def tenancy_of(handler):
    return Tenancy(bind_handler(handler), Forwarding(1))


async def test_callbacks_are_the_handler_s(connection):
    bound = tenancy_of(Watcher).bind(connection)
    callbacks = bound.open()
    assert bound.name == "Watcher"
    assert callbacks.init(1) == Ok(1)
    assert callbacks.handle_in("x", 1) == Ok(2)
    assert callbacks.handle_control(Ping(), 1) == Ok(Ping())
    assert callbacks.terminate(Normal(), 1) == "Normal() 1"


async def test_what_the_handler_does_not_want_nobody_calls(connection):
    callbacks = tenancy_of(Counter).bind(connection).open()
    assert callbacks.handle_control is None
    assert callbacks.terminate(Normal(), 1) is None


async def test_items_come_without_their_mark(connection):
    callbacks = tenancy_of(Counter).bind(connection).open()
    assert callbacks.handle_info(Forwarded("x"), 1) == callbacks.handle_info("x", 1) == Ok(("x", 1))


async def test_the_last_state_is_kept(connection):
    tenancy = tenancy_of(Counter)
    callbacks = tenancy.bind(connection).open()
    assert (tenancy.state, tenancy.has_new_state) == (None, False)
    callbacks.terminate(Normal(), 7)
    assert (tenancy.state, tenancy.has_new_state) == (7, True)
    tenancy.bind(connection)
    assert (tenancy.state, tenancy.has_new_state) == (7, False)


async def test_forwarding_begins_with_init(connection):
    forwarding = Forwarding(1)
    forwarding.sender.send_nowait("x")
    Tenancy(bind_handler(Counter), forwarding).bind(connection).open().init(0)
    await trio.testing.wait_all_tasks_blocked()
    assert [forwarded.item for forwarded in connection._mailbox.close()] == ["x"]


async def test_every_connection_gets_an_instance_of_a_class(connection):
    tenancy = tenancy_of(Counter)
    first, second = (tenancy.bind(connection).open().handle_in for _ in range(2))
    assert first.__self__ is not second.__self__
