"""A reader that leaves is not pushed; nothing that begins meanwhile may hold the connection."""

from __future__ import annotations

import importlib
from contextlib import suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock import Ok, StateError, current_connection, serve_stream

visitors = importlib.import_module("visitors")
UPGRADE, TEXT, CLOSE = visitors.UPGRADE, visitors.TEXT, visitors.CLOSE


class Waiting:
    def init(self, args):
        Waiting.connection = current_connection()
        return Ok(None)

    async def handle_in(self, message, state):
        await current_connection().closing.wait()
        return Ok(None)


async def open_waiting(nursery):
    ours, theirs = trio.socket.socketpair()
    nursery.start_soon(serve_stream, trio.SocketStream(ours), Waiting)
    await theirs.send(UPGRADE)
    await theirs.recv(4096)
    return theirs, Waiting.connection


async def test_a_task_that_is_still_being_started_in_the_nursery_does_not_outlive_the_connection(nursery):
    peer, connection = await open_waiting(nursery)
    may_start = trio.Event()

    async def start_slowly(task_status):
        await may_start.wait()
        task_status.started()
        await trio.sleep_forever()

    async def start_there():
        await connection.nursery.start(start_slowly)

    nursery.start_soon(start_there)
    await wait_all_tasks_blocked(0.01)
    await peer.send(CLOSE)
    await connection.closing.wait()
    await wait_all_tasks_blocked(0.01)
    may_start.set()
    with trio.fail_after(5):
        await connection.wait_ended()
    peer.close()


def ask_for_the_mailbox(connection):
    return connection.mailbox


def start_a_task(connection):
    with suppress(StateError):  # the nursery is gone already
        connection.nursery.start_soon(trio.sleep_forever)


@pytest.mark.parametrize("begin", [ask_for_the_mailbox, start_a_task])
async def test_what_is_first_begun_while_the_connection_ends_does_not_hold_it(begin, nursery):
    async def begin_at_the_end(connection):
        await connection.closing.wait()
        begin(connection)

    for _ in range(40):  # who goes first of all that the end wakes is Trio's choice
        peer, connection = await open_waiting(nursery)
        nursery.start_soon(begin_at_the_end, connection)
        await peer.send(TEXT)
        await wait_all_tasks_blocked(0.01)
        await peer.send(CLOSE)
        with trio.fail_after(5):
            await connection.wait_ended()
        peer.close()
