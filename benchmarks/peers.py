"""Who is measured: every server with its pinned packages, and the environment it lives in.

In: a peer's name. Out: a Python interpreter that has the peer's packages, made on first use below the cache directory.
Knows nothing of loads.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["OWN", "PEERS", "CannotInstall", "Peer", "find_python"]


class CannotInstall(Exception):
    """pip could not make an environment; the text has what it said."""


Family = Literal["own", "trio", "asyncio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One server.

    Attributes:
        name: on the command line, and in saved results.
        title: in tables.
        family: what it runs on; peers of one family are drawn alike.
        module: of :mod:`benchmarks.servers`.
        requirements: what pip installs for it; none: it runs in the environment of whoever asks.
        arguments: for the server, always.
        environment: variables it is started with.
        deflates: whether it knows permessage-deflate.
    """

    name: str
    title: str
    family: Family
    module: str
    requirements: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    deflates: bool = True


OWN = Peer(name="own", title="trio-websock", family="own", module="own")

# Frameworks, event loops and parsers are pinned: what else pip finds is not on the path of a message.
PEERS = {
    peer.name: peer
    for peer in (
        OWN,
        Peer(
            name="own-await",
            title="trio-websock (await)",
            family="own",
            module="own",
            arguments=("--awaits",),
        ),
        Peer(
            name="own-pure",
            title="trio-websock (pure Python)",
            family="own",
            module="own",
            environment={"TRIO_WEBSOCK_NO_EXTENSIONS": "1"},
        ),
        Peer(
            name="own-hypercorn",
            title="trio-websock on Hypercorn",
            family="own",
            module="own_asgi",
            environment={"OWN_HOST": "hypercorn"},
            deflates=False,
        ),
        Peer(
            name="own-uvicorn",
            title="trio-websock on uvicorn",
            family="own",
            module="own_asgi",
            environment={"OWN_HOST": "uvicorn"},
            deflates=False,
        ),
        Peer(
            name="own-trio-websocket",
            title="trio-websock on trio-websocket",
            family="own",
            module="own_asgi",
            environment={"OWN_HOST": "trio-websocket"},
            deflates=False,
        ),
        Peer(
            name="trio-websocket",
            title="trio-websocket",
            family="trio",
            module="trio_websocket",
            requirements=("trio-websocket==0.12.2", "wsproto==1.3.2", "trio==0.35.0"),
            deflates=False,
        ),
        Peer(
            name="websockets-trio",
            title="websockets.trio",
            family="trio",
            module="websockets_trio",
            requirements=("websockets==17.4", "trio==0.35.0"),
        ),
        Peer(
            name="hypercorn",
            title="Hypercorn on Trio",
            family="trio",
            module="hypercorn_trio",
            requirements=("hypercorn[trio]==0.18.0", "wsproto==1.3.2", "trio==0.35.0"),
        ),
        Peer(
            name="websockets",
            title="websockets asyncio",
            family="asyncio",
            module="websockets_asyncio",
            requirements=("websockets==17.4",),
        ),
        Peer(
            name="uvicorn",
            title="uvicorn, uvloop",
            family="asyncio",
            module="uvicorn_uvloop",
            requirements=("uvicorn==0.54.0", "uvloop==0.23.0", "websockets==17.4", "httptools==0.9.0"),
        ),
        Peer(
            name="aiohttp",
            title="aiohttp",
            family="asyncio",
            module="aiohttp_asyncio",
            requirements=("aiohttp==3.14.5",),
        ),
        Peer(
            name="picows",
            title="picows",
            family="asyncio",
            module="picows_asyncio",
            requirements=("picows==2.3.1", "aiofastnet==1.2.0"),
            deflates=False,
        ),
    )
}


def find_python(peer: Peer, cache: Path) -> Path:
    """The interpreter to run a peer with; its environment is made if it is not there.

    Raises:
        CannotInstall: with what pip said.
    """
    if not peer.requirements:
        return Path(sys.executable)
    wanted = "\n".join((sys.version, *peer.requirements))
    directory = cache / f"{peer.name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    python = directory / "bin" / "python"
    if not (directory / "complete").exists():
        print(f"making an environment for {peer.title}", file=sys.stderr)
        shutil.rmtree(directory, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements]
        installed = subprocess.run(install, capture_output=True, text=True, check=False)
        if installed.returncode:
            raise CannotInstall(f"pip cannot install {' '.join(peer.requirements)}:\n{installed.stderr}")
        (directory / "complete").write_text(wanted)
    return python
