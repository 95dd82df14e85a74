"""An application: a page, a health check, an echo for everybody, and a window on it for who has the token.

    APP_TOKEN=secret python examples/app.py [--port N]
    curl http://127.0.0.1:8000/health

Plain HTTP and WebSocket share one port; one function decides by path what a request becomes.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
from functools import partial
from pathlib import Path

import trio

from trio_websock import (
    Handler,
    Ok,
    Push,
    Reason,
    Request,
    Response,
    Result,
    Upgrade,
    current_connection,
    serve,
    upgrade,
)

PAGE = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
TOKEN = os.environ.get("APP_TOKEN") or secrets.token_urlsafe(12)
watchers: set[trio.MemorySendChannel[str]] = set()


class Echo(Handler[str, None]):
    def init(self, name: str) -> Result[str]:
        return Ok(name)

    def handle_in(self, message: str | bytes, name: str) -> Result[str]:
        for mailbox in watchers:
            try:
                mailbox.send_nowait(f"{name}: {message!r}")
            except (trio.WouldBlock, trio.BrokenResourceError):
                pass  # too slow, or just leaving: an echo waits for nobody
        return Push(message, name)


class Watch(Handler[None, str]):
    def init(self, args: None) -> Result[None]:
        watchers.add(current_connection().mailbox)
        return Push("watching", None)

    def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        return Ok(state)

    def handle_info(self, line: str, state: None) -> Result[None]:
        return Push(line, state)

    def terminate(self, reason: Reason, state: None) -> None:
        watchers.discard(current_connection().mailbox)


def is_authorized(request: Request) -> bool:
    # A browser's WebSocket cannot set headers, so its token comes in the query; where logs keep queries, use a cookie.
    given = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.query.get("token", "")
    return secrets.compare_digest(given.encode(), TOKEN.encode())


def app(request: Request) -> Response | Upgrade:
    match request.method, request.path:
        case "GET", "/":
            return Response(200, PAGE, content_type="text/html; charset=utf-8")
        case "GET" | "HEAD", "/health":
            return Response(
                200, json.dumps({"status": "ok", "watchers": len(watchers)}), content_type="application/json"
            )
        case "GET", "/echo":
            return upgrade(Echo, request.query.get("name", "somebody"), compress=True, ping_interval=20)
        case "GET", "/watch" if is_authorized(request):
            return upgrade(Watch, ping_interval=20)
        case "GET", "/watch":
            return Response(401, "That takes the token.\n", headers={"WWW-Authenticate": "Bearer"})
    return Response(404, "There is no such thing here.\n")


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, app, port=port))
        print(f"App listens on http://127.0.0.1:{server.port}/ and watchers need the token {TOKEN}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A page, a health check and two WebSockets.")
    parser.add_argument("--port", type=int, default=8000)
    try:
        trio.run(main, parser.parse_args().port)
    except* KeyboardInterrupt:
        print("Everybody has been told. Goodbye.")
