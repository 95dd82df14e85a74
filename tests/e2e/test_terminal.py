"""``connect`` as somebody sees it: in a real terminal, through tmux, which types keys and reads the screen."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trio

import trio_websock
from trio_websock import NORMAL, Ok, Ping, Push, Result, Stop, current_connection

ROOT = Path(trio_websock.__file__).parents[1]
PATIENCE = 30  # seconds until a test gives up; a fail-safe, never part of a verdict
WIDTH, HEIGHT = 60, 24

pytestmark = pytest.mark.programs

WITHOUT_EDITOR = """
import importlib.util, sys
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "prompt_toolkit" else find_spec(name, package)
from trio_websock.cli import main
sys.exit(main())
"""


class Echo:
    """Echoes; sends what the test puts into its mailbox."""

    mailboxes: ClassVar[list[Any]] = []

    def init(self, args: object) -> Result[None]:
        self.mailboxes.append(current_connection().mailbox)
        return Ok(None)

    def handle_in(self, message: str | bytes, state: None) -> Result[None]:
        match message:
            case "bye":
                return Stop(NORMAL, state, (4001, "as you wish"))
            case "ping":
                return Push(Ping(b"you?"), state)
        return Push(message, state)

    def handle_info(self, info: str, state: None) -> Result[None]:
        return Push(info, state)


class Terminal:
    """A terminal with a shell in it."""

    def __init__(self, directory: Path) -> None:
        self._socket = str(directory / "tmux")
        size = ["-x", str(WIDTH), "-y", str(HEIGHT)]
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, "env", "PS1=$ ", "TERM=screen", "sh")
        self._tty = self._tmux("display-message", "-p", "#{pane_tty}").strip()

    def _tmux(self, *words: str) -> str:
        words = ("tmux", "-S", self._socket, *words)
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout

    def type(self, text: str, *keys: str) -> None:
        """Type text as it is, then keys by their names."""
        if text:
            self._tmux("send-keys", "-l", text)
        if keys:
            self._tmux("send-keys", *keys)

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without what is empty at its end."""
        return self._tmux("capture-pane", "-p").rstrip("\n").split("\n")

    @property
    def echoes(self) -> bool:
        """Whether the terminal shows keys by itself."""
        tty = os.open(self._tty, os.O_RDONLY | os.O_NOCTTY)
        try:
            return bool(termios.tcgetattr(tty)[3] & termios.ECHO)
        finally:
            os.close(tty)

    def wait_for(self, *last: str) -> list[str]:
        """Wait until the last lines are these; everything on the screen then."""
        deadline = time.monotonic() + PATIENCE
        while tuple(line.rstrip() for line in self.lines[-len(last) :]) != last:
            assert time.monotonic() < deadline, "\n".join(["the screen is:", *self.lines, "instead of:", *last])
        return self.lines

    def run(self, server: Any, *python: str) -> None:
        """Run ``connect`` against ``server``, and say its status."""
        self.server = server
        self.run_words([sys.executable, *python, "connect", f"ws://127.0.0.1:{server.port}"])

    def run_words(self, words: list[str]) -> None:
        """Run a command, and say its status."""
        # A short line in the shell, whatever the paths are.
        script = Path(self._socket).with_name("run")
        script.write_text(f"cd {shlex.quote(str(ROOT))}; clear; {shlex.join(words)}; echo status $?\n")
        self.type(f"sh {script}", "Enter")

    def push(self, text: str) -> None:
        """Have the server send."""
        [mailbox] = Echo.mailboxes
        trio.from_thread.run_sync(mailbox.send_nowait, text, trio_token=self.server._token)

    def close(self) -> None:
        """End the shell and whatever runs in it."""
        self._tmux("kill-server")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("tmux is not installed")
        pytest.skip("tmux is not installed: apt-get install tmux")
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


@pytest.fixture
def connected(terminal: Terminal, open_server: Callable[..., Any]) -> Iterator[Terminal]:
    """A terminal in which ``connect`` has connected and waits for a line."""
    with open_server(Echo) as thread:
        Echo.mailboxes.clear()
        terminal.run(thread, "-m", "trio_websock")
        terminal.wait_for(*connected_to(thread), ">")
        yield terminal


def connected_to(thread: Any) -> list[str]:
    """What is shown at first."""
    return [f"* connected to ws://127.0.0.1:{thread.port}/"]


def test_what_comes_is_shown_above_the_line_that_is_being_typed(connected: Terminal) -> None:
    connected.type("half a line")
    connected.wait_for("> half a line")
    connected.push("first")
    connected.push("second")
    connected.wait_for("< first", "< second", "> half a line")
    connected.type(" and the rest", "Enter")
    connected.wait_for("> half a line and the rest", "< half a line and the rest", ">")


def test_keys_are_never_echoed_by_the_terminal_itself(connected: Terminal) -> None:
    # Or what is typed in the moment in which a line is shown would be seen twice.
    for number in range(200):
        connected.push(str(number))
        assert not any(connected.echoes for _ in range(50))
    connected.wait_for("< 199", ">")


