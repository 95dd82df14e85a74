"""What every test shares: no wall clock decides a verdict."""

from __future__ import annotations

from hypothesis import settings

# Hypothesis measures its deadline in real time, which a busy machine overruns without any fault of ours.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
