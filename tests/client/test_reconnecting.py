"""A client that connects again, in virtual time: when it does, with what, and what outlives a connection."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from trio_websock import (
    DISCONNECTED,
    NORMAL,
    RESTART,
    Again,
    ConnectFailed,
    Error,
    Handler,
    HandshakeError,
    Ok,
    OptionError,
    Outage,
    Reconnect,
    Remote,
    Shutdown,
    Stop,
    UpgradeRejected,
    connect,
    current_connection,
)
from trio_websock.protocol.upgrade import accept_key

URL = "ws://example.com/"
TEXT, CLOSE = 0x81, 0x88
steady = partial(Reconnect, jitter=0)  # delays of 5, 10, 20, 40 and 60 seconds


class Listener(Handler):
    """Notes in its list of arguments when it was called, and with what."""

    def init(self, noted):
        noted.append((trio.current_time(), "init"))
        return Ok(noted)

    def handle_in(self, message, noted):
        noted.append((trio.current_time(), message))
        return Ok(noted)

    def handle_info(self, info, noted):
        noted.append((trio.current_time(), info))
        return Ok(noted)

    def terminate(self, reason, noted):
        noted.append((trio.current_time(), reason))


def times(noted, event):
    return [time for time, what in noted if what == event]


def close_with(code, *, after=0):
    async def script(server):
        await server.open()
        await trio.sleep(after)
        await server.send_frame(CLOSE, code.to_bytes(2, "big"))
        await server.receive_frame()
        await server.stream.aclose()

    return script


def answer(status, *lines):
    head = "\r\n".join([f"HTTP/1.1 {status} Words", "Content-Length: 0", *lines, "", ""])

    async def script(server):
        await server.receive_head()
        await server.stream.send_all(head.encode())
        await server.stream.aclose()

    return script


async def hang_up(server):
    """No answer at all."""
    await server.stream.aclose()


async def never(server):
    """Open, and say nothing until the client closes."""
    await server.open()
    frame = await server.receive_frame()
    while frame[0] != CLOSE:
        frame = await server.receive_frame()
    await server.send_frame(*frame)
    await server.stream.aclose()


async def test_without_reconnect_the_first_end_is_the_end(start_servers, autojump_clock):
    noted = []
    assert await connect(URL, Listener, noted, stream=start_servers(close_with(1012), never)) == Remote(1012)
    assert times(noted, "init") == [0]


async def test_every_connection_begins_with_init_and_ends_with_terminate(start_servers, autojump_clock):
    noted, opener = [], start_servers(close_with(1001, after=20), close_with(1011, after=20), close_with(1000))
    assert await connect(URL, Listener, noted, stream=opener, reconnect=steady()) == Remote(1000)
    expected = [(0, "init"), (20, Remote(1001)), (25, "init"), (45, Remote(1011)), (50, "init"), (50, Remote(1000))]
    assert noted == expected


async def test_true_is_a_policy_with_chance_in_it(start_servers, autojump_clock):
    noted, opener = [], start_servers(close_with(1001), close_with(1000))
    await connect(URL, Listener, noted, stream=opener, reconnect=True)
    assert 0 <= times(noted, "init")[1] <= 5


async def test_attempts_in_a_row_wait_longer_and_longer(start_servers, autojump_clock):
    noted, opener = [], start_servers(close_with(1001), *[hang_up] * 5, close_with(1000))
    await connect(URL, Listener, noted, stream=opener, reconnect=steady())
    assert times(noted, "init") == [0, 5 + 10 + 20 + 40 + 60 + 60]


async def test_the_first_attempt_too_is_repeated(start_servers, autojump_clock):
    noted, opener = [], start_servers(hang_up, hang_up, close_with(1000))
    assert await connect(URL, Listener, noted, stream=opener, reconnect=steady()) == Remote(1000)
    assert times(noted, "init") == [15]


async def test_connections_that_do_not_last_count_as_failures(start_servers, autojump_clock):
    noted, opener = [], start_servers(*[close_with(1011, after=9)] * 3, close_with(1000))
    await connect(URL, Listener, noted, stream=opener, reconnect=steady())
    assert times(noted, "init") == [0, 9 + 5, 9 + 5 + 9 + 10, 9 + 5 + 9 + 10 + 9 + 20]


async def test_a_connection_that_lasts_begins_the_count_anew(start_servers, autojump_clock):
    noted, opener = [], start_servers(hang_up, hang_up, close_with(1011, after=10), hang_up, close_with(1000))
    await connect(URL, Listener, noted, stream=opener, reconnect=steady(max_attempts=2))
    assert times(noted, "init") == [15, 15 + 10 + 5 + 10]


async def test_when_attempts_are_used_up_the_last_error_is_raised(start_servers, autojump_clock):
    with pytest.raises(ConnectFailed, match="nobody listens"):
        await connect(URL, Listener, [], stream=start_servers(close_with(1001)), reconnect=steady(max_attempts=2))
    assert trio.current_time() == 15


async def test_when_attempts_are_used_up_the_last_reason_is_returned(start_servers, autojump_clock):
    opener = start_servers(hang_up, close_with(1001), close_with(1011))
    reason = await connect(URL, Listener, [], stream=opener, reconnect=steady(max_attempts=2))
    assert reason == Remote(1011)


async def test_a_restart_and_a_busy_server_are_told_apart(start_servers, autojump_clock):
    noted, opener = [], start_servers(close_with(1012, after=20), close_with(1013, after=20), close_with(1000))
    await connect(URL, Listener, noted, stream=opener, reconnect=steady(restart_delay=2, busy_delay=50))
    assert times(noted, "init") == [0, 22, 22 + 20 + 100]


async def test_a_server_that_says_when_is_obeyed(start_servers, autojump_clock):
    noted, opener = [], start_servers(answer(503, "Retry-After: 100"), answer(429, "Retry-After: 7"), close_with(1000))
    await connect(URL, Listener, noted, stream=opener, reconnect=steady())
    assert times(noted, "init") == [105 + 17]


@pytest.mark.parametrize("status", [301, 401, 403, 404, 501])
async def test_a_refusal_that_will_not_pass_is_raised(start_servers, status, autojump_clock):
    with pytest.raises(UpgradeRejected) as caught:
        await connect(URL, Listener, [], stream=start_servers(answer(status), never), reconnect=True)
    assert caught.value.response.status == status


async def test_an_answer_that_is_no_handshake_is_raised(start_servers, autojump_clock):
    async def babble(server):
        await server.receive_head()
        await server.stream.send_all(b"SSH-2.0\r\n\r\n")

    with pytest.raises(HandshakeError):
        await connect(URL, Listener, [], stream=start_servers(babble, never), reconnect=True)


@pytest.mark.parametrize(("reason", "count"), [(NORMAL, 1), (RESTART, 2), (DISCONNECTED, 2), ("my own", 1)])
async def test_a_handler_says_by_its_stop_whether_it_comes_back(start_servers, reason, count, autojump_clock):
    class Leaving(Listener):
        def init(self, noted):
            noted.append(1)
            return Stop(reason if len(noted) == 1 else NORMAL, noted)

        def terminate(self, reason, noted):
            pass

    noted = []
    await connect(URL, Leaving, noted, stream=start_servers(never, never), reconnect=True)
    assert len(noted) == count


async def test_a_handler_that_fails_does_not_come_back(start_servers, caplog, autojump_clock):
    class Failing(Listener):
        def init(self, noted):
            raise KeyError

    reason = await connect(URL, Failing, [], stream=start_servers(never, never), reconnect=True)
    assert isinstance(reason, Error)
    assert isinstance(reason.cause, KeyError)


async def test_a_class_gives_every_connection_an_instance(start_servers, autojump_clock):
    class Fresh(Listener):
        def init(self, noted):
            noted.append(self)
            return Ok(noted)

        def terminate(self, reason, noted):
            assert noted[-1] is self

    noted = []
    await connect(URL, Fresh, noted, stream=start_servers(close_with(1001), close_with(1000)), reconnect=True)
    assert len(set(noted)) == 2


# What the application has to say.


class Counter(Handler):
    """Counts messages from where its arguments say."""

    def init(self, count):
        return Ok(count)

    def handle_in(self, message, count):
        return Ok(count + 1)


def say(count, code):
    async def script(server):
        await server.open(b"\x81\x01x" * count)
        await close_with_frame(server, code)

    return script


async def close_with_frame(server, code):
    await server.send_frame(CLOSE, code.to_bytes(2, "big"))
    await server.receive_frame()
    await server.stream.aclose()


async def test_who_decides_is_told_everything(start_servers, autojump_clock):
    def decide(outage):
        outages.append(outage)
        return outage.proposal

    outages, opener = [], start_servers(hang_up, say(3, 1001), say(0, 4000))
    await connect(URL, Counter, 10, stream=opener, reconnect=steady(decide=decide))
    first, *others = outages
    assert isinstance(first.cause, ConnectFailed)
    assert (first.state, first.args, first.attempts, first.proposal) == (None, 10, 1, Again(5))
    assert others == [Outage(Remote(1001), 13, 10, 2, Again(10)), Outage(Remote(4000), 10, 10, 3, None)]


async def test_the_state_may_go_on_with_the_next_connection(start_servers, autojump_clock):
    def decide(outage):
        states.append(outage.state)
        return outage.proposal and Again(args=outage.state)

    states, opener = [], start_servers(say(3, 1001), hang_up, say(2, 1001), say(1, 1000))
    await connect(URL, Counter, 0, stream=opener, reconnect=steady(decide=decide))
    assert states == [3, 3, 5, 6]
    assert trio.current_time() == 5 + 10 + 20


async def test_who_decides_has_the_last_word(start_servers, autojump_clock):
    def decide(outage):
        return Again(0.5) if outage.cause == Remote(4000) else None

    opener = start_servers(say(0, 4000), say(0, 4000), say(0, 1001), never)
    assert await connect(URL, Counter, stream=opener, reconnect=Reconnect(decide=decide)) == Remote(1001)
    assert trio.current_time() == 1


async def test_a_decision_may_take_its_time_and_change_what_is_asked_for(start_servers, autojump_clock):
    def ask(heads):
        async def script(server):
            heads.append(await server.receive_head())
            await server.stream.aclose()

        return script

    async def decide(outage):
        await trio.sleep(100)
        return Again(1, url="ws://example.com/resume", options={"authorization": "fresh"}) if len(heads) == 1 else None

    heads = []
    opener = start_servers(ask(heads), ask(heads))
    with pytest.raises(ConnectFailed):
        await connect(URL, Counter, stream=opener, authorization="stale", reconnect=Reconnect(decide=decide))
    assert trio.current_time() == 201
    first, second = heads
    assert first.startswith("GET / ")
    assert "Authorization: Bearer stale" in first
    assert second.startswith("GET /resume ")
    assert "Authorization: Bearer fresh" in second


@pytest.mark.parametrize("decision", [True, 5, "yes"])
async def test_a_decision_that_is_none_is_an_error(start_servers, decision, autojump_clock):
    reconnect = Reconnect(decide=lambda outage: decision)
    with pytest.raises(TypeError, match="Again"):
        await connect(URL, Counter, 0, stream=start_servers(say(0, 1001)), reconnect=reconnect)


async def test_an_option_of_a_decision_is_checked(start_servers, autojump_clock):
    reconnect = Reconnect(decide=lambda outage: Again(options={"timeout": 0}))
    with pytest.raises(OptionError, match="timeout"):
        await connect(URL, Counter, 0, stream=start_servers(say(0, 1001)), reconnect=reconnect)


# The client, its mailbox, and its end.


class Running:
    """A client in a nursery, and what ``connect`` returned in the end."""

    def __init__(self, nursery):
        self.nursery = nursery
        self.ended = trio.Event()

    async def start(self, handler, args, **options):
        return await self.nursery.start(partial(self._run, handler, args, options))

    async def _run(self, handler, args, options, task_status):
        self.reason = await connect(URL, handler, args, task_status=task_status, **options)
        self.ended.set()


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


async def test_shutdown_between_two_connections_ends_at_once(nursery, start_servers, autojump_clock):
    running = Running(nursery)
    client = await running.start(Listener, [], stream=start_servers(close_with(1001), never), reconnect=steady())
    await trio.sleep(1)
    client.mailbox.send_nowait("late")
    await client.shutdown()
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


async def test_a_connection_that_opens_during_a_shutdown_is_dropped(nursery, start_servers, autojump_clock):
    async def open_stream():
        streams.append(LateAnswer(nursery, client) if started.is_set() else await first())
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
