"""Our own host: RFC 6455 over a wire.

In: bytes of a wire, through the protocol's machine. Out: a :class:`Transport`. The one place of the server that knows
both sides; it adds no rule to either.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import final

import trio

from ..behaviour.reasons import Error, Remote
from ..errors import ConnectionLost
from ..messages import Outgoing
from ..options import Options
from ..protocol.deflate import PerMessageDeflate
from ..protocol.machine import Limits, Machine, Role
from ..protocol.negotiation import DeflateParameters
from ..transport import Arrival, Transport
from .readiness import Watch
from .wire import Wire

__all__ = ["StreamTransport", "open_stream_transport"]

DISCARD_LEN = 1024  # frames skipped between two looks at the stream, once nothing that arrives matters


def open_stream_transport(
    wire: Wire,
    role: Role,
    options: Options,
    subprotocol: str | None = None,
    deflate: DeflateParameters | None = None,
    leftover: bytes = b"",
) -> StreamTransport:
    """A WebSocket over ``wire``, after the handshake.

    Args:
        wire: owned from now on.
        role: ours.
        options: limits, and how text is checked.
        subprotocol: agreed on in the handshake.
        deflate: agreed on in the handshake.
        leftover: bytes that came behind the handshake.
    """
    limits = _limits_of(
        options.max_message_size, options.max_frame_size, options.max_empty_fragments, options.validate_utf8
    )
    extension = None if deflate is None else PerMessageDeflate(deflate, role)
    return StreamTransport(wire, Machine(role, limits, extension), subprotocol, leftover)


@lru_cache  # nearly all connections have the same, and need but one
def _limits_of(
    max_message_size: int | None, max_frame_size: int | None, max_empty_fragments: int, validate_utf8: bool
) -> Limits:
    return Limits(
        max_message_size=max_message_size,
        max_frame_size=max_frame_size,
        max_empty_fragments=max_empty_fragments,
        validate_utf8=validate_utf8,
    )


@final
class StreamTransport(Transport):
    """A WebSocket over ``wire``, after the handshake.

    Args:
        wire: owned from now on.
        machine: in the role that fits.
        subprotocol: agreed on in the handshake.
        leftover: bytes that came behind the handshake.
    """

    __slots__ = ("_machine", "_room", "_take", "_wire", "subprotocol")

    def __init__(self, wire: Wire, machine: Machine, subprotocol: str | None, leftover: bytes = b"") -> None:
        self._wire = wire
        self._machine = machine
        self._room: int  # in the next batch, and who gets it, while there is a receive_each
        self._take: Callable[[list[Arrival]], int]
        self.subprotocol: str | None = subprotocol
        if leftover:
            machine.receive_data(leftover)

    @property
    def peer(self) -> str:  # type: ignore[override]  # read-only here
        return self._wire.peer

    @property
    def received_size(self) -> int:  # type: ignore[override]  # read-only here
        return self._wire.received_size

    @property
    def watch(self) -> Watch | None:
        """What is known about the socket at the bottom; ``None`` where there is none."""
        return self._wire.watch

    async def receive(self, max_messages: int) -> list[Arrival]:
        if self._machine.has_backlog:
            await trio.lowlevel.checkpoint()
            return self.receive_nowait(max_messages)
        try:
            data = await self._wire.receive()
        except ConnectionLost as exc:
            return [_end_by(exc)]
        return self._parse(data, max_messages)

    async def receive_each(self, max_messages: int, take: Callable[[list[Arrival]], int]) -> None:
        self._room, self._take = max_messages, take
        try:
            while self._room > 0:
                if self._machine.has_backlog:
                    self._room = take(await self.receive(self._room))
                    continue
                try:
                    await self._wire.receive_each(self._take_data)
                except ConnectionLost as exc:
                    self._room = take([_end_by(exc)])
        finally:
            del self._take  # it leads back to us

    def _take_data(self, data: bytes | None) -> bool:
        machine = self._machine
        if data:  # as in _parse, a call shorter for nearly all that comes
            machine.receive_data(data)
            room = self._take(self.receive_nowait(self._room))
        else:
            room = self._take(self._parse(data, self._room))
        self._room = room
        return room > 0 and not machine.has_backlog

    def receive_nowait(self, max_messages: int) -> list[Arrival]:
        machine = self._machine
        batch: list[Arrival] = machine.next_batch(max_messages)  # type: ignore[assignment]  # it is nobody else's
        if machine.finished:
            if machine.failure is not None:
                batch.append(Error(machine.failure))
            elif machine.peer_close is not None:
                batch.append(Remote(*machine.peer_close))
        return batch

    def _parse(self, data: bytes | None, max_messages: int) -> list[Arrival]:
        if data:
            self._machine.receive_data(data)
            return self.receive_nowait(max_messages)
        if data is None:
            return []
        return [Error(ConnectionLost("the peer ended the stream without a close frame"))]

    def send_nowait(self, message: Outgoing) -> None:
        self._machine.send_message(message)

    def send_close_nowait(self, code: int | None, text: bytes) -> None:
        self._machine.send_close(code, text)

    @property
    def unsent_size(self) -> int:
        machine = self._machine
        return self._wire.unsent_size + (machine.output_size if machine.output else 0)

    def flush_nowait(self) -> bool:
        # The machine keeps what the wire cannot take yet: only there can a newer pong replace an older one.
        if self._wire.unsent_size and not self._wire.flush_nowait():
            return False
        output = self._machine.data_to_send()
        return not output or self._wire.send_nowait(output)

    async def flush_some(self) -> None:
        if not self._wire.unsent_size:
            self._wire.write_nowait(self._machine.data_to_send())
        await self._wire.flush_some()

    async def wait_closed(self) -> None:
        machine = self._machine
        is_fault_drain = machine.failure is not None
        while True:
            machine.next_batch(DISCARD_LEN)
            # After a fault there is no close to come: the end of the stream says that ours has been read.
            if machine.finished and not is_fault_drain:
                return
            try:
                data = await self._wire.receive()
            except ConnectionLost:
                return
            if not data:
                return
            machine.receive_data(data)

    def send_eof_nowait(self) -> None:
        self._wire.send_eof_nowait()

    async def aclose(self) -> None:
        await self._wire.aclose()

    def abort(self) -> None:
        self._wire.abort()


def _end_by(loss: ConnectionLost) -> Error:
    # Without tracebacks, whose frames lead back to the connection that keeps this as its reason.
    if loss.__cause__ is not None:
        loss.__cause__.__traceback__ = None
    return Error(loss.with_traceback(None))
