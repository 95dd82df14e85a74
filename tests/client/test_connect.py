"""A handler on the client's end: one connection, from the handshake to the reason it ended."""

from __future__ import annotations

import math
from functools import partial

import pytest
import trio

from trio_websock import (
    NORMAL,
    ConnectFailed,
    ConnectionLost,
    Error,
    Handler,
    Normal,
    Ok,
    OptionError,
    Push,
    Remote,
    Shutdown,
    StateError,
    Stop,
    Timeout,
    UpgradeRejected,
    WriteTimeout,
    connect,
    current_connection,
)

URL = "ws://example.com/path?query=1"
TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A


class Listener(Handler):
    """Notes in its list of arguments whatever it is told."""

    def init(self, noted):
        return Ok(noted)

    def handle_in(self, message, noted):
        noted.append(message)
        return Ok(noted)

    def handle_info(self, info, noted):
        noted.append(("info", info))
        return Ok(noted)

    def terminate(self, reason, noted):
        noted.append(reason)


class Echo(Handler):
    def init(self, args):
        return Push("hello", args)

    def handle_in(self, message, state):
        return Stop(NORMAL, state) if message == "stop" else Push(message, state)


async def accept(server):
    """Open, and leave the closing to the client."""
    await server.open()
    server.close = await server.receive_frame()
    await server.send_frame(*server.close)
    await server.stream.aclose()


def close_with(code, text=""):
    async def script(server):
        await server.open()
        await server.send_frame(CLOSE, code.to_bytes(2, "big") + text.encode())
        server.close = await server.receive_frame()
        await server.stream.aclose()

    return script


async def never(server):
    await server.open()


async def drop(server):
    await server.open()
    await server.stream.aclose()


async def refuse(server):
    await server.receive_head()
    await server.stream.send_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")


async def test_what_callbacks_return_goes_to_the_server(start_server):
    noted = []

    async def script(server):
        await server.open()
        noted.append(await server.receive_frame())
        await server.send_frame(TEXT, b"again")
        noted.append(await server.receive_frame())
        await server.send_frame(TEXT, b"stop")
        noted.append(await server.receive_frame())
        await server.stream.aclose()

    assert await connect(URL, Echo, stream=start_server(script)) == Normal()
    assert noted == [(TEXT, b"hello"), (TEXT, b"again"), (CLOSE, b"\x03\xe8")]


async def test_the_server_s_close_is_the_reason(start_server):
    noted = []
    reason = await connect(URL, Listener, noted, stream=start_server(close_with(4000, "enough")))
    assert reason == Remote(4000, "enough")
    assert noted == [reason]


async def test_a_lost_connection_is_the_reason(start_server):
    reason = await connect(URL, Listener, [], stream=start_server(drop))
    assert isinstance(reason.cause, ConnectionLost)


async def test_an_exception_of_a_callback_is_the_reason_and_goes_no_further(start_server, caplog):
    class Failing(Listener):
        def handle_in(self, message, noted):
            raise failure

    async def script(server):
        await server.open()
        await server.send_frame(TEXT, b"x")
        closed.append(await server.receive_frame())
        await server.stream.aclose()

    failure, noted, closed = KeyError("mine"), [], []
    assert await connect(URL, Failing, noted, stream=start_server(script)) == Error(failure)
    assert closed == [(CLOSE, b"\x03\xf3")]
    assert noted == [Error(failure)]
    assert "Failing.handle_in failed" in caplog.text


async def test_an_init_that_fails_owes_no_terminate(start_server):
    class Failing(Listener):
        def init(self, noted):
            raise KeyError

    noted = []
    reason = await connect(URL, Failing, noted, stream=start_server(accept))
    assert isinstance(reason.cause, KeyError)
    assert noted == []


async def test_frames_right_behind_the_handshake_come_after_what_init_sent(start_server):
    async def script(server):
        await server.open(b"\x81\x05first\x81\x04stop")
        frames.extend([await server.receive_frame() for _ in range(3)])
        await server.stream.aclose()

    frames = []
    await connect(URL, Echo, stream=start_server(script))
    assert frames == [(TEXT, b"hello"), (TEXT, b"first"), (CLOSE, b"\x03\xe8")]


async def test_the_server_s_pings_are_answered_while_a_callback_runs(start_server, autojump_clock):
    class Slow(Listener):
        async def init(self, noted):
            await answered.wait()
            return Stop(NORMAL, noted)

    async def script(server):
        await server.open()
        await server.send_frame(PING, b"?")
        assert await server.receive_frame() == (PONG, b"?")
        answered.set()

    answered = trio.Event()
    assert await connect(URL, Slow, [], stream=start_server(script)) == Normal()


async def test_a_handler_sees_its_connection(start_server):
    class Curious(Listener):
        def init(self, noted):
            connection = current_connection()
            noted += [connection.request.path, connection.subprotocol, connection.handler, connection.options.timeout]
            return Stop(NORMAL, noted)

    async def script(server):
        await server.open(**{"Sec-WebSocket-Protocol": "chat"})
        await server.stream.aclose()

    noted = []
    await connect(URL, Curious, noted, stream=start_server(script), subprotocols=["chat"])
    assert noted == ["/path", "chat", "Curious", math.inf, Normal()]


