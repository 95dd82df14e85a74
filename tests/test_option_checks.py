"""What the value of an option has to be, where one look at its type is not enough."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import pytest
import trio

from trio_websock import Handler, OptionError, Request, Response, serve
from trio_websock.client.options import ClientOptions
from trio_websock.options import ServerOptions

Opposite = pytest.mark.parametrize("name", ["ssl_context", "proxy_ssl_context"])


def given_http(application: Any) -> object:
    return ServerOptions(port=0, http=application).http


def test_a_clients_tls_context_serves_nobody_and_is_refused() -> None:
    with pytest.raises(OptionError, match=r"for a server's side.*PROTOCOL_TLS_CLIENT came"):
        ServerOptions(port=0, ssl_context=ssl.create_default_context())


async def test_a_clients_tls_context_is_refused_before_anything_is_served() -> None:
    with trio.fail_after(5), pytest.raises(OptionError, match="ssl_context"):
        await serve(Room, port=0, ssl_context=ssl.create_default_context())


@Opposite
def test_a_servers_tls_context_connects_nobody_and_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match=f"{name} must be .* for a client's side.*PROTOCOL_TLS_SERVER came"):
        ClientOptions(**{name: ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)})


@Opposite
def test_a_clients_tls_context_connects(name: str) -> None:
    context = ssl.create_default_context()
    assert getattr(ClientOptions(**{name: context}), name) is context


@pytest.mark.parametrize("options", [partial(ServerOptions, port=0), ClientOptions])
def test_a_tls_context_for_both_sides_is_taken_by_either(options: Callable[..., Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS)
    assert options(ssl_context=context).ssl_context is context


class Room(Handler[None, None]):
    def init(self, args: object) -> Any: ...

    def handle_in(self, message: str | bytes, state: None) -> Any: ...


def application_function(request: Request) -> Response:
    return Response(404)


async def asgi_2(scope: Any) -> Any: ...


@pytest.mark.parametrize("given", [Room, application_function, asgi_2, lambda: None])
def test_what_cannot_be_called_as_asgi_has_it_is_refused(given: Any) -> None:
    with pytest.raises(OptionError, match=r"called with \(scope, receive, send\).*too many positional.*not <"):
        given_http(given)


@pytest.mark.parametrize("given", [Room(), application_function])
def test_a_handler_and_an_application_function_are_told_where_they_belong(given: Any) -> None:
    with pytest.raises(OptionError, match="first argument of serve"):
        given_http(given)


class Endpoint:
    """Called with the three, as Starlette's endpoints are: the instance is what is awaited."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...


class Framework:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class Unsigned:
    """As what is made in C: nobody can tell what it takes."""

    __signature__ = "?"

    def __call__(self, *arguments: Any) -> Any: ...


async def wrapped(app: Any, scope: Any, receive: Any, send: Any) -> None: ...


@wraps(wrapped)
async def unwrapped(scope: Any, receive: Any, send: Any) -> None: ...


class Unresolved:
    """As a function whose annotations are names for type checkers only, from Python 3.14 on."""

    @property
    def __signature__(self) -> Any:
        raise NameError("name 'Scope' is not defined")

    def __call__(self, *arguments: Any) -> Any: ...


@pytest.mark.parametrize(
    "application",
    [Endpoint, Framework(), Framework().__call__, Unsigned(), Unresolved(), partial(wrapped, None), unwrapped, min],
)
def test_whatever_may_be_called_as_asgi_has_it_is_taken(application: Any) -> None:
    assert given_http(application) is application
