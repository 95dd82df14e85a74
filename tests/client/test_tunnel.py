"""The way through a proxy: real ones on this machine, and ones that misbehave."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from functools import partial

import pytest
import trio

from trio_websock import (
    NORMAL,
    ConnectFailed,
    Ok,
    ProxyFailed,
    Push,
    Response,
    Stop,
    connect,
    open_websocket,
    serve,
    upgrade,
)

WORDS = "me:pass"


class Echo:
    def init(self, request):
        return Ok(request)

    def handle_in(self, message, request):
        return Push(f"{message} {sorted(request.headers)}", request)


def app(request):
    if request.path == "/redirect":
        return Response(302, headers={"Location": "/"})
    return upgrade(Echo, request)


@pytest.fixture
async def port(nursery):
    return (await nursery.start(partial(serve, app, port=0))).port


@pytest.fixture
async def tls_port(nursery, certified_localhost):
    return (await nursery.start(partial(serve, app, port=0, ssl_context=certified_localhost))).port


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(port, *words):
    """A proxy in a process of its own, once it listens on ``port``."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not is_listening(port):
            assert process.poll() is None, f"{words[0]} has ended"
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def program(name):
    """The path of a proxy from the system."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed: apt-get install {name}")
    return path


# It takes uvloop where that is installed, whatever the version, and expects a loop where asyncio makes none any more.
PPROXY = """
import asyncio, sys
sys.modules["uvloop"] = None
asyncio.set_event_loop(asyncio.new_event_loop())
from pproxy.server import main
main()
"""


def start_pproxy(tmp_path, port):
    # It would remember an address that has given the password once.
    words = ("-l", f"http+socks4+socks5://127.0.0.1:{port}#{WORDS}", "--auth", "0")
    return running(port, sys.executable, "-W", "ignore", "-c", PPROXY, *words)


def start_tinyproxy(tmp_path, port):
    (tmp_path / "conf").write_text(f"Port {port}\nListen 127.0.0.1\nBasicAuth {WORDS.replace(':', ' ')}\n")
    return running(port, program("tinyproxy"), "-d", "-c", str(tmp_path / "conf"))


def start_microsocks(tmp_path, port):
    user, _, password = WORDS.partition(":")
    return running(port, program("microsocks"), "-i", "127.0.0.1", "-p", str(port), "-u", user, "-P", password)


PROXIES = [
    *(
        pytest.param((start_pproxy, scheme), id=f"pproxy-{scheme}")
        for scheme in ("http", "socks5", "socks5h", "socks4")
    ),
    pytest.param((start_tinyproxy, "http"), id="tinyproxy", marks=pytest.mark.programs),
    pytest.param((start_microsocks, "socks5h"), id="microsocks", marks=pytest.mark.programs),
]


@pytest.fixture(params=PROXIES)
def proxy(request, tmp_path):
    """``proxy("me:pass@")`` is the URL of a running one, with credentials."""
    start, scheme = request.param
    with start(tmp_path, free_port()) as place:
        # SOCKS 4 knows a user only, and this one takes that for all it wants to know.
        yield lambda words: f"{scheme}://{words.replace(':', '%3A') if scheme == 'socks4' else words}{place}"


async def ask(url, **options):
    """What the server says of itself behind the proxy."""
    async with open_websocket(url, **options) as websocket:
        await websocket.send("hello")
        return await websocket.receive()


async def test_a_websocket_goes_through_a_proxy(proxy, port):
    answer = await ask(f"ws://localhost:{port}", proxy=proxy("me:pass@"))
    assert answer.startswith("hello")
    assert "proxy" not in answer  # its credentials are the proxy's alone


async def test_tls_goes_through_a_proxy_untouched(proxy, tls_port, trusting):
    answer = await ask(f"wss://localhost:{tls_port}", proxy=proxy("me:pass@"), ssl_context=trusting)
    assert answer.startswith("hello")


async def test_a_certificate_is_the_server_s_and_not_the_proxy_s(proxy, tls_port, trusting):
    with pytest.raises(ConnectFailed, match=r"through the proxy .*TLS"):
        await ask(f"wss://127.0.0.1:{tls_port}", proxy=proxy("me:pass@"), ssl_context=trusting)


async def test_a_wrong_password_is_told_with_the_proxy_but_not_the_password(proxy, port):
    with pytest.raises(ProxyFailed) as caught:
        await ask(f"ws://localhost:{port}", proxy=proxy("me:secret@"))
    assert caught.value.proxy == proxy("")
    assert proxy("") in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_server_that_is_not_there_is_an_error_that_names_the_proxy(proxy):
    with pytest.raises(ConnectFailed) as caught:
        await ask(f"ws://localhost:{free_port()}", proxy=proxy("me:pass@"))
    assert proxy("") in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks4"])
async def test_a_proxy_that_is_not_there_is_told(scheme):
    url = f"{scheme}://127.0.0.1:{free_port()}"
    with pytest.raises(ProxyFailed, match=url) as caught:
        await ask("ws://h", proxy=url)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
async def test_a_proxy_whose_name_cannot_exist_is_told(scheme):
    with pytest.raises(ProxyFailed, match="xxx"):
        await ask("ws://h", proxy=f"{scheme}://{'x' * 70}")


async def test_why_a_proxy_is_not_there_is_told():
    with pytest.raises(ProxyFailed, match=r"http://127\.0\.0\.1:1: Connection refused$"):
        await ask("ws://h", proxy="http://127.0.0.1:1")


# Proxies that do what they are told


@pytest.fixture
async def start_scripted(nursery):
    """``url = await start_scripted(script)``: ``script(stream)`` runs for each connection."""

    async def start(script, scheme="http"):
        async def run(stream):
            async with stream:
                await script(stream)

        listeners = await nursery.start(partial(trio.serve_tcp, run, 0, host="127.0.0.1"))
        return f"{scheme}://127.0.0.1:{listeners[0].socket.getsockname()[1]}"

    return start


async def receive_head(stream):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await stream.receive_some()
    return head


async def tunnel_to(port, stream):
    """Pass bytes on in both directions until one side has ended."""

    async def pass_on(source, sink):
        with suppress(trio.BrokenResourceError):
            async for data in source:
                await sink.send_all(data)
        nursery.cancel_scope.cancel()

    async with await trio.open_tcp_stream("127.0.0.1", port) as server, trio.open_nursery() as nursery:
        nursery.start_soon(pass_on, stream, server)
        nursery.start_soon(pass_on, server, stream)


async def test_the_proxy_is_asked_for_the_server_by_its_name(start_scripted):
    async def refuse(stream):
        heads.append(await receive_head(stream))
        await stream.send_all(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")

    heads = []
    url = await start_scripted(refuse)
    with pytest.raises(ProxyFailed) as caught:
        await ask("wss://server.example/path", proxy=url.replace("//", "//me:p%40ss@"))
    assert heads == [
        b"CONNECT server.example:443 HTTP/1.1\r\nHost: server.example:443\r\n"
        b"Proxy-Authorization: Basic bWU6cEBzcw==\r\n\r\n"
    ]
    assert (caught.value.response.status, caught.value.response.body) == (403, b"no")
    assert str(caught.value) == f"no connection through the proxy {url}: it answered 403 No: expected 200"


async def test_a_proxy_without_a_password_is_told_none(start_scripted):
    async def refuse(stream):
        heads.append(await receive_head(stream))
        await stream.send_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")

    heads = []
    with pytest.raises(ProxyFailed):
        await ask("ws://h", proxy=await start_scripted(refuse))
    assert heads == [b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n"]


@pytest.mark.parametrize("status", [200, 202, 299])
async def test_a_tunnel_is_granted_with_any_status_that_means_success(start_scripted, port, status):
    async def grant(stream):
        await receive_head(stream)
        await stream.send_all(b"HTTP/1.1 %d x\r\n\r\n" % status)
        await tunnel_to(port, stream)

    assert (await ask("ws://h", proxy=await start_scripted(grant))).startswith("hello")


@pytest.mark.parametrize(
    "fields",
    [b"", b"Content-Length: 7\r\n", b"Transfer-Encoding: chunked\r\n", b"Via: 1.1 p\r\nContent-Type: text/html\r\n"],
)
async def test_the_proxy_s_answer_may_come_byte_by_byte(start_scripted, port, fields):
    async def trickle(stream):
        await receive_head(stream)
        for byte in b"HTTP/1.0 200 Connection established\r\n" + fields + b"\r\n":
            await stream.send_all(bytes([byte]))
        await tunnel_to(port, stream)

    assert (await ask("ws://h", proxy=await start_scripted(trickle))).startswith("hello")


async def test_a_proxy_may_itself_be_reached_over_tls(nursery, certified_localhost, trusting, tls_port):
    async def tunnel(stream):
        await receive_head(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        await tunnel_to(tls_port, stream)

    serve_tls = partial(trio.serve_ssl_over_tcp, https_compatible=True, host="127.0.0.1")
    [listener] = await nursery.start(serve_tls, tunnel, 0, certified_localhost)
    url = f"https://localhost:{listener.transport_listener.socket.getsockname()[1]}"
    contexts = {"ssl_context": trusting, "proxy_ssl_context": trusting}
    assert (await ask(f"wss://localhost:{tls_port}", proxy=url, **contexts)).startswith("hello")


ANSWERS = {
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nX",
    "bytes of a server that was not asked": b"HTTP/1.1 200 OK\r\n\r\nhello",
    "another place": b"HTTP/1.1 300 x\r\nContent-Length: 0\r\n\r\n",
    "an upgrade": b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n",
    "a proxy's login": b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_what_is_no_tunnel_is_told_with_the_proxy(start_scripted, answer):
    async def say(stream):
        await receive_head(stream)
        await stream.send_all(answer)

    url = await start_scripted(say)
    with pytest.raises(ProxyFailed, match=url):
        await ask("ws://h", proxy=url)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05", b"\x05\xff", b"\x05\x02"])
async def test_what_is_no_socks_is_told_with_the_proxy(start_scripted, answer):
    async def say(stream):
        await stream.receive_some()
        await stream.send_all(answer)

    url = await start_scripted(say, "socks5")
    with pytest.raises(ProxyFailed, match=url):
        await ask("ws://127.0.0.1", proxy=url)


async def test_a_name_that_socks_cannot_tell_is_a_failure(start_scripted):
    async def accept(stream):
        await stream.receive_some()
        await stream.send_all(b"\x05\x00")

    with pytest.raises(ProxyFailed):
        await ask(f"ws://{'x' * 300}", proxy=await start_scripted(accept, "socks5h"))


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks4"])
async def test_a_silent_proxy_is_given_up_in_time(start_scripted, scheme):
    async def say_nothing(stream):
        await trio.sleep_forever()

    url = await start_scripted(say_nothing, scheme)
    with pytest.raises(ConnectFailed, match=url):
        await ask("ws://127.0.0.1", proxy=url, connect_timeout=0.1)


async def test_a_redirect_goes_through_the_proxy_too(start_scripted, port):
    async def tunnel(stream):
        heads.append(await receive_head(stream))
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        await tunnel_to(port, stream)

    heads = []
    assert await ask("ws://h/redirect", proxy=await start_scripted(tunnel))
    assert len(heads) == 2


async def test_a_client_that_runs_a_handler_goes_through_it_too(start_scripted, port):
    class Hello:
        def init(self, args):
            return Push("hello", None)

        def handle_in(self, message, state):
            messages.append(message)
            return Stop(NORMAL, state)

    async def tunnel(stream):
        heads.append(await receive_head(stream))
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        await tunnel_to(port, stream)

    heads, messages = [], []
    await connect("ws://h.invalid", Hello, proxy=await start_scripted(tunnel))
    assert len(heads) == len(messages) == 1


async def test_the_environment_is_no_business_of_a_given_stream(port, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    assert await ask("ws://h", stream=stream, proxy=True)


async def test_the_environment_s_proxy_is_used(port, monkeypatch, start_scripted):
    async def tunnel(stream):
        await receive_head(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        await tunnel_to(port, stream)

    monkeypatch.setenv("ws_proxy", await start_scripted(tunnel))
    monkeypatch.delenv("no_proxy", raising=False)
    assert await ask("ws://h.invalid", proxy="environment")
