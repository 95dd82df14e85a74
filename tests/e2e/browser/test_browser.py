"""A real browser: headless Chromium as a client of ours."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from trio_websock import (
    NORMAL,
    Handler,
    Ok,
    Push,
    Reason,
    Remote,
    Request,
    Response,
    Result,
    Stop,
    Timeout,
    Upgrade,
    upgrade,
)  # fmt: skip

pytestmark = pytest.mark.browser

RunExample = Callable[..., AbstractContextManager[Any]]
OpenServer = Callable[..., AbstractContextManager[Any]]

PATIENCE = 30  # seconds until a test gives up
reasons: queue.SimpleQueue[Reason] = queue.SimpleQueue()


class Echo(Handler[bool, None]):
    """The state is whether the test wants to be told how the connection ended."""

    def init(self, request: Request) -> Result[bool]:
        return Ok("tell" in request.query)

    def handle_in(self, message: str | bytes, state: bool) -> Result[bool]:
        match message:
            case "fail":
                raise RuntimeError("as asked")
            case str() if message.startswith("close "):
                _, code, text = message.split(" ", 2)
                return Stop(NORMAL, state, close=(int(code), text))
        return Push(message, state)

    def terminate(self, reason: Reason, state: bool) -> None:
        if state:
            reasons.put(reason)


def site(request: Request) -> Response | Upgrade:
    """A blank page for scripts to run in, and an echo for each way a connection can be."""
    match request.path:
        case "/":
            return Response(200, "<!doctype html><title>blank</title>", content_type="text/html")
        case "/echo":
            return upgrade(Echo, request)
        case "/compressed":
            return upgrade(Echo, request, compress=True)
        case "/impatient":
            return upgrade(Echo, request, timeout=0.2)
        case "/narrow":
            return upgrade(Echo, request, max_message_size=1000)
        case "/dialect":
            return upgrade(Echo, request, subprotocols=["b", "a"])
        case "/cookie":
            return upgrade(Echo, request, headers={"Set-Cookie": "met=before; SameSite=Strict"})
    return Response(404)


@pytest.fixture(scope="module")
def origin(open_server: OpenServer) -> Iterator[str]:
    with open_server(site) as thread:
        yield f"http://127.0.0.1:{thread.port}"


PRELUDE = """
const [url, protocols, done] = arguments;
const socket = new WebSocket(new URL(url, location.href.replace(/^http/, "ws")), protocols);
socket.binaryType = "arraybuffer";
const opened = new Promise(resolve => { socket.onopen = resolve; });
const message = () => new Promise(resolve => { socket.onmessage = event => resolve(event.data); });
const closed = new Promise(resolve => {
  socket.onclose = ({code, reason, wasClean}) => resolve({code, reason, wasClean});
});
"""


def converse(browser: Any, script: str, url: str = "/echo", protocols: list[str] | None = None) -> Any:
    """Run the body of an async function in the page, with a WebSocket to ``url``; what it returns."""
    body = f"{PRELUDE} (async () => {{ {script} }})().then(done, error => done(String(error)));"
    return browser.execute_async_script(body, url, protocols or [])


def test_text_comes_back_as_text(browser: Any, origin: str) -> None:
    browser.get(origin)
    assert converse(browser, "await opened; socket.send('Grüße 😀'); return await message();") == "Grüße 😀"


def test_binary_comes_back_as_binary(browser: Any, origin: str) -> None:
    browser.get(origin)
    script = "await opened; socket.send(new Uint8Array([0, 127, 255])); return [...new Uint8Array(await message())];"
    assert converse(browser, script) == [0, 127, 255]


@pytest.mark.parametrize("url", ["/echo", "/compressed"])
def test_a_mebibyte_comes_back_whole(browser: Any, origin: str, url: str) -> None:
    browser.get(origin)
    script = """
    await opened;
    const text = "abcdefghijklmnop".repeat(65536), data = Uint8Array.from({length: 1 << 20}, (_, i) => i % 251);
    socket.send(text);
    const sameText = await message() === text;
    socket.send(data);
    const back = new Uint8Array(await message());
    return [sameText, back.length, back.every((byte, i) => byte === data[i])];
    """
    assert converse(browser, script, url) == [True, 1 << 20, True]


def test_compression_is_agreed_on_where_it_is_on(browser: Any, origin: str) -> None:
    browser.get(origin)
    agreed = converse(browser, "await opened; return socket.extensions;", "/compressed")
    assert agreed == "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"


def test_compression_is_off_by_default(browser: Any, origin: str) -> None:
    browser.get(origin)
    assert converse(browser, "await opened; return socket.extensions;") == ""


@pytest.mark.parametrize(("code", "text"), [(1000, ""), (1011, ""), (1012, "back soon"), (4321, "Tschüß")])
def test_the_browser_sees_the_code_and_text_of_the_handler(browser: Any, origin: str, code: int, text: str) -> None:
    browser.get(origin)
    event = converse(browser, f"await opened; socket.send('close {code} {text}'); return await closed;")
    assert event == {"code": code, "reason": text, "wasClean": True}


@pytest.mark.parametrize(
    ("call", "event", "reason"),
    [
        ("close(3001, 'done')", {"code": 3001, "reason": "", "wasClean": True}, Remote(3001, "done")),
        ("close(1000)", {"code": 1000, "reason": "", "wasClean": True}, Remote(1000, "")),
        ("close()", {"code": 1005, "reason": "", "wasClean": True}, Remote(None, "")),
    ],
)
def test_the_browser_closes_cleanly(
    browser: Any, origin: str, call: str, event: dict[str, object], reason: Reason
) -> None:
    browser.get(origin)
    assert converse(browser, f"await opened; socket.{call}; return await closed;", "/echo?tell") == event
    assert reasons.get(timeout=PATIENCE) == reason


def test_a_handler_that_raises_closes_with_1011_and_says_no_more(browser: Any, origin: str) -> None:
    browser.get(origin)
    event = converse(browser, "await opened; socket.send('fail'); return await closed;")
    assert event == {"code": 1011, "reason": "", "wasClean": True}


def test_a_message_too_big_closes_with_1009(browser: Any, origin: str) -> None:
    browser.get(origin)
    event = converse(browser, "await opened; socket.send('x'.repeat(1001)); return await closed;", "/narrow")
    assert event == {"code": 1009, "reason": "", "wasClean": True}


def test_a_silent_browser_is_closed_with_1001(browser: Any, origin: str) -> None:
    browser.get(origin)
    event = converse(browser, "return await closed;", "/impatient?tell")
    assert event == {"code": 1001, "reason": "idle timeout", "wasClean": True}
    assert reasons.get(timeout=PATIENCE) == Timeout()


@pytest.mark.parametrize(
    ("how", "event"),
    [
        ({}, {"code": 1001, "reason": "", "wasClean": True}),
        ({"restart": True}, {"code": 1012, "reason": "", "wasClean": True}),
    ],
)
def test_the_browser_sees_the_server_go(
    browser: Any, open_server: OpenServer, how: dict[str, Any], event: dict[str, object]
) -> None:
    with open_server(site) as thread:
        browser.get(f"http://127.0.0.1:{thread.port}")
        converse(browser, "await opened; window.closed_event = closed; return 'open';")
        thread.shutdown(**how)
        assert browser.execute_async_script("window.closed_event.then(arguments[0]);") == event


def test_a_server_that_dies_is_an_unclean_1006(browser: Any, run_example: RunExample) -> None:
    with run_example("echo") as example:
        browser.get(example.url.replace("ws:", "http:"))
        converse(browser, "await opened; window.closed_event = closed; return 'open';")
        example.process.kill()
        event = browser.execute_async_script("window.closed_event.then(arguments[0]);")
    assert event == {"code": 1006, "reason": "", "wasClean": False}


@pytest.mark.parametrize("leave", ["reload", "close"])
def test_leaving_the_page_is_a_close_with_1001(browser: Any, origin: str, leave: str) -> None:
    browser.switch_to.new_window("tab")
    browser.get(origin)
    converse(browser, "await opened; window.kept = socket; return 'open';", "/echo?tell")
    browser.refresh() if leave == "reload" else browser.close()
    assert reasons.get(timeout=PATIENCE) == Remote(1001, "")


@pytest.mark.parametrize(("offered", "spoken"), [(["a", "b"], "b"), (["a"], "a"), (["c", "a"], "a")])
def test_the_servers_favourite_subprotocol_is_spoken(
    browser: Any, origin: str, offered: list[str], spoken: str
) -> None:
    browser.get(origin)
    assert converse(browser, "await opened; return socket.protocol;", "/dialect", offered) == spoken


def test_a_browser_that_finds_no_common_subprotocol_gives_up(browser: Any, origin: str) -> None:
    browser.get(origin)
    event = converse(browser, "return await closed;", "/dialect", ["c"])
    assert event == {"code": 1006, "reason": "", "wasClean": False}


def test_a_cookie_of_the_upgrade_is_kept(browser: Any, origin: str) -> None:
    browser.get(origin)
    assert converse(browser, "await opened; return document.cookie;", "/cookie") == "met=before"


def test_a_page_of_another_origin_is_refused(browser: Any, origin: str, open_server: OpenServer) -> None:
    with open_server(Echo) as other:
        browser.get(origin)
        event = converse(browser, "return await closed;", f"ws://127.0.0.1:{other.port}/")
    assert event == {"code": 1006, "reason": "", "wasClean": False}


@pytest.mark.parametrize("welcome", ["any", "listed"])
def test_a_page_of_an_origin_that_is_welcome_is_served(
    browser: Any, origin: str, open_server: OpenServer, welcome: str
) -> None:
    with open_server(Echo, origins="any" if welcome == "any" else [origin]) as other:
        browser.get(origin)
        script = "await opened; socket.send('hello'); return await message();"
        assert converse(browser, script, f"ws://127.0.0.1:{other.port}/") == "hello"


def test_a_page_over_tls_speaks_wss(browser: Any, open_server: OpenServer, certificates: Any) -> None:
    with open_server(site, ssl_context=certificates.server_context()) as thread:
        browser.get(f"https://localhost:{thread.port}/")
        script = "await opened; socket.send('hello'); return [socket.url, await message()];"
        assert converse(browser, script) == [f"wss://localhost:{thread.port}/echo", "hello"]
