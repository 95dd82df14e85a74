"""A client that connects again, as others see it: its mailbox outlives connections, and it can be ended at any time."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path

import pytest
import trio

from trio_websock import Ok, Remote, Shutdown, connect, current_connection
from trio_websock.protocol.upgrade import accept_key

sys.path.append(str(Path(__file__).parent))  # tests are no package

outages = importlib.import_module("outages")

URL = outages.URL
Listener = outages.Listener
times = outages.times
close_with = outages.close_with
hang_up = outages.hang_up
never = outages.never
steady = outages.steady
Running = outages.Running


async def test_start_waits_for_the_first_connection(nursery, start_servers, autojump_clock):
    client = await Running(nursery).start(
        Listener, [], stream=start_servers(hang_up, hang_up, never), reconnect=steady()
    )
    assert trio.current_time() == 15
    assert client.connection is not None
    nursery.cancel_scope.cancel()


async def test_a_client_knows_its_connections(nursery, start_servers, autojump_clock):
    opener = start_servers(close_with(1001, after=1), never)
    client = await Running(nursery).start(Listener, [], stream=opener, reconnect=steady())
    first = client.connection
    await first.wait_ended()
    await trio.testing.wait_all_tasks_blocked()
    assert (client.connection, client.connection_count) == (None, 1)
    second = await client.wait_connected()
    assert (second is client.connection, second is first, client.connection_count) == (True, False, 2)
    assert trio.current_time() == 6
    nursery.cancel_scope.cancel()


async def test_what_is_sent_while_there_is_no_connection_goes_to_the_next(nursery, start_servers, autojump_clock):
    noted, opener = [], start_servers(close_with(1001, after=1), never)
    client = await Running(nursery).start(Listener, noted, stream=opener, reconnect=steady())
    await trio.sleep(2)
    client.mailbox.send_nowait("a")
    client.mailbox.send_nowait("b")
    await trio.sleep(10)
    assert noted == [(0, "init"), (1, Remote(1001)), (6, "init"), (6, "a"), (6, "b")]
    nursery.cancel_scope.cancel()


async def test_a_mailbox_that_nobody_empties_is_full_in_the_end(nursery, start_servers, autojump_clock):
    opener = start_servers(close_with(1001, after=1), never)
    client = await Running(nursery).start(Listener, [], stream=opener, reconnect=steady(), mailbox_size=2)
    await trio.sleep(2)
    for item in range(2):
        client.mailbox.send_nowait(item)
    with pytest.raises(trio.WouldBlock):
        client.mailbox.send_nowait(2)
    await client.mailbox.send(2)
    assert trio.current_time() == 6
    nursery.cancel_scope.cancel()


async def test_what_a_connection_has_not_handled_is_the_next_one_s_in_order_and_once(
    nursery, start_servers, autojump_clock
):
    class Slow(Listener):
        async def handle_info(self, info, noted):
            noted.append(info)
            await trio.sleep(0.3)
            return Ok(noted)

        def init(self, noted):
            return Ok(noted)

        def terminate(self, reason, noted):
            noted.append("end")

    async def drop_after_one(server):
        await server.open()
        await trio.sleep(1)
        await server.stream.aclose()

    noted, opener = [], start_servers(drop_after_one, drop_after_one, never)
    options = {"mailbox_size": 3, "cancel_on_disconnect": True, "ping_interval": None}
    client = await Running(nursery).start(Slow, noted, stream=opener, reconnect=steady(), **options)
    for item in range(20):
        await client.mailbox.send(item)
    await trio.sleep(20)
    assert [item for item in noted if item != "end"] == list(range(20))
    assert noted.count("end") == 2
    nursery.cancel_scope.cancel()


async def test_what_was_sent_to_a_connection_ends_with_it(nursery, start_servers, autojump_clock):
    class Busy(Listener):
        async def init(self, noted):
            await trio.sleep(0 if noted else 2)
            return super().init(noted)

    noted, opener = [], start_servers(close_with(1001, after=1), never)
    options = {"stream": opener, "reconnect": steady(), "cancel_on_disconnect": True}
    client = await Running(nursery).start(Busy, noted, **options)
    connection = client.connection
    connection.mailbox.send_nowait("its own")
    client.mailbox.send_nowait("the client's")
    await trio.sleep(10)
    assert noted == [(1 + 5 + 2, "init"), (1 + 5 + 2, "the client's")]
    assert connection.unhandled == ("its own",)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("grace", [15, math.inf])
async def test_shutdown_between_two_connections_ends_at_once(nursery, start_servers, autojump_clock, grace):
    running = Running(nursery)
    client = await running.start(Listener, [], stream=start_servers(close_with(1001), never), reconnect=steady())
    await trio.sleep(1)
    client.mailbox.send_nowait("late")
    await client.shutdown(grace=grace)
    await running.ended.wait()
    assert (trio.current_time(), running.reason, client.unhandled) == (1, Shutdown(), ("late",))


async def test_shutdown_while_connecting_ends_at_once(nursery, start_servers, autojump_clock):
    async def silent(server):
        await server.receive_head()

    running = Running(nursery)
    client = await running.start(Listener, [], stream=start_servers(close_with(1001), silent), reconnect=steady())
    await trio.sleep(7)
    await client.shutdown()
    await running.ended.wait()
    assert (trio.current_time(), running.reason) == (7, Shutdown())


class LateAnswer(trio.abc.Stream):
    """Answers the handshake a moment after somebody has asked the client to shut down."""

    def __init__(self, nursery, client):
        self.nursery, self.client = nursery, client

    async def send_all(self, data):
        key = bytes(data).split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0].decode()
        head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.answer = f"{head}Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n".encode()

    async def wait_send_all_might_not_block(self):
        pass

    async def receive_some(self, max_bytes=None):
        self.nursery.start_soon(self.client.shutdown)
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        return self.answer

    async def aclose(self):
        self.client = None


class LateRefusal(LateAnswer):
    """Leaves without an answer at such a moment."""

    async def send_all(self, data):
        self.answer = b""


@pytest.mark.parametrize("late", [LateAnswer, LateRefusal])
async def test_a_connection_that_opens_or_fails_during_a_shutdown_is_dropped(
    late, nursery, start_servers, autojump_clock
):
    async def open_stream():
        streams.append(late(nursery, client) if started.is_set() else await first())
        return streams[-1]

    running, noted, started, streams = Running(nursery), [], trio.Event(), []
    first = start_servers(close_with(1001))
    client = await running.start(Listener, noted, stream=open_stream, reconnect=steady())
    started.set()
    await running.ended.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert running.reason == Shutdown()
    assert times(noted, "init") == [0]
    assert streams[-1].client is None


async def test_shutdown_is_not_followed_by_another_connection(nursery, start_servers, autojump_clock):
    running, noted = Running(nursery), []
    client = await running.start(Listener, noted, stream=start_servers(never, never), reconnect=True)
    await client.shutdown()
    await running.ended.wait()
    assert (running.reason, client.connection_count) == (Shutdown(), 1)


async def test_a_handler_may_end_its_own_client(nursery, start_servers, autojump_clock):
    class Tired(Listener):
        async def handle_info(self, client, noted):
            current_connection().nursery.start_soon(client.shutdown)
            return Ok(noted)

    running = Running(nursery)
    client = await running.start(Tired, [], stream=start_servers(never, never), reconnect=True)
    client.mailbox.send_nowait(client)
    await running.ended.wait()
    assert running.reason == Shutdown()


async def test_cancellation_between_two_connections_ends_at_once(start_servers, autojump_clock):
    with trio.move_on_after(2) as scope:
        await connect(URL, Listener, [], stream=start_servers(close_with(1001), never), reconnect=steady())
    assert scope.cancelled_caught
    assert trio.current_time() == 2


async def test_a_stream_that_is_open_cannot_be_opened_again(start_server, autojump_clock):
    with pytest.raises(TypeError, match="function"):
        await connect(URL, Listener, stream=start_server(never), reconnect=True)


async def test_attempts_are_logged(start_servers, caplog, autojump_clock):
    caplog.set_level("INFO", "trio_websock.client")
    opener = start_servers(hang_up, close_with(1001), close_with(1000))
    await connect(URL, Listener, [], stream=opener, reconnect=steady())
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "INFO", "INFO"]
    assert "connected again, at attempt 1" in caplog.text
    assert "connecting again in 10.0 seconds, attempt 2: Remote(code=1001" in caplog.text


async def test_log_says_what_a_server_that_refuses_has_to_say(start_servers, caplog, autojump_clock):
    async def refuse(server):
        await server.receive_head()
        await server.stream.send_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\ntoo many\n")
        await server.stream.aclose()

    await connect(URL, Listener, [], stream=start_servers(refuse, close_with(1000)), reconnect=steady())
    assert "503 Busy: expected 101; it says 'too many'" in caplog.text
