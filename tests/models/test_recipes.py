"""Every recipe loads strictly and fits its objective; every smoke recipe trains, saves, resumes and generates."""

from __future__ import annotations

import re
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from lhotse import CutSet, MonoCut, SupervisionSegment
from safetensors.torch import load_file

from speechgen.audio.spectrogram import log_mel
from speechgen.core import checkpoint, registry
from speechgen.core.errors import UserError
from speechgen.core.protocols import Objective
from speechgen.core.random import mix
from speechgen.data.features import FeatureWriter
from speechgen.training.optim import check_parts
from speechgen.training.recipe import LoadedRecipe, load_recipe
from speechgen.training.run import train
from tests.conftest import REPOSITORY
from tests.models.systems import CODEBOOKS, CODES, LATENT_RATE, LATENT_WIDTH, MEL, NUM_TOKENS, TOKEN_RATE, System
from tests.tiny import RATE, voice_like

FOLDER = REPOSITORY / "recipes"
RECIPES = {str(path.relative_to(FOLDER)): path for path in sorted(FOLDER.rglob("*.yaml")) if path.parent.name != "pipelines"}
SMOKE = {path.stem: path for path in sorted((FOLDER / "smoke").glob("*.yaml"))}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six utterances of two speakers with every feature."""
    folder = tmp_path_factory.mktemp("prepared")
    kinds = ("audio", "mel", "phonemes", "characters", "tokens", "labels", "pitch", "latents")
    producers = {"tokens": {"tokenizer": "f0"}, "mel": {"mel": MEL.model_dump()}}
    producers["latents"] = {"autoencoder": "f1", "rate": LATENT_RATE}
    writers = {kind: FeatureWriter(folder, kind, producers.get(kind, {"made": "f0"})) for kind in kinds}
    writers["codes"] = FeatureWriter(folder, "codes", {"codec": "f1", "rate": TOKEN_RATE})
    for writer in writers.values():
        writer.__enter__()
    cuts = []
    for index in range(6):
        name, samples = f"u{index}", voice_like(0.7 + 0.1 * index, seed=index, pitch=100.0 + 20 * index)
        mel = log_mel(samples[None], MEL)[0].numpy()
        size = -(-len(mel) // 2)
        rng = np.random.default_rng(index)
        writers["audio"].add(name, (samples * 32767).numpy().astype(np.int16))
        writers["mel"].add(name, mel)
        writers["pitch"].add(name, np.where(rng.random(len(mel)) < 0.5, 100.0 + 20 * index, 0.0))
        writers["phonemes"].add(name, np.array([1, *rng.integers(18, 60, 6), 2]))
        writers["characters"].add(name, np.array([ord(letter) for letter in "five, six"]))
        writers["tokens"].add(name, rng.integers(0, NUM_TOKENS, size))
        writers["latents"].add(name, rng.standard_normal((-(-len(mel) // 4), LATENT_WIDTH)))
        writers["labels"].add(name, rng.integers(18, 60, size))
        writers["codes"].add(name, rng.integers(0, CODES, (size, CODEBOOKS)))
        seconds = len(samples) / RATE
        spoken = SupervisionSegment(name, name, 0.0, seconds, text="a", speaker=f"s{index % 2}", language="en-us")
        cuts.append(MonoCut(name, 0.0, seconds, 0, supervisions=[spoken]))
    for writer in writers.values():
        writer.__exit__(None, None, None)
    CutSet.from_cuts(cuts).to_file(folder / "cuts.jsonl.gz")
    return folder


def run(loaded: LoadedRecipe, prepared: Path, out: Path):
    return train(
        loaded, data_folders=[prepared], validation_folders=[prepared], out=out, device="cpu", resume="auto", progress="none"
    )


@cache
def configured(path: Path) -> tuple[LoadedRecipe, Objective]:
    """A recipe and its objective, of which there are sizes alone: the largest have gigabytes."""
    loaded = load_recipe(path)
    with torch.device("meta"):
        return loaded, loaded.spec.objective(loaded.spec.build(loaded.config), loaded.config, loaded.objective_config)


def header(path: Path) -> str:
    return "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#"))


def test_enough_recipes_are_found():
    assert len(RECIPES) >= 9
    assert set(SMOKE) == set(registry.names()), "every model has a smoke recipe of its name"


@pytest.mark.parametrize("path", RECIPES.values(), ids=RECIPES)
def test_every_recipe_loads_strictly_and_configures_every_part_of_its_objective(path):
    loaded, objective = configured(path)
    check_parts(loaded.recipe.optim, objective.parts)
    assert path.parent.name in ("smoke", loaded.spec.role)


@pytest.mark.parametrize("path", RECIPES.values(), ids=RECIPES)
def test_what_a_header_prepares_is_what_is_trained_on(path):
    """What it does not prepare comes from another recipe; a reference is another utterance's feature."""
    text = header(path)
    wanted = {field for field in configured(path)[1].fields if not field.startswith("reference")}
    for line in re.findall(r"speechgen prepare .*", text):
        (out,) = re.findall(r"--out (\S+)", line)
        if re.search(rf"speechgen train .*--data {re.escape(out)}\b", text):
            told = re.findall(rf"--out {re.escape(out)} .*?--features (\S+)", text)
            made = {"audio"}.union(*(each.split(",") for each in told))
            assert wanted <= made, f"{line} lacks {sorted(wanted - made)}"


