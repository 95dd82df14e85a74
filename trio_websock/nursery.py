"""One connection, from the first callback to the closed socket: three sources, one loop, one exit.

In: an open transport and a handler. Out: nothing but the reason it ended; no exception of the application passes.

::

    reader task    bytes that became messages   ─┐
    mailbox task   items other tasks have sent  ─┼─▶ inbox ─▶ the loop ─▶ writer
    idle scope     the peer's silence           ─┘

1. The loop runs in the connection's own task, the body of the nursery; reader, mailbox task, keepalive, a drain when
   there is one, and whatever the application starts are its children.
2. When the loop has come to an end it hands over the close frame, then cancels the nursery. When a child fails or the
   connection is cancelled from outside, Trio cancels the loop, and the close frame follows.
3. Whatever happened, the exit is the same: flush, ``terminate``, wait for the peer, close. Each step is bounded, all of
   them by the connection's deadline, and all but the waiting are shielded.
4. ``Cancelled`` and ``KeyboardInterrupt`` go on after the exit; every ``Exception`` stops here, logged.
"""

from __future__ import annotations

import logging
from typing import final

import trio

from .behaviour.handler import BoundHandler
from .behaviour.reasons import Error, Reason, Remote, Shutdown, Timeout
from .connection import Connection, _current
from .dispatch import Dispatcher
from .errors import only_exception
from .exit import Exit
from .faults import is_by_child
from .idle import IdleClock
from .keepalive import Keepalive
from .transport import Arrival
from .writer import Writer

__all__ = ["run_connection"]

logger: logging.Logger = logging.getLogger("trio_websock.connection")


async def run_connection(connection: Connection, handler: BoundHandler, args: object) -> Reason:
    """Live through one connection and close its transport.

    Args:
        connection: freshly made by a host.
        handler: what to run.
        args: for ``init``.

    Returns:
        What ``terminate`` was told, or would have been.

    Checkpoint: always.
    Cancelled: as a shutdown at once: close frame and ``terminate``, together at most ``terminate_timeout`` seconds
        (after output that is on its way to a slow peer, which has ``write_timeout``), and no waiting for the peer's
        close; then ``Cancelled`` goes on.
    Source: the process of a connection in Bandit and Cowboy.
    """
    token = _current.set(connection)
    try:
        reason = await _ConnectionNursery(connection, handler).run(args)
        connection.mark_ended(reason)
        return reason
    finally:
        connection.mark_ended(Shutdown())  # only what tore through the exit itself gets here without a reason
        logger.debug("%r has ended: %r", connection, connection.reason)
        _current.reset(token)


