"""The build's one step beyond copying: compile trio_websock/protocol/_compiled.c, where there is a compiler for it.

Without one, or with TRIO_WEBSOCK_NO_EXTENSIONS=1, the package is built without it and works the same, more slowly.
TRIO_WEBSOCK_REQUIRE_EXTENSIONS=1 makes that an error: whoever builds wheels for others wants to know.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "trio_websock.protocol._compiled"
SOURCE = "trio_websock/protocol/_compiled.c"


def is_set(variable: str) -> bool:
    """Whether an environment variable says yes."""
    return os.environ.get(variable, "0") not in ("", "0")


class CompileHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the compiled module to a wheel; for an editable installation it is laid beside its source."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or is_set("TRIO_WEBSOCK_NO_EXTENSIONS"):
            return
        try:
            built, tag = self._compile()
        # Whatever goes wrong with a compiler, some of it in ways of its own: SystemExit is how setuptools gives up.
        except (Exception, SystemExit) as exc:
            if is_set("TRIO_WEBSOCK_REQUIRE_EXTENSIONS"):
                raise
            self.app.display_warning(f"trio_websock is built without its compiled module: {exc}")
            return
        target = SOURCE.replace("_compiled.c", built.name)
        if version == "editable":
            # Renamed into place, as a process that has the old one loaded must not see it change.
            beside = Path(self.root, f"{target}.new")
            beside.write_bytes(built.read_bytes())
            beside.replace(Path(self.root, target))
        else:
            build_data["force_include"][str(built)] = target
        build_data["pure_python"] = False
        build_data["tag"] = tag

    def _compile(self) -> tuple[Path, str]:
        """The compiled module, and the tag of a wheel that holds it."""
        # Imported here, so that a setuptools that is missing or broken is no worse than a missing compiler.
        from setuptools import Distribution, Extension
        from setuptools.command.bdist_wheel import bdist_wheel
        from setuptools.command.build_ext import build_ext

        self._directory = tempfile.TemporaryDirectory(prefix="trio-websock-")
        extension = Extension(NAME, [str(Path(self.root, SOURCE))], py_limited_api=True)
        distribution = Distribution({"name": "trio-websock", "ext_modules": [extension]})
        command = build_ext(distribution)
        command.build_lib = command.build_temp = self._directory.name
        command.ensure_finalized()
        command.run()
        # Asked rather than put together here: macOS has rules of its own for what of its version a tag may name.
        wheel = bdist_wheel(distribution)
        wheel.bdist_dir, wheel.py_limited_api = self._directory.name, "cp311"
        wheel.ensure_finalized()
        return Path(self._directory.name, command.get_ext_filename(NAME)), "-".join(wheel.get_tag())

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "_directory"):
            self._directory.cleanup()
