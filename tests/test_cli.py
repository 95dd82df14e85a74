"""The command, in a process of its own: what it says, where it listens, and how it ends."""

from __future__ import annotations

import errno
import importlib
import io
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

from trio_websock import Response, cli, serve
from trio_websock.protocol import COMPILED

APPLICATION = """
import sys, time
import trio
from trio_websock import Handler, Ok, Push, Response, upgrade, is_upgrade

class Echo(Handler):
    def init(self, args):
        return Ok(None)
    def handle_in(self, message, state):
        return Push(message, state)

class Stubborn(Echo):
    async def handle_in(self, message, state):
        print("stuck", flush=True)
        await trio.sleep_forever()

class Half:
    def init(self, args):
        return Ok(None)

def app(request):
    return upgrade(Echo) if is_upgrade(request) else Response(200, "page")

def no_arguments():
    return Response(200, "page")

setting = 42
"""

SITE = """
async def answer(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"page"})

async def unable(scope, receive, send):
    await send({"type": "lifespan.startup.failed", "message": "no database"})
"""

MODULE = """
from trio_websock import Ok, Push

def init(args):
    return Ok(None)

def handle_in(message, state):
    return Push(message, state)
"""

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
TEXT = b"\x81\x82\0\0\0\0hi"
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"

ROOT = Path(cli.__file__).parent.parent

