"""Chapter "Upgrade", first part: the opening handshake, and what is answered when it is not one."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from trio_websock import Request, upgrade

from ..scripted_peer import Answer, text, upgrade_request
from ..stage import Capability, Checks, Stage, Witness
from .witnesses import Echo

__all__ = ["CHECKS"]

CHECKS = Checks("upgrade", Capability.HTTP)


async def answer_to(stage: Stage, sent: bytes, **options: Any) -> Answer:
    """What a server that only speaks WebSocket answers."""
    async with stage.serve(Echo(stage), **options) as server, await stage.connect(server) as peer:
        await peer.send(sent)
        return await peer.receive_answer()


# -- accepted


@CHECKS.add()
async def the_101_carries_what_rfc_6455_asks_for(stage: Stage) -> None:
    answer = await answer_to(stage, upgrade_request())
    assert answer.status == 101
    assert (answer.header("Upgrade") or "").lower() == "websocket"
    assert (answer.header("Connection") or "").lower() == "upgrade"
    assert answer.header("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert answer.header("Sec-WebSocket-Protocol") is None
    assert answer.header("Sec-WebSocket-Extensions") is None
    assert answer.header("Content-Length") is None


@CHECKS.add_each(
    {
        "Connection in another case": ("Connection", "Connection: UPGRADE"),
        "Connection as a list": ("Connection", "Connection: keep-alive, Upgrade"),
        "Connection as a list without spaces": ("Connection", "Connection: keep-alive,upgrade,x"),
        "Upgrade in another case": ("Upgrade", "Upgrade: WebSocket"),
        "Upgrade as a list": ("Upgrade", "Upgrade: h2c, websocket"),
        "spaces around the version": ("Sec-WebSocket-Version", "Sec-WebSocket-Version:   13  "),
        "names in lower case": ("Sec-WebSocket-Key", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="),
        "an unknown extension": (None, "Sec-WebSocket-Extensions: x-unknown; a=b"),
        "a subprotocol nobody speaks": (None, "Sec-WebSocket-Protocol: klingon"),
        "a header of the proxy": (None, "X-Forwarded-For: 192.0.2.1"),
    }
)
async def a_handshake_may_have(stage: Stage, drop: str | None, line: str) -> None:
    answer = await answer_to(stage, upgrade_request("localhost", "/", line, drop=drop))
    assert answer.status == 101
    assert answer.header("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@CHECKS.add_each(
    {
        "a path and a query": ("/a/b?c=d",),
        "an absolute form": ("http://localhost/x",),
        "percent signs": ("/%F0%9F%90%A2",),
    }
)
async def a_target_may_be(stage: Stage, target: str) -> None:
    assert (await answer_to(stage, upgrade_request("localhost", target))).status == 101


@CHECKS.add()
async def a_handshake_may_come_byte_by_byte(stage: Stage) -> None:
    async with stage.serve(Echo(stage)) as server, await stage.connect(server) as peer:
        await peer.send_slowly(upgrade_request(peer.authority))
        await peer.expect_status(101)


@CHECKS.add()
async def the_body_of_a_get_is_never_read_as_frames(stage: Stage) -> None:
    async with stage.serve(Echo(stage)) as server, await stage.connect(server) as peer:
        body = text("smuggled")
        await peer.send(upgrade_request(peer.authority, "/", f"Content-Length: {len(body)}"), body)
        answer = await peer.receive_answer()
        if answer.status == 101:
            await peer.send(text("real"))
            await peer.expect(b"\x81\x04real")


# -- refused

REFUSED: dict[str, tuple[int, bytes]] = {
    "HTTP/1.0": (400, upgrade_request(version="HTTP/1.0")),
    "HTTP/2.0": (505, upgrade_request(version="HTTP/2.0")),
    "POST": (400, upgrade_request(method="POST")),
    "HEAD": (400, upgrade_request(method="HEAD")),
    "OPTIONS": (400, upgrade_request(method="OPTIONS")),
    "no Host": (400, upgrade_request(drop="Host")),
    "two Hosts": (400, upgrade_request("a", "/", "Host: b")),
    "the same Host twice": (400, upgrade_request("a", "/", "Host: a")),
    "no Connection": (426, upgrade_request(drop="Connection")),
    "Connection: close": (426, upgrade_request("a", "/", "Connection: close", drop="Connection")),
    "Connection: upgraded": (426, upgrade_request("a", "/", "Connection: upgraded", drop="Connection")),
    "no Upgrade": (426, upgrade_request(drop="Upgrade")),
    "Upgrade: h2c": (426, upgrade_request("a", "/", "Upgrade: h2c", drop="Upgrade")),
    "no version": (426, upgrade_request(drop="Sec-WebSocket-Version")),
    "version 8": (426, upgrade_request("a", "/", "Sec-WebSocket-Version: 8", drop="Sec-WebSocket-Version")),
    "version 013": (426, upgrade_request("a", "/", "Sec-WebSocket-Version: 013", drop="Sec-WebSocket-Version")),
    "two versions": (400, upgrade_request("a", "/", "Sec-WebSocket-Version: 13")),
    "no key": (400, upgrade_request(drop="Sec-WebSocket-Key")),
    "two keys": (400, upgrade_request("a", "/", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")),
    **{
        f"a key that is {name}": (400, upgrade_request("a", "/", f"Sec-WebSocket-Key: {key}", drop="Sec-WebSocket-Key"))
        for name, key in {
            "empty": "",
            "not base64": "dGhlIHNhbXBsZSBub25j!!==",
            "of 15 bytes": "dGhlIHNhbXBsZSBub25j",
            "of 17 bytes": "dGhlIHNhbXBsZSBub25jZWQ=",
            "without padding": "dGhlIHNhbXBsZSBub25jZQ",
        }.items()
    },
    "a foreign origin": (403, upgrade_request("a", "/", "Origin: http://b")),
}


@CHECKS.add_each({name: (status, sent) for name, (status, sent) in REFUSED.items()})
async def refuses(stage: Stage, status: int, sent: bytes) -> None:
    async with stage.serve(Echo(stage)) as server, await stage.connect(server) as peer:
        await peer.send(sent)
        answer = await peer.receive_answer(to_head=sent.startswith(b"HEAD"))
        assert answer.status == status, answer
        assert (answer.header("Content-Type") or "").startswith("text/plain")
        assert sent.startswith(b"HEAD") or answer.body


@CHECKS.add_each(
    {
        "no Upgrade": (upgrade_request(drop="Upgrade"),),
        "no Connection": (upgrade_request(drop="Connection"),),
        "a plain request": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",),
    }
)
async def the_426_says_what_to_upgrade_to_for(stage: Stage, sent: bytes) -> None:
    answer = await answer_to(stage, sent)
    assert answer.status == 426
    assert "upgrade" in [token.strip().lower() for token in (answer.header("Connection") or "").split(",")]
    assert (answer.header("Upgrade") or "").lower() == "websocket"


@CHECKS.add_each({"missing": ([],), "another": (["8"],)})
async def the_426_says_the_version_where_it_was(stage: Stage, versions: list[str]) -> None:
    lines = [f"Sec-WebSocket-Version: {version}" for version in versions]
    answer = await answer_to(stage, upgrade_request("a", "/", *lines, drop="Sec-WebSocket-Version"))
    assert answer.status == 426
    assert answer.header("Sec-WebSocket-Version") == "13"


@CHECKS.add_each(
    {
        "the HTTP version before the method": (400, {"version": "HTTP/1.0", "method": "POST"}, (), "1.0"),
        "the method before the version": (400, {"method": "POST", "drop": "Sec-WebSocket-Version"}, (), "POST"),
        "Host before Connection": (400, {"drop": "Connection"}, ("Host: b",), "Host"),
        "Connection before the key": (426, {"drop": "Connection"}, ("Sec-WebSocket-Key: x",), ""),
        "the version before the key": (426, {"drop": "Sec-WebSocket-Version"}, ("Sec-WebSocket-Key: x",), ""),
        "the key before the origin": (400, {"drop": "Sec-WebSocket-Key"}, ("Origin: http://b",), "Key"),
    }
)
async def the_order_is(stage: Stage, status: int, change: dict[str, Any], extra: tuple[str, ...], word: str) -> None:
    answer = await answer_to(stage, upgrade_request("a", "/", *extra, **change))
    assert answer.status == status, answer
    assert word in answer.body.decode(), answer


# -- origins


def allow_internal(request: Request) -> bool:
    """Only from hosts of our own."""
    return (request.origin or "").endswith(".internal")


ORIGINS: dict[str, tuple[Any, str, int]] = {
    "same: the same": ("same", "http://example.com:8000", 101),
    "same: another scheme": ("same", "https://example.com:8000", 101),
    "same: another case": ("same", "http://EXAMPLE.com:8000", 101),
    "same: another host": ("same", "http://example.org:8000", 403),
    "same: another port": ("same", "http://example.com:8001", 403),
    "same: no port": ("same", "http://example.com", 403),
    "same: a subdomain": ("same", "http://a.example.com:8000", 403),
    "same: null": ("same", "null", 403),
    "same: garbage": ("same", "garbage", 403),
    "any: another host": ("any", "http://example.org", 101),
    "any: null": ("any", "null", 101),
    "a list: a member": (["https://example.org"], "https://example.org", 101),
    "a list: another scheme": (["https://example.org"], "http://example.org", 403),
    "a list: another scheme with the same port": (["https://example.org:81"], "http://example.org:81", 403),
    "a list: another port": (["https://example.org"], "https://example.org:8443", 403),
    "a list: not even the same": (["https://example.org"], "http://example.com:8000", 403),
    "a wildcard: a subdomain": (["https://*.example.org"], "https://a.example.org", 101),
    "a wildcard: the domain itself": (["https://*.example.org"], "https://example.org", 403),
    "a wildcard: a name that ends alike": (["https://*.example.org"], "https://aexample.org", 403),
    "a function: true": (allow_internal, "http://a.internal", 101),
    "a function: false": (allow_internal, "http://a.external", 403),
}


@CHECKS.add_each(ORIGINS)
async def origins(stage: Stage, allowed: Any, origin: str, status: int) -> None:
    sent = upgrade_request("example.com:8000", "/", f"Origin: {origin}")
    assert (await answer_to(stage, sent, origins=allowed)).status == status


@CHECKS.add_each({"same": ("same",), "a list": (["https://example.org"],)})
async def no_origin_is_always_allowed_with(stage: Stage, allowed: Any) -> None:
    assert (await answer_to(stage, upgrade_request(), origins=allowed)).status == 101


# -- subprotocols


@CHECKS.add_each(
    {
        "the first of the server's": (["a", "b"], "Sec-WebSocket-Protocol: b, a", "a"),
        "the only one in common": (["a", "b"], "Sec-WebSocket-Protocol: x, b", "b"),
        "none in common": (["a"], "Sec-WebSocket-Protocol: x", None),
        "another case is another name": (["a"], "Sec-WebSocket-Protocol: A", None),
        "none offered": (["a"], "X-Other: a", None),
    }
)
async def the_subprotocol_is(stage: Stage, spoken: list[str], line: str, chosen: str | None) -> None:
    answer = await answer_to(stage, upgrade_request("localhost", "/", line), subprotocols=spoken)
    assert (answer.status, answer.header("Sec-WebSocket-Protocol")) == (101, chosen)


@CHECKS.add()
async def subprotocols_may_be_offered_over_several_headers(stage: Stage) -> None:
    sent = upgrade_request("localhost", "/", "Sec-WebSocket-Protocol: x", "Sec-WebSocket-Protocol: a")
    assert (await answer_to(stage, sent, subprotocols=["a"])).header("Sec-WebSocket-Protocol") == "a"


@CHECKS.add_each({"offers another": ("Sec-WebSocket-Protocol: x",), "offers none": ("X-Other: a",)})
async def require_subprotocol_refuses_a_client_that(stage: Stage, line: str) -> None:
    sent = upgrade_request("localhost", "/", line)
    assert (await answer_to(stage, sent, subprotocols=["a"], require_subprotocol=True)).status == 400


@CHECKS.add()
async def the_application_may_choose_the_subprotocol_itself(stage: Stage) -> None:
    async with (
        stage.serve(lambda request: upgrade(Witness(stage), subprotocol="b"), subprotocols=["a"]) as server,
        await stage.connect(server) as peer,
    ):
        answer = await peer.open("Sec-WebSocket-Protocol: a, b")
        assert answer.header("Sec-WebSocket-Protocol") == "b"


# -- limits


@CHECKS.add()
async def a_head_that_is_too_large_is_431(stage: Stage) -> None:
    sent = upgrade_request("localhost", "/", "X-Large: " + "x" * 2000)
    assert (await answer_to(stage, sent, max_head_size=1000)).status == 431


@CHECKS.add(Capability.ADMISSION)
async def one_connection_too_many_is_503(stage: Stage) -> None:
    async with (
        stage.serve(Echo(stage), max_connections=1) as server,
        await stage.connect(server) as one,
        await stage.connect(server) as other,
    ):
        await one.open()
        await other.send(upgrade_request(other.authority))
        answer = await other.expect_status(503)
        assert answer.header("Retry-After")


@CHECKS.add(Capability.ADMISSION)
async def a_connection_that_ended_makes_room(stage: Stage) -> None:
    async with stage.serve(lambda request: upgrade(Witness(stage)), max_connections=1) as server:
        for _ in range(3):
            async with await stage.connect(server) as peer:
                await peer.open()
            await stage.next_note()
            await trio.testing.wait_all_tasks_blocked()


@CHECKS.add()
async def a_slow_head_is_408(stage: Stage) -> None:
    async with (
        stage.serve(Echo(stage), handshake_timeout=stage.seconds(5)) as server,
        await stage.connect(server) as peer,
    ):
        await peer.send(b"GET / HT")
        await peer.expect_status(408)


@CHECKS.add()
async def a_connection_that_says_nothing_is_closed_in_silence(stage: Stage) -> None:
    async with (
        stage.serve(Echo(stage), handshake_timeout=stage.seconds(5)) as server,
        await stage.connect(server) as peer,
    ):
        assert await peer.receive_until_gone() == b""


@CHECKS.add(Capability.VIRTUAL_TIME)
async def handshake_timeout_is_for_the_whole_head(stage: Stage) -> None:
    async with stage.serve(Echo(stage), handshake_timeout=5) as server, await stage.connect(server) as peer:
        for byte in b"GET /":
            await peer.send(bytes([byte]))
            await trio.sleep(0.9)
        start = trio.current_time()
        await peer.expect_status(408)
        assert trio.current_time() - start <= 1
