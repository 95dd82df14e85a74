"""Web frameworks beside a handler, and the HTTP clients that people use."""

from __future__ import annotations

import re
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import fastapi
import httpx
import pytest
import quart
import quart_trio
import trio
import trustme
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from trio_websock import Handler, Ok, Push, Server, open_websocket

Start = Callable[..., Awaitable[Server]]

PAGE = Path(__file__).parents[2] / "docs" / "asgi-beside.md"


class Echo(Handler[None, Any]):
    def init(self, args: object) -> Ok[None]:
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Push[None]:
        return Push(message, None)


def client_of(server: Server, **options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"{server.scheme}://localhost:{server.port}", trust_env=False, **options)


def starlette_with(path: str, endpoint: Any, *, methods: tuple[str, ...] = ("GET",), **keywords: Any) -> Starlette:
    return Starlette(routes=[Route(path, endpoint, methods=list(methods))], **keywords)


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's, and that of a client that trusts it."""
    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(ours)
    authority.configure_trust(theirs)
    return ours, theirs


async def curl(server: Server, path: str, *words: str) -> str:
    """What the ``curl`` program prints."""
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", *words]
    url = f"{server.scheme}://127.0.0.1:{server.port}{path}"
    finished: subprocess.CompletedProcess[bytes] = await trio.run_process([*command, url], capture_stdout=True)
    return finished.stdout.decode()


async def test_the_example_of_the_documentation_runs(start: Start) -> None:
    [code] = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)[:1]
    names: dict[str, Any] = {}
    exec(code, names)
    server = await start(names["News"], http=names["site"])
    async with client_of(server) as client, open_websocket(f"ws://localhost:{server.port}/") as reader:
        answer = await client.post("/publish", content="Hello, readers")
        assert answer.json() == {"readers": 1, "edition": "morning"}
        assert await reader.receive() == "Hello, readers"
        assert (await client.get("/count")).text == "0\n1\n2\n"


async def test_starlette_streams_in_and_out(start: Start) -> None:
    async def shout(request: Request) -> Response:
        pieces = [data.upper() async for data in request.stream()]

        async def loud() -> Any:
            for piece in pieces:
                yield piece

        return StreamingResponse(loud())

    async def words() -> Any:
        for word in (b"one ", b"two ", b"three"):
            yield word
            await trio.lowlevel.checkpoint()

    server = await start(Echo, http=starlette_with("/", shout, methods=("POST",)))
    async with client_of(server) as client:
        assert (await client.post("/", content=words())).text == "ONE TWO THREE"


async def test_starlette_cancels_a_stream_whose_client_leaves(start: Start) -> None:
    ended = trio.Event()

    async def quiet() -> Any:
        try:
            yield b"first"
            await trio.sleep_forever()
        finally:
            ended.set()

    async def endless(request: Request) -> Response:
        return StreamingResponse(quiet())

    server = await start(Echo, http=starlette_with("/", endless))
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.receive_some()).endswith(b"first\r\n")
    await ended.wait()
    assert server.snapshot().application_errors == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_starlettes_question_whether_the_client_has_left_is_answered(start: Start, scheme: str) -> None:
    asked, ended = trio.Event(), trio.Event()

    async def wait(request: Request) -> Response:
        while not await request.is_disconnected():
            asked.set()
            await trio.lowlevel.checkpoint()
        ended.set()
        return PlainTextResponse("to nobody")

    ours, theirs = contexts()
    server = await start(Echo, http=starlette_with("/", wait), ssl_context=ours if scheme == "https" else None)
    client: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    if scheme == "https":
        client = trio.SSLStream(client, theirs, server_hostname="localhost")
    async with client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await asked.wait()
    await ended.wait()


async def test_starlettes_background_task_keeps_no_request_waiting(start: Start) -> None:
    second = trio.Event()

    async def greet(request: Request) -> Response:
        return PlainTextResponse("hello", background=BackgroundTask(second.wait))

    async def release(request: Request) -> Response:
        second.set()
        return PlainTextResponse("released")

    server = await start(Echo, http=Starlette(routes=[Route("/", greet), Route("/release", release)]))
    async with client_of(server) as client:
        assert (await client.get("/")).text == "hello"
        assert (await client.get("/release")).text == "released"
    assert server.snapshot().clients == 1


