"""The fixtures, in test runs of their own as a stranger would have them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAD = """
import pytest
import trio
from trio_websock import Ok, Push, open_websocket
from trio_websock.testing import ScriptedPeer, text


class Echo:
    def init(self, args):
        return Ok(0)

    def handle_in(self, message, state):
        if message == "fail":
            raise KeyError("failed")
        return Push(message, state + 1)

    def terminate(self, reason, state):
        print("terminated:", type(reason).__name__)

"""


@pytest.fixture
def run(tmp_path: Path) -> object:
    """Run a test module with the plugin and nothing but pytest-trio; its report."""

    def run_module(body: str, *, conftest: str = 'pytest_plugins = ["trio_websock.testing.pytest_plugin"]') -> str:
        (tmp_path / "conftest.py").write_text(conftest)
        (tmp_path / "test_it.py").write_text(HEAD + body)
        command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False).stdout

    return run_module


@pytest.mark.parametrize("mode", ["", "[pytest]\ntrio_mode = true\n"], ids=["marked", "trio mode"])
def test_handler_is_connected_until_the_end_of_the_test(run, tmp_path, mode):
    (tmp_path / "pytest.ini").write_text(mode or "[pytest]\n")
    report = run("""
@pytest.mark.trio
async def test_echo(connect_handler, autojump_clock):
    peer = await connect_handler(Echo, timeout=60)
    await peer.send("x")
    assert peer.received() == ["x"]
    await peer.advance(50)
    assert peer.reason is None
    print("the end of the test")
""")
    assert "1 passed" in report
    assert report.index("the end of the test") < report.index("terminated: Shutdown")


def test_several_connections_talk_at_once(run):
    report = run("""
@pytest.mark.trio
async def test_two(connect_handler, autojump_clock):
    one, other = await connect_handler(Echo), await connect_handler(Echo)
    await one.close()
    await other.send("x")
    assert other.received() == ["x"]
""")
    assert "1 passed" in report


def test_failure_of_the_handler_fails_the_test_that_has_not_seen_it(run):
    report = run("""
@pytest.mark.trio
async def test_unseen(connect_handler, autojump_clock):
    peer = await connect_handler(Echo)
    peer.transport.put("fail")
    await trio.sleep(1)

@pytest.mark.trio
async def test_seen(connect_handler, autojump_clock):
    peer = await connect_handler(Echo)
    with pytest.raises(KeyError):
        await peer.send("fail")

@pytest.mark.trio
async def test_expected(connect_handler, autojump_clock):
    peer = await connect_handler(Echo, raise_handler_errors=False)
    await peer.send("fail")
    assert isinstance(peer.error, KeyError)
""")
    assert "1 failed, 2 passed" in report
    assert "KeyError: 'failed'" in report


def test_handler_that_fails_in_init_fails_where_it_is_connected(run):
    report = run("""
class Unready(Echo):
    def init(self, args):
        raise KeyError("unready")

@pytest.mark.trio
async def test_unready(connect_handler, autojump_clock):
    with pytest.raises(KeyError, match="unready"):
        await connect_handler(Unready)
""")
    assert "1 passed" in report


def test_server_listens_on_a_free_port_and_is_gone_after_the_test(run):
    report = run("""
servers = []

@pytest.mark.trio
async def test_served(websock_server):
    server = await websock_server(Echo)
    servers.append(server)
    async with open_websocket(f"ws://127.0.0.1:{server.port}/") as client:
        await client.send("x")
        assert await client.receive() == "x"

@pytest.mark.trio
async def test_gone():
    with pytest.raises(OSError):
        await ScriptedPeer.connect(servers[0].port)
""")
    assert "2 passed" in report


def test_server_takes_the_options_of_serve_and_virtual_time(run):
    report = run("""
from trio_websock.testing import MemoryListener, ScriptedPeer

@pytest.mark.trio
async def test_in_memory(websock_server, autojump_clock):
    listener = MemoryListener()
    await websock_server(Echo, listeners=[listener], timeout=60, grace=5)
    async with ScriptedPeer(await listener.connect()) as peer:
        await peer.open()
        await peer.send(text("x"))
        await peer.expect(b"\\x81\\x01x")
        assert await peer.receive_frame() == (0x88, b"\\x03\\xe9idle timeout")

@pytest.mark.trio
async def test_over_tcp(websock_server, autojump_clock):
    server = await websock_server(Echo)
    async with await ScriptedPeer.connect(server.port) as peer:
        await peer.open()
        await peer.send(text("x"))
        await peer.expect(b"\\x81\\x01x")
""")
    assert "2 passed" in report


def test_nothing_is_loaded_unless_it_is_asked_for(run):
    report = run(
        """
def test_alone(request):
    with pytest.raises(pytest.FixtureLookupError):
        request.getfixturevalue("connect_handler")
""",
        conftest="",
    )
    assert "1 passed" in report


def test_library_does_not_need_pytest():
    code = "import sys; sys.modules['pytest'] = None; import trio_websock.testing"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
