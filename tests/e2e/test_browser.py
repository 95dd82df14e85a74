"""A real browser: headless Chromium as a client of ours, and the pages of the examples as people use them."""

from __future__ import annotations

import base64
import hashlib
import os
import queue
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

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

if os.environ.get("CI") != "true":  # there its absence is an error
    pytest.importorskip("selenium", reason="selenium is not installed")
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

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
def browser(certificates: Any) -> Iterator[Any]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        missing = "chromium and chromedriver are not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "window-size=1100,760"):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--ignore-certificate-errors-spki-list={key_fingerprint(certificates)}")
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    opened.set_script_timeout(PATIENCE)
    yield opened
    opened.quit()


def key_fingerprint(certificates: Any) -> str:
    """What Chromium calls the certificate whose key it shall trust."""
    certificate = x509.load_pem_x509_certificate(certificates.leaf.cert_chain_pems[0].bytes())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


@pytest.fixture(scope="module")
def origin(open_server: OpenServer) -> Iterator[str]:
    with open_server(site) as thread:
        yield f"http://127.0.0.1:{thread.port}"


@pytest.fixture(autouse=True)
def _one_blank_window(browser: Any) -> Iterator[None]:
    yield
    for window in browser.window_handles[1:]:
        browser.switch_to.window(window)
        browser.close()
    browser.switch_to.window(browser.window_handles[0])
    browser.get("about:blank")


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


# The pages of the examples.


def until(browser: Any, condition: Callable[[], object]) -> None:
    WebDriverWait(browser, PATIENCE, poll_frequency=0.02).until(lambda _: condition())


def text_of(browser: Any, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent);"
    texts: list[str] = browser.execute_script(script, selector)
    return texts


def is_shown(browser: Any, element: str) -> bool:
    shown: bool = browser.find_element(By.ID, element).is_displayed()
    return shown


def join_chat(browser: Any, url: str, name: str, *, first: bool = False) -> str:
    """Open the chat, in a new tab unless it is the first; the tab's handle."""
    if not first:
        browser.switch_to.new_window("tab")
    browser.get(url)
    field = browser.find_element(By.ID, "name")
    field.clear()
    field.send_keys(name + "\n")
    handle: str = browser.current_window_handle
    return handle


def say(browser: Any, text: str) -> None:
    browser.find_element(By.ID, "draft").send_keys(text + "\n")


def test_two_tabs_chat(browser: Any, run_example: RunExample) -> None:
    with run_example("chat") as example:
        ada = join_chat(browser, example.url, "Ada", first=True)
        until(browser, lambda: text_of(browser, ".event") == ["You joined the room"])
        join_chat(browser, example.url, "Ben")
        until(browser, lambda: text_of(browser, "#people span:last-child") == ["Ada", "Ben (you)"])
        say(browser, "<b>hello</b>")
        until(browser, lambda: text_of(browser, ".said.mine .text") == ["<b>hello</b>"])
        browser.switch_to.window(ada)
        until(browser, lambda: text_of(browser, ".said:not(.mine) .text") == ["<b>hello</b>"])
        assert text_of(browser, ".event") == ["You joined the room", "Ben joined the room"]
        assert text_of(browser, "#here") == ["2 people here"]


def test_a_tab_that_closes_leaves_the_chat(browser: Any, run_example: RunExample) -> None:
    with run_example("chat") as example:
        ada = join_chat(browser, example.url, "Ada", first=True)
        join_chat(browser, example.url, "Ben")
        until(browser, lambda: len(text_of(browser, "#people li")) == 2)
        browser.close()
        browser.switch_to.window(ada)
        until(browser, lambda: text_of(browser, ".event")[-1] == "Ben left the room")
        assert text_of(browser, "#here") == ["Only you here"]


