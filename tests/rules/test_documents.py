"""README.md, .ci/run and the headers of the recipes say what is so."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer.main

from tests.rules.sources import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
RECIPES = sorted((REPOSITORY / "recipes").rglob("*.yaml"))
NAMES = [path.relative_to(REPOSITORY / "recipes").as_posix() for path in RECIPES]


def header(path: Path) -> str:
    """The comment that a YAML file begins with."""
    lines = path.read_text(encoding="utf-8").splitlines()
    end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "\n".join(lines[:end])


def fenced(language: str, text: str) -> list[str]:
    """Contents of the fenced blocks of one language."""
    return [block.strip() for block in re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)]


COMMANDS = {
    line.partition("#")[0].strip()
    for text in (*fenced("", README), *(header(path).replace("#", "") for path in RECIPES))
    for line in (part[part.index("speechgen ") :] for part in text.splitlines() if re.search(r"(^|[ :])speechgen [a-z]", part))
}


def test_the_first_two_blocks_are_single_commands_from_nothing():
    speak, check, *_ = fenced("sh", README)
    for command in (speak, check):
        assert "\n" not in command
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -e ")
    assert re.search(r'speechgen synth --text ".+" -o hello\.wav$', speak)
    assert check.endswith(".venv/bin/python -m pytest -q -n 2")


def test_ci_runs_the_readmes_test_command(tmp_path: Path):
    shown = subprocess.run([REPOSITORY / ".ci" / "run", "--show"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == fenced("sh", README)[1]


def test_extras_that_the_readme_installs_exist():
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = [name for group in re.findall(r'"\.?\w*\[([\w,]+)\]"', README) for name in group.split(",")]
    assert len(named) >= 3
    assert set(named) <= set(extras)


def test_paths_that_the_readme_names_exist():
    named = re.findall(r"\]\(([\w./-]+)\)", README) + re.findall(r"recipes/[\w/]+\.yaml", README)
    assert len(named) >= 3
    assert not [path for path in named if not (REPOSITORY / path).exists()]


def test_commands_that_documents_name_are_found():
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_commands_that_documents_name_have_those_options(command: str):
    from speechgen.cli.main import app

    _, verb, *words = command.split()
    group = typer.main.get_command(app)
    assert verb in group.commands, f"no such command: {verb}"
    found = group.commands[verb]
    while words and words[0] in getattr(found, "commands", {}):  # a group of commands, such as models
        found = found.commands[words.pop(0)]
    known = {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][\w-]*(=.*)?", word)}
    assert given <= known


def test_enough_recipes_are_looked_at():
    assert len(RECIPES) >= 9


@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_every_recipe_begins_with_what_it_is_and_how_to_run_it(path: Path):
    text = header(path)
    assert len(text.splitlines()) >= 3, "begin the file with a comment"
    assert "speechgen " in text
    name = path.relative_to(REPOSITORY).as_posix()
    if not name.startswith("recipes/pipelines/"):
        assert f"speechgen train {name}" in text
