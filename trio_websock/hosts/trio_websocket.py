"""trio-websocket as a host: handlers beside the code of a server that uses it already.

In: a ``WebSocketRequest`` of that library. Out: a handshake answered and a :class:`Transport` over what comes of it.
Frames are that library's affair, and so are pings that arrive, protocol errors and the closing handshake.

Its ``send_message`` may not be cancelled, or half a frame would be out. Here a task of our own does all the sending
and all the reading, shielded; the runtime only ever waits for that task, and may stop waiting whenever it likes.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, Unpack, final

import trio
import trio_websocket

from ..behaviour.handler import bind_handler
from ..behaviour.reasons import Error, Reason, Remote
from ..codes import Opcode
from ..connection import Connection
from ..errors import ConnectionLost, MessageTooBig, UpgradeRefused
from ..messages import Outgoing, Pong
from ..nursery import run_connection
from ..options import ConnectionKeywords, Options, check_defaults
from ..parking import Parking
from ..protocol.upgrade import check_origin
from ..request import HeaderInput, Headers, Request
from ..response import RESPONSE_FIELDS, SWITCH_FIELDS, encoded_fields
from ..transport import Arrival, Transport
from .subprotocol import choose_subprotocol

__all__ = ["TrioWebSocketTransport", "request_from", "upgrade_request"]

logger: logging.Logger = logging.getLogger("trio_websock.hosts")

READ_SIZE = 64 * 1024  # bytes taken from the library while nobody has asked for them yet

_TOO_BIG = "Exceeded maximum message size"  # how the library's own 1009 begins, which the peer has not sent

_NOT_TO_BE_HAD = ("compress", "max_frame_size", "max_empty_fragments", "validate_utf8")

_Close: TypeAlias = tuple[int | None, bytes]


async def upgrade_request(
    request: trio_websocket.WebSocketRequest,
    handler: object,
    args: Any = None,
    *,
    headers: HeaderInput = (),
    subprotocol: str | None = None,
    **options: Unpack[ConnectionKeywords],
) -> Reason | None:
    """Answer a request of trio-websocket's server and host ``handler`` behind it, until the connection has ended.

    ::

        async def serve_request(request):
            if request.path == "/chat":
                await upgrade_request(request, Chat, "lobby")
            else:
                connection = await request.accept()  # as before
                ...

        await trio_websocket.serve_websocket(serve_request, "127.0.0.1", 8000, ssl_context=None)

    Args:
        request: as the server gave it.
        handler: class, instance or module.
        args: given to ``init``.
        headers: further headers of the 101.
        subprotocol: the subprotocol to answer with; the client must have offered it.
        options: those of :class:`Options`. ``max_message_size`` counts beside the server's own.

    Returns:
        What ``terminate`` was told, or would have been; ``None`` if the request was refused, or the client had gone.

    Raises:
        TypeError: an option that does not exist, or an incomplete handler.
        OptionError: an option with a value that is not allowed, or that trio-websocket has nothing for: ``compress``,
            ``max_frame_size``, ``max_empty_fragments`` and ``validate_utf8=False``.
        StateError: a header that may not be sent, or a subprotocol that was not offered. Nothing has been answered.

    Checkpoint: always.
    Cancelled: a close with 1001 and ``terminate``, without waiting for the peer's close.
    Source: WebSockAdapter ``upgrade/4``.
    """
    bound = bind_handler(handler)
    checked = Options().merged(options)
    check_defaults(checked, _NOT_TO_BE_HAD, "trio-websocket has nothing for it")
    extra = encoded_fields(Headers(headers).pairs(), SWITCH_FIELDS)
    ours = request_from(request)
    try:
        check_origin(ours, checked.origins)
        chosen = choose_subprotocol(ours, subprotocol, checked)
    except UpgradeRefused as exc:
        await _refuse(request, exc)
        return None
    try:
        accepted = await request.accept(subprotocol=chosen, extra_headers=extra)
    except trio_websocket.ConnectionClosed as exc:
        logger.debug("the client left before it was answered: %s", exc)
        return None
    async with trio.open_nursery() as nursery:
        transport = TrioWebSocketTransport(accepted, checked.max_message_size)
        # Not start(): cancelled meanwhile, it would wait for the shielded task to end.
        nursery.start_soon(transport.run)
        try:
            return await run_connection(Connection(transport, checked, ours), bound, args)
        finally:
            transport.abort()
    raise AssertionError("a nursery that was left by a return")


def request_from(request: trio_websocket.WebSocketRequest) -> Request:
    """The request as handlers see it.

    Args:
        request: as trio-websocket's server gave it. It keeps back the extensions the client has offered.
    """
    event = request._event  # the only place that has the Host
    fields = [
        ("host", event.host),
        *((name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers),
    ]
    if request.proposed_subprotocols:
        fields.append(("sec-websocket-protocol", ", ".join(request.proposed_subprotocols)))
    endpoint = _endpoint_of(request)
    is_tls = endpoint is not None and endpoint.is_ssl
    client = None if endpoint is None else (str(endpoint.address), endpoint.port)
    return Request("GET", request.path, Headers(fields), scheme="https" if is_tls else "http", client=client)


def _endpoint_of(request: trio_websocket.WebSocketRequest) -> Any:
    try:
        endpoint = request.remote
    except OSError:  # it has left; the first read will say so
        return None
    return None if isinstance(endpoint, str) else endpoint


async def _refuse(request: trio_websocket.WebSocketRequest, refusal: UpgradeRefused) -> None:
    headers = [("Content-Type", "text/plain; charset=utf-8"), *refusal.headers.pairs()]
    fields = encoded_fields(headers, RESPONSE_FIELDS)
    try:
        await request.reject(refusal.status, extra_headers=fields, body=refusal.reason.encode())
    except trio_websocket.ConnectionClosed as exc:
        logger.debug("the client left before it was refused: %s", exc)


@final
class TrioWebSocketTransport(Transport):
    """A WebSocket of trio-websocket, after its handshake. :meth:`run` must be running.

    Args:
        connection: owned from now on.
        max_message_size: bytes of a message.
    """

    __slots__ = (
        "_arrivals",
        "_arrived",
        "_close",
        "_connection",
        "_is_gone",
        "_max_message_size",
        "_over",
        "_progress",
        "_queue",
        "_queued",
        "_scope",
        "_taken",
        "_tasks",
        "_waiting_size",
        "peer",
        "received_size",
        "subprotocol",
    )

    def __init__(self, connection: trio_websocket.WebSocketConnection, max_message_size: int | None) -> None:
        self._connection = connection
        self._max_message_size: float = math.inf if max_message_size is None else max_message_size
        self._arrivals: list[Arrival] = []
        self._waiting_size = 0
        self._arrived, self._taken, self._queued, self._progress = Parking(), Parking(), Parking(), Parking()
        self._queue: deque[Outgoing | _Close] = deque()
        self._close: _Close | None = None
        self._is_gone = False
        self._over = trio.Event()
        self._scope = trio.CancelScope(shield=True)
        self._tasks: trio.Nursery | None = None
        self.received_size: int = 0
        self.subprotocol: str | None = connection.subprotocol
        self.peer: str = _peer_of(connection)

    async def run(self) -> None:
        """Read and send, until the transport is closed or aborted; whoever cancels it has to wait for that."""
        try:
            with self._scope:
                async with trio.open_nursery() as self._tasks:
                    self._tasks.start_soon(self._read_all)
                    self._tasks.start_soon(self._send_all)
        finally:
            # The library keeps it open where there was no closing handshake.
            await trio.aclose_forcefully(self._connection._stream)

    async def _read_all(self) -> None:
        try:
            while True:
                message = await self._connection.get_message()
                if not self._admit(message):
                    return
                if self._waiting_size >= READ_SIZE:
                    await self._taken.park()
        except trio_websocket.ConnectionClosed:
            if self._close is None:
                self._put(self._end())
                self._over.set()

    def _admit(self, message: str | bytes) -> bool:
        size = len(message) if isinstance(message, bytes) or message.isascii() else len(message.encode())
        self.received_size += size
        if size > self._max_message_size:
            came = f"a message of {size} bytes came: expected at most {self._max_message_size}"
            self._put(Error(MessageTooBig(came, "RFC 6455 §7.4.1")))
            return False
        self._waiting_size += size
        self._put(message)
        return True

    def _put(self, arrival: Arrival) -> None:
        self._arrivals.append(arrival)
        self._arrived.wake()

    def _end(self) -> Reason:
        reason = self._connection.closed
        if reason is None or reason.code == 1006:
            return Error(ConnectionLost("the connection ended, or trio-websocket ended it for a protocol error"))
        text = reason.reason or ""
        if reason.code == 1009 and text.startswith(_TOO_BIG):
            return Error(MessageTooBig(f"{text}, by serve_websocket(max_message_size=...)", "RFC 6455 §7.4.1"))
        return Remote(None if reason.code == 1005 else reason.code, text)

    async def receive(self, max_messages: int) -> list[Arrival]:
        await trio.lowlevel.checkpoint()
        while not self._arrivals:
            await self._arrived.park()
        return self.receive_nowait(max_messages)

    def receive_nowait(self, max_messages: int) -> list[Arrival]:
        batch, self._arrivals = self._arrivals[:max_messages], self._arrivals[max_messages:]
        if not self._arrivals:
            self._waiting_size = 0
            self._taken.wake()
        return batch

    def send_nowait(self, message: Outgoing) -> None:
        if self._close is None and not self._is_gone:
            self._queue.append(message)

    def send_close_nowait(self, code: int | None, text: bytes) -> None:
        if self._close is None and not self._is_gone:
            self._close = (code, text)
            self._queue.append(self._close)

    def flush_nowait(self) -> bool:
        return not self._queue

    @property
    def unsent_size(self) -> int:
        return sum(len(payload) + 2 for _, payload in self._queue)

    async def flush_some(self) -> None:
        if self._is_gone or not self._queue:
            await trio.lowlevel.checkpoint()
        else:
            self._queued.wake()
            await self._progress.park()
        if self._is_gone:
            raise ConnectionLost("nothing more can be sent")

    async def _send_all(self) -> None:
        try:
            while True:
                while not self._queue:
                    await self._queued.park()
                await self._send(self._queue[0])
                if self._is_gone:
                    return  # given up at the moment at which it was sent
                self._queue.popleft()
                self._progress.wake()
        except trio_websocket.ConnectionClosed:
            self._give_up_sending()

    async def _send(self, item: Outgoing | _Close) -> None:
        if item is self._close:
            await self._begin(self._close_handshake, item[1])
            return
        opcode, payload = item
        match opcode:
            case Opcode.TEXT:
                await self._connection.send_message(payload.decode())
            case Opcode.BINARY:
                await self._connection.send_message(payload)
            case Opcode.PONG:
                await self._connection.pong(payload)
            case Opcode.PING:
                await self._begin(self._ping, payload)

    async def _begin(self, act: Callable[[bytes, trio.Event], Awaitable[None]], payload: bytes) -> None:
        """Start what waits for the peer's answer, and come back when its own frame has had its turn."""
        assert self._tasks is not None
        begun = trio.Event()
        self._tasks.start_soon(act, payload, begun)
        await begun.wait()
        await trio.lowlevel.checkpoint()  # the library's lock hands out turns in order, and takes one step to do so

    async def _ping(self, payload: bytes, begun: trio.Event) -> None:
        begun.set()
        try:
            await self._connection.ping(payload)
        except (trio_websocket.ConnectionClosed, ValueError):
            return  # gone, or the same ping is still unanswered: one pong would answer both
        self.received_size += len(payload) + 2
        self._put(Pong(payload))

    async def _close_handshake(self, text: bytes, begun: trio.Event) -> None:
        assert self._close is not None
        begun.set()
        try:
            await self._connection.aclose(self._close[0] or 1000, text.decode() or None)
        finally:
            self._over.set()

    def _give_up_sending(self) -> None:
        self._is_gone = True
        self._queue.clear()
        self._progress.wake()
        self._over.set()

    async def wait_closed(self) -> None:
        self._arrivals.clear()
        self._waiting_size = 0
        self._taken.wake()
        await self._over.wait()

    def send_eof_nowait(self) -> None:
        """Do nothing: the library ends both directions at once."""

    async def aclose(self) -> None:
        self.abort()

    def abort(self) -> None:
        self._give_up_sending()
        self._scope.cancel()


def _peer_of(connection: trio_websocket.WebSocketConnection) -> str:
    try:
        endpoint = connection.remote
    except OSError:  # it has left; the first read will say so
        return "a peer that has left"
    return endpoint if isinstance(endpoint, str) else f"{endpoint.address}:{endpoint.port}"
