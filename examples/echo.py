"""Echo: every message goes back as it came, text as text and binary as binary.

    python examples/echo.py [--port N]

The state is how many messages there have been; the server prints it when a client leaves.
"""

from __future__ import annotations

import argparse
from functools import partial

import trio

from trio_websock import Handler, Ok, Push, Reason, Remote, Request, Result, current_connection, serve


class Echo(Handler[int, None]):
    def init(self, request: Request) -> Result[int]:
        return Ok(0)

    def handle_in(self, message: str | bytes, count: int) -> Result[int]:
        return Push(message, count + 1)

    def terminate(self, reason: Reason, count: int) -> None:
        peer = current_connection().peer
        match reason:
            case Remote(code=code):
                print(f"{peer} closed with {code or 'no code'} after {count} messages", flush=True)
            case _:
                print(f"{peer} is gone after {count} messages: {reason}", flush=True)


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, Echo, port=port, compress=True))
        print(f"Echo listens on ws://127.0.0.1:{server.port}/", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Echo every message.")
    parser.add_argument("--port", type=int, default=8000)
    try:
        trio.run(main, parser.parse_args().port)
    except* KeyboardInterrupt:
        print("Everybody has been told. Goodbye.")
