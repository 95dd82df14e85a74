"""Broadcasting: one item for many mailboxes, as if it had been sent to each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from trio_websock import NORMAL, Ok, Push, Stop, broadcast, current_connection
from trio_websock.testing.connection import open_test_connection


class Member:
    """Pushes whatever is sent to it."""

    def init(self, args):
        return Ok(None)

    def handle_in(self, message, state):
        return Push(f"in {message}", state)

    def handle_info(self, info, state):
        return Push(str(info), state)


class Slow(Member):
    """Does the same, but may have to wait."""

    async def handle_info(self, info, state):
        await trio.lowlevel.checkpoint()
        return Push(str(info), state)


both = pytest.mark.parametrize("handler", [Member, Slow], ids=["without await", "with await"])


@asynccontextmanager
async def members(count, handler=Member, **options):
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_test_connection(handler, **options)) for _ in range(count)]


def connections_of(peers):
    return [peer.connection for peer in peers]


async def settle(peers):
    for peer in peers:
        await peer.settle()


@both
async def test_everybody_gets_it(handler, autojump_clock):
    async with members(3, handler) as peers:
        assert broadcast(connections_of(peers), "news") == []
        await settle(peers)
        assert [peer.received() for peer in peers] == [["news"]] * 3


async def test_a_large_round_reaches_everybody(autojump_clock):
    async with members(600) as peers:
        broadcast(connections_of(peers), "news")
        await settle(peers)
        assert all(peer.received() == ["news"] for peer in peers)


async def test_no_callback_runs_before_it_returns(autojump_clock):
    async with members(2) as peers:
        broadcast(connections_of(peers), "news")
        assert [peer.received() for peer in peers] == [[], []]


@both
async def test_it_keeps_its_place_among_what_is_sent_to_the_mailbox(handler, autojump_clock):
    async with members(1, handler) as (peer,):
        connection = peer.connection
        for number in range(9):
            if number % 3:
                connection.mailbox.send_nowait(number)
            else:
                broadcast([connection], number)
        await peer.settle()
        assert peer.received() == [str(number) for number in range(9)]


async def test_it_does_not_overtake_the_one_item_that_the_mailbox_task_has_in_its_hands(autojump_clock):
    async with members(1) as (peer,):
        await trio.testing.wait_all_tasks_blocked()
        mailbox = peer.connection.mailbox
        await trio.testing.wait_all_tasks_blocked()
        mailbox.send_nowait(1)
        broadcast([peer.connection], 2)
        await peer.settle()
        assert peer.received() == ["1", "2"]


async def test_messages_that_arrive_later_do_not_overtake_it(autojump_clock):
    async with members(1) as (peer,):
        broadcast([peer.connection], "news")
        await peer.send("x")
        assert peer.received() == ["news", "in x"]


@both
async def test_a_member_may_tell_everybody_itself_included(handler, autojump_clock):
    room = []

    class Talker(handler):
        def handle_in(self, message, state):
            broadcast(room, message)
            return Push("told", state)

    async with members(2, Talker) as peers:
        room += connections_of(peers)
        await peers[0].send("hello")
        await settle(peers)
        assert [peer.received() for peer in peers] == [["told", "hello"], ["hello"]]


async def test_who_has_no_room_is_returned_and_the_others_get_it(autojump_clock):
    async with members(2, mailbox_size=1) as peers:
        full, free = connections_of(peers)
        assert broadcast([full], 1) == []
        assert broadcast([full, free], 2) == [full]
        await settle(peers)
        assert [peer.received() for peer in peers] == [["1"], ["2"]]


async def test_the_channel_of_the_mailbox_is_room_too(autojump_clock):
    async with members(1, mailbox_size=2) as (peer,):
        assert peer.connection.mailbox
        missed = [broadcast([peer.connection], number) for number in range(6)]
        await peer.settle()
        assert peer.received() == [str(number) for number in range(6) if not missed[number]]
        assert missed.count([]) == 4


async def test_who_has_ended_is_returned(autojump_clock):
    async with members(1) as (peer,):
        await peer.close()
        await peer.wait_ended()
        assert broadcast([peer.connection], "late") == [peer.connection]


async def test_who_has_closed_its_mailbox_is_returned(autojump_clock):
    async with members(1) as (peer,):
        peer.connection.mailbox.close()
        assert broadcast([peer.connection], "news") == [peer.connection]


async def test_what_was_sent_and_not_handled_is_listed(autojump_clock):
    class Leaver(Member):
        def handle_info(self, info, state):
            return Stop(NORMAL, state)

    async with members(1, Leaver) as (peer,):
        for info in ("last", "too late", "later still"):
            broadcast([peer.connection], info)
        await peer.wait_ended()
        assert peer.connection.unhandled == ("too late", "later still")


async def test_failure_of_one_member_is_its_own(autojump_clock, caplog):
    class Choosy(Member):
        def handle_info(self, info, state):
            if current_connection() is chosen:
                raise ValueError(info)
            return Push(info, state)

    async with members(3, Choosy, raise_handler_errors=False) as peers:
        chosen = peers[1].connection
        broadcast(connections_of(peers), "news")
        await settle(peers)
        assert [peer.close_sent for peer in peers] == [None, (1011, ""), None]
        assert [peers[0].received(), peers[2].received()] == [["news"], ["news"]]
    assert [record.exc_info[0] for record in caplog.records] == [ValueError]


async def test_scope_that_a_callback_leaves_open_and_cancels_costs_no_other_member_its_broadcasts(autojump_clock):
    scope = trio.CancelScope()

    class Careless(Member):
        def handle_info(self, info, state):
            if current_connection() is chosen and info == "first":
                scope.__enter__()
                scope.cancel()
            return Push(info, state)

    async with members(2, Careless) as peers:
        chosen = peers[0].connection
        for info in ("first", "second"):
            broadcast(connections_of(peers), info)
            await settle(peers)
        assert [peer.received() for peer in peers] == [["first", "second"]] * 2


async def test_members_that_tell_each_other_for_ever_leave_the_others_their_turn(autojump_clock):
    class Echoing(Member):
        def handle_info(self, info, state):
            broadcast([current_connection()], info + 1)
            return Ok(info)

    async with members(1, Echoing) as (peer,):
        broadcast([peer.connection], 0)
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        peer.connection.nursery.cancel_scope.cancel()


@pytest.mark.parametrize("wrong", ["mailbox", None, 5])
async def test_what_is_no_connection_is_refused_before_anything_is_sent(wrong, autojump_clock):
    async with members(1) as (peer,):
        with pytest.raises(TypeError, match=r"is no connection: broadcast\(\) takes those of current_connection\(\)"):
            broadcast([peer.connection, peer.connection.mailbox if wrong == "mailbox" else wrong], "news")
        await peer.settle()
        assert peer.received() == []


async def test_another_thread_is_told_so_and_nothing_is_sent(autojump_clock):
    async with members(1) as (peer,):
        with pytest.raises(RuntimeError):
            await trio.to_thread.run_sync(call_without_trio, peer.connection)
        await peer.settle()
        assert peer.received() == []


def call_without_trio(connection):
    with ThreadPoolExecutor() as pool:  # a thread that Trio knows nothing of
        pool.submit(broadcast, [connection], "news").result()
