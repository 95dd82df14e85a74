"""What the tests of the client share: the other end of a stream in memory, which does as it is told, and TLS."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

import pytest
import trio
import trustme

from trio_websock.protocol.upgrade import accept_key
from trio_websock.testing.memory_listener import open_memory_streams

URL = "ws://example.com/path?query=1"


class ScriptedServer:
    """The server's end: answers the handshake, then sends and reads bytes as they are."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.buffer = b""
        self.head = ""

    async def take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        while len(self.buffer) < size:
            data = await self.stream.receive_some()
            assert data, "the client ended the stream"
            self.buffer += data
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    async def receive_head(self) -> str:
        """The request of the client."""
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += await self.stream.receive_some()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.head = head.decode()
        return self.head

    @property
    def accept(self) -> str:
        """What belongs into ``Sec-WebSocket-Accept``."""
        [key] = [line[19:] for line in self.head.split("\r\n") if line.startswith("Sec-WebSocket-Key: ")]
        return accept_key(key)

    async def open(self, behind: bytes = b"", **headers: str) -> None:
        """Answer the handshake, ``behind`` in the same packet."""
        await self.receive_head()
        pairs = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": self.accept, **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in pairs.items())
        await self.stream.send_all(f"HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n".encode() + behind)

    async def receive_frame(self) -> tuple[int, bytes]:
        """The first byte and the unmasked payload of the client's next frame."""
        first, second = await self.take(2)
        assert second & 0x80, "a client's frame has to be masked"
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(await self.take(2), "big")
        elif size == 127:
            size = int.from_bytes(await self.take(8), "big")
        key = await self.take(4)
        payload = await self.take(size)
        return first, bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))

    async def send_frame(self, first: int, payload: bytes = b"") -> None:
        """A frame without a mask; up to 125 bytes."""
        await self.stream.send_all(bytes([first, len(payload)]) + payload)


Script = Callable[[ScriptedServer], Awaitable[None]]
StartServer = Callable[..., trio.abc.Stream]
StreamPair = tuple[trio.abc.Stream, trio.abc.Stream]


@pytest.fixture
def start_server(nursery: trio.Nursery) -> StartServer:
    """``stream = start_server(script)``: the client's end; ``script(server)`` runs beside the test."""

    def start(script: Script, buffer_size: int = 64 * 1024, streams: StreamPair | None = None) -> trio.abc.Stream:
        ours, theirs = streams or open_memory_streams(buffer_size)
        nursery.start_soon(run, script, ScriptedServer(theirs))
        return ours

    async def run(script: Script, server: ScriptedServer) -> None:
        try:
            await script(server)
        except trio.BrokenResourceError:
            pass  # the client has left, as it may

    return start


@pytest.fixture
def start_servers(start_server: StartServer) -> Callable[..., Callable[[], Awaitable[trio.abc.Stream]]]:
    """``stream=start_servers(*scripts)``: opens a stream to the next of them at each attempt, and is refused then."""

    def start(*scripts: Script) -> Callable[[], Awaitable[trio.abc.Stream]]:
        waiting = iter(scripts)

        async def open_stream() -> trio.abc.Stream:
            script = next(waiting, None)
            if script is None:
                raise ConnectionRefusedError("nobody listens here any more")
            return start_server(script)

        return open_stream

    return start


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context, to which the authority is as good as the system's."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def certified_localhost(authority: trustme.CA) -> ssl.SSLContext:
    """A server's context, with a certificate for that name alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context