Command = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    """Start the command in a directory with an application; what still runs is killed at the end."""
    (tmp_path / "site_under_test.py").write_text(APPLICATION)
    (tmp_path / "module_under_test.py").write_text(MODULE)
    (tmp_path / "asgi_under_test.py").write_text(SITE)
    (tmp_path / "broken_under_test.py").write_text("import no_such_module_at_all\n")
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        code = f"import sys; sys.path.append({str(ROOT)!r}); from trio_websock.cli import main; sys.exit(main())"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def announced(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.readline()


def port_of(process: subprocess.Popen[str]) -> int:
    match = re.fullmatch(r"Listening on http://127\.0\.0\.1:(\d+) \(ws://127\.0\.0\.1:\1\)\n", announced(process))
    assert match is not None
    return int(match[1])


def talk(sock: socket.socket, data: bytes) -> bytes:
    with sock:
        sock.sendall(data)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    return answer


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def complaint(process: subprocess.Popen[str]) -> str:
    _, errors = process.communicate()
    assert process.returncode == 2
    assert errors.count("\n") == 1
    return errors.removeprefix("trio_websock: ").rstrip("\n")


@pytest.mark.parametrize("target", ["site_under_test:Echo", "site_under_test:app", "module_under_test"])
def test_a_handler_an_application_and_a_module_are_served(command: Command, target: str) -> None:
    port = port_of(command(target, "--port", "0"))
    answer = talk(socket.create_connection(("127.0.0.1", port)), UPGRADE + TEXT + CLOSE)
    assert answer.endswith(b"\r\n\r\n\x81\x02hi\x88\x02\x03\xe8")


def test_an_asgi_application_is_served_beside_a_handler(command: Command) -> None:
    port = port_of(command("site_under_test:Echo", "--http", "asgi_under_test:answer", "--port", "0"))
    plain = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert talk(socket.create_connection(("127.0.0.1", port)), plain).endswith(b"\r\n\r\npage")
    assert b"\x81\x02hi" in talk(socket.create_connection(("127.0.0.1", port)), UPGRADE + TEXT + CLOSE)


def test_a_unix_socket_is_served(command: Command, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    assert announced(command("site_under_test:Echo", "--uds", path)) == f"Listening on unix:{path}\n"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        assert talk(sock, UPGRADE + CLOSE).endswith(b"\x88\x02\x03\xe8")


def test_tls_is_announced(command: Command, tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    line = announced(command("site_under_test:Echo", "--port", "0", "--ssl-certfile", "both.pem"))
    assert re.fullmatch(r"Listening on https://127\.0\.0\.1:(\d+) \(wss://127\.0\.0\.1:\1\)\n", line)


def test_options_reach_the_connections(command: Command) -> None:
    words = ("--port", "0", "--subprotocol", "a", "--subprotocol", "b", "--compress", "--origin", "https://ok.example")
    port = port_of(command("site_under_test:Echo", *words, "--max-message-size", "1"))
    fields = (
        b"\r\nSec-WebSocket-Protocol: b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
        b"Origin: https://ok.example\r\n\r\n"
    )
    answer = talk(socket.create_connection(("127.0.0.1", port)), UPGRADE.replace(b"\r\n\r\n", fields) + TEXT)
    assert b"\r\nSec-WebSocket-Protocol: b\r\nSec-WebSocket-Extensions: permessage-deflate" in answer
    assert answer.endswith(b"\x88\x02\x03\xf1")  # 1009


@pytest.mark.parametrize("code", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_with_1001_and_ends_with_status_0(command: Command, code: signal.Signals) -> None:
    process = command("site_under_test:Echo", "--port", "0")
    with socket.create_connection(("127.0.0.1", port_of(process))) as sock:
        sock.sendall(UPGRADE)
        sock.recv(65536)
        process.send_signal(code)
        assert sock.recv(65536) == b"\x88\x02\x03\xe9"
        sock.sendall(CLOSE)
    assert process.wait() == 0


def test_a_second_signal_ends_at_once(command: Command) -> None:
    process = command("site_under_test:Stubborn", "--port", "0", "--grace", "inf", "--log-level", "critical")
    with socket.create_connection(("127.0.0.1", port_of(process))) as sock:
        sock.sendall(UPGRADE + TEXT)
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        while is_listening(sock.getpeername()[1]):
            pass  # the first signal stops the listening
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


COMPLAINTS = {
    "nowhere:app": "there is no module 'nowhere' here or among the installed ones",
    "site_under_test.sub:app": "there is no module 'site_under_test.sub' here or among the installed ones",
    ":app": "':app' names no module: expected module:Handler, module:app or module",
    "./site_under_test:app": "'./site_under_test' is not the name of a module (write site_under_test:app)",
    "./site_under_test.py": "'./site_under_test.py' is not the name of a module (write site_under_test)",
    ".site_under_test:app": "'.site_under_test' is not the name of a module (write site_under_test:app)",
    "../site_under_test:app": "'../site_under_test' is not the name of a module",
    "site_under_test.py:app": "there is no module 'site_under_test.py' here or among the installed ones"
    " (write site_under_test:app)",
    "asgi/site.py:app": "'asgi/site.py' is not the name of a module (write asgi.site:app)",
    "site_under_test:nothing": "site_under_test has no 'nothing'; it has Echo, Stubborn, Half, app, no_arguments",
    "site_under_test:Half": "site_under_test:Half: handler Half has no handle_in",
    "site_under_test:setting": "site_under_test:setting is neither a handler nor a function: 42",
    "site_under_test": "site_under_test: handler site_under_test has no init and no handle_in;"
    " the module has Echo, Stubborn, Half, app, no_arguments",
}


@pytest.mark.parametrize(("target", "text"), COMPLAINTS.items(), ids=COMPLAINTS.keys())
def test_a_target_that_cannot_be_served_is_told_in_one_line(command: Command, target: str, text: str) -> None:
    assert complaint(command(target)) == text


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("no_arguments", "too many positional arguments"),
        ("Echo.init", "missing a required argument: 'args'"),
    ],
)
def test_a_function_that_no_request_can_be_given_to_is_told_in_one_line(
    command: Command, target: str, why: str
) -> None:
    text = complaint(command(f"site_under_test:{target}"))
    assert text.startswith(f"site_under_test:{target}: <function {target} at 0x")
    assert f"cannot be called with a request alone ({why})" in text


OPTIONS = {
    ("--port", "70000"): "port must be an integer from 0 to 65535, not 70000",
    ("--timeout", "0"): "timeout must be a positive number of seconds (math.inf for no limit), not 0.0",
    ("--ssl-keyfile", "key.pem"): "--ssl-keyfile needs --ssl-certfile",
    ("--ssl-certfile", "nowhere.pem"): "cannot use the certificate in nowhere.pem: No such file or directory",
    ("--http", "asgi_under_test:nothing"): "asgi_under_test has no 'nothing'; it has answer, unable",
    ("--http", "./asgi_under_test:answer"): "'./asgi_under_test' is not the name of a module"
    " (write asgi_under_test:answer)",
    ("--http", "asgi_under_test:unable", "--port", "0"): "the ASGI application could not start: no database",
    ("--host", "192.0.2.1"): "cannot listen on 192.0.2.1:8000: Cannot assign requested address",
}


@pytest.mark.parametrize(("words", "text"), OPTIONS.items(), ids=[words[0] for words in OPTIONS])
def test_an_option_that_cannot_be_met_is_told_in_one_line(command: Command, words: tuple[str, ...], text: str) -> None:
    assert complaint(command("site_under_test:Echo", *words)) == text


def test_a_file_that_is_no_certificate_is_told_in_one_line(command: Command) -> None:
    text = complaint(command("site_under_test:Echo", "--ssl-certfile", "site_under_test.py"))
    assert text.startswith("cannot use the certificate in site_under_test.py: ")
    assert text.endswith("expected a certificate chain and its private key in PEM format, not encrypted")


def test_a_port_in_use_is_told_in_one_line(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = complaint(command("site_under_test:Echo", "--port", str(port)))
    assert text == f"cannot listen on 127.0.0.1:{port}: Address already in use"


def test_an_import_that_fails_inside_the_module_shows_where(command: Command) -> None:
    process = command("broken_under_test:app")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "broken_under_test.py" in errors
    assert "No module named 'no_such_module_at_all'" in errors


@pytest.mark.parametrize(
    "line",
    ["open('settings.toml')", "import trio_websock; trio_websock.Deflate(level=99)"],
    ids=["OSError", "OptionError"],
)
@pytest.mark.parametrize("words", [["faulty"], ["site_under_test:app", "--http", "faulty:app"]], ids=["target", "http"])
def test_whatever_a_module_raises_shows_where(command: Command, tmp_path: Path, line: str, words: list[str]) -> None:
    (tmp_path / "faulty.py").write_text(f"{line}\n")
    process = command(*words)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "faulty.py" in errors


def test_a_word_that_is_no_number_is_told_by_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["site:app", "--grace", "long"])
    assert caught.value.code == 2
    assert "argument --grace: expected a number of seconds, not 'long'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--max-connections", "none"], "max_connections", None),
        (["--max-connections-per-client", "9"], "max_connections_per_client", 9),
        (["--timeout", "inf"], "timeout", float("inf")),
        (["--origin", "any"], "origins", "any"),
        (
            ["--origin", "https://a.example", "--origin", "https://b.example"],
            "origins",
            ["https://a.example", "https://b.example"],
        ),
        (["--host", "*"], "host", None),
        (["--host", "127.0.0.1", "--host", "::1"], "host", ["127.0.0.1", "::1"]),
    ],
)
def test_words_become_the_values_of_serve(
    words: list[str], name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, object] = {}
    monkeypatch.setattr(cli, "load_target", lambda text: lambda request: Response())
    monkeypatch.setattr(cli, "run_announced", lambda target, announce, options: seen.update(options))
    assert cli.main(["site:app", *words]) == 0
    assert seen[name] == value


