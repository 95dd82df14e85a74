"""Signals: under ``run``, and as Trio has them; tests/test_cli.py tells more, in processes of its own."""

from __future__ import annotations

import contextlib
import math
import signal
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from trio_websock import Handler, Ok, OptionError, Push, Server, run, serve
from trio_websock.server.running import run_announced


class Quiet(Handler[None, Any]):
    def init(self, args: object) -> Ok[None]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Ok[None]:
        return Ok(None)


@pytest.mark.parametrize("code", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(code: signal.Signals) -> None:
    run_announced(Quiet, lambda server: signal.raise_signal(code), {"port": 0})


@pytest.mark.parametrize(
    ("code", "expectation"),
    [(signal.SIGTERM, contextlib.nullcontext()), (signal.SIGINT, pytest.raises(KeyboardInterrupt))],
)
def test_a_signal_in_the_startup_of_an_application_lets_it_clean_up(code: signal.Signals, expectation: Any) -> None:
    has_cleaned_up = False

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal has_cleaned_up
        try:
            signal.raise_signal(code)
            await trio.sleep_forever()
        finally:
            has_cleaned_up = True

    with expectation:
        run(Quiet, port=0, http=app)
    assert has_cleaned_up


def test_it_ends_when_the_server_is_shut_down_from_inside() -> None:
    def announce(server: Server) -> None:
        server._begin_shutdown(restart=False, grace=0, rate=None)  # as a handler might, by server.shutdown()

    run_announced(Quiet, announce, {"port": 0})


def test_the_handlers_of_signals_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    run_announced(Quiet, lambda server: signal.raise_signal(signal.SIGTERM), {"port": 0})
    assert signal.getsignal(signal.SIGTERM) is before


def test_errors_come_bare_and_not_in_groups() -> None:
    with pytest.raises(OptionError) as caught:
        run(Quiet, port=-1)
    assert caught.value.__context__ is None
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:80"):
        run(Quiet, host="192.0.2.1", port=80)


class Interrupting(trio.TaskStatus[Server]):
    """Presses Ctrl-C as soon as the server listens."""

    def started(self, value: Server | None = None) -> None:
        signal.raise_signal(signal.SIGINT)


def test_without_run_an_interrupt_is_a_graceful_end_too_and_goes_on() -> None:
    with pytest.raises(KeyboardInterrupt):
        trio.run(partial(serve, Quiet, port=0, task_status=Interrupting()))


class Interrupted(Quiet):
    """Ctrl-C hits this callback."""

    def handle_in(self, message: str | bytes, state: None) -> Ok[None]:
        signal.raise_signal(signal.SIGINT)
        return Ok(None)


async def open_websocket(server: Server) -> trio.SocketStream:
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    await stream.send_all(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await stream.receive_some()
    return stream


def test_an_interrupt_that_hits_a_callback_lets_the_other_connections_finish() -> None:
    seen = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve, Interrupted, port=0))
            async with await open_websocket(server) as first, await open_websocket(server) as other:
                await first.send_all(b"\x81\x82\0\0\0\0hi")
                with trio.CancelScope(shield=True):
                    seen.append(await other.receive_some())

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main)
    assert caught.group_contains(KeyboardInterrupt)
    assert seen == [b"\x88\x02\x03\xe9"]


def test_an_interrupt_is_not_lost_where_serve_is_cancelled_while_it_shuts_down() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve, Interrupted, port=0))
            async with await open_websocket(server) as stream:
                await stream.send_all(b"\x81\x82\0\0\0\0hi")
                await stream.receive_some()
                nursery.cancel_scope.cancel()  # as a client of the same program does by failing, told 1001

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main)
    assert caught.group_contains(KeyboardInterrupt)


class Hung(Quiet):
    """Would hang at the second message, but for Ctrl-C."""

    def handle_in(self, message: str | bytes, state: None) -> Push[None]:  # type: ignore[override]  # more than Ok
        if message == "go":
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("the callback was not interrupted")
        return Push(message, None)


def test_an_interrupt_gets_through_to_a_plain_callback(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve, Hung, port=0))
            async with await open_websocket(server) as stream:
                await stream.send_all(b"\x81\x82\0\0\0\0hi")
                await stream.receive_some()
                await stream.send_all(b"\x81\x82\0\0\0\0go")
                with trio.CancelScope(shield=True):
                    await stream.receive_some()

    with pytest.raises(BaseExceptionGroup):
        trio.run(main)
    assert not caplog.records


class Stuck(Quiet):
    """Never comes back from ``init``."""

    async def init(self, args: object) -> Ok[None]:  # type: ignore[override]  # async here
        await trio.sleep_forever()
        raise AssertionError("not reached")


class Insisting(trio.TaskStatus[Server]):
    """Opens a connection, and then presses Ctrl-C twice."""

    def started(self, value: Server | None = None) -> None:
        assert value is not None
        trio.lowlevel.spawn_system_task(self._press_twice, value)

    async def _press_twice(self, server: Server) -> None:
        async with await open_websocket(server):
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
                await trio.testing.wait_all_tasks_blocked()


def test_without_run_a_second_interrupt_does_not_wait_for_anybody() -> None:
    with pytest.raises(KeyboardInterrupt):
        trio.run(partial(serve, Stuck, port=0, grace=math.inf, task_status=Insisting()))


class InterruptedListener(trio.abc.Listener[trio.abc.Stream]):
    """Ctrl-C hits ``accept``."""

    async def accept(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise KeyboardInterrupt

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def test_an_interrupt_that_hits_the_accepting_is_a_graceful_end() -> None:
    with pytest.raises(KeyboardInterrupt):
        trio.run(partial(serve, Quiet, listeners=[InterruptedListener()]))


class Hanging(Stuck):
    """Signals itself that it hangs, and that it hangs still."""

    async def init(self, args: object) -> Ok[None]:  # type: ignore[override]
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
            await trio.testing.wait_all_tasks_blocked()
        return await super().init(args)


def test_a_second_signal_does_not_wait_for_anybody() -> None:
    def announce(server: Server) -> None:
        trio.lowlevel.spawn_system_task(visit, server)

    async def visit(server: Server) -> None:
        async with await open_websocket(server) as stream:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.receive_some()

    run_announced(Hanging, announce, {"port": 0, "grace": math.inf})


def test_run_says_nothing_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        run(Quiet, listeners=[InterruptedListener()])
    assert capfd.readouterr() == ("", "")
