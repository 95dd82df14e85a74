"""Relay: browsers on one side, an upstream on the other, and a connection to it for each of them.

    python examples/chat.py
    python examples/relay.py [--port N] [--upstream URL]

Open the address it prints: the room of the chat, through the relay. What either side says goes to the other, and so
does the code with which it leaves.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TypeAlias

import trio

from trio_websock import (
    NORMAL,
    Client,
    ConnectFailed,
    Handler,
    HandshakeError,
    Normal,
    Ok,
    Push,
    Reason,
    Remote,
    Request,
    Response,
    Result,
    Stop,
    Upgrade,
    connect,
    current_connection,
    serve,
    upgrade,
)

PAGE = Path(__file__).with_name("chat.html").read_text(encoding="utf-8")
Mailbox: TypeAlias = "trio.MemorySendChannel[str | bytes | Reason]"


class Upstream(Handler[Mailbox, "str | bytes"]):
    """The upstream's side; the state is the browser's mailbox."""

    def init(self, browser: Mailbox) -> Result[Mailbox]:
        return Ok(browser)

    def handle_in(self, message: str | bytes, browser: Mailbox) -> Result[Mailbox]:
        # Each side may wait for the other, but never both at once: a browser that does not keep up is cut off.
        try:
            browser.send_nowait(message)
        except trio.WouldBlock:
            return Stop(NORMAL, browser)
        return Ok(browser)

    def handle_info(self, message: str | bytes, browser: Mailbox) -> Result[Mailbox]:
        return Push(message, browser)


async def run_upstream(url: str, browser: Mailbox, task_status: trio.TaskStatus[Client]) -> None:
    reason = await connect(url, Upstream, browser, task_status=task_status)
    await browser.send(reason)


class Relay(Handler[Mailbox, "str | bytes | Reason"]):
    """The browser's side; the state is the mailbox of the client that speaks to the upstream."""

    async def init(self, url: str) -> Result[Mailbox]:
        connection = current_connection()
        try:
            # A task of the browser's connection: when that ends, the upstream is told 1001.
            client = await connection.nursery.start(run_upstream, url, connection.mailbox)
        except (ConnectFailed, HandshakeError):
            return Stop(NORMAL, connection.mailbox, close=(1014, "the upstream cannot be reached"))
        return Ok(client.mailbox)

    async def handle_in(self, message: str | bytes, upstream: Mailbox) -> Result[Mailbox]:
        try:
            await upstream.send(message)
        except trio.BrokenResourceError:
            pass  # the upstream has just left: the reason is in our mailbox
        return Ok(upstream)

    def handle_info(self, info: str | bytes | Reason, upstream: Mailbox) -> Result[Mailbox]:
        match info:
            case str() | bytes():
                return Push(info, upstream)
            case Remote(code=code, text=text):
                return Stop(NORMAL, upstream, close=(1000 if code is None else code, text))
            case Normal():
                return Stop(NORMAL, upstream, close=(1008, "too slow"))
        return Stop(NORMAL, upstream, close=(1014, "the upstream is gone"))


def app(upstream: str, request: Request) -> Response | Upgrade:
    match request.path:
        case "/":
            return Response(200, PAGE, content_type="text/html; charset=utf-8")
        case _:
            return upgrade(Relay, upstream + request.target, ping_interval=20)


async def main(port: int, upstream: str) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, partial(app, upstream.rstrip("/")), port=port))
        print(f"Relay listens on http://127.0.0.1:{server.port}/", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Relay browsers to an upstream.")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--upstream", default="ws://127.0.0.1:8000")
    arguments = parser.parse_args()
    try:
        trio.run(main, arguments.port, arguments.upstream)
    except* KeyboardInterrupt:
        print("Everybody has been told. Goodbye.")
