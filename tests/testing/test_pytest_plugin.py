"""The fixtures: here, and in test runs of their own as a stranger would have them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_websock import Ok, Push, open_websocket
from trio_websock.testing import MemoryListener, ScriptedPeer, close, pytest_plugin, text
from trio_websock.testing.pytest_plugin import ConnectHandler, ServeWebsock

connect_handler = pytest_plugin.connect_handler
websock_server = pytest_plugin.websock_server


class Echo:
    def init(self, args: Any) -> Any:
        return Ok(0)

    def handle_in(self, message: str | bytes, state: int) -> Any:
        if message == "fail":
            raise KeyError("failed")
        return Push(message, state + 1)


async def test_handler_is_connected_without_a_block(connect_handler: ConnectHandler, autojump_clock: MockClock) -> None:
    peer = await connect_handler(Echo, timeout=60)
    await peer.send("x")
    assert peer.received() == ["x"]
    await peer.advance(50)
    assert peer.reason is None


async def test_several_connections_talk_at_once(connect_handler: ConnectHandler, autojump_clock: MockClock) -> None:
    one, other = await connect_handler(Echo), await connect_handler(Echo)
    await one.close()
    await other.send("x")
    assert other.received() == ["x"]


async def test_failure_is_raised_by_what_waited(connect_handler: ConnectHandler, autojump_clock: MockClock) -> None:
    peer = await connect_handler(Echo)
    with pytest.raises(KeyError):
        await peer.send("fail")


async def test_failure_that_is_expected_is_kept(connect_handler: ConnectHandler, autojump_clock: MockClock) -> None:
    peer = await connect_handler(Echo, raise_handler_errors=False)
    await peer.send("fail")
    assert isinstance(peer.error, KeyError)


async def test_failure_of_init_is_raised_at_once(connect_handler: ConnectHandler, autojump_clock: MockClock) -> None:
    class Unready(Echo):
        def init(self, args: Any) -> Any:
            raise KeyError("unready")

    with pytest.raises(KeyError, match="unready"):
        await connect_handler(Unready)


async def test_server_listens_on_a_free_port(websock_server: ServeWebsock) -> None:
    server = await websock_server(Echo)
    async with open_websocket(f"ws://127.0.0.1:{server.port}/") as client:
        await client.send("x")
        assert await client.receive() == "x"


async def test_server_in_memory_runs_in_virtual_time(websock_server: ServeWebsock, autojump_clock: MockClock) -> None:
    listener = MemoryListener()
    await websock_server(Echo, listeners=[listener], timeout=60, grace=5)
    async with ScriptedPeer(await listener.connect()) as peer:
        await peer.open()
        await peer.send(text("x"))
        await peer.expect(b"\x81\x01x")
        assert await peer.receive_frame() == (0x88, b"\x03\xe9idle timeout")
    assert trio.current_time() >= 60


async def test_server_that_is_shut_down_in_a_test_is_so_gracefully(
    websock_server: ServeWebsock, autojump_clock: MockClock
) -> None:
    listener = MemoryListener()
    server = await websock_server(Echo, listeners=[listener])
    async with ScriptedPeer(await listener.connect()) as peer:
        await peer.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.shutdown)
            await peer.expect(b"\x88\x02\x03\xe9")
            await peer.send(close(1001))
        await peer.expect_end()


HEAD = """
import pytest
import trio
from trio_websock import Ok
from trio_websock.testing import ScriptedPeer


class Echo:
    def init(self, args):
        return Ok(0)

    def handle_in(self, message, state):
        raise KeyError("failed")

    def terminate(self, reason, state):
        print("terminated:", type(reason).__name__)

"""

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a test module with the plugin and nothing but pytest-trio; its report."""

    def run_module(
        body: str, *, ini: str = "", conftest: str = f"pytest_plugins = [{pytest_plugin.__name__!r}]"
    ) -> str:
        (tmp_path / "conftest.py").write_text(conftest)
        (tmp_path / "pytest.ini").write_text(f"[pytest]\n{ini}")
        (tmp_path / "test_it.py").write_text(HEAD + body)
        command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False).stdout

    return run_module


@pytest.mark.parametrize("ini", ["", "trio_mode = true"], ids=["marked", "in Trio mode"])
def test_all_is_over_after_the_test(run: Run, ini: str) -> None:
    report = run(
        """
servers = []

@pytest.mark.trio
async def test_until_the_end(connect_handler, websock_server):
    await connect_handler(Echo)
    servers.append(await websock_server(Echo))
    print("the end of the test")

@pytest.mark.trio
async def test_after_it():
    with pytest.raises(OSError):
        await ScriptedPeer.connect(servers[0].port)
""",
        ini=ini,
    )
    assert "2 passed" in report
    assert report.index("the end of the test") < report.index("terminated: Shutdown")


def test_failure_that_the_test_has_not_seen_fails_it(run: Run) -> None:
    report = run("""
@pytest.mark.trio
async def test_unseen(connect_handler, autojump_clock):
    peer = await connect_handler(Echo)
    peer.transport.put("x")
    await trio.sleep(1)
""")
    assert "1 failed" in report
    assert "KeyError: 'failed'" in report


def test_nothing_is_loaded_unless_it_is_asked_for(run: Run) -> None:
    report = run(
        """
def test_alone(request):
    with pytest.raises(pytest.FixtureLookupError):
        request.getfixturevalue("connect_handler")
""",
        conftest="",
    )
    assert "1 passed" in report


def test_library_does_not_need_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; import trio_websock.testing"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
