"""The queue between three sources and one loop."""

from __future__ import annotations

from trio.testing import wait_all_tasks_blocked

from trio_websock import Ping, Shutdown, Timeout
from trio_websock.inbox import Inbox, Info


def make_inbox(messages=64, size=1000, infos=10):
    return Inbox(messages, size, infos)


def drain(inbox):
    items = []
    while inbox:
        items.append(inbox.pop())
    return items


def test_items_leave_in_order_of_arrival():
    inbox = make_inbox()
    inbox.put_arrivals(["a", b"b"])
    inbox.put_info(1)
    inbox.put_arrivals([Ping(b"")])
    assert drain(inbox) == ["a", b"b", Info(1), Ping(b"")]


def test_info_is_told_apart_from_a_message_of_the_same_value():
    inbox = make_inbox()
    inbox.put_info("a")
    assert type(inbox.pop()) is Info


async def test_put_wakes_the_waiting_loop(nursery):
    inbox = make_inbox()
    nursery.start_soon(inbox.loop.park)
    await wait_all_tasks_blocked()
    inbox.put_arrivals(["a"])
    await wait_all_tasks_blocked()
    assert not nursery.child_tasks


def test_room_shrinks_with_messages():
    inbox = make_inbox(messages=3)
    inbox.put_arrivals(["a", "b"])
    assert inbox.room == 1


def test_no_room_is_left_once_the_bytes_pass_their_bound():
    inbox = make_inbox(size=10)
    inbox.put_arrivals([b"123456789"])
    assert inbox.room
    inbox.put_arrivals(["x"])
    assert not inbox.room


async def test_reader_waits_until_every_arrival_has_been_taken(nursery):
    inbox = make_inbox(messages=2)
    inbox.put_arrivals(["a", "b"])
    inbox.put_info("not an arrival")
    nursery.start_soon(inbox.wait_room)
    await wait_all_tasks_blocked()
    inbox.pop()
    await wait_all_tasks_blocked()
    assert nursery.child_tasks
    inbox.pop()
    await wait_all_tasks_blocked()
    assert not nursery.child_tasks


async def test_mailbox_task_waits_while_its_items_fill_the_inbox(nursery):
    inbox = make_inbox(infos=1)
    inbox.put_info(1)
    assert inbox.info_room == 0
    nursery.start_soon(inbox.wait_info_room)
    await wait_all_tasks_blocked()
    assert nursery.child_tasks
    inbox.pop()
    await wait_all_tasks_blocked()
    assert not nursery.child_tasks


async def test_interruption_wakes_the_loop_without_an_item(nursery):
    inbox = make_inbox()
    nursery.start_soon(inbox.loop.park)
    await wait_all_tasks_blocked()
    inbox.interrupt(Shutdown())
    await wait_all_tasks_blocked()
    assert not nursery.child_tasks


def test_first_interruption_counts():
    inbox = make_inbox()
    inbox.interrupt(Shutdown())
    inbox.interrupt(Timeout())
    assert inbox.interruption == Shutdown()


def test_closed_inbox_drops_arrivals_that_wait_and_that_come():
    inbox = make_inbox()
    inbox.put_arrivals(["early"])
    inbox.close()
    inbox.put_arrivals(["late"])
    assert not inbox
    assert inbox.room == 64


def test_closed_inbox_hands_back_every_mailbox_item():
    inbox = make_inbox()
    inbox.put_info("early")
    assert inbox.close() == ["early"]
    inbox.put_info("late")
    assert inbox.close() == ["late"]
    assert inbox.close() == []


async def test_closing_frees_a_waiting_reader(nursery):
    inbox = make_inbox(messages=1)
    inbox.put_arrivals(["a"])
    nursery.start_soon(inbox.wait_room)
    await wait_all_tasks_blocked()
    inbox.close()
    await wait_all_tasks_blocked()
    assert not nursery.child_tasks


def test_received_counts_every_arrival():
    inbox = make_inbox()
    inbox.put_arrivals(["a", Ping(b"")])
    assert inbox.received == 2


async def test_reader_waits_although_an_end_came_beyond_what_may_wait(nursery):
    inbox = make_inbox(messages=1)
    inbox.put_arrivals(["a"])
    inbox.put_arrivals([Timeout()])
    nursery.start_soon(inbox.wait_room)
    await wait_all_tasks_blocked()
    assert nursery.child_tasks
    assert inbox.room == 0
    assert drain(inbox) == ["a", Timeout()]


def test_stand_in_deals_with_what_is_put_and_the_queue_stays_empty():
    inbox, dealt_with = make_inbox(), []
    inbox.stand_in = dealt_with.extend
    inbox.put_arrivals(["a", "b"])
    assert dealt_with == ["a", "b"]
    assert not inbox


def test_what_the_stand_in_leaves_is_queued_and_counted():
    inbox = make_inbox(messages=3)
    inbox.stand_in = next
    inbox.put_arrivals(["a", "b", "c"])
    assert inbox.room == 2  # "b" was left first, and dealt with when the queue was served
    assert drain(inbox) == ["c"]


def test_what_was_posted_is_dealt_with_before_what_is_put_later():
    inbox, dealt_with = make_inbox(), []
    inbox.stand_in = dealt_with.extend
    inbox.post_info(1)
    inbox.put_arrivals(["a"])
    assert dealt_with == [Info(1), "a"]


def test_what_was_posted_waits_to_be_served():
    inbox, dealt_with = make_inbox(), []
    inbox.stand_in = dealt_with.extend
    inbox.post_info(1)
    assert not dealt_with
    inbox.serve()
    assert dealt_with == [Info(1)]


def test_what_was_posted_takes_room():
    inbox = make_inbox(infos=1)
    inbox.post_info(1)
    assert not inbox.info_room


def test_what_was_posted_and_not_served_is_returned_at_the_end():
    inbox = make_inbox()
    inbox.post_info(1)
    assert inbox.close() == [1]
