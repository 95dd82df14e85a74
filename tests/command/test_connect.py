"""``connect`` in a process of its own: what a script sends, reads, and is told by the exit status."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import signal
import ssl
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

import trio_websock
from trio_websock import NORMAL, Ok, Ping, Push, Response, Stop, serve, upgrade
from trio_websock.command import connect as command

ROOT = Path(trio_websock.__file__).parent.parent
PATIENCE = 30  # seconds until a test gives up; a fail-safe, never part of a verdict


class Echo:
    """Echoes; tells headers; pings; closes with a code."""

    def init(self, request):
        return Ok(request)

    def handle_in(self, message, request):
        match message.split() if isinstance(message, str) else ():
            case ["header", name]:
                return Push(request.headers.get(name, "none"), request)
            case ["ping"]:
                return Push([Ping(b"p"), "pinged"], request)
            case ["close", code]:
                return Stop(NORMAL, request, (int(code), "as you wish"))
        return Push(message, request)


class Flood:
    """Never stops sending."""

    def init(self, args):
        return Push("x" * 1000, None)

    def handle_control(self, frame, state):
        return Push(["x" * 1000] * 100 + [Ping()], state)

    def handle_in(self, message, state):
        return Push(["x" * 1000] * 100 + [Ping()], state)


def app(request):
    if request.path == "/refuse":
        return Response(403, "not you")
    handler = Flood if request.path == "/flood" else Echo
    return upgrade(handler, request, subprotocols=["chat"], compress=True, origins="any")


@pytest.fixture
async def url(nursery):
    server = await nursery.start(partial(serve, app, port=0))
    return f"ws://127.0.0.1:{server.port}"


def words_for(*words):
    return [sys.executable, "-m", "trio_websock", "connect", *words]


async def connect(*words, stdin=b"", **environment):
    """Run the command to its end; its status, output and errors."""
    with trio.fail_after(PATIENCE):
        process = await trio.run_process(
            words_for(*words),
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, **environment},
        )
    return process.returncode, process.stdout.decode(), process.stderr.decode()


async def events(*words, **given):
    status, out, _ = await connect(*words, "--json", **given)
    return status, [json.loads(line) for line in out.splitlines()]


async def test_words_are_sent_and_answers_written(url):
    assert await connect(url, "-m", "a", "-m", "wörld", "--count", "2") == (0, "a\nwörld\n", "")


async def test_lines_of_the_input_are_sent(url):
    assert await connect(url, "--count", "3", stdin=b"a\n\nlast") == (0, "a\n\nlast\n", "")


async def test_standard_streams_that_are_closed_are_not_taken_for_what_is_opened_next(url):
    closing = ["sh", "-c", 'exec "$@" <&- >&-', "sh"]
    words = words_for(url, "-m", "x" * 100_000, "--count", "1")
    with trio.fail_after(PATIENCE):
        process = await trio.run_process([*closing, *words], capture_stderr=True, check=False, cwd=ROOT)
    assert (process.returncode, process.stderr) == (141, b"trio_websock: cannot write: Bad file descriptor\n")


async def test_without_a_count_answers_are_waited_for(url):
    assert await connect(url, stdin=b"a\n") == (0, "a\n", "")


async def test_binary_is_sent_as_it_is_and_written_in_digits(url):
    assert await connect(url, "--binary", "--count", "1", stdin=b"\x00\xff") == (0, "00ff\n", "")


async def test_every_event_is_a_line_of_json(url):
    status, told = await events(url, "-m", "ping", "--count", "1", "--subprotocol", "chat", "--compress")
    assert status == 0
    assert [event["event"] for event in told if event["event"] != "ping"] == ["open", "message", "close"]
    opened = told[0]
    assert (opened["status"], opened["subprotocol"]) == (101, "chat")
    assert "permessage-deflate" in opened["headers"]["sec-websocket-extensions"][0]
    assert {"event": "ping", "data": "cA=="} in told
    assert told[-1] == {"event": "close", "code": 1000, "text": "", "by": "us", "clean": True, "cause": None}


async def test_a_code_that_is_a_fault_is_status_3(url):
    status, out, errors = await connect(url, "-m", "close 4001", "--wait", "inf")
    assert (status, out, errors) == (3, "", "trio_websock: closed by the server with 4001: as you wish\n")


async def test_the_server_s_good_bye_is_status_0(url):
    status, told = await events(url, "-m", "close 1000", "--wait", "inf")
    assert (status, told[-1]["by"], told[-1]["clean"]) == (0, "peer", True)


async def test_too_few_messages_are_status_4(url):
    assert (await connect(url, "-m", "a", "--count", "2", "--wait", "0.1"))[0] == 4


async def test_a_refusal_is_status_1_with_what_the_server_says(url):
    status, out, errors = await connect(f"{url}/refuse", "-m", "a")
    assert (status, out) == (1, "")
    assert (
        errors == "trio_websock: the server answered 403 Forbidden: expected 101; it says 'not you' (RFC 6455 §4.1)\n"
    )


async def test_a_refusal_is_an_event_too(url):
    status, [told] = await events(f"{url}/refuse")
    assert (status, told["event"], told["status"], told["body"]) == (1, "error", 403, "not you")


async def test_nobody_who_listens_is_status_1():
    status, _, errors = await connect("ws://127.0.0.1:1", "-m", "a", "--no-proxy")
    assert status == 1
    assert errors.startswith("trio_websock: no connection with ws://127.0.0.1:1/: ")


@pytest.mark.parametrize(
    "words",
    [("http://h",), ("ws://h", "--timeout", "0"), ("ws://h", "--bearer", "@/nowhere"), ("ws://h", "--cafile", "/no")],
)
async def test_what_cannot_be_is_status_2_and_one_line(words):
    status, out, errors = await connect(*words)
    assert (status, out, errors.count("\n")) == (2, "", 1)


async def test_no_url_is_status_2_with_the_usage():
    status, _, errors = await connect()
    assert status == 2
    assert errors.startswith("usage: python -m trio_websock connect")


async def test_an_input_that_is_not_utf_8_is_status_2(url):
    status, _, errors = await connect(url, stdin=b"\xff\n")
    assert (status, errors) == (2, "trio_websock: a line of the input is not UTF-8; --binary sends it as it is\n")


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (("-H", "X-A: b"), "x-a", "b"),
        (("--origin", "https://a.example"), "origin", "https://a.example"),
        (("--basic", "me:pw"), "authorization", "Basic bWU6cHc="),
        (("--bearer", "token"), "authorization", "Bearer token"),
    ],
)
async def test_headers_are_sent(url, words, name, value):
    assert (await connect(url, *words, "-m", f"header {name}", "--count", "1"))[1] == f"{value}\n"


async def test_a_unix_socket_is_reached(nursery, tmp_path):
    await nursery.start(partial(serve, app, path=tmp_path / "socket"))
    words = ("ws://h", "--unix", str(tmp_path / "socket"), "-m", "a", "--count", "1")
    assert await connect(*words, ALL_PROXY="http://127.0.0.1:1") == (0, "a\n", "")


@pytest.fixture
async def tls(nursery, tmp_path):
    """The URL of a server with TLS, and the file of its authority."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = await nursery.start(partial(serve, app, port=0, ssl_context=context))
    return f"wss://localhost:{server.port}", str(tmp_path / "ca.pem")


