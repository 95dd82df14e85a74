"""A WebSocket at its edges: what pings say and leave, and what a close takes with it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_websock import ConnectionClosed, open_websocket

TEXT, CLOSE, PONG = 0x81, 0x88, 0x8A
NORMAL = b"\x03\xe8"


def open_over(stream, **options):
    return open_websocket("ws://example.com/", stream=stream, **options)


async def test_a_ping_says_what_it_is_told_to(start_server, autojump_clock):
    async def script(server):
        await server.open()
        payloads.append((await server.receive_frame())[1])
        await server.send_frame(PONG, payloads[0])

    payloads = []
    async with open_over(start_server(script), close_timeout=1) as websocket:
        await websocket.ping(b"told")
    assert payloads == [b"told"]


async def test_pings_that_are_told_nothing_differ(start_server, autojump_clock):
    async def script(server):
        await server.open()
        payloads.extend([(await server.receive_frame())[1] for _ in range(2)])

    payloads = []
    async with open_over(start_server(script), close_timeout=1) as websocket:
        for _ in range(2):
            with trio.move_on_after(1):
                await websocket.ping()
    assert (len(set(payloads)), [len(payload) for payload in payloads]) == (2, [8, 8])


async def test_pings_that_are_cancelled_do_not_pile_up(start_server, autojump_clock):
    async def script(server):
        await server.open()

    async with open_over(start_server(script), close_timeout=1) as websocket:
        with trio.move_on_after(1):
            await websocket.ping()
        assert not websocket._pings


async def test_what_has_arrived_is_not_received_behind_a_close(start_server, autojump_clock):
    async def script(server):
        await server.open()
        await server.send_frame(TEXT, b"too late")

    async with open_over(start_server(script), close_timeout=1) as websocket:
        await wait_all_tasks_blocked()
        await websocket.close()
        with pytest.raises(ConnectionClosed):
            await websocket.receive()


async def test_a_close_behind_the_servers_own_drops_nothing(start_server):
    async def script(server):
        await server.open()
        await server.send_frame(TEXT, b"last words")
        await server.send_frame(CLOSE, NORMAL)

    async with open_over(start_server(script)) as websocket:
        await wait_all_tasks_blocked()
        await websocket.close()
        assert await websocket.receive() == "last words"