async def test_starlettes_static_files_and_ranges(start: Start, tmp_path: Path) -> None:
    (tmp_path / "big.bin").write_bytes(bytes(range(256)) * 2000)
    server = await start(Echo, http=Starlette(routes=[Mount("/", StaticFiles(directory=tmp_path))]))
    async with client_of(server) as client:
        whole = await client.get("/big.bin")
        assert whole.content == bytes(range(256)) * 2000
        part = await client.get("/big.bin", headers={"Range": "bytes=256-259"})
        assert (part.status_code, part.content) == (206, b"\0\1\2\3")
        unchanged = await client.get("/big.bin", headers={"If-None-Match": whole.headers["etag"]})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert (await client.head("/big.bin")).headers["content-length"] == "512000"


async def test_starlettes_middleware(start: Start) -> None:
    async def tag(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["x-tag"] = "seen"
        return response

    async def mirror(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    layers = [Middleware(BaseHTTPMiddleware, dispatch=tag), Middleware(GZipMiddleware)]
    server = await start(Echo, http=starlette_with("/", mirror, methods=("POST",), middleware=layers))
    async with client_of(server) as client:
        answer = await client.post("/", content=b"a" * 100_000)
        assert answer.text == "a" * 100_000
        assert (answer.headers["x-tag"], answer.headers["content-encoding"]) == ("seen", "gzip")


async def test_starlettes_error_page_is_seen_and_the_error_logged(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(request: Request) -> Response:
        raise ValueError("an endpoint")

    server = await start(Echo, http=starlette_with("/", fail))
    async with client_of(server) as client:
        assert (await client.get("/")).status_code == 500
    assert "ValueError: an endpoint" in caplog.text


async def test_a_startup_of_starlette_that_fails_says_why(start: Start) -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> Any:
        raise ValueError("no database")
        yield

    with pytest.raises(Exception, match="no database"):
        await start(Echo, http=Starlette(lifespan=lifespan))


async def test_fastapi(start: Start) -> None:
    app = fastapi.FastAPI()

    @app.post("/sum")
    def add(numbers: list[int]) -> dict[str, int]:  # a plain function: FastAPI runs it in a thread
        return {"sum": sum(numbers)}

    @app.post("/upload")
    async def measure(request: fastapi.Request) -> int:
        return len(await request.body())

    server = await start(Echo, http=app)
    async with client_of(server) as client:
        assert (await client.post("/sum", json=[1, 2, 3])).json() == {"sum": 6}
        assert (await client.post("/sum", json=["a"])).status_code == 422
        assert (await client.post("/upload", content=b"a" * 2_000_000)).json() == 2_000_000


async def test_quart_trio(start: Start) -> None:
    app = quart_trio.QuartTrio(__name__)

    @app.post("/")
    async def shout() -> str:
        await trio.lowlevel.checkpoint()
        return (await quart.request.get_data()).decode().upper()

    server = await start(Echo, http=app)
    async with client_of(server) as client:
        assert (await client.post("/", content=b"hello")).text == "HELLO"


async def test_tls(start: Start) -> None:
    async def tell(request: Request) -> Response:
        async def pieces() -> Any:
            yield request.url.scheme
            yield "!" * 1_000_000

        return StreamingResponse(pieces())

    ours, theirs = contexts()
    server = await start(Echo, http=starlette_with("/", tell), ssl_context=ours)
    async with client_of(server, verify=theirs) as client:
        assert (await client.get("/")).text == "https" + "!" * 1_000_000
        assert (await client.get("/")).status_code == 200
    assert server.snapshot().clients == 1


async def test_curl(start: Start, tmp_path: Path) -> None:
    async def size(request: Request) -> Response:
        return PlainTextResponse(str(sum([len(data) async for data in request.stream()])))

    (tmp_path / "upload").write_bytes(b"a" * 3_000_000)
    server = await start(Echo, http=starlette_with("/", size, methods=("GET", "POST")))
    upload = ("--data-binary", f"@{tmp_path / 'upload'}")
    assert await curl(server, "/", *upload) == "3000000"
    assert await curl(server, "/", *upload, "--header", "Transfer-Encoding: chunked") == "3000000"
    assert await curl(server, "/", "--http1.0") == "0"
    assert "content-type: text/plain" in await curl(server, "/", "--head")
    assert await curl(server, "/nowhere", "--write-out", " %{http_code}") == "Not Found 404"