@pytest.mark.parametrize("handler", [object, Handler, 7, lambda request: None])
async def test_what_is_no_handler_is_refused_before_anything_is_opened(handler):
    with pytest.raises(TypeError):
        await connect("ws://127.0.0.1:1", handler)


@pytest.mark.parametrize("name", ["origins", "port", "nonsense"])
async def test_an_option_that_means_nothing_here_is_refused(name):
    with pytest.raises(TypeError, match=name):
        await connect(URL, Echo, **{name: 1})


@pytest.mark.parametrize(("url", "options"), [("http://a", {}), (URL, {"timeout": 0}), (URL, {"reconnect": "yes"})])
async def test_a_value_that_is_not_allowed_is_refused(url, options):
    with pytest.raises(OptionError):
        await connect(url, Echo, **options)


async def test_a_refused_upgrade_is_raised_with_the_answer(start_server):
    with pytest.raises(UpgradeRejected) as caught:
        await connect(URL, Echo, stream=start_server(refuse))
    assert (caught.value.response.status, caught.value.response.body) == (403, b"no")


async def test_a_connection_that_cannot_be_made_is_raised(start_servers):
    with pytest.raises(ConnectFailed):
        await connect(URL, Echo, stream=start_servers())


async def test_an_opener_gives_the_stream(start_servers):
    assert await connect(URL, Listener, [], stream=start_servers(close_with(1000))) == Remote(1000)


async def test_start_gives_the_client_once_it_is_connected(nursery, start_server):
    client = await nursery.start(partial(connect, URL, Listener, [], stream=start_server(never)))
    assert client.connection.peer
    assert client.response.status == 101
    assert client.connection_count == 1
    nursery.cancel_scope.cancel()


async def test_start_raises_what_kept_it_from_connecting(start_server):
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(connect, URL, Echo, stream=start_server(refuse)))
    assert caught.group_contains(UpgradeRejected)


class Running:
    """A client in a nursery, and what ``connect`` returned in the end."""

    def __init__(self):
        self.ended = trio.Event()

    async def start(self, nursery, handler, args, **options):
        self.client = await nursery.start(partial(self._run, handler, args, options))
        return self.client

    async def _run(self, handler, args, options, task_status):
        self.reason = await connect(URL, handler, args, task_status=task_status, **options)
        self.ended.set()


async def test_the_mailbox_of_the_client_reaches_handle_info(nursery, start_server):
    noted = []
    client = await Running().start(nursery, Listener, noted, stream=start_server(never))
    for item in range(3000):
        await client.mailbox.send(item)
    await trio.testing.wait_all_tasks_blocked()
    assert noted == [("info", item) for item in range(3000)]
    nursery.cancel_scope.cancel()


async def test_the_connection_has_a_mailbox_of_its_own(nursery, start_server):
    noted = []
    client = await Running().start(nursery, Listener, noted, stream=start_server(never))
    await client.connection.mailbox.send("direct")
    await trio.testing.wait_all_tasks_blocked()
    assert noted == [("info", "direct")]
    nursery.cancel_scope.cancel()


async def test_a_handler_without_handle_info_fails_as_soon_as_it_is_sent_something(
    nursery, start_server, autojump_clock
):
    running = Running()
    client = await running.start(nursery, Echo, None, stream=start_server(never))
    client.mailbox.send_nowait("x")
    await running.ended.wait()
    assert "Echo was sent 'x' but has no handle_info" in str(running.reason.cause)


async def test_a_closed_mailbox_leaves_the_connection_alone(nursery, start_server):
    noted = []
    client = await Running().start(nursery, Listener, noted, stream=start_server(never))
    client.mailbox.close()
    client.connection.mailbox.close()
    await trio.testing.wait_all_tasks_blocked()
    assert not client.connection.is_closing
    nursery.cancel_scope.cancel()


async def test_after_the_end_senders_learn_of_it_and_what_was_left_is_kept(nursery, start_server):
    class Busy(Listener):
        async def handle_info(self, info, noted):
            noted.append(info)
            return Stop(NORMAL, noted)

    running, noted = Running(), []
    client = await running.start(nursery, Busy, noted, stream=start_server(accept))
    for item in range(3):
        client.mailbox.send_nowait(item)
    await running.ended.wait()
    assert noted == [0, Normal()]
    assert client.unhandled == (1, 2)
    assert client.connection is None
    with pytest.raises(trio.BrokenResourceError):
        await client.mailbox.send(3)


async def test_waiting_for_a_connection_that_will_not_come_is_an_error(nursery, start_server):
    client = await Running().start(nursery, Listener, [], stream=start_server(never))
    assert await client.wait_connected() is client.connection
    await client.shutdown(grace=0)
    with pytest.raises(StateError):
        await client.wait_connected()


