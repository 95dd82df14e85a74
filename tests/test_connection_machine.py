"""A whole connection under any interleaving of what can happen to it: see ``fuzzing/connection.py``.

More scripts::

    TRIO_WEBSOCK_MACHINE_EXAMPLES=20000 python -m pytest -o faulthandler_timeout=0 tests/test_connection_machine.py
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, given, settings

sys.path.append(str(Path(__file__).parents[1]))  # the harnesses are no part of the package

connection = importlib.import_module("fuzzing.connection")
scripts = importlib.import_module("fuzzing.scripts")

EXAMPLES = int(os.environ.get("TRIO_WEBSOCK_MACHINE_EXAMPLES", "100"))


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(scripts.SCRIPTS)
def test_the_laws_of_a_connection_hold_whatever_happens(script: object) -> None:
    connection.check_script(script)
