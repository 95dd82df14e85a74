"""The clients of the soak, of every kind and well-behaved or not.

Whoever is well-behaved and is cut off by the server, or gets an answer that is wrong, ends the soak with an error.
"""

from __future__ import annotations

import random
import re
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from trio_websock import Deflate
from trio_websock.messages import Incoming, encode_message
from trio_websock.protocol.deflate import PerMessageDeflate, accept_deflate, offer_deflate
from trio_websock.protocol.machine import Limits, Machine, Role

__all__ = ["LOAD", "bear_down"]

UNLIMITED = Limits(max_message_size=None, max_frame_size=None, max_empty_fragments=1024, validate_utf8=True)
HANDSHAKE = (
    b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n"
)
PLAIN = HANDSHAKE % (b"/echo", b"")
DEFLATE = Deflate()  # as the server has it


class Client:
    """A WebSocket client in the fewest words: our own machine in the client's role over a socket."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._machine = Machine(Role.CLIENT, UNLIMITED)
        self._arrived: list[Incoming] = []

    async def shake_hands(self, path: str, *, compress: bool = False) -> None:
        offer = f"Sec-WebSocket-Extensions: {offer_deflate(DEFLATE)}\r\n" if compress else ""
        await self._stream.send_all(HANDSHAKE % (path.encode(), offer.encode()))
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = await self._stream.receive_some()
            if not data:
                raise trio.BrokenResourceError("no answer")
            answer += data
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        if compress:
            parameters = accept_deflate(re.findall(r"Sec-WebSocket-Extensions: (.*)", head.decode()), DEFLATE)
            assert parameters is not None, head
            self._machine = Machine(Role.CLIENT, UNLIMITED, PerMessageDeflate(parameters, Role.CLIENT))
        self._machine.receive_data(rest)

    async def send(self, message: str | bytes) -> None:
        self._machine.send_message(encode_message(message))
        await self._flush()

    async def receive(self) -> Incoming | None:
        """The next message; ``None`` when the server has closed."""
        while not self._arrived:
            self._arrived += self._machine.next_batch(64)
            if self._arrived or self._machine.peer_close is not None:
                break
            assert self._machine.failure is None, self._machine.failure
            data = await self._stream.receive_some()
            if not data:
                break
            self._machine.receive_data(data)
        return self._arrived.pop(0) if self._arrived else None

    async def close(self) -> None:
        self._machine.send_close(1000)
        await self._flush()
        while await self.receive() is not None:
            pass

    async def _flush(self) -> None:
        await self._stream.send_all(b"".join(self._machine.data_to_send()))


@asynccontextmanager
async def open_client(port: int, path: str, *, compress: bool = False) -> AsyncIterator[Client]:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        client = Client(stream)
        await client.shake_hands(path, compress=compress)
        yield client


def some_message(rng: random.Random) -> str | bytes:
    size = rng.choice((0, 5, 32, 125, 126, 1000, 20_000, 100_000))
    return rng.choice(("x" * size, bytes(size)))


# What clients do, each as often as it can until the end. Those that misbehave may be cut off at any moment.


async def echo(port: int, rng: random.Random) -> int:
    async with open_client(port, "/echo", compress=rng.random() < 0.3) as client:
        for number in range(50):
            message = some_message(rng)
            await client.send(message)
            assert await client.receive() == message, f"echo {number}"
        await client.close()
    return 50


async def churn(port: int, rng: random.Random) -> int:
    async with open_client(port, "/echo") as client:
        await client.send("once")
        assert await client.receive() == "once"
        await client.close()
    return 1


async def broadcast(port: int, rng: random.Random) -> int:
    async with open_client(port, "/members") as client:
        for number in range(20):
            await client.send(f"news {number}")
            for _ in range(rng.randrange(8)):
                assert isinstance(await client.receive(), str)
        await client.close()
    return 20


async def fail(port: int, rng: random.Random) -> int:
    async with open_client(port, "/fail") as client:
        await client.send("fail")
        with trio.move_on_after(rng.random()):
            await client.receive()
    return 0


async def reset(port: int, rng: random.Random) -> int:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await Client(stream).shake_hands(rng.choice(("/echo", "/members")))
        await stream.send_all(b"\x82\xfe\xff\xff\0\0\0\0" + bytes(rng.randrange(70_000)))
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return 0


async def send_half(port: int, rng: random.Random) -> int:
    """Half a handshake, or half a frame; then nothing, until one of us has had enough."""
    whole = PLAIN + b"\x81\x85\0\0\0\0hello" * 3
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(whole[: rng.randrange(1, len(whole))])
        with trio.move_on_after(rng.random() * 4):
            async for _ in stream:
                pass
    return 0


async def send_garbage(port: int, rng: random.Random) -> int:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        if rng.random() < 0.7:
            await Client(stream).shake_hands("/echo")
        await stream.send_all(rng.randbytes(rng.randrange(1, 500)))
        await stream.send_eof()
        async for _ in stream:
            pass
    return 0


async def never_read(port: int, rng: random.Random) -> int:
    """Have much echoed and read nothing of it: the server has to give up on us."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await Client(stream).shake_hands("/echo")
        with trio.move_on_after(10):
            for _ in range(1000):
                await stream.send_all(b"\x82\xfe\xff\xff\0\0\0\0" + bytes(65535))
    return 0


async def ask_slowly(port: int, rng: random.Random) -> int:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for byte in PLAIN:
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.05)
    return 0


async def stay_silent(port: int, rng: random.Random) -> int:
    async with open_client(port, "/echo") as client:
        while await client.receive() is not None:
            pass
    return 0


LOAD: dict[Callable[[int, random.Random], Awaitable[int]], int] = {
    echo: 8,
    churn: 4,
    broadcast: 10,
    fail: 4,
    reset: 2,
    send_half: 6,
    send_garbage: 3,
    never_read: 2,
    ask_slowly: 3,
    stay_silent: 3,
}
WELL_BEHAVED = {echo, churn, broadcast, stay_silent}
REST = {churn: 0.01, reset: 0.02, send_garbage: 0.02, fail: 0.01}  # seconds; or they would crowd out all others


async def repeat(act: Callable[[int, random.Random], Awaitable[int]], port: int, seed: int, done: Counter[str]) -> None:
    rng = random.Random(seed)
    while True:
        try:
            messages = await act(port, rng)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            assert act not in WELL_BEHAVED, f"{act.__name__} was cut off"
        else:
            done["messages"] += messages
        done[act.__name__] += 1
        await trio.sleep(REST.get(act, 0))


async def bear_down(port: int, done: Counter[str]) -> None:
    async with trio.open_nursery() as nursery:
        for act, number in LOAD.items():
            for seed in range(number):
                nursery.start_soon(repeat, act, port, seed, done)
