"""What stands between a scripted client and a client of ours, and makes each of them the other's server.

In and out: bytes of both. It answers both handshakes, takes the mask off what passes, puts one on where there was none,
and turns round who is meant by what was agreed on about compression. Shares nothing with our own protocol room but the
answer to a key.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from trio_websock import Request
from trio_websock.protocol.upgrade import accept_key
from trio_websock.testing.memory_listener import MemoryStream

SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
TURNED = {"server": "client", "client": "server"}
DEFLATE = "permessage-deflate"

Parameters = dict[str, str]


class Unmasking:
    """Takes the mask off frames as their bytes pass, and puts one of zeros on a frame that has none."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._key = b""

    def feed(self, data: bytes) -> bytes:
        out = bytearray()
        at = 0
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                out += self._unmask(piece)
                self._left -= len(piece)
                at += len(piece)
            else:
                out += self._feed_head(data[at : at + 1])
                at += 1
        return bytes(out)

    def _unmask(self, piece: bytes) -> bytes:
        size = len(piece)
        key = (self._key * (size // 4 + 1))[:size]
        turn = size % 4
        self._key = self._key[turn:] + self._key[:turn]
        return (int.from_bytes(piece) ^ int.from_bytes(key)).to_bytes(size)

    def _feed_head(self, byte: bytes) -> bytes:
        self._head += byte
        if len(self._head) == 1:
            return byte
        size = self._head[1] & 0x7F
        is_masked = bool(self._head[1] & 0x80)
        key_at = 2 + {126: 2, 127: 8}.get(size, 0)
        out = b"" if len(self._head) > key_at else byte
        if len(self._head) == 2:
            out = bytes([byte[0] ^ 0x80])
        if len(self._head) == key_at + 4 * is_masked:
            self._left = size if size < 126 else int.from_bytes(self._head[2:key_at])
            self._key = self._head[key_at:] if is_masked else b"\0\0\0\0"
            out += b"" if is_masked else self._key
            self._head = b""
        return out


def turned(parameters: Parameters) -> Parameters:
    """What one end says of both, as the other end's."""
    return {TURNED[name[:6]] + name[6:]: value for name, value in parameters.items()}


def read_offer(values: list[str]) -> Parameters | None:
    """The parameters of the first permessage-deflate that is offered."""
    for offer in ",".join(values).split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        if name == DEFLATE:
            return dict(parameter.partition("=")[::2] for parameter in parameters)
    return None


def agreement(offered: Parameters | None, wanted: Parameters | None) -> Parameters | None:
    """What a server says that is asked for ``offered`` and would have ``wanted``; RFC 7692 §7.1."""
    if offered is None or wanted is None:
        return None
    agreed = {name: value for name, value in wanted.items() if value or "takeover" in name}
    for name, value in offered.items():
        if "takeover" in name:
            agreed[name] = ""
        elif value:
            agreed[name] = str(min(int(value), int(agreed.get(name, value))))
    return agreed


def extension_line(agreed: Parameters | None) -> str:
    """The header line of an answer, if there is anything to say."""
    if agreed is None:
        return ""
    parts = [f"{name}={value}" if value else name for name, value in agreed.items()]
    return f"Sec-WebSocket-Extensions: {'; '.join([DEFLATE, *parts])}\r\n"


class Turning:
    """What passes between the two, after the scripted client's handshake has come.

    Args:
        request: of the scripted client.
        leftover: what it sent behind that.
    """

    def __init__(self, request: Request, leftover: bytes) -> None:
        subprotocol = next(iter(request.subprotocols), None)
        self._lines = "" if subprotocol is None else f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
        self._accept = accept_key(request.headers["sec-websocket-key"])
        wanted = read_offer(request.headers.get_all("sec-websocket-extensions"))
        self._wanted = None if wanted is None else turned(wanted)
        self._to_peer, self._to_client = Unmasking(), Unmasking()
        self._leftover = leftover
        self._head = b""
        self._is_open = False

    def feed_client(self, data: bytes) -> tuple[bytes, bytes]:
        """What our client has sent; what to send to the scripted one, and to ours."""
        if self._is_open:
            return self._to_peer.feed(data), b""
        self._head += data
        if b"\r\n\r\n" not in self._head:
            return b"", b""
        self._is_open = True
        return self._answer()

    def feed_peer(self, data: bytes) -> bytes:
        """What the scripted client has sent; what to send to ours."""
        return self._to_client.feed(data)

    def _answer(self) -> tuple[bytes, bytes]:
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", self._head)
        assert key is not None
        offers = re.findall(r"Sec-WebSocket-Extensions: (.+)\r\n", self._head.decode())
        agreed = agreement(read_offer(offers), self._wanted)
        to_peer = self._switch(self._accept, None if agreed is None else turned(agreed))
        return to_peer, self._switch(accept_key(key[1].decode()), agreed) + self.feed_peer(self._leftover)

    def _switch(self, accept: str, agreed: Parameters | None) -> bytes:
        lines = self._lines + extension_line(agreed)
        return f"{SWITCH}Sec-WebSocket-Accept: {accept}\r\n{lines}\r\n".encode()


class TurningStream(trio.abc.HalfCloseableStream):
    """The end of a stream that our client is given, on whose other end is the scripted one."""

    def __init__(self, stream: MemoryStream, turning: Turning) -> None:
        self._stream = stream
        self._turning = turning
        self._answer = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        to_peer, to_client = self._turning.feed_client(bytes(data))
        self._answer += to_client
        if to_peer:
            await self._stream.send_all(to_peer)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while True:
            if self._answer:
                data, self._answer = self._answer, b""
                await trio.lowlevel.checkpoint()
                return data
            data = await self._stream.receive_some(max_bytes)
            translated = self._turning.feed_peer(data)
            if translated or not data:
                return translated

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def over_stream(peer: MemoryStream, turning: Turning) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Where our client connects, and with which options: over a stream that it is given."""
    yield "ws://localhost", {"stream": TurningStream(peer, turning)}


@asynccontextmanager
async def over_tcp(peer: MemoryStream, turning: Turning) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """The same over a real socket; at the end what our client has said reaches the scripted one."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    carrying = Carrying(peer, turning)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(carrying.run, listener)
        yield f"ws://127.0.0.1:{listener.socket.getsockname()[1]}", {}
        await carrying.said.wait()
        nursery.cancel_scope.cancel()


class Carrying:
    """Carries bytes between the stream of the scripted client and the socket of ours, ends and resets included."""

    def __init__(self, peer: MemoryStream, turning: Turning) -> None:
        self._peer = peer
        self._turning = turning
        self.said = trio.Event()

    async def run(self, listener: trio.SocketListener) -> None:
        async with listener:
            client = await listener.accept()
        async with client, trio.open_nursery() as nursery:
            try:
                await self._carry_out(client, nursery)
            except trio.ClosedResourceError:
                pass  # we have reset it
            self.said.set()

    async def _carry_out(self, client: trio.SocketStream, nursery: trio.Nursery) -> None:
        try:
            while data := await client.receive_some():
                to_peer, to_client = self._turning.feed_client(data)
                if to_client:
                    await client.send_all(to_client)
                    nursery.start_soon(self._carry_in, client)
                if not await self._say(to_peer):
                    reset(client)
                    return
            await self._peer.send_eof()
        except trio.BrokenResourceError:
            self._peer.reset()

    async def _say(self, data: bytes) -> bool:
        try:
            if data:
                await self._peer.send_all(data)
        except trio.BrokenResourceError:
            return False
        return True

    async def _carry_in(self, client: trio.SocketStream) -> None:
        try:
            while data := await self._peer.receive_some():
                await self._tell(client, self._turning.feed_peer(data))
            await client.send_eof()
        except trio.ClosedResourceError:
            pass  # we have reset it
        except trio.BrokenResourceError:
            reset(client)

    @staticmethod
    async def _tell(client: trio.SocketStream, data: bytes) -> None:
        try:
            await client.send_all(data)
        except trio.BrokenResourceError:
            pass  # it is gone, which is seen where its own bytes come from


def reset(stream: trio.SocketStream) -> None:
    """Close it as a peer does that has crashed."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()
