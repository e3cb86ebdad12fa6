"""Rules of form: size, docstrings and keyword pass-through from the syntax trees; and what ruff and mypy say."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rules.sources import functions, sources

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60

PACKAGE = sources("speechgen") + sources("app")
EVERYTHING = PACKAGE + sources("tests")


def test_enough_is_looked_at():
    assert len(PACKAGE) >= 80
    assert len(sources("tests")) >= 20
    assert sum(len(functions(source)) for source in PACKAGE) >= 300


def test_files_are_short():
    assert not {source.name: source.lines for source in EVERYTHING if source.lines > MAX_FILE_LINES}


def test_functions_are_short():
    found = [(source, node) for source in EVERYTHING for node in functions(source)]
    lengths = {f"{source.name}:{node.lineno} {node.name}": code_lines(node) for source, node in found}
    assert not {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES}


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function with its signature and what is nested in it; its docstring is free."""
    first = node.body[0]
    documented = ast.get_docstring(node) is not None
    return span(node) - (span(first) if documented else 0)


def span(node: ast.stmt) -> int:
    """Lines from the first to the last of a statement."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_a_function_is_as_long_as_its_code():
    (node,) = ast.parse('def f(\n    a,\n):\n    """One\n    two."""\n    def g():\n        return a\n    return g\n').body
    assert isinstance(node, ast.FunctionDef)
    assert code_lines(node) == 6


def test_every_module_says_what_it_is():
    assert not [source.name for source in EVERYTHING if not ast.get_docstring(source.tree)]


def test_no_function_takes_arbitrary_keywords():
    assert not [
        f"{source.name}:{node.lineno} {node.name}"
        for source in PACKAGE
        for node in functions(source)
        if node.args.kwarg is not None
    ]


def test_every_folder_with_modules_is_a_package(repository: Path):
    folders = {path.parent for path in (repository / "speechgen").rglob("*.py")}
    parents = {parent for folder in folders for parent in folder.parents if parent.is_relative_to(repository / "speechgen")}
    assert not [str(folder) for folder in sorted(folders | parents) if not (folder / "__init__.py").is_file()]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", [("ruff", "check", "."), ("mypy",)], ids=["ruff", "mypy"])
def test_linter_is_satisfied(repository: Path, command: tuple[str, ...]):
    done = subprocess.run([sys.executable, "-m", *command], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from torch import load", "import torch; torch.load('x')", "import yaml; yaml.load('x', None)"],
)
def test_ruff_refuses_unsafe_loading(repository: Path, line: str):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", "speechgen/core/new.py", "-"],
        cwd=repository,
        input=f'"""A module."""\n\n{line}\n',
        capture_output=True,
        text=True,
    )
    assert "TID251" in done.stdout
