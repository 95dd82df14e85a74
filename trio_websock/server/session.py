"""One client's stay: TLS, HTTP requests, and perhaps a WebSocket until its end.

In: a wire that has been accepted. Out: nothing; when :meth:`Session.run` returns, the client is gone.

1. One task and, until the upgrade, one cancel scope, as soon as something has to be waited for: a handshake that came
   in one piece needs none. Its deadline is the only clock: moved, never nested.
2. While a client has asked for nothing (``READING``) a shutdown ends it at once; while it is owed an answer it may
   stay until the grace is over; an open connection is told, and ends itself.
3. Whatever happens, the wire is closed: by the connection once it is open, by us before.
"""

from __future__ import annotations

import enum
import logging
import math
from collections.abc import Callable
from typing import NamedTuple, final

import trio

from ..application import Site, Wish
from ..connection import Connection
from ..errors import ConnectionLost, UpgradeRefused
from ..hosts.wire import Wire
from ..nursery import run_connection
from ..options import ServerOptions
from ..protocol.upgrade import is_upgrade
from ..request import Request
from ..response import Response, refusal, unavailable
from .answers import asks_to_close, serialize_response
from .asgi import AsgiCall, AsgiSite
from .encryption import agree_on_keys
from .head import BadRequest, Head
from .http import HttpChannel
from .ledger import Ledger
from .patience import Patience
from .upgrading import Agreement, agree_on_upgrade

__all__ = ["House", "Session"]

logger: logging.Logger = logging.getLogger("trio_websock.server")

# A body may take handshake_timeout, and longer only as long as this many bytes per second come.
MIN_BODY_RATE = 1024


class Phase(enum.Enum):
    """What a client is owed."""

    READING = enum.auto()  # nothing yet: TLS, or the head of a request
    UPLOADING = enum.auto()  # an answer, once the body is there
    ANSWERING = enum.auto()  # an answer
    OPEN = enum.auto()  # a WebSocket


class House(NamedTuple):
    """Who has taken the client in.

    Args:
        see_off: told that the client is gone.
        interrupt: told that ``KeyboardInterrupt`` came, which is meant for the whole program.
    """

    see_off: Callable[[Session], None]
    interrupt: Callable[[], None]


