"""A WebSocket in the hands of a client: what the body of ``open_websocket`` sends and receives with.

In: an open transport. Out: messages, in the order they arrived, and at the end how it ended.

1. One task reads, from the beginning to the end: pings are answered and the server's close is noticed while nobody
   receives. What is read ahead is bounded; beyond it TCP pushes back.
2. What is sent goes through the runtime's writer: a message is queued in one step, and its frame leaves whole or the
   connection is dropped, whoever is cancelled.
3. Whichever side closes first, the ending is noted once, the reader goes on to the end of the stream, and a watchdog
   drops what has not ended within ``close_timeout``.
"""

from __future__ import annotations

import os
from typing import final

import trio

from ..behaviour.reasons import Close, Error, Normal, Reason, Remote, Timeout
from ..codes import CloseCode
from ..connection import Connection
from ..errors import RemoteError
from ..idle import IdleClock
from ..keepalive import Keepalive
from ..messages import Message, Outgoing, Payload, Ping, Pong, encode_message
from ..options import Options
from ..request import Request
from ..transport import Arrival
from ..writer import Writer
from .answer import HandshakeResponse
from .dialing import Opened
from .ending import Ending, checked_close, ending_for
from .failures import ConnectionClosed
from .inlet import Inlet
from .outlet import Outlet
from .pings import SentPings

__all__ = ["WebSocket"]

FAULT_DRAIN_TIMEOUT = 1.0  # seconds for a server that broke the protocol to take our close frame


