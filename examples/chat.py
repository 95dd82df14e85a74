"""Chat: one room, told through the mailboxes of everybody in it.

    python examples/chat.py [--port N]

Open the address it prints in a few browser tabs.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import trio

from trio_websock import (
    NORMAL,
    Connection,
    Handler,
    Ok,
    Prepared,
    Push,
    Reason,
    Request,
    Response,
    Result,
    Stop,
    Upgrade,
    broadcast,
    current_connection,
    prepare,
    serve,
    upgrade,
)

PAGE = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
REFUSED = 4001  # 4000 to 4999 are the application's own
room: dict[str, Connection] = {}


def tell_everybody(**event: object) -> None:
    message = prepare(json.dumps(event))  # encoded here, and not again for each who is told
    # Returns who is more than a thousand events behind, or just leaving: they miss this one, and nobody waits for them.
    broadcast(room.values(), message)


class Chat(Handler[str | None, Prepared]):
    """The state is the name; ``None`` is someone who was not let in."""

    def init(self, name: str) -> Result[str | None]:
        if name in room or not 0 < len(name) <= 24:
            why = f"{name} is already here: choose another name" if name in room else "A name has 1 to 24 characters"
            return Stop(NORMAL, None, close=(REFUSED, why))
        room[name] = current_connection()
        tell_everybody(kind="joined", name=name, people=sorted(room))
        return Ok(name)

    def handle_in(self, message: str | bytes, name: str | None) -> Result[str | None]:
        match message:
            case bytes():
                return Stop(NORMAL, name, close=(1003, "this room reads text"))
            case text if text.strip():
                tell_everybody(kind="said", name=name, text=text)
        return Ok(name)

    def handle_info(self, message: Prepared, name: str | None) -> Result[str | None]:
        return Push(message, name)

    def terminate(self, reason: Reason, name: str | None) -> None:
        if name is not None:
            del room[name]
            tell_everybody(kind="left", name=name, people=sorted(room))


def app(request: Request) -> Response | Upgrade:
    match request.path:
        case "/":
            return Response(200, PAGE, content_type="text/html; charset=utf-8")
        case "/room":
            # A tab may be silent for hours: its answers to pings keep it from being idle.
            return upgrade(Chat, request.query.get("name", "").strip(), ping_interval=20, max_message_size=4096)
    return Response(404, "There is only / and /room here.\n")


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, app, port=port))
        print(f"Chat listens on http://127.0.0.1:{server.port}/", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A chat room with a page.")
    parser.add_argument("--port", type=int, default=8000)
    try:
        trio.run(main, parser.parse_args().port)
    except* KeyboardInterrupt:
        print("Everybody has been told. Goodbye.")
