"""An application function without a server: for an application's tests, in virtual time.

In: an application function, or a handler, and options. Out: its responses, and a
:class:`~trio_websock.testing.TestConnection` where it upgrades. Requests are checked as the server does; only bytes
are missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Unpack, final

from ..application import Application, Wish, bind_application
from ..connection import Connection
from ..errors import UpgradeRefused
from ..messages import Message
from ..options import ConnectionKeywords, Options
from ..request import HeaderInput, Headers, Request
from ..response import Response, refusal
from ..server.answers import serialize_response
from ..server.head import BadRequest, parse_head
from ..server.upgrading import Agreement, agree_on_upgrade
from ..trio_run import check_trio
from .connection import TestConnection, open_prepared
from .memory_transport import MemoryTransport

__all__ = ["TestApplication"]

AUTHORITY = "localhost"
CLIENT = ("127.0.0.1", 50000)
HANDSHAKE = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),  # RFC 6455 §1.3
    ("Sec-WebSocket-Version", "13"),
)


@final
class TestApplication:
    """An application under test, as its clients see it.

    ::

        app = TestApplication(application)
        assert (await app.request("/")).status == 200
        async with app.open("/chat?room=trio") as peer:
            await peer.send("hello")

    Where a server would answer 500 and log the exception, the exception is raised here.

    Args:
        handler_or_app: as for ``serve``.
        options: of all connections, as for ``serve``.

    Raises:
        TypeError: as ``serve``.
        OptionError: as ``serve``.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    def __init__(self, handler_or_app: object | Application, **options: Unpack[ConnectionKeywords]) -> None:
        self._site = bind_application(handler_or_app, Options().merged(options), lambda request, fault: None)

    async def request(
        self, target: str = "/", *, method: str = "GET", headers: HeaderInput = (), body: bytes = b""
    ) -> Response:
        """Send a request and return the response; 426 where only a WebSocket is served.

        Args:
            target: path and query, percent-encoded.
            method: as sent.
            headers: beside ``Host``, which may be among them.
            body: whole.

        Raises:
            TypeError: the body is not bytes.
            LocalError: the response cannot be sent.

        A method or a target that no server would take is answered as a server does: with 501 or 400.

        What the application function raises comes out as it is, but ``UpgradeRefused``, which is a response.

        Checkpoint: not for certain. Cancelled: the application function is.
        """
        if not isinstance(body, (bytes, bytearray, memoryview)):
            raise TypeError(f"body must be bytes, not {type(body).__name__}")
        answer = await self._answer(_request(method, target, headers, bytes(body)))
        if isinstance(answer, Agreement):
            raise ValueError("this is the request of a WebSocket: use open()")
        return answer

    @asynccontextmanager
    async def open(
        self,
        target: str = "/",
        *,
        headers: HeaderInput = (),
        origin: str | None = None,
        subprotocols: Sequence[str] = (),
        first: Iterable[Message] = (),
        answers_close: bool = True,
        answers_pings: bool = True,
        raise_handler_errors: bool = True,
    ) -> AsyncIterator[TestConnection[Any, Any]]:
        """Send the request of a WebSocket and be its peer, until the end of the block.

        Args:
            target: path and query, percent-encoded.
            headers: beside those of the handshake.
            origin: the site whose script asks.
            subprotocols: offered, most wanted first.
            first: see :func:`open_test_connection`.
            answers_close: see :func:`open_test_connection`.
            answers_pings: see :func:`open_test_connection`.
            raise_handler_errors: see :func:`open_test_connection`.

        Raises:
            UpgradeRefused: the answer is a response instead: its status, its body as ``reason``, its headers.
            LocalError: the answer cannot be sent, or ``subprotocols`` cannot be offered.

        What the application function raises comes out as it is.

        Cancelled: the connection is too; ``terminate`` runs.
        """
        check_trio("TestApplication.open()")
        offered = ", ".join(Options(subprotocols=subprotocols).subprotocols)
        extra = [("Origin", origin)] if origin is not None else []
        extra += [("Sec-WebSocket-Protocol", offered)] if offered else []
        request = _request("GET", target, (*HANDSHAKE, *extra, *Headers(headers).pairs()))
        answer = await self._answer(request)
        if isinstance(answer, Response):
            raise _refused(answer)
        wish = answer.wish
        transport = MemoryTransport(
            subprotocol=answer.subprotocol, answers_close=answers_close, answers_pings=answers_pings
        )
        connection = Connection(transport, wish.options, request)
        async with open_prepared(wish.handler, wish.args, connection, transport, first, raise_handler_errors) as peer:
            peer.headers = Headers(wish.headers)
            yield peer

    async def _answer(self, request: Request) -> Response | Agreement:
        try:
            _check_request_line(request)
            answer = await self._site.ask(request)  # not answer(): a test wants to see what was raised
            if isinstance(answer, Wish):
                return agree_on_upgrade(request, answer)
        except (BadRequest, UpgradeRefused) as exc:
            return refusal(exc.status, exc.reason, exc.headers)
        serialize_response(answer)  # raises if it cannot be
        return answer


def _request(method: str, target: str, headers: HeaderInput, body: bytes = b"") -> Request:
    given = Headers(headers)
    host = () if "host" in given else (("Host", AUTHORITY),)
    return Request(method, target, Headers((*host, *given.pairs())), body=body, client=CLIENT)


def _check_request_line(request: Request) -> None:
    """Raise ``BadRequest`` where a server would."""
    line = f"{request.method} {request.target} HTTP/1.1"
    head = parse_head(f"{line}\r\nHost: {AUTHORITY}\r\n\r\n".encode("utf-8", "surrogatepass"))
    if (head.method, head.target) != (request.method, request.target):  # one of them has a break or a space
        what = f"{line!r} is not the request line of {request.method!r} and {request.target!r}"
        raise BadRequest(400, f"expected an HTTP/1.1 request (RFC 9112): {what}")


def _refused(response: Response) -> UpgradeRefused:
    body = response.body if isinstance(response.body, str) else bytes(response.body).decode("utf-8", "replace")
    status = max(response.status, 400)
    what = body.strip() if status == response.status else f"answered {response.status}: {body.strip()}"
    return UpgradeRefused(status, what, response.headers)
