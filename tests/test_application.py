"""What a host is given to serve, and how it is asked."""

from __future__ import annotations

import functools
import gc
import importlib
import types
import weakref
from typing import Any

import pytest
import trio

from trio_websock import (
    Handler,
    Ok,
    Options,
    Request,
    Response,
    Upgrade,
    UpgradeRefused,
    check_upgrade,
    upgrade,
)
from trio_websock.application import FunctionSite, HandlerSite, Site, Wish, bind_application
from trio_websock.headers import Headers

stray = importlib.import_module("stray")

REQUEST = Request("GET", "/a")


class Quiet(Handler[None, Any]):
    def init(self, args: object) -> Ok[None]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Ok[None]:
        return Ok(None)


def site_of(handler_or_app: object, **options: Any) -> Site:
    return bind_application(handler_or_app, Options(**options), lambda request, fault: None)


async def test_a_handler_wants_every_request_and_gets_it_as_args() -> None:
    wish = await site_of(Quiet).answer(REQUEST)
    assert isinstance(wish, Wish)
    assert wish.args is REQUEST


@pytest.mark.parametrize("handler", [Quiet, Quiet(), types.SimpleNamespace(init=print, handle_in=print)])
def test_classes_and_instances_with_the_callbacks_are_handlers(handler: object) -> None:
    assert isinstance(site_of(handler), HandlerSite)


def test_an_incomplete_handler_is_told_what_it_lacks() -> None:
    with pytest.raises(TypeError, match="has no handle_in"):
        site_of(types.SimpleNamespace(init=print))


def test_something_that_is_neither_is_told_both() -> None:
    with pytest.raises(TypeError, match=r"neither a handler .* nor an application function"):
        site_of(42)


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def test_an_asgi_application_is_told_where_it_belongs() -> None:
    with pytest.raises(TypeError, match=r"missing a required argument: 'receive'.* goes into http="):
        site_of(asgi)


async def yields_later(request: Request) -> Any:
    yield Response(204)


def yields(request: Request) -> Any:
    yield Response(204)


@pytest.mark.parametrize("function", [yields, yields_later])
def test_a_generator_is_told_that_it_answers_nobody(function: Any) -> None:
    with pytest.raises(TypeError, match=r"yields.* is a generator: it must return its answer, not yield it"):
        site_of(function)


@types.coroutine
def yields_to_trio(database: object, request: Request) -> Any:
    yield


@functools.wraps(yields_to_trio)
def with_database(request: Request) -> Any:
    return yields_to_trio("database", request)


@pytest.mark.parametrize("function", [with_database, functools.partial(yields_to_trio, "database")])
def test_a_decorator_and_a_partial_may_give_what_a_request_does_not(function: Any) -> None:
    assert isinstance(site_of(function), FunctionSite)


@pytest.mark.parametrize("function", [print, iter, lambda *everything: Response(204)])
def test_what_can_be_called_with_a_request_is_an_application_function(function: Any) -> None:
    assert isinstance(site_of(function), FunctionSite)


async def test_an_application_function_may_be_plain() -> None:
    assert await site_of(lambda request: Response(204)).answer(REQUEST) == Response(204)


async def test_an_application_function_may_be_async() -> None:
    async def app(request: Request) -> Response:
        return Response(200, request.path)

    answer = await site_of(app).answer(REQUEST)
    assert isinstance(answer, Response)
    assert answer.body == "/a"


async def test_options_of_an_upgrade_win_over_those_of_the_server() -> None:
    def app(request: Request) -> Upgrade:
        return upgrade(Quiet, 1, timeout=5)

    wish = await site_of(app, timeout=9, close_timeout=8).answer(REQUEST)
    assert isinstance(wish, Wish)
    assert (wish.args, wish.options.timeout, wish.options.close_timeout) == (1, 5, 8)


async def test_a_refusal_answers_its_own_status_reason_and_headers() -> None:
    def app(request: Request) -> Response:
        raise UpgradeRefused(401, "who are you?", {"WWW-Authenticate": "Basic"})

    answer = await site_of(app).answer(REQUEST)
    assert isinstance(answer, Response)
    assert (answer.status, answer.body, answer.headers["www-authenticate"]) == (401, "who are you?\n", "Basic")  # type: ignore[index]  # Headers by then


