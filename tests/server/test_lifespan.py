"""The lifespan of an ASGI application around a server."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from trio_websock import StartupFailed, StateError
from trio_websock.server.lifespan import Lifespan

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

STARTED = {"type": "lifespan.startup.complete"}
STOPPED = {"type": "lifespan.shutdown.complete"}


class Witness:
    """An application that tells what happens to it; ``steps`` gives each message its answer."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        scope["state"]["pool"] = "open"
        for answer in (STARTED, STOPPED):
            message = await receive()
            self.told.append(message["type"])
            await send(answer)


async def serve_and_stop(lifespan: Lifespan, deadline: float = math.inf) -> None:
    async def serving() -> None:
        await trio.lowlevel.checkpoint()
        await lifespan.shut_down(deadline)

    await lifespan.run_around(serving)


async def test_an_application_starts_before_and_stops_behind_what_is_served() -> None:
    witness = Witness()
    lifespan = Lifespan(witness)

    async def serving() -> None:
        witness.told.append("serving")
        assert lifespan.state == {"pool": "open"}
        await lifespan.shut_down(math.inf)

    await lifespan.run_around(serving)
    assert witness.told == ["lifespan.startup", "serving", "lifespan.shutdown"]


async def test_a_startup_that_fails_is_raised_with_its_cause_and_nothing_is_served() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        raise ValueError("cause")

    with pytest.raises(StartupFailed, match="could not start: no database") as caught:
        await Lifespan(app).run_around(trio.sleep_forever)
    assert isinstance(caught.value.__cause__, ValueError)


async def test_a_startup_that_fails_and_goes_on_is_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed"})
        await trio.sleep_forever()

    with pytest.raises(StartupFailed, match="it does not say why"):
        await Lifespan(app).run_around(trio.sleep_forever)


async def refuse(scope: Any, receive: Receive, send: Send) -> None:
    raise TypeError(f"a scope of type {scope['type']} came")


async def fail_to_start(scope: Any, receive: Receive, send: Send) -> None:
    await receive()
    raise ValueError("cannot start")


async def leave(scope: Any, receive: Receive, send: Send) -> None:
    pass


@pytest.mark.parametrize("app", [refuse, fail_to_start, leave])
async def test_an_application_without_a_lifespan_is_served_all_the_same(app: Any) -> None:
    await serve_and_stop(Lifespan(app))


async def test_a_startup_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    await serve_and_stop(Lifespan(fail_to_start))
    assert "failed in its startup; served all the same" in caplog.text
    assert "ValueError: cannot start" in caplog.text


async def test_cancelled_in_its_startup_an_application_is_cancelled() -> None:
    was_cancelled = False

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal was_cancelled
        try:
            await trio.sleep_forever()
        finally:
            was_cancelled = True

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Lifespan(app).run_around, trio.sleep_forever)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert was_cancelled


async def test_cancelling_the_server_does_not_reach_a_running_lifespan() -> None:
    witness = Witness()
    lifespan = Lifespan(witness)

    async def serving() -> None:
        scope.cancel()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await lifespan.shut_down(math.inf)

    with trio.CancelScope() as scope:
        await lifespan.run_around(serving)
    assert scope.cancelled_caught
    assert witness.told == ["lifespan.startup", "lifespan.shutdown"]


async def test_a_shutdown_ends_at_its_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        await receive()
        await trio.sleep_forever()

    await serve_and_stop(Lifespan(app), deadline=trio.current_time() + 5)
    assert trio.current_time() == pytest.approx(5)


async def test_a_shutdown_without_time_is_told_and_gets_to_its_first_checkpoint() -> None:
    steps: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        steps.append((await receive())["type"])
        await trio.lowlevel.checkpoint()
        steps.append("beyond")

    await serve_and_stop(Lifespan(app), deadline=-math.inf)
    assert steps == ["lifespan.shutdown"]


async def test_a_shutdown_can_be_cut_short(autojump_clock: trio.testing.MockClock) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        await receive()
        await trio.sleep_forever()

    lifespan = Lifespan(app)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_and_stop, lifespan)
        await trio.sleep(1)
        lifespan.expire()
    assert trio.current_time() == pytest.approx(1)


async def test_a_lifespan_that_fails_while_serving_is_told_and_raised(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        raise ValueError("a background task")

    lifespan = Lifespan(app)
    with pytest.raises(ValueError, match="a background task"):
        await lifespan.run_around(lifespan.wait_failed)
    assert "lifespan failed while serving" in caplog.text


async def test_a_lifespan_that_leaves_early_ends_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)

    lifespan = Lifespan(app)

    async def serving() -> None:
        with trio.move_on_after(5):
            await lifespan.wait_failed()
        await lifespan.shut_down(math.inf)

    await lifespan.run_around(serving)
    assert trio.current_time() == pytest.approx(5)


@pytest.mark.parametrize("raises", [True, False])
async def test_a_shutdown_that_fails_is_logged_once_and_changes_nothing(
    caplog: pytest.LogCaptureFixture, raises: bool
) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "the pool is stuck"})
        if raises:
            raise ValueError("the pool is stuck")

    await serve_and_stop(Lifespan(app))
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        "the ASGI application could not shut down: the pool is stuck"
    ]


async def test_a_shutdown_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        await receive()
        raise ValueError("the pool is stuck")

    await serve_and_stop(Lifespan(app))
    assert "lifespan failed in its shutdown" in caplog.text


@pytest.mark.parametrize("message", [STOPPED, {"type": "http.response.start"}, {}, None])
async def test_a_message_at_the_wrong_time_is_refused(message: Any) -> None:
    refused: list[StateError] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        try:
            await send(message)
        except StateError as exc:
            refused.append(exc)

    await serve_and_stop(Lifespan(app))
    assert len(refused) == 1


async def test_what_is_raised_for_the_whole_program_goes_on() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        raise SystemExit(3)

    with pytest.raises(BaseExceptionGroup) as caught:
        await Lifespan(app).run_around(trio.sleep_forever)
    assert caught.group_contains(SystemExit)