@pytest.mark.parametrize("name", [name for name in RECIPES if name.endswith("_small.yaml")])
def test_a_header_that_tells_the_number_of_parameters_is_right(name):
    parameters = configured(RECIPES[name])[1].parts["network"].parameters()
    found = sum(value.numel() for value in parameters) / 1e6
    for number in re.findall(r"\(([\d.]+) M parameters", header(RECIPES[name])):
        assert f"{found:.{len(number.partition('.')[2])}f}" == number


def test_the_small_codec_has_the_codebooks_of_a_small_codec():
    assert 4 <= load_recipe(RECIPES["codecs/encodec_small.yaml"]).config.num_codebooks <= 8


@pytest.mark.parametrize("path", RECIPES.values(), ids=RECIPES)
def test_a_misspelt_key_in_any_section_names_the_nearest(path):
    loaded = load_recipe(path)
    setting = next(iter(loaded.spec.config.model_fields))
    for override, meant in {
        f"model.config.{setting}x=1": setting,
        "optim.network.learning_rat=1": "learning_rate",
        "trainer.step=1": "steps",
        "data.batch_second=1": "batch_seconds",
    }.items():
        with pytest.raises(UserError, match=f"did you mean '{meant}'"):
            load_recipe(path, [override])


@pytest.mark.parametrize("name", SMOKE)
def test_a_smoke_recipe_trains_saves_resumes_and_generates(name, prepared, tmp_path):
    """An interrupted run ends with the weights of an uninterrupted one, and they generate; all in less than 20 s."""
    started = time.monotonic()
    loaded = load_recipe(SMOKE[name])
    steps = loaded.recipe.trainer.steps
    assert 3 <= steps <= 6
    whole = run(loaded, prepared, tmp_path / "whole")
    run(load_recipe(SMOKE[name], [f"trainer.steps={steps // 2}"]), prepared, tmp_path / "parts")
    resumed = run(loaded, prepared, tmp_path / "parts")
    assert whole.fit.step == resumed.fit.step == steps and whole.fit.skipped == 0
    assert whole.fit.metrics == resumed.fit.metrics
    first, second = (load_file(tmp_path / out / "last" / "model.safetensors") for out in ("whole", "parts"))
    assert all(torch.equal(value, second[key]) for key, value in first.items())

    made = checkpoint.load(tmp_path / "whole" / "checkpoint")
    assert made.info.model == name and made.info.mel == MEL
    fields = made.spec.objective(made.network, made.config, made.spec.objective_config.tiny()).fields
    makers = {"tokens": "f0", "codes": "f1", "latents": "f1"}
    assert made.info.uses == {kind: maker for kind, maker in makers.items() if kind in fields}
    assert System(name, made.spec, made.config, made.network).generate().numel() > 0
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("name", SMOKE)
def test_training_moves_every_matrix(name, prepared, tmp_path):
    """Nothing that its objective lets learn is left out of the optimiser."""
    loaded = load_recipe(SMOKE[name], ["trainer.ema_decay=0", "trainer.steps=3"])
    torch.manual_seed(mix(loaded.recipe.trainer.seed, "weights"))  # as a run does
    before = loaded.spec.build(loaded.config)
    loaded.spec.objective(before, loaded.config, loaded.objective_config)  # a part that it keeps needs no gradient
    run(loaded, prepared, tmp_path)
    after = checkpoint.load(tmp_path / "last").network.state_dict()
    learnt = {key: value for key, value in before.named_parameters() if value.ndim > 1 and value.requires_grad}
    matrices = {key: value.half().float() for key, value in learnt.items()}
    assert [key for key, value in matrices.items() if torch.equal(value, after[key])] == []