@final
class Session:
    """One accepted client.

    Args:
        wire: owned from now on.
        site: what answers its requests.
        options: the server's.
        write_timeout: seconds in which the client must take at least one byte of an answer.
        ledger: where to count, and where a shutdown is announced.
        http: what answers requests that are not for a WebSocket, instead of ``site``.
        house: to be told of the end, if anybody is.
    """

    __slots__ = (
        "_channel",
        "_house",
        "_http",
        "_ledger",
        "_options",
        "_patience",
        "_phase",
        "_site",
        "_was_answered",
        "_wire",
        "_write_timeout",
        "connection",
        "is_told",
    )

    def __init__(
        self,
        wire: Wire,
        site: Site,
        options: ServerOptions,
        *,
        write_timeout: float,
        ledger: Ledger,
        http: AsgiSite | None = None,
        house: House | None = None,
    ) -> None:
        self._wire = wire
        self._site = site
        self._options = options
        self._write_timeout = write_timeout
        self._ledger = ledger
        self._http = http
        self._house = house
        self._phase = Phase.READING
        self._patience = Patience(trio.current_time() + options.handshake_timeout)
        self._channel: HttpChannel | None = None
        self._was_answered = False
        #: Whether it knows of the shutdown.
        self.is_told: bool = False
        #: The WebSocket, once there is one.
        self.connection: Connection | None = None

    def shutdown_nowait(self, *, restart: bool, deadline: float) -> None:
        """The server is going: end as the phase demands. May be called again with an earlier deadline."""
        self.is_told = True
        if self.connection is not None:
            self.connection.shutdown_nowait(restart=restart, deadline=deadline)
        elif self._phase is Phase.READING:
            self._patience.cancel()

    def cancel(self) -> None:
        """The grace is over: cancel what is left."""
        if self.connection is not None:
            self.connection.shutdown_nowait(restart=False, deadline=-math.inf)
        else:
            self._patience.cancel()

    def abort(self) -> None:
        """Cancelling was of no use: drop the client at least."""
        self._wire.abort()

    @property
    def host(self) -> str | None:
        """The client's address; ``None`` where there is no such thing."""
        return None if self._wire.client is None else self._wire.client[0]

    async def run(self) -> None:
        """The whole stay; raises no ``Exception``.

        Checkpoint: always. Cancelled: the client is dropped; an open connection ends as ``run_connection`` says.
        """
        house = self._house
        try:
            agreement = await self._speak_http()
            if agreement is None:
                return
            connection, wish = self._open(agreement), agreement.wish
            del agreement  # what the handshake needed is not kept for as long as the connection lives
            try:
                await run_connection(connection, wish.handler, wish.args)
            except Exception:
                # Not expected of run_connection; but nothing that one client brings about may end the others.
                logger.exception("unexpected failure of a connection with %s", self._wire.peer)
                self._wire.abort()
        except* KeyboardInterrupt:
            # Python raises it in whatever code is running, and here that is most often a callback.
            if house is None:
                raise
            house.interrupt()
        finally:
            if house is not None:
                house.see_off(self)

    def _open(self, agreement: Agreement) -> Connection:
        assert self._channel is not None
        connection = self.connection = agreement.open(self._wire, self._channel.take_leftover())
        self._channel = None
        self._phase = Phase.OPEN
        self._ledger.connections += 1
        notice = self._ledger.notice
        if notice is not None:  # it came while the 101 waited for the socket
            self.shutdown_nowait(restart=notice.restart, deadline=notice.deadline)
        return connection

    async def _speak_http(self) -> Agreement | None:
        """Answer requests until one of them is upgraded; ``None`` if the client is gone."""
        agreement = None
        try:
            with self._patience:
                agreement = await self._exchange()
            if self._patience.is_exhausted and self._ledger.notice is None:
                await self._time_out()
        except ConnectionLost as exc:
            self._count_failure()
            logger.debug("%s left: %s", self._wire.peer, exc)
        except Exception:
            # A fault of ours; but nothing that one client brings about may end the others.
            logger.exception("unexpected failure while speaking HTTP with %s", self._wire.peer)
        finally:
            if agreement is None:
                await self._wire.aclose()
        return agreement

    def _give_time(self) -> None:
        self._patience.extend(trio.current_time() + self._options.handshake_timeout)

    def _count_failure(self) -> None:
        # Leaving between two requests, or resting there for too long, is anyone's right.
        rests = self._was_answered and not self._has_begun
        if self._phase is Phase.UPLOADING or (self._phase is Phase.READING and not rests):
            self._ledger.handshake_failures += 1

    @property
    def _has_begun(self) -> bool:
        return self._channel is not None and self._channel.has_partial_head

    async def _time_out(self) -> None:
        logger.debug("%s was too slow", self._wire.peer)
        self._count_failure()
        if self._phase is not Phase.UPLOADING and not (self._phase is Phase.READING and self._has_begun):
            return  # it has asked for nothing, or does not read the answer
        seconds = self._options.handshake_timeout
        self._patience = Patience()
        with self._patience:
            await self._refuse(BadRequest(408, f"expected a whole request within {seconds:g} seconds"))

    async def _exchange(self) -> Agreement | None:
        if self._options.ssl_context is not None:
            self._patience.begin()
            self._wire = await agree_on_keys(self._wire, self._options.ssl_context)
        self._channel = HttpChannel(self._wire, self._options.max_head_size, self._options.max_body_size)
        try:
            return await self._answer_requests(self._channel)
        except BadRequest as exc:
            self._ledger.handshake_failures += 1
            await self._refuse(exc)
            return None

    async def _answer_requests(self, channel: HttpChannel) -> Agreement | None:
        while True:
            if not channel.has_whole_head():
                self._patience.begin()
            head = await channel.receive_head()
            if head is None:
                if channel.has_partial_head:
                    self._count_failure()
                return None
            if self._http is not None or head.content_length != 0 or self._site.may_wait:
                self._patience.begin()
            if self._http is not None:
                plain = channel.request(head, b"")
                if not is_upgrade(plain):
                    if not await self._call(self._http, channel, head, plain):
                        return None
                    self._rest()
                    continue
            self._phase = Phase.UPLOADING
            body = b"" if head.content_length == 0 else await self._receive_body(channel, head)
            self._phase = Phase.ANSWERING
            if self._site.may_wait:
                self._patience.extend(math.inf)  # the application's time is its own
            request = channel.request(head, body)
            answer = await self._answer(request)
            if isinstance(answer, Agreement):
                await self._send(answer.answer, self._options.handshake_timeout)
                return answer
            if not await self._send_response(head, request, answer):
                await self._linger()
                return None
            self._rest()
            self._patience.begin()
            await trio.lowlevel.checkpoint()  # a flood of pipelined requests must not keep the others waiting

    def _rest(self) -> None:
        """Between two requests."""
        self._phase = Phase.READING
        self._was_answered = True
        self._give_time()

    async def _call(self, http: AsgiSite, channel: HttpChannel, head: Head, request: Request) -> bool:
        """Have the ASGI application answer, and whether the connection stays open behind that."""
        self._phase = Phase.ANSWERING
        self._patience.extend(math.inf)  # the application's time is its own
        call = http.call(channel, head, request)
        try:
            await call.wait_answered()
        except trio.Cancelled:  # the grace is over
            if not (call.is_complete or call.is_untouched):
                self._wire.abort()  # the client must not take what it has for the whole
            raise
        if not call.is_complete:
            await self._make_up_for(call, is_head=head.method == "HEAD")
            return False
        self._ledger.requests += 1
        if self._wire.unsent_size:  # the application did not wait for it
            await self._send(b"", self._write_timeout)
        may_stay = call.keeps_alive and self._ledger.notice is None
        if may_stay and (call.body.is_complete or await channel.discard_body(call.body)):
            return True
        await self._linger()
        return False

    async def _make_up_for(self, call: AsgiCall, *, is_head: bool) -> None:
        if not call.is_untouched:
            self._wire.abort()  # as above
            return
        if call.fault is not None:
            raise call.fault
        self._ledger.requests += 1
        answer = serialize_response(refusal(500, "Internal Server Error"), is_head=is_head, closes=True)
        await self._send(answer, self._write_timeout)
        await self._linger()

    async def _receive_body(self, channel: HttpChannel, head: Head) -> bytes:
        body = channel.announced_body(head)
        if head.expects_continue:
            await channel.send_continue()
        start, before = trio.current_time(), channel.wire.received_size
        while not body.is_complete:
            earned = (channel.wire.received_size - before) / MIN_BODY_RATE
            self._patience.extend(start + self._options.handshake_timeout + earned)
            await channel.receive_body(body)
        return body.content()

    async def _answer(self, request: Request) -> Response | Agreement:
        wish = await self._site.answer(request)
        if isinstance(wish, Response):
            return wish
        return self._check_wish(request, wish)

    def _check_wish(self, request: Request, wish: Wish) -> Response | Agreement:
        if self._ledger.notice is not None:
            return unavailable()
        try:
            return agree_on_upgrade(request, wish)
        except UpgradeRefused as exc:
            return refusal(exc.status, exc.reason, exc.headers)
        except Exception:  # headers that may not be sent, or an ``origins`` function that failed
            return self._internal_error(request)

    def _internal_error(self, request: Request) -> Response:
        self._ledger.application_errors += 1
        logger.exception("the application's answer to %s %s cannot be sent", request.method, request.target)
        return refusal(500, "Internal Server Error")

    async def _send_response(self, head: Head, request: Request, response: Response) -> bool:
        """Send a whole response and whether the connection stays open behind it."""
        self._ledger.requests += 1
        # Behind a refused upgrade frames may follow, which are no requests.
        closes = not head.keeps_alive or self._ledger.notice is not None or is_upgrade(request)
        is_head = head.method == "HEAD"
        try:
            data = serialize_response(response, is_head=is_head, closes=closes)
        except Exception:  # headers that may not be sent, or a body that can no longer be read
            data = serialize_response(self._internal_error(request), is_head=is_head, closes=closes)
        await self._send(data, self._write_timeout)
        return not (closes or asks_to_close(response))

    async def _refuse(self, fault: BadRequest) -> None:
        logger.debug("%s is answered %d: %s", self._wire.peer, fault.status, fault)
        self._phase = Phase.ANSWERING
        answer = serialize_response(refusal(fault.status, fault.reason, fault.headers), closes=True)
        await self._send(answer, self._write_timeout)
        await self._linger()

    async def _linger(self) -> None:
        assert self._channel is not None
        self._patience.begin()
        self._patience.extend(math.inf)  # it is bounded by itself, and owes nothing to the time of the handshake
        await self._channel.linger()

    async def _send(self, data: bytes, seconds: float) -> None:
        """Send ``data``, of which something has to be taken every ``seconds``."""
        wire = self._wire
        is_sent = wire.send_nowait([data])
        while not is_sent:
            self._patience.begin()
            self._patience.extend(trio.current_time() + seconds)
            await wire.flush_some()
            is_sent = wire.flush_nowait()
