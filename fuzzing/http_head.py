"""The HTTP head and the handshake under any bytes at all.

An input is five bytes of choices (limits, how the stream is cut, what is served) and what a client sends. It goes
through the same rooms as on a server, without the socket, whole and cut, and then:

1. No exception but ``BadRequest``, ``ConnectionLost`` and ``UpgradeRefused``, each of which becomes an answer.
2. Cutting changes nothing: the same requests, the same answers, the same bytes left for the WebSocket.
3. What was taken for a head is one by a plain reading of RFC 9112: lines end in CR LF, names are tokens, nothing is
   smuggled behind a second length; the fields are those a naive split finds.
4. Every answer is a well-formed response whose length is true, whatever of the request it quotes; a 101 is given only
   with the accept value of the one key that came.
5. What is kept is bounded by the limits.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar, cast

from trio_websock.application import Wish
from trio_websock.behaviour.handler import bind_handler
from trio_websock.behaviour.results import Ok
from trio_websock.errors import ConnectionLost, UpgradeRefused
from trio_websock.hosts.wire import Wire
from trio_websock.options import Options
from trio_websock.protocol.upgrade import is_upgrade
from trio_websock.request import Request
from trio_websock.response import refusal
from trio_websock.server.answers import serialize_response
from trio_websock.server.head import BadRequest, Head, parse_head
from trio_websock.server.http import HttpChannel
from trio_websock.server.upgrading import agree_on_upgrade

from .choices import Choices, Cut, whole

__all__ = ["check_input"]

T = TypeVar("T")

HEAD_SIZES = (64 * 1024, 16, 200)
BODY_SIZES = (1000, 1)
MAX_REQUESTS = 10
TOO_LARGE = (413, 431)
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class _Nothing:
    def init(self, args: object) -> Ok[None]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Ok[None]:
        return Ok(None)


HANDLER = bind_handler(_Nothing)
SITES = (
    Options(compress=True, subprotocols=["chat", "superchat"]),
    Options(origins=["https://example.com", "https://*.example.com"], require_subprotocol=True, subprotocols=["chat"]),
    Options(origins="any"),
)


class _Pieces(Wire):
    """A wire that has everything already, in pieces, and takes everything: nobody ever has to wait."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.received_size = self.unsent_size = 0
        self.client, self.scheme = ("127.0.0.1", 1), "http"
        self.largest = 0
        self._pieces = pieces

    async def receive(self) -> bytes:
        piece = next(self._pieces, b"")
        self.received_size += len(piece)
        self.largest = max(self.largest, len(piece))
        return piece

    def left(self) -> bytes:
        return b"".join(self._pieces)

    def write_nowait(self, chunks: Iterable[bytes]) -> None:
        pass

    def flush_nowait(self) -> bool:
        return True

    async def flush_some(self) -> None:
        pass

    def send_eof_nowait(self) -> None:
        pass

    async def aclose(self) -> None:
        pass

    def abort(self) -> None:
        pass


class Exchange(NamedTuple):
    """One request and what became of it."""

    request: tuple[object, ...]
    status: int


def check_input(data: bytes) -> None:
    """Run one input; an ``AssertionError`` is a finding, and so is any other exception."""
    choices = Choices(data)
    sizes = choices.one_of(HEAD_SIZES), choices.one_of(BODY_SIZES)
    options, cut = choices.one_of(SITES), choices.cut()
    stream = choices.rest()
    first, second = (_exchange(stream, way, options, *sizes) for way in (whole, cut))
    if first[-1] in TOO_LARGE or second[-1] in TOO_LARGE:
        # What is too large may be malformed as well; which is noticed first depends on how much has come.
        first[-1] = second[-1] = "refused"
    assert first == second, "cutting changes the outcome"
    _check_first_head(stream)