# Beside serving there is a client


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What is served or connected to, if only it were."""
    seen: dict[str, object] = {}
    monkeypatch.setattr(cli, "load_target", lambda text: seen.setdefault("served", text))
    monkeypatch.setattr(cli, "run_announced", lambda target, announce, options: None)
    monkeypatch.setattr(cli, "connect_main", lambda words: seen.setdefault("connected", words) and 0)
    return seen


def test_the_word_connect_and_a_url_connect(asked: dict[str, object]) -> None:
    assert cli.main(["connect", "ws://h", "-m", "x"]) == 0
    assert asked == {"connected": ["ws://h", "-m", "x"]}


@pytest.mark.parametrize("name", ["connect.py", "connect/__init__.py"])
def test_a_module_of_that_name_is_served_as_ever(
    asked: dict[str, object], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    importlib.invalidate_caches()
    cli.main(["connect", "--origin", "https://a.example"])
    assert asked == {"served": "connect"}
    cli.main(["connect", "WS://h"])
    assert asked == {"served": "connect", "connected": ["WS://h"]}


@pytest.mark.parametrize("target", ["connect:app", "connector", "site:app"])
def test_any_other_word_is_served(asked: dict[str, object], target: str) -> None:
    cli.main([target])
    assert asked == {"served": target}


def test_the_words_of_the_process_are_taken_if_none_are_given(
    asked: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["trio_websock", "connect", "ws://h"])
    cli.main()
    assert asked == {"connected": ["ws://h"]}


def test_the_help_shows_how_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    assert "python -m trio_websock chat:Room --port 8000" in capsys.readouterr().out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    out = capsys.readouterr().out
    assert out.startswith("trio_websock ")
    assert ("compiled codec" if COMPILED else "pure Python codec") in out


class FullDisk(io.StringIO):
    def write(self, text: str, /) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


async def test_a_server_whose_announcement_cannot_be_written_serves(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await nursery.start(partial(serve, lambda request: Response(204), port=0))
    monkeypatch.setattr("sys.stderr", FullDisk())
    cli._Announcement()(server)
    assert server.port
