"""The way of ASGI events between a server's loop and Trio, in batches, whether or not the two are one loop.

In: the ``receive`` and ``send`` of an ASGI server. Out: an :class:`Exchange`, which Trio tasks read and write without
ever touching them. Knows events by their size only.

Theory of operation. The :class:`Carrier` lives in the server's loop, where alone ``receive`` and ``send`` may be
called; its :class:`Exchange` lives in Trio's. Each calls the other through a :class:`Hop`: what is put while a hop is
on its way travels with it, so that a busy connection pays for a hop per batch and not per event.

1. ``receive`` and ``send`` may not be cancelled half-way: who does that to a server may lose a message, or tear one.
   The carrier's two tasks are shielded, see ``asgi_crew.py``; Trio's tasks wait for the carrier, and may stop waiting
   whenever they like.
2. What is read and not yet taken is bounded in bytes: taking gives credit back, a carrier without credit does not read.
3. What is handed over and not yet sent is bounded as well. Trio asks to be told of progress only when it waits for it:
   ``sent_size`` has one writer and is read by the other loop as it is.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import final

import trio

from ..errors import ConnectionLost
from ..parking import Parking
from .asgi_hop import Event, Hop, Post, Receive, Rest, Send, size_of

__all__ = ["Carrier", "Exchange", "open_exchange"]

logger: logging.Logger = logging.getLogger("trio_websock.hosts")

READ_SIZE = 64 * 1024  # bytes read while nobody has asked for them yet
SEND_SIZE = 64 * 1024  # bytes with the server that count as sent, as those in a kernel's buffer do


@final
class Exchange:
    """Trio's end. :func:`open_exchange` makes it."""

    __slots__ = (
        "_arrived",
        "_carrier",
        "_credit",
        "_handed_size",
        "_is_ended",
        "_outwards",
        "_progress",
        "_queue",
        "_queued_size",
        "_source",
        "_taken_size",
        "_to_server",
        "_waiting",
        "is_gone",
        "is_waiting",
        "scope",
    )

    def __init__(self, carrier: Carrier, to_server: Post) -> None:
        self._carrier = carrier
        self._to_server = to_server
        self._outwards: Hop[Event | None] = Hop(to_server, carrier.take)
        self._credit: Hop[int] = Hop(to_server, carrier.give_credit)
        self._waiting: deque[Event] = deque()
        self._queue: list[Event] = []
        self._queued_size = 0
        self._handed_size = 0
        self._taken_size = 0
        self._arrived, self._progress = Parking(), Parking()
        self._is_ended = False
        self._source = carrier.source
        #: Whether nothing more can be sent.
        self.is_gone: bool = False
        #: Whether the carrier is to tell of its progress.
        self.is_waiting: bool = False
        #: What the server's loop cancels when it is cancelled itself.
        self.scope: trio.CancelScope = trio.CancelScope()

    # Inwards.

    def put(self, events: list[Event]) -> None:
        """Take in what has come; called by the carrier's hop."""
        self._waiting.extend(events)
        self._arrived.wake()

    @property
    def has_events(self) -> bool:
        """Whether there is something to take."""
        return bool(self._waiting)

    async def wait_event(self) -> None:
        """Wait until there is something to take. Checkpoint: always. Cancelled: nothing is lost."""
        if self._waiting:
            await trio.lowlevel.checkpoint()
        elif self._source is None:
            while not self._waiting:
                await self._arrived.park()
        else:
            await self._read(self._source)

    async def _read(self, source: trio.MemoryReceiveChannel[Event]) -> None:
        try:
            self._waiting.append(await source.receive())
            while True:
                self._waiting.append(source.receive_nowait())
        except trio.WouldBlock:
            pass
        except (trio.EndOfChannel, trio.ClosedResourceError):
            self._waiting.append({"type": "websocket.disconnect", "code": 1006})

    def pop(self) -> Event:
        """The next event; only if there is one."""
        event = self._waiting.popleft()
        self._taken_size += size_of(event)
        if self._taken_size >= READ_SIZE // 4:
            self._credit.put([self._taken_size])
            self._taken_size = 0
        return event

    # Outwards.

    def send_nowait(self, event: Event) -> None:
        """Queue one event; dropped if nothing more can be sent."""
        if not self.is_gone and not self._is_ended:
            self._queue.append(event)
            self._queued_size += size_of(event)

    def flush_nowait(self) -> bool:
        """Hand over what is queued, as far as the server may be given more; whether nothing is left here."""
        if self._queue and self.unsent_size < SEND_SIZE:
            self._handed_size += self._queued_size
            queue, self._queue, self._queued_size = self._queue, [], 0
            self._outwards.put(queue)
        return not self._queue

    @property
    def queued_size(self) -> int:
        """Bytes not handed over yet."""
        return self._queued_size

    @property
    def unsent_size(self) -> int:
        """Bytes handed over and not sent yet."""
        return self._handed_size - self._carrier.sent_size

    async def wait_progress(self) -> None:
        """Wait until the server has sent something of what was handed over, if there is such a thing.

        Raises:
            ConnectionLost: nothing more can be sent.

        Checkpoint: always. Cancelled: nothing is lost.
        """
        self.is_waiting = True  # first: a carrier that comes to an end behind the next line tells of it
        if self.unsent_size and not self.is_gone:
            await self._progress.park()
        else:
            await trio.lowlevel.checkpoint()
        self.is_waiting = False
        if self.is_gone:
            raise ConnectionLost("the ASGI server takes nothing more for this client")

    async def wait_sent(self) -> None:
        """Hand over everything and wait until it has been sent.

        Raises:
            ConnectionLost: it cannot be.

        Checkpoint: always. Cancelled: the rest stays on its way.
        """
        if self.flush_nowait() and not self.unsent_size:
            await trio.lowlevel.checkpoint()
        while not self.flush_nowait() or self.unsent_size:
            await self.wait_progress()

    def tell_progress(self) -> None:
        """Something has been sent; called from the carrier."""
        self._progress.wake()

    def lose(self) -> None:
        """Nothing more can be sent; called from the carrier, or where the server's loop has ended."""
        self.is_gone = True
        self._queue.clear()
        self._queued_size = 0
        self._progress.wake()

    # The end.

    def forsake(self) -> None:
        """Nothing more comes, either; called from the carrier."""
        self.lose()
        self.put([{"type": "websocket.disconnect", "code": 1006}])

    def cancel(self) -> None:
        """The server has cancelled its side; called from the carrier."""
        self.scope.cancel()

    def end(self) -> None:
        """Let the carrier come to its end, once it has sent what it was given. May be repeated."""
        if not self._is_ended:
            self._is_ended = True
            self._outwards.put([*self._queue, None])
            self._queue.clear()

    def abort(self) -> None:
        """Stop the carrier now, whatever it is doing, as far as the server lets it. May be repeated."""
        self.lose()
        self._is_ended = True
        self._to_server(self._carrier.stop)


