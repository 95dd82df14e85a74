"""A WebSocket client that says exactly the bytes it is told to, and shows exactly the bytes it was sent.

In and out: bytes, over any ``trio.abc.Stream``. It is a second opinion on our own protocol room and shares nothing with
it: a frame is written here in the few lines RFC 6455 §5.2 asks for, and nothing checks what a script says, so that a
script may break every rule there is. The masking key is always the one of the RFC's examples.
"""

from __future__ import annotations

import socket
import ssl
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import final

import trio
import trio.testing

from .memory_listener import MemoryStream

__all__ = [
    "MASKING_KEY",
    "UPGRADE_KEY",
    "Answer",
    "ScriptedPeer",
    "binary",
    "close",
    "frame",
    "ping",
    "pong",
    "text",
    "upgrade_request",
]

MASKING_KEY = b"\x37\xfa\x21\x3d"  # RFC 6455 §5.7
UPGRADE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 §1.3; answered by s3pPLMBiTxaQ9kYGzzhZRbK+xOo=

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_RECEIVE_SIZE = 64 * 1024
_SHOWN_SIZE = 100  # bytes of a difference that still help a reader


def frame(first: int, payload: bytes = b"", *, masked: bool = True, length: bytes | None = None) -> bytes:
    r"""One frame, byte for byte.

    Args:
        first: the first byte: FIN 0x80, RSV1 to RSV3 0x40 to 0x10, and the opcode.
        payload: before masking.
        masked: ``False`` sends it as no client may.
        length: the length bytes in place of the right ones, without the mask bit, e.g. ``b"\x7e\x00\x05"``.

    Source: RFC 6455 §5.2.
    """
    size = len(payload)
    if length is None:
        if size < 126:
            length = bytes([size])
        elif size < 0x10000:
            length = b"\x7e" + size.to_bytes(2)
        else:
            length = b"\x7f" + size.to_bytes(8)
    if not masked:
        return bytes([first]) + length + payload
    return bytes([first, length[0] | 0x80]) + length[1:] + MASKING_KEY + _mask(payload)


