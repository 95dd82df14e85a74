"""What is published: a source distribution that a wheel can be built of, and a wheel that works; neither holds more.

Both are built without a network: by the hatchling and the setuptools that are installed beside the tests.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import trio_websock

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LISTED = {name.strip("/") for name in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]}
# What hatchling adds unasked.
ADDED = {"pyproject.toml", ".gitignore", "PKG-INFO"}
RUBBISH = (
    ".coverage",
    ".mypy_cache/3.11/cache.json",
    "build/lib/trio_websock/__init__.py",
    "docs/_build/index.html",
    "notes.txt",
    "trio_websock/__pycache__/nursery.cpython-311.pyc",
    "trio_websock/protocol/_compiled.abi3.so",
    "trio_websocket/__init__.py",
)
NO_COMPILER = {"CC": "/bin/false"}


def has(distribution: str, *least: int) -> bool:
    """Whether ``distribution`` is installed, in the version ``least`` or later."""
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return tuple(map(int, version.split(".")[:2])) >= least


def can_compile() -> bool:
    """Whether there are a compiler and the headers, so far as one can see."""
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or ""
    return (
        shutil.which(*compiler.split()[:1] or [""]) is not None
        and Path(sysconfig.get_path("include"), "Python.h").exists()
    )


pytestmark = [
    pytest.mark.skipif(not (ROOT / "hatch_build.py").exists(), reason="there is no checkout to build from"),
    pytest.mark.skipif(
        not (has("hatchling", 1, 27) and has("setuptools", 70, 1)), reason="needs hatchling>=1.27 and setuptools>=70.1"
    ),
]


def build(source: Path, target: str, directory: Path, **variables: str) -> Path:
    """Build ``target`` of ``source``, and return the archive."""
    neutral = {name: value for name, value in os.environ.items() if not name.startswith("TRIO_WEBSOCK_")}
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(directory)]
    done = subprocess.run(command, cwd=source, env=neutral | variables, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    (archive,) = directory.iterdir()
    return archive


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which somebody has worked."""
    copy = tmp_path_factory.mktemp("checkout")
    made = shutil.ignore_patterns("__pycache__", "*.so", "results", "_build")  # by whoever has worked in ours
    for name in LISTED | {"pyproject.toml", ".gitignore"}:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=made)
        else:
            shutil.copy(ROOT / name, copy)
    for name in RUBBISH:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("")
    return copy


@pytest.fixture(scope="module")
def sdist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    directory = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build(checkout, "sdist", tmp_path_factory.mktemp("dist"))) as archive:
        archive.extractall(directory, filter="data")
    (unpacked,) = directory.iterdir()
    return unpacked


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the source distribution, as it is built for publishing."""
    if not can_compile():
        pytest.skip("needs a C compiler and Python.h")
    return build(sdist, "wheel", tmp_path_factory.mktemp("wheel"), TRIO_WEBSOCK_REQUIRE_EXTENSIONS="1")


def files_below(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def ask(wheel: Path, directory: Path, code: str) -> str:
    """What ``code`` prints where the wheel is installed: for a wheel without scripts, unpacked and on the path."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    environment = {**os.environ, "PYTHONPATH": str(directory), "TRIO_WEBSOCK_NO_EXTENSIONS": "0"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=directory, env=environment, check=True, capture_output=True, text=True).stdout


def test_the_source_distribution_holds_what_is_listed_and_nothing_else(sdist: Path) -> None:
    assert {path.name for path in sdist.iterdir()} == LISTED | ADDED


def test_the_source_distribution_holds_every_source_and_no_rubbish(sdist: Path, checkout: Path) -> None:
    assert files_below(sdist) == (files_below(checkout) | {"PKG-INFO"}) - set(RUBBISH)


def test_the_source_distribution_holds_what_a_build_needs(sdist: Path) -> None:
    needed = {"LICENSE", "README.md", "hatch_build.py", "trio_websock/protocol/_compiled.c", "trio_websock/py.typed"}
    assert needed <= files_below(sdist)


def test_a_wheel_holds_the_package_the_licence_and_the_compiled_module(wheel: Path, sdist: Path) -> None:
    sources = {f"trio_websock/{name}" for name in files_below(sdist / "trio_websock")}
    information = f"trio_websock-{trio_websock.__version__}.dist-info"
    added = {f"{information}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")}
    compiled = {
        name for name in names_in(wheel) if name.startswith("trio_websock/protocol/_compiled.") and "abi3" in name
    }
    assert len(compiled) == 1
    assert names_in(wheel) == sources - {"trio_websock/protocol/_compiled.c"} | added | compiled


def test_a_wheel_is_for_this_python_and_every_later_one(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name


def test_a_wheel_says_its_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    assert (metadata["License-Expression"], metadata["License-File"]) == ("MIT", "LICENSE")


def test_the_codec_of_a_wheel_is_compiled(wheel: Path, tmp_path: Path) -> None:
    code = "from trio_websock import protocol; print(protocol.COMPILED, protocol.__file__)"
    assert ask(wheel, tmp_path, code).strip() == f"True {tmp_path / 'trio_websock/protocol/__init__.py'}"


@pytest.mark.skipif(sys.platform == "darwin", reason="there, the version is the compiler's")
def test_a_wheel_for_macos_names_a_version_that_installers_accept(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    foreign = build(sdist, "wheel", tmp_path, _PYTHON_HOST_PLATFORM="macosx-13.4-arm64")
    assert foreign.stem.endswith("-cp311-abi3-macosx_13_0_arm64")


@pytest.mark.parametrize(
    "variables", [NO_COMPILER, {"TRIO_WEBSOCK_NO_EXTENSIONS": "1"}], ids=lambda given: next(iter(given))
)
def test_a_build_that_compiles_nothing_gives_a_pure_wheel(
    sdist: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    pure = build(sdist, "wheel", tmp_path / "wheel", **variables)
    assert pure.name.endswith("-py3-none-any.whl")
    assert ask(pure, tmp_path / "installed", "from trio_websock import protocol; print(protocol.COMPILED)") == "False\n"


def test_a_build_that_must_compile_and_cannot_is_an_error(sdist: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="CompileError"):
        build(sdist, "wheel", tmp_path, **NO_COMPILER, TRIO_WEBSOCK_REQUIRE_EXTENSIONS="1")
