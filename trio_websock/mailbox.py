"""The mailbox: how other tasks talk to a connection.

In: whatever is sent into a Trio memory channel, from any task (or, through ``trio.from_thread``, any thread). Out:
items in the inbox, in order. The sending end is public and may be cloned and handed to anyone; this room has the
receiving end.

1. A full mailbox makes senders wait: at most ``size`` items wait in the channel and as many in the inbox.
2. When the connection ends the receiving end closes, and senders get ``trio.BrokenResourceError``. What had been
   sent and not handled is kept, for whoever asks.
3. When the application has closed every sending end, the connection lives on without a mailbox.
4. Channel and task are there from the moment somebody asks for the sending end, in whatever thread: a connection whose
   mailbox nobody wants pays for neither.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any, NamedTuple, final

import trio

from .inbox import Inbox

__all__ = ["Mailbox", "MailboxEnds", "close_mailbox", "open_mailbox"]


class MailboxEnds(NamedTuple):
    """Both ends of a mailbox's channel."""

    sender: trio.MemorySendChannel[Any]
    receiver: trio.MemoryReceiveChannel[Any]


def open_mailbox(size: int) -> MailboxEnds:
    """A channel in which ``size`` items can wait."""
    return MailboxEnds(*trio.open_memory_channel[Any](size))


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


_opening = threading.Lock()  # two threads may ask for the same sending end first


@final
class Mailbox:
    """The mailbox of one connection; see the module.

    Args:
        size: items that can wait in the channel.
        inbox: where they go.
    """

    __slots__ = ("_ends", "_has_begun", "_inbox", "_is_closed", "_is_started", "_nursery", "_size", "_token")

    def __init__(self, size: int, inbox: Inbox) -> None:
        self._size = size
        self._inbox = inbox
        self._ends: MailboxEnds | None = None
        self._nursery: trio.Nursery | None = None
        self._token: trio.lowlevel.TrioToken  # of the run that the nursery is in
        self._is_started = False
        self._has_begun = False  # the task, which has been started
        self._is_closed = False

    @property
    def sender(self) -> trio.MemorySendChannel[Any]:
        """The sending end; opens the mailbox. In any thread."""
        if self._ends is None:
            with _opening:
                if self._ends is None:
                    self._ends = open_mailbox(self._size)
            self._start()
            if self._is_closed:
                self._ends.receiver.close()
        return self._ends.sender

    def start(self, nursery: trio.Nursery) -> None:
        """The connection runs: items move to the inbox from now on, in a task of ``nursery``."""
        self._token = trio.lowlevel.current_trio_token()
        self._nursery = nursery
        self._start()

    def _start(self) -> None:
        if self._ends is None or self._nursery is None or self._is_closed or self._is_started:
            return
        if not self._is_at_home():
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._start)
            return
        self._is_started = True
        with suppress(RuntimeError):  # all its tasks have ended already; the mailbox is about to be closed
            self._nursery.start_soon(self._receive, self._ends.receiver)
            self._inbox.expects_info = True  # what is sent before the task begins is on its way already

    def _is_at_home(self) -> bool:
        """Whether this is the thread, and the Trio run, of the connection."""
        try:
            return trio.lowlevel.current_trio_token() is self._token
        except RuntimeError:  # there is no Trio run here
            return False

    def close(self) -> list[object]:
        """Nothing is received any more. A second call does nothing.

        Returns:
            What had been sent and nobody has moved.
        """
        was_closed, self._is_closed = self._is_closed, True
        return [] if was_closed or self._ends is None else close_mailbox(self._ends.receiver)

    def post_nowait(self, item: object) -> bool:
        """Send ``item`` past the channel, if nothing waits there, into the inbox; whether it could be sent.

        Whoever posts calls :meth:`Inbox.serve`, soon.
        """
        if self._is_closed:
            return False
        has_room = self._inbox.info_room > 0
        if self._ends is not None:
            channel = self._ends.sender.statistics()
            is_behind = channel.current_buffer_used or self._is_handing_over(channel)
            if is_behind or not has_room or not channel.open_send_channels:
                return self._send_nowait(item)
        if has_room:
            self._inbox.post_info(item)
        return has_room

    def _send_nowait(self, item: object) -> bool:
        assert self._ends is not None
        try:
            self._ends.sender.send_nowait(item)
        except (trio.WouldBlock, trio.ClosedResourceError, trio.BrokenResourceError):
            return False
        return True

    async def _receive(self, receiver: trio.MemoryReceiveChannel[Any]) -> None:
        """The mailbox task: move items into the inbox as they come, until every sender is closed."""
        inbox = self._inbox
        self._has_begun = True
        self._move_waiting(receiver)
        try:
            inbox.expects_info = True
            async for item in receiver:
                inbox.expects_info = False
                inbox.put_info(item)
                self._move_waiting(receiver)
                await inbox.wait_info_room()
                inbox.expects_info = True
        finally:
            inbox.expects_info = False

    def _move_waiting(self, receiver: trio.MemoryReceiveChannel[Any]) -> None:
        """Move at once what was sent together, lest frames that arrive next overtake it.

        It is all moved before any of it is handled: what a callback sends to its own mailbox waits for another turn,
        or it could go on for ever without one.
        """
        items: list[object] = []
        try:
            while len(items) < self._inbox.info_room:
                items.append(receiver.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            pass
        if items:
            self._inbox.put_infos(items)

    @property
    def is_handing_over(self) -> bool:
        """Whether an item is on its way from the channel to the inbox: in the hands of the mailbox task, or soon."""
        return self._ends is not None and self._is_handing_over(self._ends.receiver.statistics())

    def _is_handing_over(self, channel: trio.MemoryChannelStatistics) -> bool:
        is_at_work = self._has_begun or channel.current_buffer_used > 0
        return self._inbox.expects_info and is_at_work and not channel.tasks_waiting_receive

    async def wait_handed_over(self) -> None:
        """Wait for the items that are on their way, and not for those sent after them, of which there may be no end.

        Checkpoint: if there are any. Cancelled: not noticed; it takes a turn or two of the scheduler.
        """
        assert self._ends is not None
        inbox = self._inbox
        due = inbox.infos_put + 1 + self._ends.receiver.statistics().current_buffer_used
        while self.is_handing_over and inbox.infos_put < due:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def move_sent(self) -> None:
        """Move what has been sent, room or not: what comes next is the end, and must not overtake it.

        What would overtake an item that is on its way stays: behind :meth:`wait_handed_over` it was sent too late.
        """
        if self._ends is None or self.is_handing_over:
            return
        for _ in range(self._ends.receiver.statistics().current_buffer_used):
            self._inbox.put_info(self._ends.receiver.receive_nowait())
