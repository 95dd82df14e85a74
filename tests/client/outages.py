"""What the tests of a client that connects again share: servers that leave in all ways, and a handler that notes it."""

from __future__ import annotations

from functools import partial

import trio

from trio_websock import Handler, Ok, Reconnect, connect

URL = "ws://example.com/"
TEXT, CLOSE = 0x81, 0x88
steady = partial(Reconnect, jitter=0)  # delays of 5, 10, 20, 40 and 60 seconds


class Listener(Handler):
    """Notes in its list of arguments when it was called, and with what."""

    def init(self, noted):
        noted.append((trio.current_time(), "init"))
        return Ok(noted)

    def handle_in(self, message, noted):
        noted.append((trio.current_time(), message))
        return Ok(noted)

    def handle_info(self, info, noted):
        noted.append((trio.current_time(), info))
        return Ok(noted)

    def terminate(self, reason, noted):
        noted.append((trio.current_time(), reason))


def times(noted, event):
    return [time for time, what in noted if what == event]


def close_with(code, *, after=0):
    async def script(server):
        await server.open()
        await trio.sleep(after)
        await server.send_frame(CLOSE, code.to_bytes(2, "big"))
        await server.receive_frame()
        await server.stream.aclose()

    return script


def answer(status, *lines):
    head = "\r\n".join([f"HTTP/1.1 {status} Words", "Content-Length: 0", *lines, "", ""])

    async def script(server):
        await server.receive_head()
        await server.stream.send_all(head.encode())
        await server.stream.aclose()

    return script


async def hang_up(server):
    """No answer at all."""
    await server.stream.aclose()


async def never(server):
    """Open, and say nothing until the client closes."""
    await server.open()
    frame = await server.receive_frame()
    while frame[0] != CLOSE:
        frame = await server.receive_frame()
    await server.send_frame(*frame)
    await server.stream.aclose()


class Running:
    """A client in a nursery, and what ``connect`` returned in the end."""

    def __init__(self, nursery):
        self.nursery = nursery
        self.ended = trio.Event()

    async def start(self, handler, args, **options):
        return await self.nursery.start(partial(self._run, handler, args, options))

    async def _run(self, handler, args, options, task_status):
        self.reason = await connect(URL, handler, args, task_status=task_status, **options)
        self.ended.set()
