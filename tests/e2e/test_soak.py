"""The soak of benchmarks/soak.py, for twenty seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import trio_websock

ROOT = Path(trio_websock.__file__).parents[1]
PATIENCE = 120  # seconds until the test gives up; a fail-safe


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="looks at the server through /proc")
def test_a_mixed_load_with_hostile_peers_leaves_nothing_behind() -> None:
    command = [sys.executable, str(ROOT / "benchmarks/soak.py"), "--minutes", "0.33"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert run.returncode == 0, run.stdout + run.stderr
