"""Which room may import which, and that importing costs little and changes nothing."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROBE = Path(__file__).with_name("import_probe.py")
HEAVY = {"torch", "numpy", "pydantic", "matplotlib", "soundfile", "yaml", "rich.progress"}


def _python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True)


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    script = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return _python("-c", script, cwd=folder)


def test_contracts_hold(repository: Path):
    done = _lint(repository)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("core/errors.py", "import speechgen.nn.masks"),
        ("nn/masks.py", "import speechgen.audio.io"),
        ("models/vocoders/vocos/model.py", "import speechgen.models.acoustic.e2_tts.model"),
        ("models/vocoders/vocos/objective.py", "import speechgen.data.batching"),
        ("service/engine.py", "import speechgen.cli.main"),
        ("utils/__init__.py", "import json"),
        ("../app/__init__.py", "import speechgen.models.vocoders.vocos.model"),
    ],
)
def test_contracts_notice(repository: Path, tmp_path: Path, module: str, line: str):
    shutil.copy(repository / "pyproject.toml", tmp_path)
    for package in ("speechgen", "app"):
        shutil.copytree(repository / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "examples"))
    path = tmp_path / "speechgen" / module
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    done = _lint(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr


@pytest.mark.parametrize(("mode", "fewest"), [("all", 80), ("without_extras", 50)])
def test_importing_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, fewest: int):
    """In an empty folder that is also home, cache and place for temporary files."""
    for variable in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TMPDIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(variable, str(tmp_path))
    done = _python("-B", str(PROBE), mode, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["modules"] >= fewest
    assert report["failed"] == {}
    assert report["changed"] == {}


def test_importing_the_package_loads_nothing_heavy(tmp_path: Path):
    script = (
        "import sys, time; start = time.perf_counter(); import speechgen; seconds = time.perf_counter() - start;"
        f" print(seconds, *({HEAVY!r} & set(sys.modules)))"
    )
    runs = [_python("-c", script, cwd=tmp_path).stdout.split() for _ in range(3)]
    assert all(len(run) == 1 for run in runs), runs
    assert sorted(float(run[0]) for run in runs)[1] < 0.1


def test_help_is_quick(tmp_path: Path):
    """Best of three in processor seconds, so that other work on the machine does not count."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = _python("-m", "speechgen", "--help", cwd=tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0 and "synth" in done.stdout, done.stderr
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.5


def test_the_command_line_starts_without_heavy_libraries(tmp_path: Path):
    done = _python("-c", f"import sys, speechgen.cli.main; print(*({HEAVY!r} & set(sys.modules)))", cwd=tmp_path)
    assert done.stdout.split() == [], done.stderr
