"""What every test shares: no wall clock decides a verdict."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

sys.path.append(str(Path(__file__).parent))  # modules that tests share: tests are no package

# Hypothesis measures its deadline in real time, which a busy machine overruns without any fault of ours.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
