"""One connection, from the dial to the exit status.

In: a plan, orders to carry out, and signals. Out: events for a voice, and the exit status that sums them up. Knows
neither where orders come from nor how events are told.
"""

from __future__ import annotations

import os
import signal
from enum import IntEnum
from typing import final

import trio

from ..client import ConnectFailed, HandshakeError, WebSocket, open_websocket
from ..errors import MessageError, OptionError
from ..messages import Message, Ping, Pong
from .events import Closed, Failed, Noted, Opened, Pinged, Ponged, Received
from .lines import Source
from .orders import Close, Note, Order, Refuse, Send, SendPing
from .plan import Plan
from .voices import Voice

__all__ = ["ExitStatus", "run_exchange"]

KEEPALIVE_SIZE = 4  # bytes in the payload of a ping that keepalive sends


class ExitStatus(IntEnum):
    """What a script is told; docs/command.md lists them."""

    CLEAN = 0
    NO_CONNECTION = 1
    USAGE = 2
    CLOSED_ABNORMALLY = 3
    INCOMPLETE = 4
    INTERRUPTED = 128 + signal.SIGINT
    TERMINATED = 128 + signal.SIGTERM
    NOBODY_READS = 128 + signal.SIGPIPE


async def run_exchange(plan: Plan, source: Source, voice: Voice) -> ExitStatus:
    """Connect, carry out what ``source`` orders, wait as planned, close.

    Raises:
        OptionError: the connection cannot be as it is asked for.

    Checkpoint: always. Cancelled: the connection is closed with 1001, waiting for nobody.
    """
    return await _Exchange(plan, source, voice).run()


@final
class _Exchange:
    def __init__(self, plan: Plan, source: Source, voice: Voice) -> None:
        self._plan = plan
        self._source = source
        self._voice = voice
        self._websocket: WebSocket | None = None
        self._using = trio.CancelScope()
        self._pings: dict[bytes, float] = {}  # payloads of pings without a pong, and when they were sent
        self._missing = plan.count or 0
        self._has_enough = trio.Event()
        self._is_incomplete = False
        self._failure: Exception | None = None
        self._status = ExitStatus.CLEAN

    async def run(self) -> ExitStatus:
        """See ``run_exchange``."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._watch_signals, nursery)
            await self._connect()
            nursery.cancel_scope.cancel()
        if self._failure is not None:  # kept until here, where no nursery puts it into a group
            raise self._failure
        return self._status

    async def _connect(self) -> None:
        try:
            async with open_websocket(self._plan.url, **self._plan.options) as websocket:
                await self._use(websocket)
        except (ConnectFailed, HandshakeError) as exc:
            self._voice.tell(Failed(exc))
            self._sum_up(ExitStatus.NO_CONNECTION)
        except OptionError as exc:
            self._failure = exc
        else:
            self._tell_end(websocket)

    async def _use(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        # Not public: an application has no use for them, as the library answers every ping itself.
        websocket._pings.observer = self._tell_control
        self._voice.tell(Opened(self._plan.shown_url, websocket.subprotocol, websocket.response))
        async with trio.open_nursery() as nursery:
            self._using = nursery.cancel_scope
            nursery.start_soon(self._receive, websocket)
            await self._source.run(self._perform)
            with trio.move_on_after(self._plan.wait):
                await self._has_enough.wait()
            await websocket.close()

    async def _receive(self, websocket: WebSocket) -> None:
        while (message := await websocket.receive_or_none()) is not None:
            self._voice.tell(Received(message))
            self._missing -= 1
            if self._missing == 0:
                self._has_enough.set()
            await self._voice.wait_room()
        self._using.cancel()

    def _tell_control(self, frame: Ping | Pong) -> None:
        payload = bytes(frame.payload)  # type: ignore[arg-type]  # bytes, as it has arrived
        if isinstance(frame, Ping):
            self._voice.tell(Pinged(payload))
        elif (sent_at := self._pings.pop(payload, None)) is not None:
            self._voice.tell(Ponged(payload, trio.current_time() - sent_at))
        else:
            is_keepalive = len(payload) == KEEPALIVE_SIZE and self._plan.options.get("ping_interval", 0) is not None
            latency = self._websocket.latency if is_keepalive and self._websocket is not None else None
            self._voice.tell(Ponged(payload, latency, is_keepalive))

    # Orders.

    async def _perform(self, order: Order) -> None:
        assert self._websocket is not None
        try:
            match order:
                case Send(message):
                    await self._send(self._websocket, message)
                case SendPing(payload):
                    await self._ping(self._websocket, payload or os.urandom(2).hex().encode())
                case Close(code, text):
                    await self._websocket.close(code, text)
                case Note(text):
                    self._voice.tell(Noted(text))
                case Refuse(text):
                    self._sum_up(ExitStatus.USAGE)
                    self._voice.tell(Noted(text))
                    await self._websocket.close()
        except MessageError as exc:
            self._is_incomplete = not self._plan.is_interactive  # where somebody looks, they can say it differently
            self._voice.tell(Noted(str(exc)))

    async def _send(self, websocket: WebSocket, message: Message) -> None:
        was_incomplete, self._is_incomplete = self._is_incomplete, True  # as it is if we are cancelled
        if await websocket.try_send(message):
            self._is_incomplete = was_incomplete

    async def _ping(self, websocket: WebSocket, payload: bytes) -> None:
        self._pings[payload] = trio.current_time()
        await websocket.try_send(Ping(payload))

    # The end.

    async def _watch_signals(self, nursery: trio.Nursery, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                if self._websocket is None or self._status > ExitStatus.INCOMPLETE:
                    nursery.cancel_scope.cancel()
                self._sum_up(ExitStatus(128 + number))
                if self._websocket is not None:
                    nursery.start_soon(self._leave, self._websocket, 1000 if number == signal.SIGINT else 1001)

    async def _leave(self, websocket: WebSocket, code: int) -> None:
        await websocket.close(code)
        self._using.cancel()  # it may be waiting for whoever reads what we write

    def _tell_end(self, websocket: WebSocket) -> None:
        ending = websocket.closed
        assert ending is not None
        self._voice.tell(Closed(ending))
        if not ending.is_clean:
            self._sum_up(ExitStatus.CLOSED_ABNORMALLY)
        elif self._missing > 0 or self._is_incomplete:
            self._sum_up(ExitStatus.INCOMPLETE)

    def _sum_up(self, status: ExitStatus) -> None:
        """Note how it ends; what was noted first is the reason of the rest."""
        if self._status is ExitStatus.CLEAN:
            self._status = status
