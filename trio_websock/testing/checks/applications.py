"""Chapter "Upgrade", second part: the application function, which sees the request first and may answer anything."""

from __future__ import annotations

import logging
from typing import Any

from trio_websock import (
    Push,
    Request,
    Response,
    Upgrade,
    UpgradeRefused,
    check_upgrade,
    is_upgrade,
    upgrade,
)

from ..scripted_peer import Answer, text, upgrade_request
from ..stage import Capability, Checks, Stage, Witness
from .witnesses import Echo

__all__ = ["CHECKS"]

CHECKS = Checks("application", Capability.HTTP)

PLAIN = b"GET /page?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"


async def answer_to(stage: Stage, application: Any, sent: bytes) -> Answer:
    """What a server with ``application`` answers."""
    async with stage.serve(application) as server, await stage.connect(server) as peer:
        await peer.send(sent)
        return await peer.receive_answer(to_head=sent.startswith(b"HEAD"))


@CHECKS.add()
async def a_response_is_sent_with_its_headers_and_body(stage: Stage) -> None:
    response = Response(201, "Grüße", headers={"X-Mine": "yes"}, content_type="text/html")
    answer = await answer_to(stage, lambda request: response, PLAIN)
    assert (answer.status, answer.body) == (201, "Grüße".encode())
    assert answer.header("X-Mine") == "yes"
    assert answer.header("Content-Type") == "text/html"
    assert answer.header("Content-Length") == "7"
    assert answer.header("Date")


@CHECKS.add()
async def an_application_may_be_a_coroutine_function(stage: Stage) -> None:
    async def application(request: Request) -> Response:
        return Response(200, request.path)

    assert (await answer_to(stage, application, PLAIN)).body == b"/page"


@CHECKS.add()
async def the_head_of_a_response_is_all_that_answers_head(stage: Stage) -> None:
    async with stage.serve(lambda request: Response(200, "page")) as server, await stage.connect(server) as peer:
        await peer.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", PLAIN)
        assert (await peer.receive_answer(to_head=True)).header("Content-Length") == "4"
        assert (await peer.receive_answer()).body == b"page"


@CHECKS.add()
async def an_application_may_refuse_an_upgrade_its_own_way(stage: Stage) -> None:
    answer = await answer_to(stage, lambda request: Response(401, "who?"), upgrade_request())
    assert (answer.status, answer.body) == (401, b"who?")


@CHECKS.add()
async def an_application_that_raises_answers_500_without_details(stage: Stage) -> None:
    def application(request: Request) -> Response:
        raise ValueError("secret")

    answer = await answer_to(stage, application, PLAIN)
    assert answer.status == 500
    assert b"secret" not in answer.body
    (record,) = stage.logged(logging.ERROR)
    assert record.exc_info
    assert isinstance(record.exc_info[1], ValueError)


@CHECKS.add_each({"None": (None,), "a string": ("page",), "a handler": (Echo,)})
async def an_application_that_returns_something_else_answers_500(stage: Stage, result: Any) -> None:
    assert (await answer_to(stage, lambda request: result, PLAIN)).status == 500
    assert len(stage.logged(logging.ERROR)) == 1


@CHECKS.add()
async def an_upgrade_refused_answers_its_own_status_and_reason(stage: Stage) -> None:
    def application(request: Request) -> Response:
        raise UpgradeRefused(403, "members only", {"X-Why": "rules"})

    answer = await answer_to(stage, application, upgrade_request())
    assert (answer.status, answer.header("X-Why")) == (403, "rules")
    assert b"members only" in answer.body
    assert stage.logged(logging.ERROR) == []


@CHECKS.add()
async def an_upgrade_refused_may_repeat_a_header(stage: Stage) -> None:
    def application(request: Request) -> Response:
        raise UpgradeRefused(401, "who?", [("WWW-Authenticate", "Basic"), ("WWW-Authenticate", "Bearer")])

    assert (await answer_to(stage, application, upgrade_request())).header("WWW-Authenticate") == "Basic, Bearer"


@CHECKS.add()
async def the_handshake_is_checked_when_an_upgrade_is_returned(stage: Stage) -> None:
    seen = []

    def application(request: Request) -> Upgrade:
        seen.append(request.path)
        return upgrade(Witness(stage))

    assert (await answer_to(stage, application, PLAIN)).status == 426
    assert seen == ["/page"]


