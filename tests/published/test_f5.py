"""Published E2 and F5 weights load and compute what the published code computes (golden file, see golden/make_f5.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from speechgen.audio.spectrogram import log_mel
from speechgen.core.errors import UserError
from speechgen.core.types import Mel, MelSettings, Text
from speechgen.models.text_to_mel.f5_tts.config import F5Config, F5ObjectiveConfig, F5Options
from speechgen.models.text_to_mel.f5_tts.generate import F5Generator
from speechgen.models.text_to_mel.f5_tts.model import F5TTS
from speechgen.models.text_to_mel.f5_tts.objective import F5Objective
from speechgen.published.f5 import convert, read
from tests.conftest import REPOSITORY

SYMBOLS = (" ", *"abcdefghij")
PLACES = {"e2": "E2TTS_Base", "f5": "F5TTS_Base", "f5_v1": "F5TTS_v1_Base"}
every_family = pytest.mark.parametrize("family", PLACES)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(REPOSITORY / "tests" / "golden" / "f5.safetensors")


def state_of(golden: dict[str, Tensor], family: str) -> dict[str, Tensor]:
    prefix = f"{family}.state."
    return {f"ema_model.{key.removeprefix(prefix)}": golden[key] for key in golden if key.startswith(prefix)}


def publish(folder: Path, golden: dict[str, Tensor], family: str, *, pickled: bool = False) -> Path:
    """Write a family as its publisher lays it out, and return its folder."""
    place = folder / PLACES[family]
    place.mkdir()
    (place / "vocab.txt").write_text("".join(f"{symbol}\n" for symbol in SYMBOLS), encoding="utf-8")
    state = state_of(golden, family) | {"initted": torch.tensor(True), "step": torch.tensor(1)}
    if pickled:
        content = {"model_state_dict": {"x": torch.zeros(1)}, "ema_model_state_dict": state, "update": 7}
        torch.save(content, place / "model_7.pt")  # noqa: TID251  a published file
    else:
        save_file(state, place / "model_7.safetensors")
    return place


def network_of(place: Path) -> tuple[F5TTS, F5Config]:
    imported = read(place)
    assert isinstance(imported.config, F5Config)
    network = F5TTS(imported.config).eval()
    network.load_state_dict(imported.state, strict=True)
    return network, imported.config


@every_family
@pytest.mark.parametrize("dropped", [False, True])
def test_the_velocity_is_the_published_one(golden, tmp_path, family, dropped):
    network, _ = network_of(publish(tmp_path, golden, family))
    visible = torch.zeros_like(golden["visible"]) if dropped else golden["visible"]
    lengths = torch.tensor([golden["noisy"].shape[1]])
    text, hidden = golden["text"], torch.tensor([dropped])
    with torch.no_grad():
        made = network(golden["noisy"], visible, text, torch.tensor([text.shape[1]]), hidden, golden["t"], lengths).velocity
    wanted = golden[f"{family}.{'unconditional' if dropped else 'conditional'}"]
    assert wanted.abs().max() > 0.1
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-5)


@every_family
def test_a_sample_of_four_guided_steps_is_the_published_one(golden, tmp_path, family):
    network, config = network_of(publish(tmp_path, golden, family))
    wanted = golden[f"{family}.sample"]
    prompt = Mel(golden["visible"][:, :9], torch.tensor([9]), config.mel)
    said, spoken = golden["text"][:, :3], golden["text"][:, 3:]
    made = F5Generator(network, config).generate(
        Text(spoken, torch.tensor([4])),
        prompt,
        Text(said, torch.tensor([3])),
        frames=wanted.shape[1] - 9,
        options=F5Options(steps=4, guidance=2.0),
        rng=torch.Generator().manual_seed(5),
    )
    torch.testing.assert_close(made.values, wanted[:, 9:], rtol=0, atol=1e-4)


@every_family
def test_text_is_read_in_the_segments_that_were_learned_from(golden, tmp_path, family):
    """Of imported weights alone: ours learned from text as it is."""
    network, config = network_of(publish(tmp_path, golden, family))
    assert F5Generator(network, config).segmented and not F5Config().segmented
    with pytest.raises(UserError, match="set model.config.segmented to false"):
        F5Objective(network, config, F5ObjectiveConfig())


def test_the_mel_is_the_published_one(golden):
    made, wanted = log_mel(golden["signal"], MelSettings()), golden["mel"]  # [1, T, 100]
    loudest = wanted.exp().amax(-1, keepdim=True)
    difference = (made.exp() - wanted.exp()).abs() / loudest
    assert difference.max() < 1e-6  # an FFT in float32 rounds by the loudest, and not alike on every processor
    assert (made - wanted).abs().quantile(0.99) < 1e-5


@every_family
def test_a_training_state_holds_the_averaged_weights(golden, tmp_path, family):
    pickled, config = network_of(publish(tmp_path, golden, family, pickled=True))
    (tmp_path / "other").mkdir()
    plain, same = network_of(publish(tmp_path / "other", golden, family))
    assert config == same and config.vocabulary == SYMBOLS
    for key, value in plain.state_dict().items():
        assert torch.equal(pickled.state_dict()[key], value)


def test_the_families_are_told_apart(golden, tmp_path):
    configs = {family: network_of(publish(tmp_path, golden, family))[1] for family in PLACES}
    found = {family: (each.backbone, each.rotary_heads, each.mask_filler, each.text_layers) for family, each in configs.items()}
    assert found == {"e2": ("unet", 1, False, 0), "f5": ("dit", 1, False, 2), "f5_v1": ("dit", None, True, 2)}
    (tmp_path / "F5TTS_Base").rename(tmp_path / "weights")
    with pytest.raises(UserError, match="may be F5TTS_Base or F5TTS_v1_Base"):
        read(tmp_path / "weights")


def test_published_sizes_have_the_published_numbers_of_parameters():
    vocabulary = tuple(chr(index) for index in range(2545))
    with torch.device("meta"):
        sizes = {
            make.__name__: sum(p.numel() for p in F5TTS(make(vocabulary)).parameters()) / 1e6
            for make in (F5Config.e2tts_base, F5Config.f5tts_base, F5Config.f5tts_v1_base)
        }
    assert sizes == pytest.approx({"e2tts_base": 333.47, "f5tts_base": 337.1, "f5tts_v1_base": 337.1}, abs=0.05)


def test_what_does_not_belong_together_is_refused(golden, tmp_path):
    place = publish(tmp_path, golden, "e2")
    (place / "vocab.txt").write_text(" \na\n", encoding="utf-8")
    with pytest.raises(UserError, match="vocab.txt beside model_7.safetensors has 2 symbols, the weights know 11"):
        read(place)
    (place / "vocab.txt").unlink()
    with pytest.raises(UserError, match=r"there is no vocab\.txt beside"):
        read(place)


def test_weights_of_something_else_are_refused(golden, tmp_path):
    place = publish(tmp_path, golden, "e2")
    state = load_file(place / "model_7.safetensors")
    del state["ema_model.transformer.proj_out.weight"]
    save_file(state, place / "model_7.safetensors")
    with pytest.raises(UserError, match=r"no published E2 or F5: it has no weight 'proj_out\.weight'"):
        read(place)
    with pytest.raises(UserError, match="weights that no published E2 or F5 has: encoder.layer"):
        convert({"encoder.layer": torch.zeros(1)})
