"""Ticker: a task of the connection's nursery reports to its mailbox, and the page draws what comes.

    python examples/ticker.py [--port N]

The task starts with the connection, ends with it, and needs no bookkeeping. A browser that reads too slowly fills
the mailbox, and the walk waits for it.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from functools import partial
from pathlib import Path

import trio

from trio_websock import (
    NORMAL,
    Handler,
    Ok,
    Push,
    Request,
    Response,
    Result,
    Stop,
    Upgrade,
    current_connection,
    serve,
    upgrade,
)

PAGE = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")


async def walk(mailbox: trio.MemorySendChannel[float]) -> None:
    value = 100.0
    while True:
        value *= 1 + random.gauss(0, 0.002)
        await mailbox.send(value)
        await trio.sleep(0.2)


class Ticker(Handler[bool, float]):
    """The state is whether the page wants to see the walk; it goes on all the same."""

    def init(self, request: Request) -> Result[bool]:
        connection = current_connection()
        connection.nursery.start_soon(walk, connection.mailbox)
        return Ok(True)

    def handle_info(self, value: float, live: bool) -> Result[bool]:
        return Push(json.dumps({"time": time.time(), "value": value}), live) if live else Ok(live)

    def handle_in(self, message: str | bytes, live: bool) -> Result[bool]:
        match message:
            case "pause":
                return Ok(False)
            case "resume":
                return Ok(True)
        return Stop(NORMAL, live, close=(1003, "expected pause or resume"))


def app(request: Request) -> Response | Upgrade:
    match request.path:
        case "/":
            return Response(200, PAGE, content_type="text/html; charset=utf-8")
        case "/ticks":
            # The page says next to nothing: its answers to pings keep it from being idle.
            return upgrade(Ticker, request, ping_interval=20)
    return Response(404, "There is only / and /ticks here.\n")


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, app, port=port))
        print(f"Ticker listens on http://127.0.0.1:{server.port}/", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A live plot of a random walk.")
    parser.add_argument("--port", type=int, default=8000)
    try:
        trio.run(main, parser.parse_args().port)
    except* KeyboardInterrupt:
        print("Everybody has been told. Goodbye.")
