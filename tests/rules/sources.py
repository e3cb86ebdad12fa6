"""The Python files that the rules look at, parsed once."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Source:
    """One Python file: `name` is its path from the root of the repository."""

    name: str
    lines: int
    tree: ast.Module


@functools.cache
def sources(folder: str) -> tuple[Source, ...]:
    """Every Python file under a top-level folder."""
    found = []
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found.append(Source(path.relative_to(REPOSITORY).as_posix(), text.count("\n"), ast.parse(text)))
    return tuple(found)


def functions(source: Source) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file, nested ones too."""
    return [node for node in ast.walk(source.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
