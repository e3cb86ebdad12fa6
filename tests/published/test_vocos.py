"""Published Vocos weights load strictly and render what the published code renders (golden file, see golden/make_vocos.py)."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from speechgen.audio.spectrogram import log_mel
from speechgen.core.errors import UserError
from speechgen.models.vocoders.vocos.model import Vocos
from speechgen.published.vocos import convert, infer_config
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(REPOSITORY / "tests" / "golden" / "vocos.safetensors")


@pytest.fixture(scope="module")
def published(golden) -> dict[str, torch.Tensor]:
    return {key.removeprefix("state."): value for key, value in golden.items() if key.startswith("state.")}


def test_the_published_layout_holds_constants_that_ours_computes(published):
    constants = published.keys() - convert(published).keys()
    assert constants == {
        "feature_extractor.mel_spec.spectrogram.window",
        "feature_extractor.mel_spec.mel_scale.fb",
        "head.istft.window",
    }


def test_sizes_are_read_off_the_shapes(published):
    config = infer_config(published)
    assert (config.width, config.hidden_width, config.depth) == (16, 32, 2)
    assert (config.mel.n_fft, config.mel.hop_samples, config.mel.num_bins, config.mel.sample_rate) == (512, 128, 40, 24000)


def test_published_weights_render_the_same_audio(golden, published):
    network = Vocos(infer_config(published))
    network.load_state_dict(convert(published), strict=True)
    with torch.no_grad():
        audio = network(golden["mel"].transpose(1, 2))
    assert golden["audio"].abs().max() > 0.01
    torch.testing.assert_close(audio, golden["audio"], rtol=1e-4, atol=1e-5)


def test_our_mel_is_the_published_feature_down_to_its_floor(golden, published):
    settings = infer_config(published).mel
    ours, theirs = log_mel(golden["signal"], settings), golden["features"].transpose(1, 2)
    torch.testing.assert_close(ours, theirs.clamp(min=torch.tensor(settings.floor).log()), rtol=0, atol=1e-4)
    exact = log_mel(golden["signal"], settings.model_copy(update={"floor": 1e-7}))
    torch.testing.assert_close(exact, theirs, rtol=0, atol=1e-4)


def test_weights_of_something_else_are_refused(published):
    with pytest.raises(UserError, match="no published mel Vocos"):
        infer_config({"weight": torch.zeros(1)})
    with pytest.raises(UserError, match="no published mel Vocos"):
        infer_config(published | {"backbone.embed.weight": torch.zeros(3, 3)})