def _mask(payload: bytes) -> bytes:
    size = len(payload)
    key = (MASKING_KEY * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


def text(message: str | bytes) -> bytes:
    """A whole text message in one masked frame; bytes are sent as they are."""
    return frame(0x81, message.encode() if isinstance(message, str) else message)


def binary(message: bytes) -> bytes:
    """A whole binary message in one masked frame."""
    return frame(0x82, message)


def ping(payload: bytes = b"") -> bytes:
    """A masked ping."""
    return frame(0x89, payload)


def pong(payload: bytes = b"") -> bytes:
    """A masked pong."""
    return frame(0x8A, payload)


def close(code: int | None = None, text: str | bytes = b"") -> bytes:
    """A masked close frame; without a code it is empty."""
    if code is None:
        return frame(0x88)
    return frame(0x88, code.to_bytes(2) + (text.encode() if isinstance(text, str) else text))


def upgrade_request(
    authority: str = "localhost",
    target: str = "/",
    *extra: str,
    method: str = "GET",
    version: str = "HTTP/1.1",
    drop: str | None = None,
) -> bytes:
    """The head of an opening handshake.

    Args:
        authority: value of ``Host``.
        target: path and query.
        extra: further header lines, without line ends.
        method: of the request line.
        version: of the request line.
        drop: name of a header to leave out, e.g. to give another one in ``extra``.
    """
    headers = {
        "Host": authority,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": UPGRADE_KEY,
        "Sec-WebSocket-Version": "13",
    }
    lines = [f"{name}: {value}" for name, value in headers.items() if name != drop]
    return "\r\n".join([f"{method} {target} {version}", *lines, *extra, "", ""]).encode("latin-1")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response as it came.

    Args:
        status: of the status line.
        headers: names in lower case, with every value.
        body: as far as ``Content-Length`` announced one.
    """

    status: int
    headers: dict[str, list[str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The values of ``name``, joined by commas; ``None`` if there is none."""
        values = self.headers.get(name.lower())
        return None if values is None else ", ".join(values)


@final
class ScriptedPeer:
    """One end of a byte stream, with a script for its user instead of a protocol.

    ::

        async with await ScriptedPeer.connect(server.port) as peer:
            await peer.open()
            await peer.send(text("hello")[:3])  # half a frame
            await peer.abort()

    Every ``expect_*`` raises ``AssertionError`` saying what came instead. All that waits does so for as long as nothing
    comes: put scripts under ``trio.fail_after``.

    Args:
        stream: connected to the server; closed by ``aclose`` or at the end of ``async with``.
        authority: what ``open`` sends as ``Host``.
    """

    def __init__(self, stream: trio.abc.Stream, authority: str = "localhost") -> None:
        self.stream: trio.abc.Stream = stream
        self.authority: str = authority
        self._unread = bytearray()

    @classmethod
    async def connect(
        cls,
        port: int,
        host: str = "127.0.0.1",
        *,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str = "localhost",
        receive_buffer_size: int | None = None,
    ) -> ScriptedPeer:
        """Connect to a server over TCP.

        Args:
            port: of the server.
            host: its IPv4 address, or a name for it.
            ssl_context: of a client, for TLS.
            server_hostname: that its certificate must be for.
            receive_buffer_size: bytes that the kernel takes for a peer that does not read; about the double of it, as
                kernels count.

        Raises:
            OSError: nobody listens there.

        Checkpoint: always. Cancelled: there is no connection.
        """
        sock = trio.socket.socket()
        try:
            if receive_buffer_size is not None:  # before connecting: the window is agreed on there
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_size)
            await sock.connect((host, port))
        except BaseException:
            sock.close()
            raise
        stream: trio.abc.Stream = trio.SocketStream(sock)
        if ssl_context is not None:
            stream = trio.SSLStream(stream, ssl_context, server_hostname=server_hostname, https_compatible=True)
        return cls(stream)

    async def __aenter__(self) -> ScriptedPeer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the stream at once, without a word to the server."""
        await trio.aclose_forcefully(self.stream)

    async def send(self, *data: bytes) -> None:
        """Send bytes, all at once."""
        await self.stream.send_all(b"".join(data))

    async def send_slowly(self, data: bytes) -> None:
        """Send bytes one by one, each in a write of its own."""
        for at in range(len(data)):
            await self.stream.send_all(data[at : at + 1])

    async def flood(self, *data: bytes) -> None:
        """Send the same again and again and read nothing, until the stream breaks or is closed: a peer that asks and
        asks, and takes no answer.

        Checkpoint: always. Cancelled: in the middle of a frame, most probably.
        """
        flood = b"".join(data)
        try:
            while True:
                await self.stream.send_all(flood)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # what it is for

    async def send_eof(self) -> None:
        """End the sending side and keep reading, where the stream can."""
        assert isinstance(self.stream, trio.abc.HalfCloseableStream)
        await self.stream.send_eof()

    async def abort(self) -> None:
        """Close with a reset; only over a plain TCP stream, or in memory."""
        if isinstance(self.stream, MemoryStream):
            self.stream.reset()
        else:
            assert isinstance(self.stream, trio.SocketStream)
            self.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, _RESET_ON_CLOSE)
        await self.aclose()

    async def open(self, *extra: str, target: str = "/") -> Answer:
        """Do the opening handshake, with ``extra`` header lines, and insist on a 101."""
        for line in extra:
            if ":" not in line:
                raise ValueError(f"{line!r} is not a header line like 'Name: value'; for a path: target={line!r}")
        await self.send(upgrade_request(self.authority, target, *extra))
        return await self.expect_status(101)

    async def receive_exactly(self, size: int) -> bytes:
        """Wait for ``size`` bytes; fewer if the stream ends before."""
        while len(self._unread) < size and await self._receive_more():
            pass
        return self._take(size)

    async def receive_slowly(self, size: int, pause: float) -> bytes:
        """Read ``size`` bytes at a time, ``pause`` seconds apart, until the stream ends; what came.

        Raises:
            trio.BrokenResourceError: it broke.
        """
        received = self._take(len(self._unread))
        while data := await self.stream.receive_some(size):
            received += data
            await trio.sleep(pause)
        return received

    async def receive_frame(self) -> tuple[int, bytes]:
        """Wait for a frame of a server: its first byte and its payload.

        Raises:
            AssertionError: it is masked, or the stream ended in the middle of it.
        """
        first, size = await self._receive_fully(2)
        if size & 0x80:
            raise AssertionError("the server masked a frame (RFC 6455 §5.1)")
        if size > 125:
            size = int.from_bytes(await self._receive_fully(2 if size == 126 else 8))
        return first, await self._receive_fully(size)

    async def receive_answer(self, *, to_head: bool = False) -> Answer:
        """Wait for an HTTP response; ``to_head``: there is no body, whatever its length says."""
        while b"\r\n\r\n" not in self._unread:
            if not await self._receive_more():
                raise AssertionError(f"the stream ended in an HTTP head: {self._shown()}")
        head = self._take(self._unread.index(b"\r\n\r\n") + 4)
        status_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers.setdefault(name.lower(), []).append(value.strip())
        size = 0 if to_head else int(headers.get("content-length", ["0"])[0])
        return Answer(int(status_line.split()[1]), headers, await self._receive_fully(size))

    async def expect(self, *data: bytes) -> None:
        """Insist that the next bytes are ``data``; fails at the first byte that differs."""
        wanted = b"".join(data)
        while True:
            came = bytes(self._unread[: len(wanted)])
            if came != wanted[: len(came)]:
                at = next(i for i, (left, right) in enumerate(zip(came, wanted, strict=False)) if left != right)
                raise AssertionError(f"at byte {at} of {wanted[:_SHOWN_SIZE]!r} came {self._shown(at)}")
            if len(came) == len(wanted):
                self._take(len(wanted))
                return
            if not await self._receive_more():
                raise AssertionError(f"the stream ended after {came[:_SHOWN_SIZE]!r} of {wanted[:_SHOWN_SIZE]!r}")

    async def expect_status(self, status: int) -> Answer:
        """Insist on an HTTP response with ``status``."""
        answer = await self.receive_answer()
        if answer.status != status:
            raise AssertionError(f"expected status {status}: {answer}")
        return answer

    async def expect_end(self) -> None:
        """Insist that the server ends the stream in good order now, without another byte."""
        if self._unread or await self._receive_more():
            raise AssertionError(f"expected the end of the stream: {self._shown()}")

    async def receive_until_gone(self) -> bytes:
        """Wait for the end of the stream, in good order or not; returns what came before it."""
        try:
            while await self._receive_more():
                pass
        except trio.BrokenResourceError:
            pass  # what it is for
        return self._take(len(self._unread))

    async def expect_reset(self) -> None:
        """Insist that the stream breaks; what comes before it does is thrown away."""
        try:
            while await self._receive_more():
                pass
        except trio.BrokenResourceError:
            return
        raise AssertionError(f"the stream ended in good order: {self._shown()}")

    async def expect_quiet(self) -> None:
        """Insist that nothing comes while every task waits: neither a byte nor the end of the stream."""
        if self._unread:
            raise AssertionError(f"expected nothing: {self._shown()}")
        came: list[bool] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._note_more, came)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        if came:
            raise AssertionError(f"expected nothing: {self._shown() if came[0] else 'the stream ended'}")

    async def _note_more(self, came: list[bool]) -> None:
        came.append(await self._receive_more())

    async def _receive_fully(self, size: int) -> bytes:
        data = await self.receive_exactly(size)
        if len(data) < size:
            raise AssertionError(f"the stream ended after {len(data)} of {size} bytes: {data[:_SHOWN_SIZE]!r}")
        return data

    async def _receive_more(self) -> bool:
        data = await self.stream.receive_some(_RECEIVE_SIZE)
        self._unread += data
        return bool(data)

    def _take(self, size: int) -> bytes:
        data = bytes(self._unread[:size])
        del self._unread[:size]
        return data

    def _shown(self, at: int = 0) -> str:
        return f"{bytes(self._unread[at : at + _SHOWN_SIZE])!r} ({len(self._unread)} bytes unread)"