async def test_a_certificate_that_nobody_vouches_for_is_status_1(tls):
    status, _, errors = await connect(tls[0], "-m", "a")
    assert status == 1
    assert "TLS handshake failed" in errors


async def test_an_authority_may_be_named(tls):
    assert await connect(tls[0], "--cafile", tls[1], "-m", "a", "--count", "1") == (0, "a\n", "")


async def test_any_certificate_may_be_taken(tls):
    assert await connect(tls[0], "--insecure", "-m", "a", "--count", "1") == (0, "a\n", "")


async def test_the_environment_s_proxy_is_used_and_named(url):
    status, _, errors = await connect(url, "-m", "a", ws_proxy="http://me:secret@127.0.0.1:1", no_proxy="")
    assert status == 1
    assert "through the proxy http://127.0.0.1:1:" in errors
    assert "secret" not in errors


async def test_the_environment_s_proxy_may_be_passed_by(url):
    assert (await connect(url, "--no-proxy", "-m", "a", "--count", "1", ws_proxy="http://127.0.0.1:1", no_proxy=""))[
        0
    ] == 0


# The same in this process, where it can be given streams of its own


@pytest.fixture
def port(tmp_path):
    """A server in a thread."""
    started, ended = queue.Queue(), threading.Event()

    async def run():
        async with trio.open_nursery() as nursery:
            started.put((await nursery.start(partial(serve, app, port=0))).port)
            await trio.to_thread.run_sync(ended.wait)
            nursery.cancel_scope.cancel()

    thread = threading.Thread(target=trio.run, args=(run,))
    thread.start()
    yield started.get()
    ended.set()
    thread.join()


@pytest.fixture
def stdin(monkeypatch):
    """Write what is read as the standard input; it ends there."""

    def fill(data):
        reader, writer = os.pipe()
        os.write(writer, data)
        os.close(writer)
        monkeypatch.setattr(command, "STDIN", reader)

    return fill


@pytest.mark.parametrize(
    ("data", "words", "out"),
    [
        (b"a\nb", ["--count", "2"], "a\nb\n"),
        (b"\xff\n", ["--count", "1", "--binary"], "ff\n"),
        (b"unread", ["-m", "x", "--count", "1"], "x\n"),
    ],
)
def test_the_input_is_sent(port, stdin, capfd, data, words, out):
    stdin(data)
    assert command.connect_main([f"ws://127.0.0.1:{port}", "--no-proxy", *words]) == 0
    assert capfd.readouterr() == (out, "")