def _exchange(
    stream: bytes, cut: Cut, options: Options, max_head: int, max_body: int
) -> list[Exchange | str | int | bytes]:
    wire = _Pieces(cut(stream))
    channel = HttpChannel(wire, max_head, max_body)
    outcome: list[Exchange | str | int | bytes] = []
    try:
        for _ in range(MAX_REQUESTS):
            request = _now(_receive_request(channel))
            assert len(channel._buffer) <= max(max_head, wire.largest) + wire.largest, "more is kept than allowed"
            if request is None:
                return [*outcome, "left"]
            status = _answer(request, options)
            outcome.append(Exchange(_facts(request), status))
            if status == 101:
                return [*outcome, channel.take_leftover() + wire.left()]
            if is_upgrade(request):
                return outcome
    except BadRequest as exc:
        _check_answer(serialize_response(refusal(exc.status, exc.reason, exc.headers), closes=True), exc.status)
        outcome.append(exc.status)
    except ConnectionLost:
        outcome.append("lost")
    return outcome


async def _receive_request(channel: HttpChannel) -> Request | None:
    head = await channel.receive_head()
    if head is None:
        return None
    body = channel.announced_body(head)
    if head.expects_continue:
        await channel.send_continue()
    while not body.is_complete:
        await channel.receive_body(body)
    assert head.content_length in (None, len(body.content()))
    return channel.request(head, body.content())


def _now(running: Coroutine[Any, Any, T]) -> T:
    """The result of what never has to wait."""
    try:
        running.send(None)
    except StopIteration as stop:
        return cast("T", stop.value)
    raise AssertionError("it waits, though everything has arrived")


def _facts(request: Request) -> tuple[object, ...]:
    derived = request.path, request.query.pairs(), request.origin, request.subprotocols
    return (request.method, request.target, request.http_version, request.headers.pairs(), request.body, *derived)


def _answer(request: Request, options: Options) -> int:
    try:
        agreement = agree_on_upgrade(request, Wish(HANDLER, request, options))
    except UpgradeRefused as exc:
        _check_answer(serialize_response(refusal(exc.status, exc.reason, exc.headers), closes=True), exc.status)
        return exc.status
    fields = _check_answer(agreement.answer, 101)
    keys = request.headers.get_all("sec-websocket-key")
    digest = hashlib.sha1(keys[0].strip().encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    assert len(keys) == 1
    assert fields[b"sec-websocket-accept"] == base64.b64encode(digest)
    assert (request.method, request.http_version) == ("GET", "1.1")
    assert len(request.headers.get_all("host")) == 1
    assert fields.get(b"sec-websocket-protocol", b"").decode() in ("", *request.subprotocols)
    return 101


def _check_answer(answer: bytes, status: int) -> dict[bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    assert re.fullmatch(rb"HTTP/1\.1 %d [\x20-\x7e]*" % status, line), line
    fields = {}
    for field in lines:
        name, colon, value = field.partition(b": ")
        assert colon
        assert TOKEN.fullmatch(name)
        assert re.fullmatch(rb"[\t\x20-\x7e\x80-\xff]*", value), value
        assert name.lower() not in fields or name == b"Connection", "a field twice"
        fields[name.lower()] = value
    assert len(body) == int(fields.get(b"content-length", b"0"))
    assert status == 101 or body
    return fields


def _check_first_head(stream: bytes) -> None:
    """Read the first head naively and compare."""
    stream = stream.lstrip(b"\r\n")
    raw, end, _ = stream.partition(b"\r\n\r\n")
    if not end:
        return
    try:
        head = parse_head(raw + end)
    except BadRequest:
        return
    _check_fields(head, raw)


def _check_fields(head: Head, raw: bytes) -> None:
    line, *lines = raw.split(b"\r\n")
    assert not re.search(rb"[\r\n\0]", line + b"".join(lines)), "a bare line end, or NUL"
    method, target, version = line.split(b" ")[0], line.split()[1], line[-3:]
    assert (head.method.encode(), head.target.encode(), head.http_version.encode()) == (method, target, version)
    pairs = []
    for field in lines:
        name, colon, value = field.partition(b":")
        assert colon
        assert TOKEN.fullmatch(name), "not the name of a field"
        pairs.append((name.decode(), value.strip(b" \t").decode("latin-1")))
    assert list(head.headers.pairs()) == pairs
    lengths, codings = head.headers.get_all("content-length"), head.headers.get_all("transfer-encoding")
    assert not (lengths and codings), "two ways to tell the length"
    assert len(set(lengths)) <= 1
    assert (head.content_length is None) == bool(codings)
    assert head.content_length is None or head.content_length == int(lengths[0] if lengths else 0)
    assert len(head.headers.get_all("host")) == 1 or head.http_version == "1.0"