@final
class WebSocket:
    """An open connection to a server; made by ``open_websocket``.

    One task at a time may receive, any number may send. ``async for message in websocket`` receives until the end: it
    stops when the connection was closed in good order (by us, or by the server with 1000, 1001 or no code), and raises
    :class:`ConnectionClosed` otherwise.

    Args:
        opened: owned from now on.
        options: of this connection.
    """

    __slots__ = (
        "_connection",
        "_ending",
        "_has_ended",
        "_idle",
        "_inbox",
        "_inlet",
        "_keepalive",
        "_lifetime",
        "_nursery",
        "_opened",
        "_options",
        "_outlet",
        "_over",
        "_pings",
        "_transport",
        "_writer",
    )

    def __init__(self, opened: Opened, options: Options) -> None:
        self._opened = opened
        self._options = options
        self._transport = opened.transport
        self._connection = Connection(opened.transport, options, opened.request)
        self._inbox = self._connection._inbox
        self._lifetime = self._connection._lifetime
        self._writer = Writer(self._transport, options.write_timeout, self._lifetime, self._lose)
        self._outlet = Outlet(self._writer)
        self._inlet = Inlet(self._inbox, opened.transport.watch, self._outlet)
        self._idle = IdleClock(options.timeout)
        self._keepalive: Keepalive | None = None
        self._nursery: trio.Nursery | None = None
        self._ending: Ending | None = None
        self._over = trio.Event()
        self._pings = SentPings()
        self._has_ended = False

    # What is known.

    @property
    def request(self) -> Request:
        """What we asked for."""
        return self._opened.request

    @property
    def response(self) -> HandshakeResponse:
        """The 101 of the server, with its headers."""
        return self._opened.response

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol the server chose."""
        return self._transport.subprotocol

    @property
    def peer(self) -> str:
        """The server's address as text."""
        return self._transport.peer

    @property
    def latency(self) -> float | None:
        """Seconds the last ping took to be answered; ``None`` before the first pong."""
        return self._connection.latency

    @property
    def closed(self) -> ConnectionClosed | None:
        """How the connection ended; ``None`` while messages can be sent. Some may still wait to be received."""
        return None if self._ending is None else self._ending.error()

    # Receiving.

    async def receive(self) -> str | bytes:
        """Wait for the next message: ``str`` for text, ``bytes`` for binary.

        Raises:
            ConnectionClosed: there are no more; what came before the end is received first.
            trio.BusyResourceError: another task is receiving.

        Checkpoint: cancellation is always seen; others get their turn at least whenever there is nothing to receive.
        Cancelled: no message is lost.
        """
        message = await self._inlet.receive()
        if message is None:
            raise self._last_word()
        return message

    async def receive_or_none(self) -> str | bytes | None:
        """As :meth:`receive`, but ``None`` once the connection has ended, however it did; see :attr:`closed`."""
        return await self._inlet.receive()

    def __aiter__(self) -> WebSocket:
        return self

    async def __anext__(self) -> str | bytes:
        message = await self._inlet.receive()
        if message is None:
            closed = self._last_word()
            raise StopAsyncIteration if closed.is_clean else closed
        return message

    def _last_word(self) -> ConnectionClosed:
        assert self._ending is not None  # or there would be more to receive
        return self._ending.error()

    # Sending.

    async def send(self, message: Message) -> None:
        """Send a message, and wait until the socket has taken all of it.

        Args:
            message: ``str`` is sent as text, bytes-like as binary; or a ``Text``, ``Binary``, ``Ping`` or ``Pong``.

        Raises:
            MessageError: it cannot be sent as it is; nothing was.
            ConnectionClosed: it is too late; also if the connection broke while the message was on its way.

        Checkpoint: cancellation is always seen; others get their turn when the socket is full, and after a few
            messages in a row.
        Cancelled: the message goes out whole, or nothing of it does.
        """
        await self._send(encode_message(message, self._options.validate_utf8))

    async def try_send(self, message: Message) -> bool:
        """As :meth:`send`, but says whether the message was sent instead of raising :class:`ConnectionClosed`."""
        try:
            await self.send(message)
        except ConnectionClosed:
            return False
        return True

    async def _send(self, outgoing: Outgoing) -> None:
        await self._outlet.take_turn()
        transport = self._transport
        # Only behind what was sent before: cancelling one send after the other must not pile them up here.
        while transport.unsent_size and self._ending is None:
            await self._outlet.wait_flushed(self._check_started())
        nursery = self._check_open()
        transport.send_nowait(outgoing)
        if not self._writer.flush(nursery):
            await self._outlet.wait_flushed(nursery)
            self._check_open()

    def _check_open(self) -> trio.Nursery:
        if self._ending is not None:
            raise self._ending.error()
        return self._check_started()

    def _check_started(self) -> trio.Nursery:
        assert self._nursery is not None
        return self._nursery

    async def ping(self, payload: Payload = None) -> float:
        """Send a ping and wait for its pong.

        While more messages wait to be received than are read ahead, no pong is seen: have somebody receive.

        Args:
            payload: at most 125 bytes; ``None`` takes some that no other ping has.

        Returns:
            The seconds it took.

        Raises:
            MessageError: the payload is too long.
            ConnectionClosed: before the pong came.

        Checkpoint: always. Cancelled: only the waiting ends.
        """
        outgoing = encode_message(Ping(os.urandom(8) if payload is None else payload))
        sent = self._pings.add(outgoing[1])
        try:
            await self._send(outgoing)
            await sent.event.wait()
        finally:
            self._pings.forget(sent)
        if sent.answered_after is None:
            assert self._ending is not None
            raise self._ending.error()
        self._connection.latency = sent.answered_after
        return sent.answered_after

    # The end.

    async def close(self, code: int = 1000, text: str = "") -> None:
        """Close the connection and wait for the server to agree, at most ``close_timeout`` seconds.

        What has arrived and has not been received is dropped. Does nothing if the connection is closed already, but
        wait for its end.

        Args:
            code: 1000 to 1003, 1007 to 1014, 3000 to 4999.
            text: at most 123 bytes as UTF-8.

        Raises:
            MessageError: a code or text that may not be sent; nothing was.

        Checkpoint: always. Cancelled: only the waiting ends.
        """
        close = checked_close(code, text)
        if self._ending is None:
            self._end(Ending(code, text, "us"), close)
            self._drop_arrivals()
        await self._over.wait()

    def _end(self, ending: Ending, close: Close | None) -> None:
        """Note how it ends, and bring that about: nothing waits here."""
        if self._ending is not None:
            return
        self._ending = ending
        self._connection.mark_closing()
        self._pings.end()
        nursery = self._nursery
        if close is not None and nursery is not None:
            self._transport.send_close_nowait(*close)
            self._writer.flush(nursery)
            nursery.start_soon(self._watch_end)

    def _drop_arrivals(self) -> None:
        self._inbox.close()
        self._inbox.interrupt(Normal())

    async def _watch_end(self) -> None:
        await trio.sleep(self._options.close_timeout)
        self._transport.abort()
        self._over.set()  # whatever a stream that was given to us makes of being closed

    def _notice_silence(self, timeout: Timeout) -> None:
        self._end(*ending_for(timeout))
        self._inbox.put_arrivals([timeout])

    def _lose(self, reason: Reason) -> None:
        self._end(*ending_for(reason))
        self._drop_arrivals()

    # The reader.

    async def _read(self) -> None:
        """The reader task, from the handshake to the closed socket."""
        try:
            await self._read_all()
        except Exception as exc:  # of a stream that was given to us and has errors of its own
            self._lose(Error(exc))
            self._transport.abort()
        finally:
            self._over.set()

    async def _read_all(self) -> None:
        if self._admit(self._transport.receive_nowait(self._inbox.room)):
            while not await self._read_while_heard():
                if self._ending is None and self._idle.has_expired() and not await self._find_late():
                    self._notice_silence(Timeout())
        await self._outlet.wait_flushed(self._check_started())
        await self._finish()

    async def _read_while_heard(self) -> bool:
        """Read until the end, or until nothing has come for too long; whether it is the end."""
        inbox = self._inbox
        with self._idle.open_scope():
            while not self._has_ended:
                if not inbox.room and self._ending is None:
                    self._idle.pause()
                    await inbox.wait_room()
                await self._transport.receive_each(self._expect(), self._take)
        return self._has_ended

    async def _find_late(self) -> bool:
        """Read what came while somebody blocked the thread, and is in the kernel still; whether there was any."""
        with self._idle.open_last_look():
            await self._transport.receive_each(self._expect(), self._take)
        return not self._idle.has_expired()

    def _expect(self) -> int:
        """How many arrivals there is room for; the clock runs while we wait for them."""
        if self._ending is None:
            self._idle.resume()
            return self._inbox.room
        self._idle.pause()  # the watchdog has taken over
        return max(self._inbox.room, 1)

    def _take(self, batch: list[Arrival]) -> int:
        self._idle.was_touched = True
        self._has_ended = not self._admit(batch)
        return 0 if self._has_ended else self._expect()

    def _admit(self, batch: list[Arrival]) -> bool:
        """Hand on what has arrived; whether more may come."""
        if self._transport.unsent_size:
            self._writer.flush(self._check_started())  # the pongs
        if not batch:
            return True
        last = batch[-1]
        if len(batch) == 1 and (type(last) is str or type(last) is bytes):
            self._inbox.put_arrivals(batch)  # as nearly every batch is
            return True
        if self._keepalive is not None:
            self._keepalive.notice(batch)
        if self._pings:
            self._pings.notice(batch)
        if is_end := isinstance(last, (Remote, Error)):
            self._end(*ending_for(last))
        self._inbox.put_arrivals([arrival for arrival in batch if type(arrival) not in (Ping, Pong)])
        return not is_end

    async def _finish(self) -> None:
        """Close the socket; a server that broke the protocol has a moment to read why."""
        if self._ending is not None and isinstance(self._ending.cause, RemoteError):
            self._transport.send_eof_nowait()
            with trio.move_on_after(min(FAULT_DRAIN_TIMEOUT, self._options.close_timeout)):
                await self._transport.wait_closed()
        await self._transport.aclose()

    # For open_websocket.

    def _start(self, nursery: trio.Nursery) -> None:
        self._nursery = self._connection._nursery = nursery
        nursery.start_soon(self._read)
        interval, timeout = self._options.ping_interval, self._options.ping_timeout
        if interval is not None:
            who = (self._connection, self._transport, self._writer, self._notice_silence)
            self._keepalive = Keepalive(*who, interval=interval, timeout=timeout)
            nursery.start_soon(self._keepalive.run)

    async def _let_go(self) -> None:
        """Close at once, waiting for nobody; the close frame goes if the socket takes it."""
        self._end(Ending(CloseCode.GOING_AWAY, "", "us"), Close(CloseCode.GOING_AWAY))
        self._drop_arrivals()
        self._lifetime.shorten(trio.current_time())
        if self._transport.unsent_size:
            self._transport.abort()
        else:
            await self._transport.aclose()
        self._check_started().cancel_scope.cancel()

    def _forget(self) -> None:
        """All its tasks have ended; what is over must not keep itself alive."""
        self._writer.forget()
        self._keepalive = None
