"""Imports point one way, and importing the package is quick."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "toolkit"
ORDER = [
    *("harmless", "errors", "names", "arguments", "reading", "devices", "process", "quiet", "precision"),
    *("sections", "hls4ml_settings", "config", "tables", "records", "store", "network"),
    *("data", "zoo", "training", "hls", "emulation", "estimation", "baselines", "comparison"),
    *("doctor", "plan", "pipeline", "exploration", "pytest_plugin", "cli"),
    "__main__",
]


def room(path: Path) -> str:
    """The top-level module a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    parts = [name.split(".") for name in names if name.startswith("toolkit.")]
    return {part[1] for part in parts if part[1] in ORDER}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_above(path: Path) -> None:
    if path.parent == PACKAGE and path.name == "__init__.py":
        return
    assert room(path) in ORDER, f"{path} has no place in the import order"
    upward = {name for name in imported_rooms(path) if ORDER.index(name) > ORDER.index(room(path))}
    assert not upward, f"{path} imports from below: {upward}"


def test_only_process_starts_programs() -> None:
    offenders = [
        str(path)
        for path in PACKAGE.rglob("*.py")
        if room(path) != "process" and "import subprocess" in path.read_text()
    ]
    assert not offenders


@pytest.mark.parametrize("command", [["-c", "import toolkit"], ["-m", "toolkit", "--help"]], ids=["import", "help"])
def test_no_heavy_package_is_imported_early(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True)
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert not loaded & {"tensorflow", "keras", "qkeras", "hls4ml", "onnxruntime", "altair", "sklearn"}
