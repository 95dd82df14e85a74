"""The examples of docs/hosts.md, each as it stands there, under real servers in processes of their own."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

from trio_websock import ConnectionClosed, UpgradeRejected, open_websocket

HOSTS = (Path(__file__).parents[2] / "docs" / "hosts.md").read_text()
PATIENCE = 30  # seconds; only a server that does not come up ever gets there

# Tells how it ended; the grace is for granian, which may take nothing more by then and is waited for.
WATCHED = """
from trio_websock import Handler, Ok, Push
from trio_websock.hosts.asgi import AsgiApp

class Watched(Handler):
    def init(self, args):
        return Push("open", None)

    def handle_in(self, message, state):
        return Push(message, state)

    def terminate(self, reason, state):
        print("ended by", reason, flush=True)

app = AsgiApp(Watched, grace=0.5)
"""


def example(begins: str) -> str:
    """The first Python block of the page behind a line that begins so."""
    part = HOSTS.split("\n" + begins, 1)[1]
    match = re.search(r"```python\n(.*?)```", part, re.DOTALL)
    assert match
    return match[1]


MAIN = example("## ASGI")
STARLETTE, FASTAPI = example("Starlette:"), example("FastAPI:")
LITESTAR, QUART_TRIO = example("Litestar (which"), example("Quart-Trio mounts")

HYPERCORN = (sys.executable, "-m", "hypercorn", "--workers=1", "--graceful-timeout=0", "--bind=127.0.0.1:{port}")
HYPERCORN_TRIO = (*HYPERCORN, "--worker-class=trio")
UVICORN = (sys.executable, "-m", "uvicorn", "--port={port}")
GRANIAN = (sys.executable, "-m", "granian", "--interface=asgi", "--port={port}")


class Running(NamedTuple):
    url: str
    process: trio.Process


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@asynccontextmanager
async def served(command: Sequence[str], program: str, directory: Path) -> AsyncIterator[Running]:
    """A server with ``program``'s ``app``, until the end of the block, where it must have ended in good order."""
    (directory / "main.py").write_text(MAIN)
    (directory / "program.py").write_text(program)
    port = free_port()
    arguments = [*(part.format(port=port) for part in command), "program:app"]
    async with trio.open_nursery() as nursery:
        run = partial(
            trio.run_process,
            arguments,
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            check=False,
        )
        process = await nursery.start(run)
        try:
            with trio.fail_after(PATIENCE):
                await wait_listening(port, process)
                yield Running(f"ws://127.0.0.1:{port}", process)
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                    await process.wait()
        finally:
            if process.poll() is None:
                process.kill()


async def wait_listening(port: int, process: trio.Process) -> None:
    while True:
        assert process.poll() is None, "the server has ended"
        try:
            await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
            return
        except OSError:
            await trio.sleep(0.05)  # nothing tells when another program begins to listen


async def echo(url: str) -> None:
    async with open_websocket(url) as websocket:
        for message in ("Grüße", b"\0\xff", ""):
            await websocket.send(message)
            assert await websocket.receive() == message


@pytest.mark.parametrize(
    "command",
    [HYPERCORN_TRIO, HYPERCORN, UVICORN, GRANIAN],
    ids=["Hypercorn on Trio", "Hypercorn", "uvicorn", "granian"],
)
async def test_the_example_runs_on(command: Sequence[str], tmp_path: Path) -> None:
    async with served(command, MAIN, tmp_path) as running:
        await echo(running.url)


MOUNTS = {
    "Starlette on Hypercorn on Trio": (HYPERCORN_TRIO, STARLETTE),
    "Starlette on uvicorn": (UVICORN, STARLETTE),
    "FastAPI on uvicorn": (UVICORN, FASTAPI),
    "FastAPI on Hypercorn on Trio": (HYPERCORN_TRIO, FASTAPI),
    "Litestar on uvicorn": (UVICORN, LITESTAR),
    "Quart-Trio on Hypercorn on Trio": (HYPERCORN_TRIO, QUART_TRIO),
}


@pytest.mark.parametrize(("command", "program"), MOUNTS.values(), ids=MOUNTS)
async def test_the_example_is_mounted_in(command: Sequence[str], program: str, tmp_path: Path) -> None:
    async with served(command, program, tmp_path) as running:
        await echo(running.url + "/chat/")


@pytest.mark.parametrize(
    "mount",
    ["Starlette on Hypercorn on Trio", "Starlette on uvicorn", "FastAPI on uvicorn", "FastAPI on Hypercorn on Trio"],
)
async def test_the_mount_needs_its_slash_in(mount: str, tmp_path: Path) -> None:
    command, program = MOUNTS[mount]
    async with served(command, program, tmp_path) as running:
        with pytest.raises(UpgradeRejected, match="403"):
            await echo(running.url + "/chat")


ENDS = {
    "Hypercorn on Trio": (HYPERCORN_TRIO, 1001, r"Shutdown\(restart=False\)"),
    "Hypercorn": pytest.param(
        HYPERCORN,
        1001,
        r"Shutdown\(restart=False\)",
        marks=pytest.mark.skipif(
            sys.version_info >= (3, 12, 1),
            reason="Hypercorn on asyncio waits for every connection before its lifespan ends",
        ),
    ),
    "uvicorn": (UVICORN, 1012, r"Remote\(code=1012, text=''\)"),
    "granian": (GRANIAN, None, r"Shutdown\(restart=False\)|Remote\(code=None, text=''\)"),
}


@pytest.mark.parametrize(("command", "code", "reason"), ENDS.values(), ids=ENDS)
async def test_the_end_is_as_the_page_says_on(
    command: Sequence[str], code: int | None, reason: str, tmp_path: Path
) -> None:
    async with served(command, WATCHED, tmp_path) as running, open_websocket(running.url) as websocket:
        assert await websocket.receive() == "open"
        running.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.receive()
        assert closed.value.code == code
        assert running.process.stdout is not None
        output = b""
        while data := await running.process.stdout.receive_some():
            output += data
        assert re.search(f"ended by ({reason})", output.decode())
