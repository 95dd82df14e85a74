"""Bot: a handler on the client's end, in the room of examples/chat.py.

    python examples/chat.py
    python examples/bot.py [URL]

It welcomes who comes in, and tells who asks "bot?" how much it has heard. Restart the chat: the bot comes back, and has
forgotten nothing.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from functools import partial

import trio

from trio_websock import Handler, Ok, Push, Reason, Reconnect, Remote, Result, connect, current_connection


@dataclass
class Memory:
    """What outlasts a connection; given to every ``init``."""

    name: str = ""
    heard: int = 0


class Bot(Handler[Memory, None]):
    def init(self, memory: Memory) -> Result[Memory]:
        connection = current_connection()
        assert connection.request is not None
        memory.name = connection.request.query["name"]
        print(f"{memory.name} is in the room at {connection.request.headers['host']}", flush=True)
        return Ok(memory)

    def handle_in(self, message: str | bytes, memory: Memory) -> Result[Memory]:
        match json.loads(message):
            case {"name": memory.name}:
                pass  # about ourselves
            case {"kind": "joined", "name": name}:
                return Push(f"Welcome, {name}!", memory)
            case {"kind": "said", "text": "bot?", "name": name}:
                return Push(f"{name}, I have heard {memory.heard} messages.", memory)
            case {"kind": "said"}:
                memory.heard += 1
        return Ok(memory)

    def terminate(self, reason: Reason, memory: Memory) -> None:
        print(f"{memory.name} is out of the room: {reason}", flush=True)


async def main(url: str) -> None:
    # Soon, as it is alone: of many thousand bots not all should come back within half a second.
    match await connect(url, Bot, Memory(), reconnect=Reconnect(initial_delay=0.5)):
        case Remote(text=why) if why:
            print(why, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A bot for the chat.")
    parser.add_argument("url", nargs="?", default="ws://127.0.0.1:8000/room?name=bot")
    try:
        trio.run(partial(main, parser.parse_args().url))
    except KeyboardInterrupt:
        print("The room has been told. Goodbye.")
