"""``python -m trio_websock``; what it does is told in test_cli.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import trio_websock

ROOT = Path(trio_websock.__file__).parent.parent


def test_the_package_is_a_command() -> None:
    words = [sys.executable, "-m", "trio_websock", "--version"]
    assert subprocess.run(words, cwd=ROOT, check=True, capture_output=True).stdout.startswith(b"trio_websock ")
