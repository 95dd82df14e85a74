"""The ASGI application that Hypercorn and uvicorn serve."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .startup import TICK, delays

__all__ = ["make_application"]

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Sleep = Callable[[float], Awaitable[None]]

members: set[Send] = set()


def answer_to(event: Event) -> Event:
    if event.get("text") is not None:
        return {"type": "websocket.send", "text": event["text"]}
    return {"type": "websocket.send", "bytes": event["bytes"]}


async def echo(receive: Receive, send: Send) -> None:
    while (event := await receive())["type"] == "websocket.receive":
        await send(answer_to(event))


async def fan(receive: Receive, send: Send) -> None:
    members.add(send)
    try:
        while (event := await receive())["type"] == "websocket.receive":
            answer = answer_to(event)
            for member in list(members):
                await member(answer)
    finally:
        members.discard(send)


async def tick(sleep: Sleep, send: Send) -> None:
    for delay in delays():
        await sleep(delay)
        await send({"type": "websocket.send", "text": TICK})


def make_application(mode: str, sleep: Sleep, lost: type[Exception]) -> Any:
    """An application for either event loop; each server has its own idea of its type.

    Args:
        mode: see :class:`~benchmarks.servers.startup.Settings`.
        sleep: of that event loop.
        lost: what sending raises when the client is gone.
    """

    async def application(scope: Event, receive: Receive, send: Send) -> None:
        await receive()
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return
        await send({"type": "websocket.accept"})
        try:
            if mode == "ticks":
                await tick(sleep, send)
            else:
                await {"echo": echo, "fan": fan}[mode](receive, send)
        except lost:
            pass

    return application
