"""The transport over an ASGI ``websocket`` scope that has been accepted: events in, events out.

In: an :class:`~trio_websock.hosts.asgi_exchange.Exchange`. Out: messages. Frames, pings, fragments and the closing
handshake are the ASGI server's affair; how its events get here is the exchange's.
"""

from __future__ import annotations

import math
from typing import final

from ..behaviour.reasons import Error, Reason, Remote
from ..codes import Opcode
from ..errors import ConnectionLost, MessageTooBig, StateError
from ..messages import Outgoing
from ..transport import Arrival, Transport
from .asgi_exchange import SEND_SIZE, Exchange
from .asgi_hop import Event

__all__ = ["AsgiTransport"]

_NO_STATUS = 1005  # RFC 6455 §7.4.1: there was a close frame, without a code
_ABNORMAL = 1006  # the same: there was none


@final
class AsgiTransport(Transport):
    """See the module.

    Args:
        exchange: behind its ``websocket.accept``.
        max_message_size: bytes of a message; the server has a limit of its own.
        subprotocol: agreed on.
        peer: for logs.
    """

    __slots__ = ("_exchange", "_is_closing", "_is_over", "_max_message_size", "peer", "received_size", "subprotocol")

    def __init__(self, exchange: Exchange, max_message_size: int | None, subprotocol: str | None, peer: str) -> None:
        self._exchange = exchange
        self._max_message_size: float = math.inf if max_message_size is None else max_message_size
        self._is_closing = False
        self._is_over = False
        self.received_size: int = 0
        self.subprotocol: str | None = subprotocol
        self.peer: str = peer

    async def receive(self, max_messages: int) -> list[Arrival]:
        await self._exchange.wait_event()
        return self.receive_nowait(max_messages)

    def receive_nowait(self, max_messages: int) -> list[Arrival]:
        batch: list[Arrival] = []
        while self._exchange.has_events and len(batch) < max_messages and not self._is_over:
            batch.append(self._arrival_of(self._exchange.pop()))
        return batch

    def _arrival_of(self, event: Event) -> Arrival:
        if event["type"] != "websocket.receive":
            self._is_over = True
            return _reason_of(event)
        text: str | None = event.get("text")
        message = bytes(event["bytes"]) if text is None else text
        # isascii() is a flag of the string's, and saves most of them the encoding.
        size = len(message) if text is None or text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        self.received_size += size + 2
        if size > self._max_message_size:
            came = f"a message of {size} bytes came: expected at most {self._max_message_size}"
            return Error(MessageTooBig(came, "RFC 6455 §7.4.1"))
        return message

    def send_nowait(self, message: Outgoing) -> None:
        """Queue one message.

        Raises:
            StateError: a ping or a pong, for which ASGI has no event.
        """
        opcode, payload = message
        if opcode is Opcode.TEXT:
            self._queue({"type": "websocket.send", "text": payload.decode()})
        elif opcode is Opcode.BINARY:
            self._queue({"type": "websocket.send", "bytes": payload})
        else:
            raise StateError(f"a {opcode.name.lower()} was pushed: ASGI can send none, the server pings by itself")

    def _queue(self, event: Event) -> None:
        if not self._is_closing:
            self._exchange.send_nowait(event)

    def send_close_nowait(self, code: int | None, text: bytes) -> None:
        if not self._is_over:  # else the server has answered the peer's close already
            self._queue(
                {"type": "websocket.close", "code": 1000 if code is None else int(code), "reason": text.decode()}
            )
        self._is_closing = True

    def flush_nowait(self) -> bool:
        if not self._exchange.flush_nowait():
            return False
        # Behind a close nothing would tell whether the rest has gone: it has to have been sent.
        return self._exchange.unsent_size <= (0 if self._is_closing else SEND_SIZE)

    @property
    def unsent_size(self) -> int:
        return self._exchange.queued_size

    async def flush_some(self) -> None:
        await self._exchange.wait_progress()

    async def wait_closed(self) -> None:
        while not self._is_over:
            await self._exchange.wait_event()
            while self._exchange.has_events and not self._is_over:
                self._is_over = self._exchange.pop()["type"] != "websocket.receive"

    def send_eof_nowait(self) -> None:
        """Do nothing: the server ends both directions at once."""

    async def aclose(self) -> None:
        self._exchange.end()

    def abort(self) -> None:
        self._exchange.abort()


def _reason_of(event: Event) -> Reason:
    code = event.get("code")
    if code == _ABNORMAL:
        return Error(ConnectionLost("the connection ended without a close frame, as the ASGI server tells"))
    return Remote(None if code == _NO_STATUS else code, event.get("reason") or "")