def test_json_is_written(port, stdin, capfd):
    stdin(b"")
    assert command.connect_main([f"ws://127.0.0.1:{port}", "--no-proxy", "--json", "--wait", "0"]) == 0
    assert [json.loads(line)["event"] for line in capfd.readouterr().out.splitlines()] == ["open", "close"]


@pytest.fixture
def at_terminal(monkeypatch):
    monkeypatch.setattr(os, "isatty", lambda fd: True)


def test_at_a_terminal_lines_are_edited(port, at_terminal, capfd):
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        keys.send_text("hello\r/close 4000\r")
        assert command.connect_main([f"ws://127.0.0.1:{port}", "--no-proxy"]) == 0
    assert capfd.readouterr().out.splitlines()[-1] == "* closed with 4000"


def test_at_a_terminal_without_the_editor_lines_are_read(port, at_terminal, stdin, capfd, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    stdin(b"/close 4000\n")
    assert command.connect_main([f"ws://127.0.0.1:{port}", "--no-proxy"]) == 0
    hint, _, *_, end = capfd.readouterr().out.splitlines()
    assert "pip install 'trio-websock[cli]'" in hint
    assert end == "* closed with 4000"


@pytest.mark.parametrize(("is_open", "status"), [(True, 0), (False, 141)])
def test_an_output_that_nobody_reads_is_a_status(port, is_open, status, monkeypatch):
    reader, writer = os.pipe()
    monkeypatch.setattr(command, "STDOUT", writer)
    if not is_open:
        os.close(reader)
    assert command.connect_main([f"ws://127.0.0.1:{port}", "--no-proxy", "-m", "a", "--wait", "0.1"]) == status


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_an_output_that_cannot_be_written_is_told(port, capfd, monkeypatch):
    with open("/dev/full", "wb") as full:
        monkeypatch.setattr(command, "STDOUT", full.fileno())
        assert command.connect_main([f"ws://127.0.0.1:{port}", "--no-proxy", "-m", "a", "--count", "1"]) == 141
    assert capfd.readouterr().err == "trio_websock: cannot write: No space left on device\n"


def test_what_cannot_be_is_told(capfd, monkeypatch):
    monkeypatch.setenv("ws_proxy", "ftp://p")
    assert command.connect_main(["ws://h.invalid", "-m", "x"]) == 2
    assert capfd.readouterr().err.startswith("trio_websock: ws_proxy of the environment must be")


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), BaseExceptionGroup("", [KeyboardInterrupt()])])
def test_an_interrupt_at_any_other_moment_is_the_same_status(failure, monkeypatch):
    def interrupt(*args):
        raise failure

    monkeypatch.setattr(trio, "run", interrupt)
    assert command.connect_main(["ws://h", "-m", "x"]) == 130


def test_a_fault_of_ours_is_not_hidden(monkeypatch):
    def fail(*args):
        raise ExceptionGroup("", [ZeroDivisionError()])

    monkeypatch.setattr(trio, "run", fail)
    with pytest.raises(ExceptionGroup):
        command.connect_main(["ws://h", "-m", "x"])


# While it runs


async def start(nursery, *words, **streams):
    return await nursery.start(partial(trio.run_process, words_for(*words), check=False, cwd=ROOT, **streams))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_closes_in_good_order(nursery, url, number, status):
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = await start(nursery, url, "--json", **streams)
    opened, _, rest = (await read_line(process.stdout)).partition(b"\n")
    assert b'"open"' in opened
    process.send_signal(number)
    while data := await process.stdout.receive_some():
        rest += data
    assert json.loads(rest)["by"] == "us"
    assert await process.wait() == status


async def read_line(stream):
    data = b""
    while b"\n" not in data:
        data += await stream.receive_some()
    return data


async def test_a_line_is_answered_before_the_input_ends(nursery, url):
    process = await start(nursery, url, "--wait", "0", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for line in (b"first\n", b"second\n"):
        await process.stdin.send_all(line)
        assert await read_line(process.stdout) == line
    await process.stdin.aclose()
    assert await process.wait() == 0


async def test_nobody_who_reads_ends_it(nursery, url):
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = await start(nursery, f"{url}/flood", **streams)
    await read_line(process.stdout)
    await process.stdout.aclose()
    await process.stdin.send_all(b"more\n")
    assert await process.wait() == 141


async def test_a_reader_who_takes_a_break_does_not_hold_who_is_told_to_end(nursery, url):
    process = await start(nursery, f"{url}/flood", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    await process.stdin.send_all(b"more\n")
    await process.stdout.receive_some(1)
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 143


async def test_a_closed_input_is_an_empty_one(url):
    words = ["sh", "-c", 'exec "$@" <&-', "sh", *words_for(url, "--wait", "0", "-v")]
    process = await trio.run_process(words, capture_stderr=True, check=False, cwd=ROOT)
    assert process.returncode == 0