@CHECKS.add()
async def check_upgrade_refuses_early(stage: Stage) -> None:
    def application(request: Request) -> Response:
        try:
            check_upgrade(request)
        except UpgradeRefused as exc:
            return Response(200, f"{exc.status}")
        return Response(200, "fine")

    assert (await answer_to(stage, application, upgrade_request())).body == b"fine"
    assert (await answer_to(stage, application, upgrade_request(drop="Sec-WebSocket-Key"))).body == b"400"


@CHECKS.add_each({"a handshake": (upgrade_request(), b"True"), "a plain request": (PLAIN, b"False")})
async def is_upgrade_tells(stage: Stage, sent: bytes, expected: bytes) -> None:
    assert (await answer_to(stage, lambda request: Response(200, f"{is_upgrade(request)}"), sent)).body == expected


@CHECKS.add_each(
    {
        "a mapping": ({"X-One": "1", "Set-Cookie": "a=b"}, "a=b"),
        "pairs": ([("X-One", "1"), ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")], "a=b, c=d"),
    }
)
async def headers_and_cookies_travel_on_the_101_from(stage: Stage, headers: Any, cookies: str) -> None:
    answer = await answer_to(stage, lambda request: upgrade(Witness(stage), headers=headers), upgrade_request())
    assert (answer.status, answer.header("X-One"), answer.header("Set-Cookie")) == (101, "1", cookies)


@CHECKS.add()
async def plain_requests_and_then_an_upgrade_share_a_connection(stage: Stage) -> None:
    def application(request: Request) -> Response | Upgrade:
        return upgrade(Echo(stage)) if is_upgrade(request) else Response(200, request.path)

    async with stage.serve(application) as server, await stage.connect(server) as peer:
        await peer.send(PLAIN)
        assert (await peer.receive_answer()).body == b"/page"
        await peer.send(PLAIN, PLAIN)
        assert (await peer.receive_answer()).body == b"/page"
        assert (await peer.receive_answer()).body == b"/page"
        await peer.open()
        await peer.send(text("x"))
        await peer.expect(b"\x81\x01x")


@CHECKS.add()
async def a_request_after_a_refused_upgrade_is_answered_or_the_stream_ended(stage: Stage) -> None:
    async with stage.serve(Echo(stage)) as server, await stage.connect(server) as peer:
        await peer.send(upgrade_request(peer.authority, drop="Sec-WebSocket-Version"))
        answer = await peer.expect_status(426)
        if "close" in (answer.header("Connection") or ""):
            await peer.expect_end()
        else:
            await peer.open()


@CHECKS.add_each(
    {
        "path": (lambda request: request.path, "/ä b"),
        "query": (lambda request: ",".join(request.query.get_all("x")), "1,2 3"),
        "method": (lambda request: request.method, "GET"),
        "headers in any case": (lambda request: request.headers["x-MINE"], "a"),
        "repeated headers": (lambda request: ",".join(request.headers.get_all("X-Mine")), "a,b"),
        "origin": (lambda request: request.origin, "http://example.com"),
        "subprotocols": (lambda request: " ".join(request.subprotocols), "p q"),
    }
)
async def the_request_tells_its(stage: Stage, fact: Any, expected: str) -> None:
    sent = upgrade_request(
        "example.com",
        "/%C3%A4%20b?x=1&x=2+3",
        "X-Mine: a",
        "x-mine: b",
        "Origin: http://example.com",
        "Sec-WebSocket-Protocol: p, q",
    )
    assert (await answer_to(stage, lambda request: Response(200, fact(request)), sent)).body == expected.encode()


@CHECKS.add()
async def an_application_may_choose_the_handler_by_path(stage: Stage) -> None:
    class Greeter(Witness):
        def init(self, args: Any) -> Any:
            return Push(f"hello {args}", 0)

    async with (
        stage.serve(lambda request: upgrade(Greeter(stage), request.query["name"])) as server,
        await stage.connect(server) as peer,
    ):
        await peer.open(target="/chat?name=you")
        await peer.expect(b"\x81\x09hello you")
