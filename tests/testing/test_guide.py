"""The page on testing handlers: every example on it is a test, and passes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "testing-handlers.md"


def test_every_example_of_the_page_passes(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (conftest,) = [block for block in blocks if block.startswith("# conftest.py")]
    module = "".join(block for block in blocks if block != conftest)
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_page.py").write_text(module)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)]
    report = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False).stdout
    assert f"{module.count('async def test_')} passed in" in report, report