async def test_a_refusal_out_of_a_nursery_of_the_function_answers_as_well() -> None:
    async def refuse() -> None:
        raise UpgradeRefused(403, "not you")

    async def app(request: Request) -> Response:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse)
        raise AssertionError

    answer = await site_of(app).answer(REQUEST)
    assert isinstance(answer, Response)
    assert (answer.status, answer.body) == (403, "not you\n")


class Faults:
    """A site around an application function, and what was reported of that."""

    def __init__(self, function: object) -> None:
        self.site = bind_application(function, Options(), self._report)
        self.reported: list[BaseException] = []

    def _report(self, request: Request, fault: BaseException) -> None:
        assert request is REQUEST
        self.reported.append(fault)

    async def ask(self) -> tuple[int, str | bytes]:
        answer = await self.site.answer(REQUEST)
        assert isinstance(answer, Response)
        return answer.status, answer.body


FAILED = (500, "Internal Server Error\n")


@pytest.mark.parametrize("result", [None, "text", {"status": 200}])
async def test_another_result_is_a_fault(result: object) -> None:
    faults = Faults(lambda request: result)
    assert await faults.ask() == FAILED
    assert f"returned {result!r}: expected a Response or upgrade(...)" in str(faults.reported[0])


async def test_an_exception_is_answered_500_without_details_and_reported() -> None:
    faults = Faults(lambda request: 1 / 0)
    assert await faults.ask() == FAILED
    assert isinstance(faults.reported[0], ZeroDivisionError)


async def test_an_incomplete_handler_is_a_fault() -> None:
    assert await Faults(lambda request: upgrade(object())).ask() == FAILED


async def test_a_cancelled_that_the_application_lets_escape_is_a_fault() -> None:
    async def app(request: Request) -> Response:
        raise await stray.stray_cancelled()

    assert await Faults(app).ask() == FAILED


async def test_a_stray_cancelled_beside_another_fault_goes_no_further() -> None:
    async def app(request: Request) -> Response:
        raise BaseExceptionGroup("in a nursery", [await stray.stray_cancelled(), ValueError("no")])

    assert await Faults(app).ask() == FAILED


async def test_a_cancellation_from_above_goes_on_and_a_fault_beside_it_is_reported() -> None:
    async def app(request: Request) -> Response:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(fail_in_the_end)
            await trio.sleep_forever()
        raise AssertionError

    async def fail_in_the_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in the end")

    faults = Faults(app)
    with trio.move_on_after(0) as scope:
        await faults.ask()
    assert scope.cancelled_caught
    assert [type(fault) for fault in faults.reported] == [ExceptionGroup]


async def test_whoever_asks_a_site_gets_the_exception_itself() -> None:
    with pytest.raises(ZeroDivisionError):
        await site_of(lambda request: 1 / 0).ask(REQUEST)


class Wary:
    """Checks early; whether the request's origin passed."""

    def __init__(self) -> None:
        self.passed: bool | None = None

    async def __call__(self, request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        self.passed = True
        try:
            check_upgrade(request)
        except UpgradeRefused:
            self.passed = False
        return Response()


@pytest.mark.parametrize(("origins", "passes"), [("same", False), ("any", True)])
async def test_an_early_check_knows_the_options_of_the_site(origins: str, passes: bool) -> None:
    fields = {
        "Host": "example.com",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Origin": "https://elsewhere.example",
    }
    app = Wary()
    await site_of(app, origins=origins).answer(Request("GET", "/", Headers(fields)))
    assert app.passed is passes


class Traced:
    """Can be watched."""


async def test_what_an_application_function_has_raised_is_freed_without_the_garbage_collector() -> None:
    traces = []

    def fail(request: Request) -> Response:
        trace = Traced()
        traces.append(weakref.ref(trace))
        raise UpgradeRefused(403, "no") if request.path == "/a" else ValueError(trace)

    gc.disable()
    try:
        for request in (REQUEST, Request("GET", "/b")):
            await site_of(fail).answer(request)
    finally:
        gc.enable()
    assert [trace() for trace in traces] == [None, None]