async def test_shutdown_closes_in_good_order(nursery, start_server):
    running, noted = Running(), []
    client = await running.start(nursery, Listener, noted, stream=start_server(accept))
    await client.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert running.reason == Shutdown()
    assert noted == [Shutdown()]


async def test_shutdown_as_the_connection_ends_is_none_too_many(nursery, start_server):
    class Leaving(Listener):
        def handle_info(self, info, noted):
            return Stop(NORMAL, noted)

    running = Running()
    client = await running.start(nursery, Leaving, [], stream=start_server(accept))
    connection = client.connection
    client.mailbox.send_nowait("x")
    await connection.wait_ended()
    await client.shutdown()
    assert running.reason == Normal()


async def test_shutdown_takes_no_longer_than_its_grace(nursery, start_server, autojump_clock):
    class Stuck(Listener):
        async def handle_info(self, info, noted):
            await trio.sleep_forever()

    client = await Running().start(nursery, Stuck, [], stream=start_server(never))
    client.mailbox.send_nowait("x")
    await trio.testing.wait_all_tasks_blocked()
    start = trio.current_time()
    await client.shutdown(grace=3)
    assert trio.current_time() - start == pytest.approx(3)


async def test_a_shield_holds_a_shutdown_but_the_server_no_longer_than_the_shortest_grace(
    nursery, start_server, autojump_clock, caplog
):
    class Shielded(Listener):
        async def handle_info(self, info, noted):
            with trio.CancelScope(shield=True):
                await done.wait()

    async def until_dropped(server):
        await server.open()
        assert await server.stream.receive_some() == b""
        dropped.append(trio.current_time())

    done, dropped = trio.Event(), []
    client = await Running().start(nursery, Shielded, [], stream=start_server(until_dropped))
    client.mailbox.send_nowait("x")
    await trio.testing.wait_all_tasks_blocked()
    start = trio.current_time()
    nursery.start_soon(client.shutdown)
    nursery.start_soon(partial(client.shutdown, grace=3))
    await trio.sleep(100)
    assert [moment - start for moment in dropped] == [pytest.approx(3, abs=0.1)]
    assert "Shielded shields itself" in caplog.text
    done.set()


@pytest.mark.parametrize("grace", [-1, "5", None, True, math.nan])
async def test_a_grace_that_is_no_number_of_seconds_is_refused(nursery, start_server, grace):
    client = await Running().start(nursery, Listener, [], stream=start_server(never))
    with pytest.raises(OptionError, match="grace"):
        await client.shutdown(grace=grace)
    nursery.cancel_scope.cancel()


async def test_cancellation_says_1001_and_waits_for_nobody(start_server, autojump_clock):
    async def script(server):
        await server.open()
        frames.append(await server.receive_frame())

    start, noted, frames = trio.current_time(), [], []
    with trio.move_on_after(5) as scope:
        await connect(URL, Listener, noted, stream=start_server(script))
    assert scope.cancelled_caught
    assert trio.current_time() - start == pytest.approx(5)
    await trio.testing.wait_all_tasks_blocked()
    assert (frames, noted) == ([(CLOSE, b"\x03\xe9")], [Shutdown()])


async def test_cancellation_while_connecting_calls_no_callback(start_server, autojump_clock):
    async def silent(server):
        await server.receive_head()

    noted = []
    with trio.move_on_after(5) as scope:
        await connect(URL, Listener, noted, stream=start_server(silent))
    assert scope.cancelled_caught
    assert noted == []


async def test_a_keyboard_interrupt_comes_out_as_it_is(start_server):
    class Interrupted(Listener):
        def handle_in(self, message, noted):
            raise KeyboardInterrupt

    async def script(server):
        await server.open(b"\x81\x01x")

    noted = []
    with pytest.raises(KeyboardInterrupt):
        await connect(URL, Interrupted, noted, stream=start_server(script))
    assert noted == [Shutdown()]


async def test_a_silent_server_is_left_when_a_timeout_is_given(start_server, autojump_clock):
    start, noted = trio.current_time(), []
    options = {"timeout": 30, "ping_interval": None, "close_timeout": 1}
    assert await connect(URL, Listener, noted, stream=start_server(never), **options) == Timeout()
    assert 31 <= trio.current_time() - start <= 34
    assert noted == [Timeout()]


async def test_a_server_that_answers_no_ping_is_left(start_server, autojump_clock):
    start = trio.current_time()
    reason = await connect(URL, Listener, [], stream=start_server(never), close_timeout=1)
    assert reason == Timeout("ping timeout")
    assert trio.current_time() - start == pytest.approx(41)


async def test_a_server_that_stops_reading_is_dropped(start_server, autojump_clock):
    class Talkative(Listener):
        def init(self, noted):
            return Push("x" * 300_000, noted)

    noted = []
    options = {"write_timeout": 7, "ping_interval": None}
    reason = await connect(URL, Talkative, noted, stream=start_server(never, 1000), **options)
    assert isinstance(reason.cause, WriteTimeout)
    assert noted == [reason]
    assert trio.current_time() == pytest.approx(7)
