"""Published WaveGrad weights predict what the published code predicts (golden file, see golden/make_wavegrad.py)."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from speechgen.audio.spectrogram import log_mel
from speechgen.core.errors import UserError
from speechgen.models.vocoders.wavegrad.config import WaveGradConfig
from speechgen.models.vocoders.wavegrad.model import WaveGrad
from speechgen.published.wavegrad import convert, infer_config, read
from tests.conftest import REPOSITORY

GOLDEN = REPOSITORY / "tests" / "golden" / "wavegrad.safetensors"
FAMILIES = ("lmnt", "ivanvovk")


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN)


def settings_of(family: str) -> dict[str, Any]:
    """What the implementation's own files say beside the weights."""
    if family == "lmnt":
        return {"sample_rate": 24000, "hop_samples": 300}
    with safe_open(GOLDEN, "pt") as file:
        found: dict[str, Any] = json.loads(file.metadata()["ivanvovk"])
    return found


def state_of(golden: dict[str, torch.Tensor], family: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(f"{family}.state."): v for k, v in golden.items() if k.startswith(f"{family}.state.")}


def predicted(golden: dict[str, torch.Tensor], family: str, **changed: Any) -> torch.Tensor:
    """What our network predicts with the published weights, perhaps with another configuration."""
    state = state_of(golden, family)
    config = infer_config(state, settings_of(family)).model_copy(update=changed)
    network = WaveGrad(config)
    network.load_state_dict(convert(state), strict=True)
    low, high = config.mel_range
    mel = golden[f"{family}.mel"].transpose(1, 2) * (high - low) + low  # our carrier: natural logarithms
    with torch.no_grad():
        return network(golden[f"{family}.noisy"], mel.expand(2, -1, -1), golden[f"{family}.level"])


@pytest.mark.parametrize("family", FAMILIES)
def test_published_weights_predict_the_same_noise(golden, family):
    expected = golden[f"{family}.noise"]
    torch.testing.assert_close(predicted(golden, family), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("family", "changed"),
    [
        ("lmnt", {"level_scale": 5000.0}),
        ("lmnt", {"upsampling": "linear"}),
        ("lmnt", {"downsampling": "strided"}),
        ("lmnt", {"up_dilations": WaveGradConfig().up_dilations}),
        ("ivanvovk", {"level_scale": 1.0}),
        ("ivanvovk", {"upsampling": "nearest"}),
        ("ivanvovk", {"downsampling": "nearest"}),
        ("ivanvovk", {"up_dilations": ((1, 2, 1, 2),) * 3}),
        ("ivanvovk", {"down_dilations": (1, 2, 1)}),
    ],
)
def test_each_deviation_matters(golden, family, changed):
    """The weights load without complaint with any of these, and are of no use."""
    assert (predicted(golden, family, **changed) - golden[f"{family}.noise"]).abs().max() > 1e-2


@pytest.mark.parametrize("family", FAMILIES)
def test_our_mel_is_the_published_front_end(golden, family):
    config = infer_config(state_of(golden, family), settings_of(family))
    low, high = config.mel_range
    theirs = golden[f"{family}.mel"].transpose(1, 2)  # [1, T, M]
    ours = (log_mel(golden["signal"], config.mel)[:, : theirs.shape[1]] - low) / (high - low)
    if config.mel_clamped:
        ours = ours.clamp(0, 1)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-4)


def test_the_usual_sizes_are_those_of_the_repositories(golden):
    config = infer_config(state_of(golden, "lmnt"))
    assert config.up_factors == (5, 5, 3, 2, 2) and config.mel.sample_rate == 24000 and config.mel.window_samples == 1200
    assert math.isclose(math.exp(config.mel_range[0]), config.mel.floor)
    with pytest.raises(UserError, match="whose factors are in the JSON .* multiply to 8, the mel's hop is 30"):
        infer_config(state_of(golden, "ivanvovk"), {"model_config": {"factors": [2, 2, 2]}, "data_config": {"hop_length": 30}})


@pytest.mark.parametrize("family", FAMILIES)
def test_checkpoints_are_read_as_they_are_saved(golden, family, tmp_path):
    """lmnt-com keeps its settings in the file, ivanvovk in a JSON."""
    state, settings = state_of(golden, family), settings_of(family)
    content = {"model": state, "optimizer": {"state": {}}, "step": 3} | ({"params": settings} if family == "lmnt" else {})
    torch.save(content, tmp_path / "weights.pt")  # noqa: TID251  a published file
    if family == "ivanvovk":
        (tmp_path / "default.json").write_text(json.dumps(settings))
    made = read(tmp_path)
    assert made.config == infer_config(state, settings) and made.notes == ()
    assert made.state.keys() == convert(state).keys()


def test_weights_of_something_else_are_refused(golden):
    with pytest.raises(UserError, match="no published WaveGrad"):
        infer_config({"a.weight": torch.zeros(1)})
    with pytest.raises(UserError, match="which neither implementation has"):
        convert(state_of(golden, "lmnt") | {"extra.weight": torch.zeros(1)})
    partly = {key: value for key, value in state_of(golden, "lmnt").items() if not key.startswith("downsample.3")}
    with pytest.raises(UserError, match="no complete WaveGrad"):
        infer_config(partly)


def test_the_published_default_of_ivanvovk_has_its_number_of_parameters():
    with torch.device("meta"):
        config = WaveGradConfig(
            mel=WaveGradConfig().mel.model_copy(update={"num_bins": 80}), upsampling="linear", downsampling="linear"
        )
        assert sum(p.numel() for p in WaveGrad(config).parameters()) == 15_810_401
