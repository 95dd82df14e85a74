"""The mailbox: how other tasks talk to a connection.

In: whatever is sent into a Trio memory channel, from any task (or, through ``trio.from_thread``, any thread). Out:
items in the inbox, in order. The sending end is public and may be cloned and handed to anyone; this room has the
receiving end.

1. A full mailbox makes senders wait: at most ``size`` items wait in the channel and as many in the inbox.
2. When the connection ends the receiving end closes, and senders get ``trio.BrokenResourceError``. What had been
   sent and not handled is kept, for whoever asks.
3. When the application has closed every sending end, the connection lives on without a mailbox.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import trio

from .inbox import Inbox

__all__ = ["Mailbox", "close_mailbox", "move_sent", "open_mailbox", "receive_mailbox", "wait_handed_over"]


class Mailbox(NamedTuple):
    """Both ends of a connection's mailbox."""

    sender: trio.MemorySendChannel[Any]
    receiver: trio.MemoryReceiveChannel[Any]


def open_mailbox(size: int) -> Mailbox:
    """A mailbox in which ``size`` items can wait."""
    return Mailbox(*trio.open_memory_channel[Any](size))


def close_mailbox(receiver: trio.MemoryReceiveChannel[Any]) -> list[object]:
    """Let senders know that nobody receives any more.

    Returns:
        What had been sent and nobody has moved. A sender that still waits for room gets it now, as nothing can be
        taken out of the channel without letting the next one in; its item is here, too.
    """
    left: list[object] = []
    try:
        while True:
            left.append(receiver.receive_nowait())
    except (trio.WouldBlock, trio.EndOfChannel):
        receiver.close()
    return left


async def receive_mailbox(receiver: trio.MemoryReceiveChannel[Any], inbox: Inbox) -> None:
    """The mailbox task: move items into the inbox as they come, until every sender is closed.

    Cancelled: what it has not moved is lost with the connection.
    """
    _move_waiting(receiver, inbox)
    try:
        inbox.expects_info = True
        async for item in receiver:
            inbox.expects_info = False
            inbox.put_info(item)
            _move_waiting(receiver, inbox)
            await inbox.wait_info_room()
            inbox.expects_info = True
    finally:
        inbox.expects_info = False


async def wait_handed_over(receiver: trio.MemoryReceiveChannel[Any], inbox: Inbox) -> None:
    """Wait until no item is on its way from the channel to the inbox, in the hands of the mailbox task.

    Checkpoint: if there is one. Cancelled: not noticed; it takes a turn or two of the scheduler.
    """
    while inbox.expects_info and not receiver.statistics().tasks_waiting_receive:
        await trio.lowlevel.cancel_shielded_checkpoint()


def move_sent(receiver: trio.MemoryReceiveChannel[Any], inbox: Inbox) -> None:
    """Move what has been sent, room or not: what comes next is the peer's end, and must not overtake it.

    Right after :func:`wait_handed_over`, or it would overtake an item that was sent before it.
    """
    for _ in range(receiver.statistics().current_buffer_used):
        inbox.put_info(receiver.receive_nowait())


def _move_waiting(receiver: trio.MemoryReceiveChannel[Any], inbox: Inbox) -> None:
    """Move at once what was sent together, lest frames that arrive next overtake it.

    It is all moved before any of it is handled: what a callback sends to its own mailbox waits for another turn, or it
    could go on for ever without one.
    """
    items: list[object] = []
    try:
        while len(items) < inbox.info_room:
            items.append(receiver.receive_nowait())
    except (trio.WouldBlock, trio.EndOfChannel):
        pass
    if items:
        inbox.put_infos(items)
