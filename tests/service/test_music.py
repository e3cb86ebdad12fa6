"""Music: what is asked, what comes out, lists of prompts, and what cannot be used."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch

import speechgen
from speechgen.audio.loudness import integrated_loudness
from speechgen.cli.main import run
from speechgen.core.errors import UserError
from speechgen.service import music
from speechgen.service.batch import run_batch
from speechgen.service.engine import Engine
from speechgen.service.jobs import JobCancelled
from speechgen.service.lists import RowsError
from speechgen.service.manifest import Manifest
from speechgen.service.music_rows import read_music_rows
from speechgen.service.requests import MusicRequest
from speechgen.text.captions import LONGEST_WORDS
from tests.killing import finished_when_killed
from tests.music import RATE, counting_maker
from tests.tiny import make_music


@pytest.fixture(scope="session")
def music_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a tiny model and its codec, made once; tests must not change it."""
    return make_music(tmp_path_factory.mktemp("music") / "home")


@pytest.fixture
def installed(music_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that a test may damage, set as $SPEECHGEN_HOME."""
    home = Path(shutil.copytree(music_home, tmp_path / "home"))
    monkeypatch.setenv("SPEECHGEN_HOME", str(home))
    return home


@pytest.fixture
def maker(installed, monkeypatch):
    """Stands for every checkpoint."""
    found = counting_maker()
    monkeypatch.setattr(music, "load_maker", lambda name, device: found)
    return found


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compose(**content):
    return Engine("cpu").compose(MusicRequest.checked({"prompt": "a bell", "seed": 3, **content}))


@pytest.mark.parametrize("duration", [0.5, 2.0, 2.013, 7.0])
def test_a_piece_has_its_length_loudness_and_provenance(duration, maker, tmp_path):
    result = compose(duration=duration)
    assert len(result.samples) == round(duration * RATE) and result.rate == RATE
    assert integrated_loudness(result.samples, RATE) == pytest.approx(-14, abs=0.6)
    assert (result.seed, result.pipeline) == (3, "counting") and "synthetic music" in result.provenance
    assert torch.equal(result.samples, compose(duration=duration).samples)
    assert soundfile.info(result.save(tmp_path / "a.flac")).duration == pytest.approx(duration, abs=1e-3)


def test_overlap_is_what_a_window_takes_over(maker):
    compose(duration=3.0, overlap=1.0)  # a window is 2 s
    assert maker.stages.model.asked == [("a bell", 0, 100), ("a bell", 50, 50)]
    with pytest.raises(UserError, match="leaves nothing of the 2 s"):
        compose(duration=3.0, overlap=2.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": " … !"}, "the prompt is empty"),
        ({"prompt": "bell " * 1000}, "5000 characters: give 1000 at most"),
        ({"duration": 0}, "duration"),
        ({"duration": 10_000}, "600"),
        ({"duration": float("nan")}, "duration"),
        ({"temperature": 99}, "temperature"),
        ({"guidance": 3.0}, "guidance"),
    ],
)
def test_what_cannot_be_used_is_refused(content, message, maker):
    with pytest.raises(UserError, match=message):
        compose(**content)
    assert not maker.stages.model.asked


def test_rows_have_prompts_seeds_and_counts_of_their_own(installed, here):
    (here / "a.csv").write_text('prompt,duration,seed,count,out\na bell,1.5,4,3,bells/b.flac\n"a drum, low",,,,\n')
    (here / "a.jsonl").write_text(
        '{"prompt": "a bell", "duration": 1.5, "seed": 4, "count": 3, "out": "bells/b.flac"}\n{"prompt": "a drum, low"}\n'
    )
    rows, same = (read_music_rows(here / name, here / "out", {"duration": 2.0}) for name in ("a.csv", "a.jsonl"))
    assert [row.digest for row in rows] == [row.digest for row in same]
    assert [row.path for row in rows] == ["bells/b-1.flac", "bells/b-2.flac", "bells/b-3.flac", "0002.wav"]
    assert [row.number for row in rows] == [1, 2, 3, 4] and [row.line for row in rows] == [2, 2, 2, 3]
    seeds = [row.request.seed for row in rows]
    assert seeds[0] == 4 and len(set(seeds)) == 4 and seeds[3] is None
    assert [row.request.duration for row in rows] == [1.5, 1.5, 1.5, 2.0]


def test_every_fault_of_a_list_is_told_with_its_line(installed, here):
    lines = [
        "prompt,duration,count,model,out",
        "a bell,1,1,tiny-music,",
        ",1,1,,",
        "a bell,0,1,,",
        "a bell,soon,1,,",
        "a bell,10000,1,,",
        "a bell,1,0,,",
        "b,1,x,,",
        "a bell,1,1,tiny-musik,",
        "a bell,1,1,tiny-codec,",
        "a bell,1,1,,.",
        "a bell,1,2,,..",
    ]
    (here / "a.csv").write_text("\n".join(lines))
    with pytest.raises(RowsError) as caught:
        read_music_rows(here / "a.csv", here / "out", {})
    said = {fault.partition(":")[0]: fault for fault in caught.value.faults}
    assert list(said) == [f"line {number}" for number in range(3, 13)]
    expected = ("prompt", "duration", "valid number", "600", "count '0'", "count 'x'", "did you mean 'tiny-music'")
    expected += ("unknown model of music", "out '.' is no name", "out '..' is no name")
    assert all(word in fault for word, fault in zip(expected, said.values(), strict=True))


@pytest.mark.parametrize(
    ("content", "message"),
    [("prompt,durration\na,1\n", "did you mean 'duration'"), ("duration\n1\n", "prompt among them"), ("prompt\n", "no rows")],
)
def test_a_list_that_makes_no_sense_is_refused(content, message, here, capsys):
    (here / "a.csv").write_text(content)
    assert run(["music", "--prompts", "a.csv", "--out-dir", "out"]) == 2
    assert message in capsys.readouterr().err
    assert not (here / "out").exists()


def test_a_batch_goes_on_after_a_failed_row_and_is_resumed(maker, here):
    (here / "a.csv").write_text("prompt,seed\na bell,1\nthis cannot be,2\na drum,3\n")
    rows = read_music_rows(here / "a.csv", here / "out", {"duration": 1.0})
    report = run_batch(rows, here / "out", device="cpu")
    assert report.spoken == 2 and [entry["error"] for entry in report.failed] == ["this one cannot be made"]
    asked = len(maker.stages.model.asked)
    again = run_batch(rows, here / "out", device="cpu", resume=True)
    assert (again.spoken, again.skipped, len(again.failed)) == (0, 2, 1) and len(maker.stages.model.asked) == asked
    assert {entry["seconds"] for entry in Manifest(here / "out").entries() if "sha256" in entry} == {1.0}


def test_a_model_that_cannot_be_loaded_fails_its_own_rows_alone(maker, installed, here, monkeypatch):
    shutil.copytree(installed / "checkpoints" / "tiny-music", installed / "checkpoints" / "torn")
    tried = []

    def load(name, device):
        tried.append(name)
        if name == "torn":
            raise UserError("torn is damaged")
        return maker

    monkeypatch.setattr(music, "load_maker", load)
    (here / "a.csv").write_text("prompt,model\na bell,torn\na drum,tiny-music\nrain,torn\n")
    rows = read_music_rows(here / "a.csv", here / "out", {"duration": 1.0})
    report = run_batch(rows, here / "out", device="cpu")
    assert report.spoken == 1 and tried == ["torn", "tiny-music"]
    assert [(entry["row"], entry["error"]) for entry in report.failed] == [(1, "torn is damaged"), (3, "torn is damaged")]
    with pytest.raises(UserError, match="torn is damaged"):
        run_batch(rows[::2], here / "none", device="cpu")


def test_what_another_model_codec_or_version_made_is_not_finished(maker, installed, here, monkeypatch):
    monkeypatch.setattr(music, "stages_for", lambda maker, options, load: maker.stages)
    monkeypatch.setattr(MusicRequest, "model_options", lambda request: {})
    shutil.copytree(installed / "checkpoints" / "tiny-music", installed / "checkpoints" / "other")
    (here / "a.csv").write_text("prompt,seed,model\na bell,1,tiny-music\n")

    def made():
        rows = read_music_rows(here / "a.csv", here / "out", {"duration": 1.0, "options": {"rescorer": "other"}})
        return run_batch(rows, here / "out", device="cpu", resume=True).spoken

    assert [made(), made()] == [1, 0]
    for name in ("tiny-music", "tiny-codec", "other"):
        path = installed / "checkpoints" / name / "config.json"
        path.write_text(path.read_text() + "\n")
        assert [made(), made()] == [1, 0], name
    monkeypatch.setattr(speechgen, "__version__", "99")
    assert [made(), made()] == [1, 0]


def test_a_batch_that_is_stopped_leaves_the_piece_that_is_being_made(maker, installed, here):
    (here / "a.csv").write_text("prompt\na bell\na drum\nrain\n")
    rows = read_music_rows(here / "a.csv", here / "out", {"duration": 1.0})
    told = []

    def stop(done, total):
        told.append((done, total))
        if done > 100:
            raise JobCancelled("stopped")

    with pytest.raises(JobCancelled):
        run_batch(rows, here / "out", device="cpu", progress=stop)
    assert told[0] == (50, 300) and (100, 300) in told and told[-1] == (150, 300)
    assert [entry["path"] for entry in Manifest(here / "out").entries()] == ["0001.wav"]
    assert sorted(path.name for path in (here / "out").iterdir()) == ["0001.wav", "manifest.jsonl"]


def test_a_prompt_of_more_words_than_are_read_is_warned_of(installed, here, capsys):
    long = "bell " * (LONGEST_WORDS + 6)
    assert compose(prompt="bell " * LONGEST_WORDS, duration=0.5, steps=1).warnings == ()
    (warning,) = compose(prompt=long, duration=0.5, steps=1).warnings
    assert "70 words, of which tiny-music has read the first 64" in warning
    assert run(["music", "--prompt", long, "--duration", "0.5", "--steps", "1", "-o", "a.wav"]) == 0
    assert warning in capsys.readouterr().err


def test_the_command_makes_one_or_many(maker, here, capsys):
    assert run(["music", "--prompt", "a bell", "--duration", "1", "--seed", "5", "-o", "bell.ogg", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["path"], told["seconds"], told["seed"]) == ("bell.ogg", 1.0, 5) and (here / "bell.ogg").is_file()
    many = ["music", "--prompt", "a bell", "--duration", "1", "--count", "3", "--out-dir", "bells"]
    assert run(many) == 0 and "3 made, 0 skipped, 0 failed" in capsys.readouterr().out
    assert run(many) == 2 and "--resume" in capsys.readouterr().err
    (here / "a.csv").write_text("prompt\na bell\nthis cannot be\n")
    assert run(["music", "--prompts", "a.csv", "--duration", "1", "--out-dir", "list"]) == 1
    printed = capsys.readouterr()
    assert "row 2 (0002.wav): this one cannot be made" in printed.err and "1 made, 0 skipped, 1 failed" in printed.out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "either --prompt TEXT or --prompts FILE"),
        (["--prompt", "a", "--prompts", "b.csv"], "either --prompt"),
        (["--prompt", "a bell", "--count", "2"], "--out-dir"),
        (["--prompt", "a bell", "--count", "0", "--out-dir", "out"], "count 0"),
        (["--prompt", "a bell", "-o", "a.xyz"], "formats are"),
        (["--prompt", "", "-o", "a.wav"], "the prompt is empty"),
        (["--prompts", "none.csv", "--out-dir", "out"], "none.csv"),
        (["--prompt", "a bell", "--set", "rescoring", "-o", "a.wav"], "rescoring"),
    ],
)
def test_bad_commands_are_one_line(given, message, here, capsys):
    assert run(["music", *given]) == 2
    printed = capsys.readouterr().err
    assert message in printed and len(printed.splitlines()) == 1


def test_without_a_model_that_is_said_in_one_line(here, capsys, monkeypatch):
    monkeypatch.setattr(music, "models", list)
    assert run(["music", "--prompt", "a bell"]) == 2
    printed = capsys.readouterr().err
    assert "no model that makes music is installed" in printed and len(printed.splitlines()) == 1


def test_any_option_of_the_model_can_be_set(installed, here, capsys):
    asked = ["music", "--prompt", "a bell", "--duration", "0.5", "--steps", "2", "--seed", "1"]
    assert run([*asked, "-o", "plain.wav"]) == 0
    assert run([*asked, "--set", "fine_steps=1", "--set", "scoring=prod", "-o", "set.wav"]) == 0
    assert Path("plain.wav").read_bytes() != Path("set.wav").read_bytes()
    assert run([*asked, "--set", "wings=2", "-o", "no.wav"]) == 2
    assert "wings" in capsys.readouterr().err and not Path("no.wav").exists()


def test_the_installed_model_is_found_and_goes_on_beyond_its_window(installed):
    made = compose(duration=2.0, steps=2, temperature=1.0)  # its window lasts 0.85 s
    assert made.pipeline == "tiny-music" and len(made.samples) == 2 * RATE and made.samples.isfinite().all()
    assert torch.equal(made.samples, compose(duration=2.0, steps=2, temperature=1.0, model="tiny-music").samples)
    assert not torch.equal(made.samples, compose(duration=2.0, steps=2, temperature=1.0, prompt="a drum").samples)


def test_a_model_without_its_codec_is_refused_by_identity(installed):
    config = installed / "checkpoints" / "tiny-music" / "config.json"
    content = json.loads(config.read_text())
    content["uses"]["codes"] = "encodec-00000000"
    config.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"codec encodec-00000000, which is not installed.*tiny-codec \(encodec-"):
        compose()
    with pytest.raises(UserError, match="did you mean 'tiny-music'|unknown model of music"):
        compose(model="tiny-codec")
    shutil.rmtree(installed / "checkpoints" / "tiny-codec")
    with pytest.raises(UserError, match="which is not installed") as refused:
        compose()
    assert "tiny-codec" not in str(refused.value)


def rows_of(here: Path, *prompts: str) -> list:
    (here / "a.jsonl").write_text("".join(json.dumps({"prompt": prompt, "seed": 1}) + "\n" for prompt in prompts))
    return read_music_rows(here / "a.jsonl", here / "out", {"duration": 1.5, "steps": 2})


@pytest.mark.parametrize("way", [{"jobs": 2}, pytest.param({"jobs": 2, "engine": "ray"}, marks=pytest.mark.slow)])
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # Ray warns of itself
def test_several_workers_write_the_same_files(way, installed, here):
    if "engine" in way:
        pytest.importorskip("ray")
    rows = rows_of(here, "a bell", "a drum", "rain")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run_batch(rows, here / "one", device="cpu")
        assert run_batch(rows, here / "two", device="cpu", **way).spoken == 3
    finally:
        torch.set_num_threads(threads)
    for row in rows:
        assert (here / "one" / row.path).read_bytes() == (here / "two" / row.path).read_bytes()


@pytest.mark.timeout(120)
def test_a_list_killed_at_any_moment_goes_on_with_nothing_lost_and_nothing_twice(installed, here):
    rows = rows_of(here, *(f"a bell, number {number}" for number in range(1, 11)))
    command = [sys.executable, "-m", "speechgen", "music", "--prompts", "a.jsonl", "--duration", "1.5", "--steps", "2"]
    command += ["--device", "cpu", "--out-dir", "out", "-q", "--resume"]
    wanted, environment = random.randint(1, 8), {**os.environ, "OMP_NUM_THREADS": "1"}
    kept = finished_when_killed(command, here / "out", wanted, environment)
    assert len(kept) >= wanted
    assert subprocess.run(command, env=environment).returncode == 0
    entries = Manifest(here / "out").entries()
    assert sorted(entry["row"] for entry in entries) == list(range(1, 11))
    assert all(kept[entry["row"]] == entry for entry in entries if entry["row"] in kept), "finished rows are not made again"
    assert sorted(file.name for file in (here / "out").iterdir()) == sorted([*(row.path for row in rows), "manifest.jsonl"])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run_batch(rows, here / "whole", device="cpu")
    finally:
        torch.set_num_threads(threads)
    for row in rows:
        assert (here / "whole" / row.path).read_bytes() == (here / "out" / row.path).read_bytes()
