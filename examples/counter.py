"""Counter: what is said depends on the subprotocol that client and server agreed on.

    python examples/counter.py [--port N]

The client says ``up``, ``down`` or ``reset`` and is told the count: as plain text in ``counter.text``, as JSON in
``counter.json``. A client that offers neither is refused. This handler is neither a class nor an instance: the module
itself has the callbacks.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial

import trio

from trio_websock import NORMAL, Push, Request, Result, Stop, current_connection, serve

SUBPROTOCOLS = ["counter.json", "counter.text"]  # in this order of preference


def told(count: int) -> Result[int]:
    match current_connection().subprotocol:
        case "counter.json":
            return Push(json.dumps({"count": count}), count)
        case _:
            return Push(str(count), count)


def init(request: Request) -> Result[int]:
    return told(0)


def handle_in(message: str | bytes, count: int) -> Result[int]:
    match message:
        case "up":
            return told(count + 1)
        case "down":
            return told(count - 1)
        case "reset":
            return told(0)
    return Stop(NORMAL, count, close=(1003, "expected up, down or reset"))


async def main(port: int) -> None:
    handler = sys.modules[__name__]
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(serve, handler, port=port, subprotocols=SUBPROTOCOLS, require_subprotocol=True)
        )
        print(f"Counter listens on ws://127.0.0.1:{server.port}/", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Count, in one of two subprotocols.")
    parser.add_argument("--port", type=int, default=8000)
    try:
        trio.run(main, parser.parse_args().port)
    except* KeyboardInterrupt:
        print("Everybody has been told. Goodbye.")