def test_a_line_longer_than_the_screen_stays_whole(connected: Terminal) -> None:
    connected.type("x" * WIDTH + "end")
    connected.wait_for("> " + "x" * (WIDTH - 2), "xxend")
    connected.push("hello")
    connected.wait_for("< hello", "> " + "x" * (WIDTH - 2), "xxend")


def test_lines_are_edited_and_called_back(connected: Terminal) -> None:
    connected.type("wolrd", "Left", "Left", "Left", "Delete", "Right", "l", "Enter")
    connected.wait_for("> world", "< world", ">")
    connected.type("other", "Enter")
    connected.wait_for("> other", "< other", ">")
    connected.type("", "Up", "Up")
    connected.wait_for("> world")


def test_pings_and_pongs_are_shown(connected: Terminal) -> None:
    connected.type("ping", "Enter")
    connected.wait_for("> ping", "* ping: you?", ">")
    connected.type("/ping", "Enter")
    while not any(line.startswith("* pong after ") for line in connected.lines):
        pass
    connected.wait_for(">")


def test_binary_messages_are_shown_as_digits(connected: Terminal) -> None:
    connected.type("/binary 00ff", "Enter")
    connected.wait_for("> /binary 00ff", "< binary, 2 bytes: 00 ff", ">")


def test_a_message_cannot_paint_on_the_screen(connected: Terminal) -> None:
    connected.push("\x1b[2J\x1b]0;title\x07")
    connected.wait_for("< \\x1b[2J\\x1b]0;title\\x07", ">")


def test_an_order_that_does_not_exist_is_told(connected: Terminal) -> None:
    connected.type("/bye", "Enter")
    connected.wait_for("> /bye", "* there is no /bye; /help shows what there is, and //bye sen", "ds /bye", ">")


@pytest.mark.parametrize("key", ["C-d", "C-c"])
def test_a_key_closes_in_good_order(connected: Terminal, key: str) -> None:
    connected.type("", key)
    connected.wait_for("* closed with 1000 (normal closure)", "status 0", "$")


def test_an_interrupted_line_is_taken_away(connected: Terminal) -> None:
    connected.type("half a line", "C-c")
    lines = connected.wait_for("* closed with 1000 (normal closure)", "status 0", "$")
    assert "half" not in "".join(lines)


def test_an_order_closes_with_its_own_code(connected: Terminal) -> None:
    connected.type("/close 4000 enough", "Enter")
    connected.wait_for("> /close 4000 enough", "* closed with 4000: enough", "status 0", "$")


def test_the_server_s_close_is_shown_and_is_the_status(connected: Terminal) -> None:
    connected.type("bye", "Enter")
    connected.wait_for("> bye", "* closed by the server with 4001: as you wish", "status 3", "$")


def test_a_line_that_is_begun_when_the_server_closes_is_taken_away(connected: Terminal) -> None:
    connected.type("half a line")
    connected.wait_for("> half a line")
    connected.push("bye!")
    connected.wait_for("< bye!", "> half a line")
    connected.server.shutdown()
    lines = connected.wait_for("* closed by the server with 1001 (going away)", "status 0", "$")
    assert "half" not in "".join(lines)


def test_the_terminal_is_given_back_as_it_was(connected: Terminal) -> None:
    connected.type("bye", "Enter")
    connected.wait_for("status 3", "$")
    connected.type("clear; stty -a | grep -ow -e -icanon -e -echo -e icanon -e echo", "Enter")
    connected.wait_for("icanon", "echo", "$")


def test_nobody_who_listens_is_told_and_no_line_is_asked_for(terminal: Terminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    terminal.run_words([sys.executable, "-m", "trio_websock", "connect", f"ws://127.0.0.1:{port}"])
    lines = terminal.wait_for("status 1", "$")
    assert any(line.startswith("trio_websock: no connection with ws://127.0.0.1") for line in lines)


def test_without_the_line_editor_lines_are_typed_all_the_same(
    terminal: Terminal, open_server: Callable[..., Any]
) -> None:
    with open_server(Echo) as thread:
        terminal.run(thread, "-c", WITHOUT_EDITOR)
        hint = ["* lines are edited by the terminal only: for history and mor", "e, pip install 'trio-websock[cli]'"]
        terminal.wait_for(*hint, *connected_to(thread))
        terminal.type("hello", "Enter")
        terminal.wait_for("hello", "< hello")
        terminal.type("/close 4000", "Enter")
        terminal.wait_for("* closed with 4000", "status 0", "$")


def test_without_the_line_editor_a_key_closes_too(terminal: Terminal, open_server: Callable[..., Any]) -> None:
    with open_server(Echo) as thread:
        terminal.run(thread, "-c", WITHOUT_EDITOR)
        terminal.wait_for(*connected_to(thread))
        terminal.type("", "C-c")
        terminal.wait_for("^C* closed with 1000 (normal closure)", "", "$")  # the script is interrupted, too
