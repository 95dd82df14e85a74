"""Called from where Trio does not run, say in asyncio, each way in says so, and where it belongs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
import trio.testing

from trio_websock import Handler, Ok, Result, StateError, connect, open_websocket, serve, serve_stream
from trio_websock.testing import TestApplication, open_scripted_peer, open_test_connection


class Quiet(Handler[None, None]):
    def init(self, args: object) -> Result[None]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        return Ok(None)


def entering(open_block: Callable[[], AbstractAsyncContextManager[object]]) -> Callable[[], Awaitable[None]]:
    async def enter() -> None:
        async with open_block():
            pass

    return enter


WAYS_IN = [
    ("serve()", partial(serve, Quiet, port=0)),
    ("serve_stream()", lambda: serve_stream(trio.testing.memory_stream_pair()[0], Quiet)),
    ("connect()", partial(connect, "ws://127.0.0.1:1/", Quiet)),
    ("open_websocket()", entering(partial(open_websocket, "ws://127.0.0.1:1/"))),
    ("open_test_connection()", entering(partial(open_test_connection, Quiet))),
    ("TestApplication.open()", entering(partial(TestApplication(Quiet).open, "/"))),
    ("open_scripted_peer()", entering(partial(open_scripted_peer, Quiet))),
]


@pytest.mark.parametrize(("name", "way_in"), WAYS_IN)
def test_in_asyncio_it_is_told_what_runs_and_what_is_needed(name: str, way_in: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await way_in()

    with pytest.raises(StateError) as caught:
        asyncio.run(main())
    assert str(caught.value).startswith(f"{name} runs in Trio, but was called in an event loop of asyncio: ")


@pytest.mark.parametrize(("name", "way_in"), WAYS_IN)
def test_where_nothing_runs_trio_is_asked_for(name: str, way_in: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await way_in()

    coroutine = main()
    with pytest.raises(StateError, match=r"runs in Trio, but was called where Trio does not run: .*trio\.run"):
        coroutine.send(None)
