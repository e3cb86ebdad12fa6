"""Combinations of checkpoints that cannot work are refused before any weight is read."""

import json

import pytest

from speechgen.core import checkpoint
from speechgen.core.errors import UserError
from speechgen.core.types import MelSettings
from speechgen.pipeline import stages
from tests.tiny import MODELS, save_checkpoint, write_pipeline


@pytest.fixture
def folders(home, monkeypatch):
    """The tiny checkpoints by slot; reading weights is an error."""

    def refuse(*arguments):
        raise AssertionError("weights were read before the combination was accepted")

    monkeypatch.setattr(checkpoint, "load_file", refuse)
    return {slot: home / "checkpoints" / f"tiny-{slot}" for slot in MODELS}


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_four_checkpoints_that_fit_are_accepted(folders):
    assert stages.check(folders)["acoustic"].model == "e2_tts"


def test_a_checkpoint_in_the_wrong_slot_is_refused(folders):
    with pytest.raises(UserError, match="tiny-acoustic cannot be the vocoder: acoustic/e2_tts is not one of models/vocoders"):
        stages.check({**folders, "vocoder": folders["acoustic"]})


def test_a_vocoder_that_renders_no_mel_is_refused(folders):
    change(folders["vocoder"], accepts=["LinguisticFeatures"])
    with pytest.raises(UserError, match="tiny-vocoder renders LinguisticFeatures, but tiny-acoustic gives a Mel"):
        stages.check(folders)


@pytest.mark.parametrize("slot", ["semantic", "vocoder"])
def test_another_mel_is_refused_and_the_difference_named(folders, slot):
    change(folders[slot], mel={**MelSettings().model_dump(), "hop_samples": 300})
    with pytest.raises(UserError, match=f"tiny-{slot} and tiny-acoustic .*hop_samples 300 instead of 256"):
        stages.check(folders)


@pytest.mark.parametrize("slot", ["semantic", "acoustic"])
def test_tokens_of_another_tokenizer_are_refused(folders, slot):
    change(folders[slot], uses={"tokens": "0" * 16})
    with pytest.raises(UserError, match=f"tiny-{slot} was trained with tokens of checkpoint 0000000000000000"):
        stages.check(folders)


def test_a_checkpoint_that_does_not_name_its_tokenizer_is_refused(folders):
    change(folders["semantic"], uses={})
    with pytest.raises(UserError, match="does not say which tokenizer"):
        stages.check(folders)


def test_other_phoneme_symbols_are_refused(folders):
    change(folders["semantic"], vocabulary=["<pad>", "a"])
    with pytest.raises(UserError, match="2 phoneme symbols"):
        stages.check(folders)


def test_a_missing_checkpoint_is_named(folders, tmp_path):
    with pytest.raises(UserError, match="no checkpoint at .*nowhere"):
        stages.check({**folders, "tokenizer": tmp_path / "nowhere"})


def test_an_unknown_key_of_a_pipeline_names_its_nearest_match(home):
    path = write_pipeline(home, "odd")
    path.write_text(path.read_text() + "prompt_second: 3\n")
    with pytest.raises(UserError, match="did you mean 'prompt_seconds'"):
        stages.read_config(path)


def test_an_unknown_option_of_a_model_is_refused_before_weights_are_read(home, folders):
    path = write_pipeline(home, "odd")
    config = stages.read_config(path).model_copy(update={"acoustic": {"step": 3}})
    with pytest.raises(UserError, match="did you mean 'steps'"):
        stages.load_stages(config, lambda name: home / "checkpoints" / name, "cpu")


def test_the_wrong_vocoder_checkpoint_saved_with_another_mel_is_refused(home, folders):
    other = save_checkpoint(home / "checkpoints" / "eight", "vocos", mel=MelSettings(num_bins=80))
    with pytest.raises(UserError, match="num_bins 80 instead of 100"):
        stages.check({**folders, "vocoder": other})


def test_settings_of_a_pipeline_are_changed_by_name(home):
    path = home / "pipelines" / "tiny.yaml"
    changed = stages.read_config(path, ["acoustic.steps=3", "prompt_seconds=5"])
    assert changed.acoustic["steps"] == 3 and changed.prompt_seconds == 5
    with pytest.raises(UserError, match="prompt_second: unknown key"):
        stages.read_config(path, ["prompt_second=5"])