@final
class Carrier:
    """The server's end. :func:`open_exchange` makes it.

    Args:
        receive: of the server.
        send: of the server.
        to_trio: the way into Trio's loop.
        make_rest: makes places to wait in, in the server's loop.
    """

    __slots__ = (
        "_inwards",
        "_is_broken",
        "_is_ending",
        "_is_over",
        "_queue",
        "_queued",
        "_receive",
        "_room",
        "_send",
        "_to_trio",
        "_unread_size",
        "exchange",
        "halt",
        "sent_size",
        "source",
    )

    def __init__(self, receive: Receive, send: Send, to_trio: Post, make_rest: Callable[[], Rest]) -> None:
        self._receive = receive
        self._send = send
        self._to_trio = to_trio
        self._queue: deque[Event | None] = deque()
        self._queued, self._room = make_rest(), make_rest()
        self._unread_size = 0
        self._is_broken = False
        self._is_ending = False
        self._is_over = False
        #: Where ``receive`` is the method of a channel of Trio's, that channel: cancelling it loses nothing, so Trio's
        #: end may read it without a task in between.
        self.source: trio.MemoryReceiveChannel[Event] | None = _channel_behind(receive)
        #: Bytes sent, or given up.
        self.sent_size: int = 0
        #: Cancels the task of :meth:`send_all`; set by whoever runs it.
        self.halt: Callable[[], object]
        #: The other end.
        self.exchange: Exchange
        self._inwards: Hop[Event]

    def attach(self, exchange: Exchange) -> None:
        """Get to know the other end."""
        self.exchange = exchange
        self._inwards = Hop(self._to_trio, exchange.put)

    async def read_all(self) -> None:
        """Read what the server has received, until the client is gone; a task, to be cancelled behind the other one."""
        try:
            while not self._is_over:
                event = await self._receive()
                self._unread_size += size_of(event)
                self._inwards.put([event])
                if event["type"].endswith(".disconnect"):
                    return
                while self._unread_size >= READ_SIZE:
                    await self._room.park()
        except Exception as exc:  # whatever a server says there: it is over
            logger.debug("the ASGI server's receive() failed: %r", exc)
            self._inwards.put([{"type": "websocket.disconnect", "code": 1006}])

    def give_credit(self, sizes: list[int]) -> None:
        """So much has been taken; called from Trio."""
        self._unread_size -= sum(sizes)
        self._room.wake()

    def take(self, events: list[Event | None]) -> None:
        """Send these; ``None`` is the end. Called from Trio."""
        self._is_ending = self._is_ending or None in events
        self._queue.extend(events)
        self._queued.wake()

    async def send_all(self) -> None:
        """Send what Trio's end has handed over, until that has ended; the other task."""
        try:
            await self._send_until_end()
        finally:
            self._is_over = True

    async def _send_until_end(self) -> None:
        while not self._is_over:
            while not self._queue:
                await self._queued.park()
            event = self._queue.popleft()
            if event is None:
                return
            size = size_of(event)  # now: middleware may change the event, and it has to count as it was counted
            if not self._is_broken:
                await self._send_one(event)
            self.sent_size += size
            if self.exchange.is_waiting:
                self._to_trio(self.exchange.tell_progress)

    async def _send_one(self, event: Event) -> None:
        try:
            await self._send(event)
        except Exception as exc:  # each server has an exception of its own for a client that has gone
            logger.debug("the ASGI server's send() failed: %r", exc)
            self._is_broken = True
            self._to_trio(self.exchange.lose)

    def stop(self) -> None:
        """Stop now; called from Trio."""
        self._is_over = True  # a server may swallow what cancels it
        self.halt()

    def cancel(self) -> None:
        """The server has cancelled the call that this is about."""
        self._to_trio(self.exchange.cancel)

    def close(self) -> None:
        """Both tasks are over; asyncio.run() cancels every one there is in the end."""
        if not self._is_ending:
            self._to_trio(self.exchange.forsake)

    def give_up(self, farewell: Event | None) -> None:
        """Trio is gone: unless it had come to its end, say farewell and end. From the server's loop."""
        if not self._is_ending:
            self._queue.clear()
            self.take([None] if farewell is None else [farewell, None])


def open_exchange(
    receive: Receive, send: Send, to_trio: Post, to_server: Post, make_rest: Callable[[], Rest] = Parking
) -> Carrier:
    """The two ends, of which the carrier has the other as ``exchange``."""
    carrier = Carrier(receive, send, to_trio, make_rest)
    carrier.attach(Exchange(carrier, to_server))
    return carrier


def _channel_behind(receive: Receive) -> trio.MemoryReceiveChannel[Event] | None:
    """Hypercorn gives its applications the method of a memory channel, and most frameworks pass it on as it is."""
    channel = getattr(receive, "__self__", None)
    return channel if isinstance(channel, trio.MemoryReceiveChannel) and receive == channel.receive else None
