"""plots"""

from pathlib import Path
from .results import Results


def draw_all(results: Results, directory: Path) -> None: ...
