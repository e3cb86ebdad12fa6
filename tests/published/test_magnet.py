"""Import of published MAGNeT: the published code's logits and choices (golden/make_magnet.py), and files that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from speechgen.core.errors import UserError
from speechgen.core.random import generator
from speechgen.models.text_to_codes.magnet.generate import _Predictor, _Words
from speechgen.models.text_to_codes.magnet.model import MAGNeT
from speechgen.published import magnet
from speechgen.sampling.masked import Masking, decode_masked, span_passes
from tests.conftest import REPOSITORY

GOLDEN = load_file(REPOSITORY / "tests" / "golden" / "magnet.safetensors")
SETTINGS = {
    "dataset": {"segment_duration": 0.48},
    "masking": {"span_len": 3},
    "transformer_lm": {"num_heads": 2, "subcodes_context": 5},
    "conditioners": {"description": {"model": "t5", "t5": {"name": "t5-base"}}},
}
STEPS = (5, 3, 2)


def published() -> dict[str, Tensor]:
    return {key.removeprefix("state."): value for key, value in GOLDEN.items() if key.startswith("state.")}


def write(folder: Path, weights: dict[str, Tensor], settings: Any = SETTINGS, **more: Any) -> Path:
    content = {"best_state": weights, "xp.cfg": yaml.safe_dump(settings), "version": "1.3.0", "exported": True, **more}
    torch.save(content, folder / "state_dict.bin")  # noqa: TID251  as it is published
    return folder


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> MAGNeT:
    made = magnet.read(write(tmp_path_factory.mktemp("magnet"), published()))
    model = MAGNeT(made.config)
    model.load_state_dict(made.state, strict=True)
    return model.eval()


@pytest.fixture(scope="module")
def words(network) -> _Words:
    valid = GOLDEN["mask"].bool()
    with torch.no_grad():
        return _Words(network.read(GOLDEN["hidden"], valid), valid)


def test_sizes_come_from_shapes_and_the_rest_from_the_settings(network):
    config = network.config
    assert (config.num_codebooks, config.codebook_size, config.width, config.depth, config.num_heads) == (3, 12, 32, 2, 2)
    assert (config.max_frames, config.span, config.reach, config.ff_multiple, config.t5_width) == (24, 3, 5, 4, 20)
    assert config.text == "t5" and config.attend_padding and config.fixed_length and config.code_rate == 50


@pytest.mark.parametrize("stage", range(3))
def test_logits_are_the_published_ones(network, stage):
    """With and without a description, padding attended; at codebooks behind the first within five frames."""
    codes, valid = GOLDEN["codes"], GOLDEN["mask"].bool()
    wanted = torch.zeros_like(codes, dtype=torch.bool)
    wanted[:, stage] = True
    with torch.no_grad():
        made = network(GOLDEN["hidden"], valid, codes, torch.tensor([24, 24]), wanted, stage)
    torch.testing.assert_close(made, GOLDEN[f"logits.{stage}"].flatten(0, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("arrangement", ["nonoverlap", "stride1"])
@pytest.mark.parametrize("scoring", ["max", "prod"])
def test_the_choices_of_all_passes_are_the_published_ones(network, words, scoring, arrangement):
    """Temperature, guidance, what is masked again: without sampling, 10 passes end in the same codes.

    Spans that overlap are scored by all of their frames, whatever `scoring` says: both choose alike there, as published.
    """
    passes = [
        # What was published can choose the likeliest while scores keep their temperature.
        type(step)(step.level, step.share, 0.0, step.score_temperature, guidance=step.guidance)
        for step in span_passes(STEPS, temperature=3.0, most_guidance=9.0)
    ]
    codes, free = torch.zeros(1, 3, 24, dtype=torch.long), torch.ones(1, 24, dtype=torch.bool)
    masking = Masking(3, scoring, overlapping=arrangement == "stride1")
    with torch.no_grad():
        made = decode_masked(_Predictor(network, words), codes, free, passes, mask_id=12, masking=masking, rng=generator(0))
    assert torch.equal(made, GOLDEN[f"chosen.{scoring}.{arrangement}"])


def test_files_that_are_something_else_are_refused(tmp_path):
    weights = published()
    with pytest.raises(UserError, match="no MAGNeT has: strange.weight"):
        magnet.read(write(tmp_path, weights | {"strange.weight": torch.zeros(1)}))
    with pytest.raises(UserError, match="it lacks 'masking'"):
        magnet.read(write(tmp_path, weights, {"dataset": {"segment_duration": 10}}))
    with pytest.raises(UserError, match="no published MAGNeT"):
        magnet.read(write(tmp_path, {"emb.0.weight": torch.zeros(3, 4)}))
    with pytest.raises(UserError, match="no mapping"):
        magnet.read(write(tmp_path, weights, "text"))
    torch.save({"weights": weights}, tmp_path / "state_dict.bin")  # noqa: TID251
    with pytest.raises(UserError, match="no best_state"):
        magnet.read(tmp_path)
    (tmp_path / "state_dict.bin").write_bytes(b"nothing")
    with pytest.raises(UserError):
        magnet.read(tmp_path)


MUSIC = {"temp": 3.0, "top_p": 0.9, "max_cfg_coef": 10.0, "min_cfg_coef": 1.0, "decoding_steps": [60, 10, 10, 10]}
SOUND = {"sample_rate": 16000, "compression_model_checkpoint": "//reference/bd44a852/checkpoint.th"}


@pytest.mark.parametrize(
    ("settings", "wanted", "codec"),
    [
        ({}, (3.0, 0.9, 9.0, 0.0), None),
        ({"sample_rate": 32000, "generate": {"lm": MUSIC}}, (3.0, 0.9, 9.0, 0.0), None),
        (SOUND, (3.5, 0.8, 19.0, 0.0), "encodec-16khz"),
        ({"sample_rate": 16000, "compression_model_checkpoint": "//sig/0"}, (3.5, 0.8, 19.0, 0.0), "encodec-16khz"),
        (
            SOUND | {"generate": {"lm": {"temp": 2.5, "top_p": 0.0, "max_cfg_coef": 6, "min_cfg_coef": 2, "top_k": None}}},
            (2.5, 1.0, 5.0, 1.0),
            "encodec-16khz",
        ),
        ({"compression_model_checkpoint": "//pretrained/facebook/encodec_32khz"}, (3.0, 0.9, 9.0, 0.0), "encodec-32khz"),
    ],
    ids=["music", "music as published", "sound", "another name", "told", "pretrained"],
)
def test_how_it_is_sampled_and_its_codec_come_from_the_settings(settings, wanted, codec, tmp_path):
    made = magnet.read(write(tmp_path, published(), SETTINGS | settings))
    config = made.config
    assert (config.temperature, config.top_p, config.guidance, config.least_guidance) == wanted
    assert made.codec == codec and config.mode == "masked"
