"""What ``serve`` was given, and how it is asked."""

from __future__ import annotations

import types
from typing import Any

import pytest

from trio_websock import Handler, Ok, Options, Request, Response, Upgrade, UpgradeRefused, upgrade
from trio_websock.server.ledger import Ledger
from trio_websock.server.site import FunctionSite, HandlerSite, Wish, site_for

REQUEST = Request("GET", "/a")


class Quiet(Handler[None, Any]):
    def init(self, args: object) -> Ok[None]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Ok[None]:
        return Ok(None)


def site_of(function: object) -> FunctionSite:
    site = site_for(function, Options(), Ledger())
    assert isinstance(site, FunctionSite)
    return site


async def test_a_handler_wants_every_request_and_gets_it_as_args() -> None:
    wish = await site_for(Quiet, Options(), Ledger()).answer(REQUEST)
    assert isinstance(wish, Wish)
    assert wish.args is REQUEST


@pytest.mark.parametrize("handler", [Quiet, Quiet(), types.SimpleNamespace(init=print, handle_in=print)])
def test_classes_and_instances_with_the_callbacks_are_handlers(handler: object) -> None:
    assert isinstance(site_for(handler, Options(), Ledger()), HandlerSite)


def test_an_incomplete_handler_is_told_what_it_lacks() -> None:
    with pytest.raises(TypeError, match="has no handle_in"):
        site_for(types.SimpleNamespace(init=print), Options(), Ledger())


def test_something_that_is_neither_is_told_both() -> None:
    with pytest.raises(TypeError, match=r"neither a handler .* nor an application function"):
        site_for(42, Options(), Ledger())


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def test_an_asgi_application_is_told_where_it_belongs() -> None:
    with pytest.raises(TypeError, match=r"missing a required argument: 'receive'.* goes into http="):
        site_for(asgi, Options(), Ledger())


@pytest.mark.parametrize("function", [print, iter, lambda *everything: Response(204)])
def test_what_can_be_called_with_a_request_is_an_application_function(function: Any) -> None:
    assert isinstance(site_for(function, Options(), Ledger()), FunctionSite)


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

    wish = await site_for(app, Options(timeout=9, close_timeout=8), Ledger()).answer(REQUEST)
    assert isinstance(wish, Wish)
    assert (wish.args, wish.options.timeout, wish.options.close_timeout) == (1, 5, 8)


async def test_a_refusal_answers_its_own_status_reason_and_headers() -> None:
    def app(request: Request) -> Response:
        raise UpgradeRefused(401, "who are you?", {"WWW-Authenticate": "Basic"})

    answer = await site_of(app).answer(REQUEST)
    assert isinstance(answer, Response)
    assert (answer.status, answer.body, answer.headers["www-authenticate"]) == (401, "who are you?\n", "Basic")  # type: ignore[index]  # Headers by then


@pytest.mark.parametrize("result", [None, "text", {"status": 200}])
async def test_another_result_is_answered_500_and_logged(result: object, caplog: pytest.LogCaptureFixture) -> None:
    answer = await site_of(lambda request: result).answer(REQUEST)
    assert isinstance(answer, Response)
    assert (answer.status, answer.body) == (500, "Internal Server Error\n")
    assert f"returned {result!r}: expected a Response or upgrade(...)" in caplog.text


async def test_an_exception_is_answered_500_without_details_logged_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger = Ledger()
    site = site_for(lambda request: 1 / 0, Options(), ledger)
    answer = await site.answer(REQUEST)
    assert isinstance(answer, Response)
    assert (answer.status, answer.body, ledger.application_errors) == (500, "Internal Server Error\n", 1)
    assert "ZeroDivisionError" in caplog.text