def test_a_tab_that_goes_elsewhere_leaves_the_chat_and_rejoins_when_it_comes_back(
    browser: Any, run_example: RunExample
) -> None:
    with run_example("chat") as example:
        ada = join_chat(browser, example.url, "Ada", first=True)
        ben = join_chat(browser, example.url, "Ben")
        until(browser, lambda: len(text_of(browser, "#people li")) == 2)
        browser.get("about:blank")
        browser.switch_to.window(ada)
        until(browser, lambda: text_of(browser, ".event")[-1] == "Ben left the room")
        browser.switch_to.window(ben)
        browser.back()
        until(browser, lambda: text_of(browser, "#people span:last-child") == ["Ada", "Ben (you)"])


def test_a_name_that_is_taken_is_refused_at_the_door_of_the_chat(browser: Any, run_example: RunExample) -> None:
    with run_example("chat") as example:
        join_chat(browser, example.url, "Ada", first=True)
        until(browser, lambda: is_shown(browser, "room"))
        join_chat(browser, example.url, "Ada")
        until(browser, lambda: text_of(browser, "#refusal") == ["Ada is already here: choose another name"])
        assert not is_shown(browser, "room")
        browser.find_element(By.ID, "name").send_keys("Ben\n")
        until(browser, lambda: is_shown(browser, "room"))


def test_the_chat_says_when_its_server_goes_and_comes_back_with_it(browser: Any, run_example: RunExample) -> None:
    with run_example("chat") as example:
        join_chat(browser, example.url, "Ada", first=True)
        until(browser, lambda: is_shown(browser, "room"))
        assert not is_shown(browser, "notice")
        example.interrupt()
        until(browser, lambda: text_of(browser, "#notice span")[0].startswith("The server went away."))
        assert text_of(browser, "#status") == ["Offline"]
    with run_example("chat", port=example.port):
        browser.find_element(By.CSS_SELECTOR, "#notice button").click()
        until(browser, lambda: text_of(browser, "#status") == ["Online"])
        assert not is_shown(browser, "notice")
        assert text_of(browser, "#people span:last-child") == ["Ada (you)"]


def test_the_ticker_draws(browser: Any, run_example: RunExample) -> None:
    with run_example("ticker") as example:
        browser.get(example.url)
        points = "return document.getElementById('curve').points.numberOfItems;"
        until(browser, lambda: browser.execute_script(points) >= 3)
        assert text_of(browser, "#status") == ["Live"]
        assert float(text_of(browser, "#value")[0]) > 0


def test_the_ticker_pauses_and_resumes(browser: Any, run_example: RunExample) -> None:
    with run_example("ticker") as example:
        browser.get(example.url)
        button = browser.find_element(By.ID, "pause")
        until(browser, button.is_enabled)
        button.click()
        assert (button.text, button.get_attribute("aria-pressed")) == ("Resume", "true")
        button.click()
        value = text_of(browser, "#value")
        until(browser, lambda: text_of(browser, "#value") != value)


def test_the_page_of_the_app_shows_an_echo_to_a_watcher(browser: Any, run_example: RunExample) -> None:
    with run_example("app", APP_TOKEN="sesame") as example:
        browser.get(example.url)
        browser.find_element(By.CSS_SELECTOR, "#watch input").send_keys("sesame\n")
        until(browser, lambda: text_of(browser, "#lines li") == ["watching"])
        browser.find_element(By.CSS_SELECTOR, "#echo input").send_keys("hello\n")
        until(browser, lambda: text_of(browser, "#lines li") == ["a browser: 'hello'", "watching"])
        assert text_of(browser, "#echoes li") == ["hello"]


def test_the_page_of_the_app_says_that_a_watcher_was_refused(browser: Any, run_example: RunExample) -> None:
    with run_example("app", APP_TOKEN="sesame") as example:
        browser.get(example.url)
        browser.find_element(By.CSS_SELECTOR, "#watch input").send_keys("wrong\n")
        until(browser, lambda: text_of(browser, "#lines li") == ["Refused, or the connection was lost."])


@pytest.mark.parametrize("name", ["chat", "ticker", "app"])
def test_no_page_logs_an_error(browser: Any, run_example: RunExample, name: str) -> None:
    with run_example(name) as example:
        browser.get_log("browser")
        browser.get(example.url)
        assert browser.get_log("browser") == []
