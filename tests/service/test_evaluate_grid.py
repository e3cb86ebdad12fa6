"""A measurement repeated over settings: which combinations, what is refused before the first, and the table of all."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
import torch

from speechgen.cli.main import run
from speechgen.core.errors import UserError
from speechgen.core.random import generator
from speechgen.core.types import Latents
from speechgen.evaluation.grid import Cell, GridReport
from speechgen.pipeline.latent_stages import LatentStages
from speechgen.service.engine import Engine
from speechgen.service.evaluate_drift import measure_drift
from speechgen.service.evaluate_grid import combinations, measure_grid

TEXTS = ["The kitchen window looks out on a garden.", "Good morning.", "Nobody knew where the old road went."]


@dataclass(frozen=True)
class Figure:
    """A report of one number."""

    value: float
    settings: str = "all alike"

    def row(self):
        return {"value": f"{self.value:.1f}"}

    def to_json(self):
        return json.dumps({"value": self.value})


def test_all_combinations_are_taken_the_last_key_changing_fastest():
    assert combinations(["a.steps=2,4", "b=x, 0.5"]) == [
        {"a.steps": 2, "b": "x"},
        {"a.steps": 2, "b": 0.5},
        {"a.steps": 4, "b": "x"},
        {"a.steps": 4, "b": 0.5},
    ]
    assert combinations(["steps=[4, 1],[8]"]) == [{"steps": [4, 1]}, {"steps": [8]}]


@pytest.mark.parametrize("varied", ["steps", "steps=", "=2", "steps=[2", ""])
def test_what_names_no_values_is_refused(varied):
    with pytest.raises(UserError, match="write it as key=value,value"):
        combinations([varied])


def test_a_key_is_varied_once():
    with pytest.raises(UserError, match=r"a\.b is varied twice"):
        combinations(["a.b=1,2", "a.b=3"])


def test_a_table_names_keys_as_shortly_as_it_can():
    report = GridReport([Cell({"a.steps": 2, "a.noise": 0, "b.noise": 1}, Figure(0.25))])
    assert report.table().splitlines() == [
        "| steps | a.noise | b.noise | value |",
        "| --- | --- | --- | --- |",
        "| 2 | 0 | 1 | 0.2 |",
        "",
        "all alike",
    ]
    (cell,) = json.loads(report.to_json())["cells"]
    assert cell == {"values": {"a.steps": 2, "a.noise": 0, "b.noise": 1}, "report": {"value": 0.25}}


def test_every_combination_is_measured_with_its_settings_in_its_own_folder(home, tmp_path):
    """The options that reach the models are those of the combination, over those of all, over the pipeline's own."""
    told = []

    def measure(engine, folder, progress):
        progress(1, 2)
        assert folder is not None and folder.is_dir()
        options = engine.load("tiny").options().models
        return Figure(10 * options["acoustic"].steps + options["semantic"].temperature)

    grid = measure_grid(
        measure, "tiny", ["acoustic.steps=3,5", "semantic.temperature=0.5,1"], device="cpu",
        changes=["acoustic.steps=9"], save_to=tmp_path, progress=lambda *parts: told.append(parts),
    )  # fmt: skip
    reports = list(grid)
    assert [len(report.cells) for report in reports] == [1, 2, 3, 4]
    assert [cell.report.value for cell in reports[-1].cells] == [30.5, 31.0, 50.5, 51.0]
    assert told == [(1, 8), (3, 8), (5, 8), (7, 8)]
    assert (tmp_path / "acoustic.steps=3,semantic.temperature=0.5").is_dir()


@pytest.mark.parametrize(
    ("varied", "said"),
    [("acoustic.steps=4,0", "greater than or equal to 1"), ("acoustic.stps=4", "did you mean 'steps'"),
     ("checkpoints.vocoder=tiny-vocoder,nobody", "unknown checkpoint 'nobody'")],
)  # fmt: skip
def test_a_value_that_cannot_be_used_is_told_before_the_first_is_measured(home, varied, said):
    with pytest.raises(UserError, match=said):
        next(measure_grid(lambda *given: pytest.fail("measured"), "tiny", [varied], device="cpu"))


def test_eval_prints_one_table_of_a_pipeline_of_latents(latent_home, tmp_path, capsys):
    for package in ("pocketsphinx", "resemblyzer"):
        pytest.importorskip(package)
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("Good morning.\n")
    asked = ["eval", "--pipeline", "ardit", "--sentences", str(sentences), "--no-opinions", "--device", "cpu"]
    asked += ["--ref", str(latent_home / "voices" / "buzz.wav"), "--out", str(tmp_path / "out")]
    assert run([*asked, "--vary", "text_to_latents.block=1,2", "--vary", "text_to_latents.steps=1,3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = [head.strip() for head in lines[0].split("|")[1:-1]]
    assert heads[:2] == ["block", "steps"] and {"WER", "SIM", "RTF p50", "ended properly"} <= set(heads)
    assert [line[:9] for line in lines[2:6]] == ["| 1 | 1 |", "| 1 | 3 |", "| 2 | 1 |", "| 2 | 3 |"]
    assert all(line.endswith("| 1.000 |") for line in lines[2:6]), "a model of given lengths ends properly"
    assert (tmp_path / "out" / "report.md").read_text().splitlines() == lines
    assert len(list((tmp_path / "out").rglob("01.wav"))) == 4


def test_drift_is_that_of_what_the_model_makes(latent_home, repository, monkeypatch):
    """A stand-in for the model plays latents of recordings, as they are or further and further off."""
    engine = Engine("cpu")
    stages = engine.load("ditar").stages
    folder = repository / "app" / "examples"
    speed = 0.0

    def latents(self, task):
        assert task.options.models["text_to_latents"].shortest == task.options.models["text_to_latents"].longest == 1.0
        size = self.expected(task)
        played = self.autoencoder.encode(task.voice.timbre.mel).values
        picked = played[:, torch.randint(played.shape[1], (size,), generator=generator(task.piece.index))]
        return Latents(
            picked + speed * torch.arange(size)[None, :, None], picked.new_tensor([size]).long(), self.autoencoder.rate
        )

    monkeypatch.setattr(LatentStages, "latents", latents)
    references = sorted(folder.glob("*.flac"))

    def found():
        return measure_drift(engine, "ditar", folder, TEXTS, references, seconds=24.0)

    still = found()
    speed = 8.0 / (24 * stages.autoencoder.rate)
    moving = found()
    assert still.utterances == 3 and max(still.parts) < 2 * min(still.parts) + 0.1
    assert list(moving.parts) == sorted(moving.parts) and moving.growth > 5 * still.growth
