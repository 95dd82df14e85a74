"""What every test shares: no wall clock decides a verdict."""

from __future__ import annotations

import gc
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.append(str(Path(__file__).parent))  # modules that tests share: tests are no package

# Tests press Ctrl-C. Whoever is started in the background of a script inherits that it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Hypothesis measures its deadline in real time, which a busy machine overruns without any fault of ours.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(autouse=True, scope="module")
def what_is_old_is_no_garbage() -> None:
    # Thousands of tests and reports live until the end: tests that collect garbage need not look at them again.
    gc.collect()
    gc.freeze()
