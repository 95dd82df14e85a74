"""One plain HTTP request, answered by an ASGI application.

In: the head of a request, and the channel it came through. Out: whatever the application sends, as it sends it; the
session reads off the call how it ended. Knows no WebSocket: those requests are not given to the application.

1. A call runs in a task of its own, not in the session's: what the application does behind its response (a background
   task of Starlette's) must not keep the next request of this client waiting.
2. While the call is owed to the client, it alone uses the wire: :meth:`AsgiCall.wait_answered` ends when that is over.
3. The wire is read only when the application asks: for the body, and later for the client's leaving.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias, final

import trio

from ..errors import ConnectionLost, WriteTimeout
from ..faults import split_fault
from ..options import AsgiApplication
from ..request import Request
from .asgi_response import AsgiResponse
from .asgi_scope import ServerAddress, http_scope
from .body import Body
from .head import BadRequest, Head
from .http import HttpChannel
from .ledger import Ledger

__all__ = ["AsgiCall", "AsgiSite"]

logger: logging.Logger = logging.getLogger("trio_websock.server")

_Event: TypeAlias = MutableMapping[str, Any]

_DISCONNECT: Final = "http.disconnect"


@final
@dataclass(frozen=True, slots=True)
class AsgiSite:
    """An ASGI application, and what all its calls have in common.

    Args:
        application: called once for each request.
        spawn: runs a call in a task that may outlive the session.
        ledger: where to count.
        timeout: seconds of silence inside the body of a request after which its client counts as gone.
        write_timeout: seconds in which the client must take at least one byte of a response.
        state: what the lifespan has left for requests.
        server: where clients come in.
    """

    application: AsgiApplication
    spawn: Callable[[AsgiCall], None]
    ledger: Ledger
    timeout: float
    write_timeout: float
    state: dict[str, Any] = field(default_factory=dict)
    server: ServerAddress | None = None

    def at(self, address: ServerAddress | str | None) -> AsgiSite:
        """The same for clients that come in at ``address``, where a ``str`` is the path of a Unix socket."""
        return replace(self, server=(address, None) if isinstance(address, str) else address)

    def call(self, channel: HttpChannel, head: Head, request: Request) -> AsgiCall:
        """Begin to answer the request that ``head`` begins; ``request`` is the same without its body."""
        call = AsgiCall(self, channel, head, request)
        self.spawn(call)
        return call


@final
class AsgiCall:
    """One call of the application.

    Args:
        site: what is called.
        channel: lent until :meth:`wait_answered` returns.
        head: of the request.
        request: the same as a value, its body missing.
    """

    __slots__ = (
        "_answered",
        "_channel",
        "_flushing",
        "_has_told_body",
        "_has_told_leaving",
        "_head",
        "_listening",
        "_loss",
        "_may_continue",
        "_reading",
        "_request",
        "_response",
        "_scope",
        "_site",
        "body",
        "fault",
    )

    def __init__(self, site: AsgiSite, channel: HttpChannel, head: Head, request: Request) -> None:
        self._site = site
        self._channel = channel
        self._head = head
        self._request = request
        self._response = AsgiResponse(head.method, head.http_version)
        self._may_continue = head.expects_continue
        self._has_told_body = False
        self._has_told_leaving = False
        self._scope = trio.CancelScope()
        self._reading = trio.Lock()  # middleware may listen for the client's leaving while an endpoint reads the body
        self._flushing = trio.Lock()  # several tasks may send: the events of a stream, and what keeps it alive
        self._listening: trio.CancelScope | None = None
        self._answered = trio.Event()
        self._loss: Exception | None = None
        #: The request's body, as far as it has been read.
        self.body: Body = channel.streamed_body(head)
        #: What was wrong with that body.
        self.fault: BadRequest | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the whole response has been sent, or at least queued."""
        return self._response.is_complete

    @property
    def is_untouched(self) -> bool:
        """Whether the client is there, has seen nothing of a response, and may get another one."""
        return not self._response.has_begun and (self._loss is None or self.fault is not None)

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection goes on behind the response."""
        return self._loss is None and not self._response.closes

    async def wait_answered(self) -> None:
        """Wait until the response is complete, or will never be; then the channel is given back.

        Checkpoint: always. Cancelled: the call goes on.
        """
        await self._answered.wait()
        if self._reading.locked():
            async with self._reading:  # who was listening lets go of the wire
                pass

    def cancel(self) -> None:
        """The grace is over."""
        self._scope.cancel()

    async def run(self) -> None:
        """Call the application; raises no ``Exception``.

        Checkpoint: as the application has them. Cancelled: the application is.
        """
        scope = http_scope(self._request, self._site.server, self._site.state)
        try:
            with self._scope:
                await self._site.application(scope, self._receive, self._send)
                self._check_complete()
        except BaseException as exc:
            fault, rest = split_fault(exc)
            if fault is not None:
                self._report(fault)
            if rest is not None:
                raise rest from None
        finally:
            self._finish()

    # What the application calls.

    async def _receive(self) -> _Event:
        if trio.current_effective_deadline() == -math.inf and self._may_tell_leaving():
            return {"type": _DISCONNECT}
        async with self._reading:
            with trio.CancelScope() as self._listening:
                if not self._answered.is_set() and self._loss is None:
                    return await self._receive_event()
        return {"type": _DISCONNECT}

    async def _send(self, event: _Event) -> None:
        if self._loss is not None:
            await trio.lowlevel.checkpoint()
            raise self._lost()
        pieces = self._response.serialize(event, closes=self._must_close())
        if pieces:
            wire, is_last = self._channel.wire, self._response.is_complete
            wire.write_nowait(pieces)
            if not (is_last and wire.flush_nowait()):
                await self._flush()
        elif self._response.has_begun:  # a HEAD may be answered by an endless stream
            await trio.lowlevel.checkpoint()
        if self._response.is_complete:
            self._finish()

    # Inwards.

    def _may_tell_leaving(self) -> bool:
        """Whether the client has left, for Starlette, which asks for that in a scope that is cancelled already.

        Once: who goes on asking in such a scope is to be cancelled.
        """
        if self._has_told_leaving:
            return False
        is_ours = not self._answered.is_set() and not self._reading.locked()  # else somebody else reads the wire
        if is_ours and self._loss is None and self.body.is_complete and self._channel.has_left():
            self._loss = ConnectionLost("the client has left")
        self._has_told_leaving = self._answered.is_set() or self._loss is not None
        return self._has_told_leaving

    async def _receive_event(self) -> _Event:
        try:
            if not self._has_told_body:
                return await self._receive_body()
            await self._channel.wait_gone()
            self._loss = ConnectionLost("the client has left")
        except BadRequest as exc:
            self._loss = self.fault = exc
        except ConnectionLost as exc:
            self._loss = exc
        return {"type": _DISCONNECT}

    async def _receive_body(self) -> _Event:
        body = self.body
        data = body.take()
        while not data and not body.is_complete:
            with trio.move_on_after(self._site.timeout) as scope:
                await self._ask_for_body()
                await self._channel.receive_body(body)
            if scope.cancelled_caught:
                raise ConnectionLost(f"nothing of the body came for {self._site.timeout:g} seconds")
            data = body.take()
        self._has_told_body = body.is_complete
        return {"type": "http.request", "body": data, "more_body": not body.is_complete}

    async def _ask_for_body(self) -> None:
        if self._may_continue:
            self._may_continue = False
            if not self._response.has_begun:  # RFC 9110 §10.1.1: and not behind the final status
                await self._channel.send_continue()

    # Outwards.

    def _must_close(self) -> bool:
        # A client that was never told to continue may send the body or not, and nobody knows which.
        is_waiting = self._may_continue and not self.body.is_complete and not self._channel.has_partial_head
        return is_waiting or not self._head.keeps_alive or self._site.ledger.notice is not None

    async def _flush(self) -> None:
        """Wait until everything is handed over.

        Tries no write without waiting first: that would hide a dead client from whoever streams, and let a stream that
        never waits keep everybody else waiting.
        """
        wire = self._channel.wire
        try:
            if not wire.unsent_size:
                await trio.lowlevel.checkpoint()
                raise ConnectionLost("closed at this end")
            async with self._flushing:
                while wire.unsent_size:
                    await self._flush_some()
        except (ConnectionLost, WriteTimeout) as exc:
            self._loss = exc
            wire.abort()
            raise self._lost() from exc

    async def _flush_some(self) -> None:
        wire = self._channel.wire
        with trio.move_on_after(self._site.write_timeout) as scope:
            try:
                await wire.flush_some()
            except BaseException:
                if not wire.unsent_size:  # cancelled on a stream that is broken by that
                    self._loss = ConnectionLost("a part of the response was cancelled on its way")
                raise
        if scope.cancelled_caught:
            raise WriteTimeout(f"the client took no byte for {self._site.write_timeout:g} seconds")

    def _lost(self) -> OSError:
        return ConnectionResetError(f"the client of {self._head.method} {self._head.target} is gone: {self._loss}")

    # The end.

    def _finish(self) -> None:
        self._answered.set()
        if self._listening is not None:
            self._listening.cancel()

    def _check_complete(self) -> None:
        if not self.is_complete and self._loss is None:
            raise RuntimeError("the ASGI application returned before its response was complete")

    def _report(self, fault: BaseException) -> None:
        method, target = self._head.method, self._head.target
        if self._loss is not None:
            # Frameworks raise when a client leaves, and that is not their fault.
            logger.info("the client of %s %s is gone (%s); the application: %r", method, target, self._loss, fault)
            return
        self._site.ledger.application_errors += 1
        logger.error("the ASGI application failed at %s %s", method, target, exc_info=fault)
