"""What is at the top level, what a built wheel carries, and that it works where it is unpacked."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import soundfile

EXTRAS = {"app", "server", "train", "eval", "ray", "dev"}
FREE = {"CC0-1.0", "Public domain"}


@pytest.fixture(scope="module")
def site(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the built wheel was unpacked, as an installer does."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    done = subprocess.run(build, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def _run(site: Path, cwd: Path, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> subprocess.CompletedProcess[str]:
    monkeypatch.setenv("PYTHONPATH", str(site))
    return subprocess.run([sys.executable, "-P", *arguments], cwd=cwd, capture_output=True, text=True)


def test_the_top_level_is_as_designed(repository: Path):
    expected = {"pyproject.toml", "README.md", "LICENSE", "speechgen", "checkpoints", "recipes", "app", "tests"}
    present = {path.name: path for path in repository.iterdir() if not path.name.startswith(".")}
    assert expected <= set(present)
    others = [path for name, path in present.items() if name not in expected]  # runs and the like are nobody's business
    assert not [path for path in others if path.suffix in {".py", ".md", ".toml"} or any(path.glob("*.py"))]


def test_extras_are_the_designed_ones(repository: Path):
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert not EXTRAS - set(project["optional-dependencies"])
    pins = [requirement for requirement in project["dependencies"] if requirement.startswith("torch")]
    assert len(pins) == 2
    assert len({requirement.partition("==")[2] for requirement in pins}) == 1


def test_the_wheel_carries_every_module_recipe_checkpoint_and_voice(repository: Path, site: Path):
    carried = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    wanted = set()
    for folder, pattern, becomes in [
        ("speechgen", "**/*.py", "speechgen"),
        ("app", "**/*.py", "speechgen_app"),
        ("app", "examples/*", "speechgen_app"),
        ("recipes", "**/*.yaml", "speechgen_bundle/recipes"),
        ("checkpoints", "default-*/*", "speechgen_bundle/checkpoints"),
    ]:
        found = [path.relative_to(repository / folder) for path in (repository / folder).glob(pattern) if path.is_file()]
        assert found, f"nothing matches {folder}/{pattern}"
        wanted |= {f"{becomes}/{path.as_posix()}" for path in found}
    assert wanted <= carried
    assert not [name for name in carried if name.startswith(("tests/", "app/", "recipes/", "checkpoints/"))]


def test_the_wheel_declares_the_command(site: Path):
    (entry_points,) = site.glob("*.dist-info/entry_points.txt")
    assert "speechgen = speechgen.cli.main:main" in entry_points.read_text(encoding="utf-8")


def test_an_unpacked_wheel_finds_its_own_files(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script = (
        "import json; from speechgen.service import catalog as c; print(json.dumps([str(v.path) for v in c.voices().values()]"
        " + [str(p) for p in [*c.pipelines().values(), *c.checkpoints().values()]]))"
    )
    done = _run(site, tmp_path, "-c", script, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    paths = json.loads(done.stdout)
    assert len(paths) >= 3 + 1 + 4
    assert all(Path(path).is_relative_to(site) for path in paths)


def test_an_unpacked_wheel_lists_the_pipelines_that_it_can_load_and_says_what_others_lack(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    script = (
        "from speechgen.service import catalog; from speechgen.service.engine import Engine; engine = Engine('cpu');"
        "print(*catalog.pipelines()); [engine.check(name) for name in catalog.pipelines()]; engine.check('soundstorm')"
    )
    done = _run(site, tmp_path, "-c", script, monkeypatch=monkeypatch)
    assert done.stdout.split() == ["default"], done.stderr
    assert "pipeline soundstorm needs soundstorm-small and mel-codec-small, not installed" in done.stderr.splitlines()[-1]
    assert len(list((site / "speechgen_bundle" / "recipes" / "pipelines").glob("*.yaml"))) >= 4


def test_an_unpacked_wheel_speaks_from_any_directory(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    arguments = ("-m", "speechgen", "synth", "--text", "Good morning.", "-o", "out.wav", "--json", "--device", "cpu")
    done = _run(site, tmp_path, *arguments, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sample_rate"] == 24000
    assert soundfile.info(tmp_path / "out.wav").duration > 0.3


def test_example_voices_are_free_and_described(repository: Path):
    folder = repository / "app" / "examples"
    voices = json.loads((folder / "voices.json").read_text(encoding="utf-8"))
    assert len(voices) >= 3
    assert {voice["file"] for voice in voices.values()} == {path.name for path in folder.glob("*.flac")}
    page = (folder / "README.md").read_text(encoding="utf-8")
    for name, voice in voices.items():
        info = soundfile.info(folder / voice["file"])
        assert (info.samplerate, info.channels) == (24000, 1)
        assert 4 <= info.duration <= 8
        assert voice["licence"] in FREE
        assert f"`{name}`" in page and voice["text"] in page


def test_no_pickled_weights_are_in_the_repository(repository: Path):
    unsafe = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".npy"}
    folders = ("speechgen", "app", "recipes", "checkpoints", "tests")
    files = [path for folder in folders for path in (repository / folder).rglob("*") if path.is_file()]
    assert len(files) >= 100
    assert not [path for path in files if path.suffix in unsafe]
