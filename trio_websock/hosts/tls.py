"""TLS as a layer of bytes: ``ssl.SSLObject`` between two memory buffers, on top of any wire.

In and out: bytes. As encrypting never waits, a cancelled wait can tear a TLS record no more than a frame.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

from ..errors import ConnectionLost
from .readiness import Watch
from .wire import RECEIVE_SIZE, Wire

__all__ = ["TlsWire"]

# Bytes of answers to key updates and the like that may wait for a peer: hundreds of them, where one in a gigabyte is
# usual. Without a bound a peer that asks without reading would fill our memory.
MAX_ANSWERS_SIZE = 16 * 1024


@final
class TlsWire(Wire):
    """The TLS end of ``inner``; :meth:`handshake` comes first.

    Args:
        inner: the wire that carries the records; owned from now on.
        context: with certificate and key for a server.
        server_side: which end we are.
        server_hostname: for a client: the name to ask for and to check.
    """

    __slots__ = ("_answers_size", "_has_met_end", "_incoming", "_inner", "_outgoing", "_take", "_tls", "scheme")

    def __init__(
        self, inner: Wire, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None = None
    ) -> None:
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._answers_size = 0
        self._has_met_end = False  # or a fault, right behind what was decrypted last: the next look tells which
        self._take: Callable[[bytes | None], bool]  # while there is a receive_each
        self.scheme: str = "https"

    @property
    def received_size(self) -> int:  # type: ignore[override]  # read-only here
        # Of the records, not of what they contain: a peer whose record is slow to come is no silent one.
        return self._inner.received_size

    @property
    def client(self) -> tuple[str, int] | None:  # type: ignore[override]  # read-only here
        return self._inner.client

    @property
    def unsent_size(self) -> int:  # type: ignore[override]  # read-only here
        return self._inner.unsent_size

    @property
    def watch(self) -> Watch | None:
        return self._inner.watch

    @property
    def client_certificate(self) -> Mapping[str, Any] | None:
        return self._tls.getpeercert() or None

    @property
    def application_protocol(self) -> str | None:
        """What the handshake agreed to speak (ALPN, RFC 7301); ``None`` if that was no subject."""
        return self._tls.selected_alpn_protocol()

    async def handshake(self) -> None:
        """Agree on keys with the peer.

        Raises:
            ConnectionLost: the peer left, or spoke something else than TLS, or refused us, or we it.

        Checkpoint: always. Cancelled: the connection is of no use any more.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._send_records()
                await self._receive_records()
            except ssl.SSLError as exc:
                await self._send_records()  # the alert tells the peer why
                raise ConnectionLost(f"TLS handshake failed: {exc}") from exc
            else:
                break
        await self._send_records()

    async def receive(self) -> bytes:
        while (data := await self._receive_progress()) is None:
            pass
        return data

    def receive_nowait(self, *, insist: bool = False) -> bytes | None:
        data = self._decrypt_and_answer()
        if data is not None:
            return data
        records = self._inner.receive_nowait(insist=insist)
        if records is None:
            return None
        return self._decrypt_records(records)

    async def receive_each(self, take: Callable[[bytes | None], bool]) -> None:
        self._take = take
        try:
            data = self._decrypt_and_answer()  # what came together with the end of the handshake is had at once
            if data is None or self._give(data):
                await self._inner.receive_each(self._take_records)
        finally:
            del self._take  # it leads back to us

    def _take_records(self, records: bytes | None) -> bool:
        if records is None:  # TLS inside of TLS
            return self._take(None)
        return self._give(self._decrypt_records(records)) and bool(records)

    def _give(self, data: bytes | None) -> bool:
        """Give away what was decrypted, and the end if that came with it; whether more is wanted."""
        while self._take(data):
            if not self._has_met_end:
                return True
            data = self._decrypt_and_answer()
        return False

    async def _receive_progress(self) -> bytes | None:
        """What can be had once more records have come; ``None``: nothing, although bytes did come."""
        # What came together with the end of the handshake is had at once; all else takes a checkpoint.
        data = self._decrypt_and_answer()
        if data is None:
            await self._receive_records()
            data = self._decrypt_and_answer()
        return data

    def _decrypt_and_answer(self) -> bytes | None:
        data = self._decrypt()
        self._send_answers()
        return data

    def _decrypt_records(self, records: bytes) -> bytes | None:
        """What can be had once ``records`` have come, or their end; ``None``: nothing."""
        self._feed(records)
        data = self._decrypt_and_answer()
        return b"" if data is None and not records else data

    def _has_records(self) -> bool:
        return bool(self._tls.pending() or self._incoming.pending)

    def _decrypt(self) -> bytes | None:
        """All that can be had without more records; ``b""`` is the end, ``None`` that more are needed."""
        chunks: list[bytes] = []
        self._has_met_end = False
        while not chunks or (chunks[-1] and self._has_records()):
            try:
                chunks.append(self._tls.read(RECEIVE_SIZE))
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as exc:
                if chunks:
                    self._has_met_end = True
                    break  # what came before is good; the next call meets the fault again
                raise ConnectionLost(f"broken TLS stream: {exc}") from exc
        if len(chunks) > 1 and not chunks[-1]:
            self._has_met_end = True
        return b"".join(chunks) if chunks else None

    def _send_answers(self) -> None:
        """Send what reading called for: the answer to a key update, the refusal of a renegotiation."""
        size = self._outgoing.pending
        if not size:
            return
        self._answers_size = self._answers_size + size if self._inner.unsent_size else size
        if self._answers_size > MAX_ANSWERS_SIZE:
            raise ConnectionLost("the peer asks for more TLS answers than it reads")
        self._queue_records()
        self._inner.flush_nowait()

    async def _receive_records(self) -> None:
        self._feed(await self._inner.receive())

    def _feed(self, records: bytes) -> None:
        if records:
            self._incoming.write(records)
        else:
            self._incoming.write_eof()

    async def _send_records(self) -> None:
        await self._inner.send_all([self._outgoing.read()] if self._outgoing.pending else [])

    def _queue_records(self) -> None:
        if self._outgoing.pending:
            self._inner.write_nowait([self._outgoing.read()])

    def write_nowait(self, chunks: Iterable[bytes]) -> None:
        data = b"".join(chunks)  # one record for many small frames
        try:
            if data:
                self._tls.write(data)
        except ssl.SSLWantReadError:
            self._inner.abort()  # the peer has begun a renegotiation: this cannot be sent now, nor be left out
            return
        except ssl.SSLError:
            return  # the stream is over; the reader tells it
        self._queue_records()

    def flush_nowait(self) -> bool:
        return self._inner.flush_nowait()

    async def flush_some(self) -> None:
        await self._inner.flush_some()

    def send_eof_nowait(self) -> None:
        self._queue_close_notify()
        if self._inner.flush_nowait():
            self._inner.send_eof_nowait()

    async def aclose(self) -> None:
        self._queue_close_notify()
        self._inner.flush_nowait()
        await self._inner.aclose()

    def abort(self) -> None:
        self._inner.abort()

    def _queue_close_notify(self) -> None:
        # Never waited for: a peer that does not answer close_notify must not hold us.
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # WantRead says "sent, now wait", all others "there is no stream left to end"
        self._queue_records()
