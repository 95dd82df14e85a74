"""The mailbox of a client: nothing is lost between two connections, and nothing comes twice."""

from __future__ import annotations

import pytest
import trio

from trio_websock.client.forwarding import Forwarded, Forwarding
from trio_websock.connection import Connection
from trio_websock.mailbox import open_mailbox
from trio_websock.options import Options
from trio_websock.testing.memory_transport import MemoryTransport


def drain(receiver):
    """The items that wait there, out of their marks."""
    items = []
    while receiver.statistics().current_buffer_used:
        items.append(receiver.receive_nowait().item)
    return items


async def test_what_is_sent_arrives_in_order(nursery):
    forwarding, mailbox = Forwarding(10), open_mailbox(10)
    for item in range(5):
        forwarding.sender.send_nowait(item)
    nursery.start_soon(forwarding.run, mailbox.sender.clone())
    await trio.testing.wait_all_tasks_blocked()
    assert drain(mailbox.receiver) == [0, 1, 2, 3, 4]
    nursery.cancel_scope.cancel()


async def test_it_ends_when_every_sender_is_closed():
    forwarding, mailbox = Forwarding(10), open_mailbox(10)
    forwarding.sender.send_nowait("x")
    forwarding.sender.close()
    await forwarding.run(mailbox.sender.clone())
    assert drain(mailbox.receiver) == ["x"]


@pytest.mark.parametrize("size", [1, 2, 5])
async def test_a_full_mailbox_keeps_the_rest_for_the_next(nursery, size):
    forwarding, first, second = Forwarding(10), open_mailbox(size), open_mailbox(10)
    for item in range(6):
        forwarding.sender.send_nowait(item)
    with trio.CancelScope() as scope:
        nursery.start_soon(cancel_when_idle, scope)
        await forwarding.run(first.sender.clone())
    nursery.start_soon(forwarding.run, second.sender.clone())
    await trio.testing.wait_all_tasks_blocked()
    assert (drain(first.receiver), drain(second.receiver)) == (list(range(size)), list(range(size, 6)))
    nursery.cancel_scope.cancel()


async def cancel_when_idle(scope):
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


async def test_what_a_connection_has_not_handled_comes_back_in_front(nursery):
    forwarding, mailbox = Forwarding(10), open_mailbox(10)
    connection = Connection(MemoryTransport(), Options())
    connection._unhandled = [Forwarded(1), "its own", Forwarded(2)]
    forwarding.sender.send_nowait(3)
    forwarding.take_back(connection)
    assert connection.unhandled == ("its own",)
    nursery.start_soon(forwarding.run, mailbox.sender.clone())
    await trio.testing.wait_all_tasks_blocked()
    assert drain(mailbox.receiver) == [1, 2, 3]
    nursery.cancel_scope.cancel()


async def test_closing_gives_what_is_left():
    forwarding = Forwarding(10)
    connection = Connection(MemoryTransport(), Options())
    connection._unhandled = [Forwarded(1)]
    forwarding.sender.send_nowait(2)
    forwarding.take_back(connection)
    assert forwarding.close() == (1, 2)
    with pytest.raises(trio.BrokenResourceError):
        forwarding.sender.send_nowait(3)