def test_the_tokenizer_learns_from_frame_labels_too(prepared, tmp_path):
    run(load_recipe(SMOKE["wav2vec2_kmeans"], ["objective.target=labels"]), prepared, tmp_path)
    assert (tmp_path / "checkpoint" / "model.safetensors").is_file()


def test_gan_tts_learns_from_phones_and_pitch_too(prepared, tmp_path):
    """Its checkpoint then says that it renders no mels."""
    settings = ["model.config.conditioning=linguistic", "model.config.num_features=459"]
    run(load_recipe(SMOKE["gan_tts"], settings), prepared, tmp_path)
    assert checkpoint.read_info(tmp_path / "checkpoint").accepts == ("LinguisticFeatures",)


def test_ardit_is_distilled_from_its_teacher_and_a_resumed_run_finds_it_again(prepared, tmp_path):
    """An interrupted run ends with the weights of an uninterrupted one, though the teacher is given to its first half alone."""
    run(load_recipe(SMOKE["ardit"], ["trainer.steps=3"]), prepared, tmp_path / "teacher")
    settings = ["objective.distill=true", "objective.teacher_steps=2", "objective.teacher_guidance=1.0"]
    settings += ["objective.regression_every=2", "optim.critic.learning_rate=0.001"]

    def distil(steps: int, out: str, init: Path | None):
        loaded = load_recipe(SMOKE["ardit"], [*settings, f"trainer.steps={steps}"])
        folders = {"data_folders": [prepared], "validation_folders": [prepared]}
        train(loaded, out=tmp_path / out, device="cpu", init=init, resume="auto", progress="none", **folders)
        return load_file(tmp_path / out / "last" / "model.safetensors")

    teacher = tmp_path / "teacher" / "checkpoint"
    whole = distil(4, "whole", teacher)
    distil(2, "parts", teacher)
    resumed = distil(4, "parts", None)
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())
    taught = load_file(teacher / "model.safetensors")
    assert whole.keys() == taught.keys() and any(not torch.equal(value, taught[key]) for key, value in whole.items())
    made = checkpoint.load(tmp_path / "whole" / "checkpoint")
    assert System("ardit", made.spec, made.config, made.network).generate().isfinite().all()


@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [
        ("e2_tts", "num_heads=3", "width 16 does not split into 3 heads"),
        ("e2_tts", "width=24", "divisible by groups"),
        ("token_transducer", "kernel=4", "kernel must be odd, got 4"),
        ("wav2vec2_kmeans", "kernel=4", "kernel must be odd, got 4"),
    ],
)
def test_sizes_that_do_not_fit_together_are_one_clear_line(name, setting, said, prepared, tmp_path):
    with pytest.raises(UserError, match=f"model.config does not fit together: .*{said}"):
        run(load_recipe(SMOKE[name], [f"model.config.{setting}"]), prepared, tmp_path)


def test_a_checkpoint_says_the_mel_its_model_was_configured_with(prepared, tmp_path):
    run(load_recipe(SMOKE["vocos"], ["model.config.mel.floor=1e-6", "trainer.steps=2"]), prepared, tmp_path)
    assert checkpoint.read_info(tmp_path / "checkpoint").mel == MEL.model_copy(update={"floor": 1e-6})


@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [
        ("e2_tts", "num_tokens=7", "num_tokens is 7, but the data has tokens for 8: set it to 8"),
        ("token_transducer", "num_tokens=7", "num_tokens is 7"),
        ("token_transducer", "vocabulary_size=40", "vocabulary_size is 40, but the data has phonemes for"),
        ("wav2vec2_kmeans", "vocabulary_size=40", "vocabulary_size is 40"),
        ("e2_tts", "mel.floor=1e-6", "floor=1e-06, but the data was prepared with"),
        ("vocos", "mel.sample_rate=22050", "sample_rate is 22050, but prepared audio has 24000"),
    ],
)
def test_a_network_that_is_not_of_the_sizes_of_the_data_is_refused(name, setting, said, prepared, tmp_path):
    """An id one past the tokens would pass for the filler; a mel called another would be joined to the wrong vocoder."""
    with pytest.raises(UserError, match=said):
        run(load_recipe(SMOKE[name], [f"model.config.{setting}"]), prepared, tmp_path)