@final
class _ConnectionNursery:
    __slots__ = (
        "_callbacks",
        "_connection",
        "_dispatcher",
        "_held",
        "_idle",
        "_inbox",
        "_is_handed_over",
        "_is_leaving",
        "_keepalive",
        "_options",
        "_transport",
        "_writer",
    )

    def __init__(self, connection: Connection, handler: BoundHandler) -> None:
        connection.handler = handler.name
        self._connection = connection
        self._options = connection.options
        self._transport = connection._transport
        self._inbox = connection._inbox
        self._idle = IdleClock(self._options.timeout)
        self._writer = Writer(self._transport, self._options.write_timeout, connection._lifetime, self._give_up)
        self._callbacks = handler.open()
        self._dispatcher = Dispatcher(connection, self._callbacks, self._transport, self._writer, self._idle)
        self._keepalive = self._open_keepalive(connection)
        self._held: list[Arrival] = []  # the batch that an item of the mailbox goes before
        self._is_handed_over = False  # the close frame, to the writer
        self._is_leaving = False  # the reader, which has had the last arrival

    def _open_keepalive(self, connection: Connection) -> Keepalive | None:
        interval, timeout = self._options.ping_interval, self._options.ping_timeout
        if interval is None:
            return None
        return Keepalive(
            connection, self._transport, self._writer, self._notice_silence, interval=interval, timeout=timeout
        )

    async def run(self, args: object) -> Reason:
        try:
            passing = await self._live(args)
            if passing is not None:  # whoever cancelled us directly has given no grace: take what terminate may need
                lifetime = self._connection._lifetime
                lifetime.shorten(lifetime.after(self._options.terminate_timeout))
            ending = self._dispatcher.ending
            if ending is None:  # cancelled: by the deadline, from outside, or by the application's own hand
                ending = self._dispatcher.end(self._inbox.interruption or Shutdown())
            way_out = Exit(self._connection, self._callbacks, self._dispatcher, self._transport, self._writer)
            await way_out.run(ending, is_awaited=passing is None)
        except Exception as exc:  # a fault of ours, or of a host: one connection may not end the others
            logger.exception("unexpected failure of %r", self._connection)
            self._transport.abort()
            return Error(exc)
        except BaseException:
            self._transport.abort()
            raise
        finally:
            self._writer.forget()
            self._keepalive = None  # it leads back to us
        if passing is not None:
            raise passing
        return ending.reason

    async def _live(self, args: object) -> BaseException | None:
        """Run until the end; the exception that has to go on after the exit, if there is one."""
        connection = self._connection
        stray = None
        try:
            async with trio.open_nursery() as nursery:
                connection._nursery = nursery
                connection._lifetime.adopt(nursery.cancel_scope)
                self._start_sources(nursery)
                try:
                    await self._dispatcher.run(args, nursery)
                except trio.Cancelled as exc:
                    stray = exc if is_by_child(exc) else None
                    raise
                if nursery.cancel_scope.cancel_called:
                    return None  # a task has failed meanwhile, perhaps: then that comes first
                await self._hand_over_close(nursery)
                # A reader that leaves needs no push, which costs more than all the rest of an end; but only where
                # nobody can start one more task, which would then be waited for.
                if connection._is_nursery_lent or len(nursery.child_tasks) > self._is_leaving:
                    nursery.cancel_scope.cancel()
                else:
                    connection._nursery = None
                    connection._unhandled += connection._mailbox.close()
        except BaseException as exc:
            return self._sort_out(exc)
        finally:
            connection._lifetime.release(nursery.cancel_scope)
            connection._nursery = None
            connection.mark_closing()
            connection._unhandled += self._inbox.close() + connection._mailbox.close()
        if stray is not None:
            self._blame_task(stray)
        return None

    def _start_sources(self, nursery: trio.Nursery) -> None:
        # What came in one packet with the handshake is older than anything init may send to its own mailbox.
        if self._admit(self._transport.receive_nowait(self._inbox.room)):
            nursery.start_soon(self._receive)
        self._connection._mailbox.start(nursery)
        if self._keepalive is not None:
            nursery.start_soon(self._keepalive.run)

    async def _receive(self) -> None:
        """The reader task."""
        inbox = self._inbox
        try:
            while True:
                with self._idle.open_scope():
                    while not self._is_leaving:
                        if self._held:
                            await self._admit_held()
                        else:
                            await inbox.wait_room()
                            await self._transport.receive_each(inbox.room, self._take)
                    return
                if self._idle.has_expired() and not await self._find_late():
                    self._notice_silence(Timeout())
                    return
        except trio.Cancelled:
            self._connection.mark_closing()  # what still waits for the peer may hold the end up
            await self._writer.accompany(self._transport.wait_closed)
            raise
        finally:
            self._is_leaving = False

    async def _find_late(self) -> bool:
        """Read what came while somebody blocked the thread, and is in the kernel still; whether there was any."""
        with self._idle.open_last_look():
            await self._transport.receive_each(self._inbox.room, self._take)
        return not self._idle.has_expired()

    async def _admit_held(self) -> None:
        await self._connection._mailbox.wait_handed_over()
        batch, self._held = self._held, []
        self._is_leaving = not self._admit(batch)

    def _take(self, batch: list[Arrival]) -> int:
        """Deal with what one read yielded, in any task; how much more may come."""
        if batch:
            self._idle.was_touched = True
        else:
            self._idle.notice_unfinished()
        if self._inbox.expects_info and batch and self._connection._mailbox.is_handing_over:
            self._held = batch  # what was sent to the mailbox before has to be handed over first: the reader can wait
            return 0
        self._is_leaving = not self._admit(batch)
        return 0 if self._is_leaving else self._inbox.room

    def _admit(self, batch: list[Arrival]) -> bool:
        """Queue what has arrived and send the pongs it called for; whether more may come."""
        if not batch:
            return True
        if len(batch) == 1 and (type(batch[0]) is str or type(batch[0]) is bytes):
            self._inbox.put_arrivals(batch)  # as nearly all that comes: it calls for no pong and is no end
            return True
        if self._transport.unsent_size:
            nursery = self._connection._nursery
            assert nursery is not None
            self._writer.flush(nursery)
        if self._keepalive is not None:
            self._keepalive.notice(batch)
        last = batch[-1]
        if not isinstance(last, (Remote, Error, Timeout)):
            self._inbox.put_arrivals(batch)
            return True
        self._notice_end(last)  # first: whatever is queued from now on may be handled right there
        self._connection._mailbox.move_sent()
        self._inbox.put_arrivals(batch)
        return False

    def _notice_silence(self, timeout: Timeout) -> None:
        self._admit([timeout])

    def _give_up(self, reason: Reason) -> None:
        """The peer has been dropped: nothing more is done for it."""
        self._inbox.interrupt(reason)
        self._notice_end(reason)

    def _notice_end(self, reason: Reason) -> None:
        """Tell at once, even while a callback is running, that the peer is gone."""
        self._connection.mark_closing()
        if self._options.cancel_on_disconnect:
            self._dispatcher.disconnect(reason)

    async def _hand_over_close(self, nursery: trio.Nursery) -> None:
        """Send the close frame while the reader still reads: a peer busy sending must get to read it."""
        self._is_handed_over = True
        self._connection.mark_closing()
        self._connection._unhandled += self._inbox.close()
        ending = self._dispatcher.ending
        if ending is not None and ending.close is not None:
            self._transport.send_close_nowait(*ending.close)
        if not self._writer.flush(nursery):
            await self._writer.wait_flushed()

    def _sort_out(self, exc: BaseException) -> BaseException | None:
        """Stop and log what failed in the nursery; what has to go on."""
        group = exc if isinstance(exc, BaseExceptionGroup) else BaseExceptionGroup("in a nursery", [exc])
        failed, passing = group.split(Exception)
        if failed is not None:
            self._blame_task(only_exception(failed))
        return passing

    def _blame_task(self, cause: BaseException) -> None:
        if self._is_handed_over:
            logger.error("a task of %r failed at its end", self._connection, exc_info=cause)
        else:
            self._dispatcher.fail(cause, f"a task of the nursery of {self._connection.handler}")
