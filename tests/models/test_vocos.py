"""Vocos: length, numerical safety, and the crop that its training hears."""

from __future__ import annotations

import math

import pytest
import torch

from speechgen.audio.spectrogram import log_mel
from speechgen.core.random import generator
from speechgen.core.types import Mel, MelSettings
from speechgen.models.vocoders.vocos.config import VocosConfig, VocosObjectiveConfig, VocosOptions
from speechgen.models.vocoders.vocos.generate import CHUNK_FRAMES, VocosGenerator
from speechgen.models.vocoders.vocos.model import Vocos
from speechgen.models.vocoders.vocos.objective import VocosObjective
from speechgen.nn.vocos import SpectrumHead
from tests.models.systems import MEL, batch, build, mel

OPTIONS = VocosOptions()


def network() -> Vocos:
    return build("vocos").network


def vocoder() -> VocosGenerator:
    return VocosGenerator(network(), VocosConfig.tiny())


def test_long_mels_are_rendered_in_chunks_that_join_without_a_seam(monkeypatch):
    rows, made = mel(300, 170), vocoder()
    whole = made.generate(rows, options=OPTIONS, rng=generator(0))
    monkeypatch.setattr("speechgen.models.vocoders.vocos.generate.CHUNK_FRAMES", 64)
    calls = []
    parts = made.generate(rows, options=OPTIONS, rng=generator(0), progress=lambda done, total: calls.append((done, total)))
    torch.testing.assert_close(parts.samples, whole.samples, rtol=1e-4, atol=1e-5)
    assert torch.equal(parts.lengths, whole.lengths) and calls == [(done, 8) for done in range(1, 9)]


def test_ten_minutes_are_never_held_at_once(monkeypatch):
    """The network sees at most a chunk and what it reaches on either side."""
    made, seen = vocoder(), []
    monkeypatch.setattr(
        made.network, "forward", lambda mel: seen.append(mel.shape[1]) or torch.zeros(1, (mel.shape[1] - 1) * 256)
    )
    frames = 600 * 24000 // 256
    audio = made.generate(Mel(torch.zeros(1, frames, 100), torch.tensor([frames]), MEL), options=OPTIONS, rng=generator(0))
    assert audio.samples.shape == (1, (frames - 1) * 256) and max(seen) <= CHUNK_FRAMES + 2 * made.reach_frames + 1


def test_one_frame_is_no_sound():
    audio = vocoder().generate(mel(5, 1), options=OPTIONS, rng=generator(0))
    assert audio.lengths.tolist() == [4 * 256, 0]
    assert vocoder().generate(mel(1), options=OPTIONS, rng=generator(0)).samples.shape == (1, 0)


def test_what_is_wrong_with_a_mel_is_named():
    broken = mel(5, 4)
    broken.values[0, 2, 7] = math.nan
    with pytest.raises(ValueError, match="frame 2 of row 0 of the mel is not finite"):
        vocoder().generate(broken, options=OPTIONS, rng=generator(0))
    padded = mel(5, 4)
    padded.values[1, 4] = math.nan  # behind the end
    assert vocoder().generate(padded, options=OPTIONS, rng=generator(0)).samples.isfinite().all()
    other = Mel(torch.zeros(1, 5, 80), torch.tensor([5]), MelSettings(num_bins=80))
    with pytest.raises(ValueError, match="the mel given has num_bins 80 instead of 100"):
        vocoder().generate(other, options=OPTIONS, rng=generator(0))


@pytest.mark.parametrize("frames", [2, 3, 10])
def test_audio_is_a_hop_shorter_than_its_frames(frames):
    assert network()(torch.zeros(1, frames, 100)).shape == (1, (frames - 1) * 256)


def test_the_mel_of_the_rendering_has_as_many_frames_as_were_given():
    assert log_mel(network()(torch.zeros(1, 20, 100)), MEL).shape == (1, 20, 100)


@pytest.mark.parametrize("value", [-1e4, -11.5, 0.0, 20.0, 1e4])
def test_extreme_mels_give_finite_audio_and_gradients(value):
    mel = torch.full((1, 8, 100), value, requires_grad=True)
    vocos = network()
    vocos(mel).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in vocos.parameters()) and mel.grad.isfinite().all()


@pytest.mark.parametrize("log_magnitude", [4.0, 5.0, 200.0])
def test_magnitudes_are_capped_at_100_and_gradients_stay_finite(log_magnitude):
    """Above the cap, and where the exponential itself would be infinite."""
    head = SpectrumHead(4, 64, 16)
    torch.nn.init.zeros_(head.out.weight)
    with torch.no_grad():
        head.out.bias[:33] = log_magnitude
        head.out.bias[33:] = torch.pi * torch.arange(33)
    audio = head(torch.randn(1, 8, 4))
    audio.square().sum().backward()
    magnitude = min(float(torch.tensor(log_magnitude).exp()), 100.0)
    # These phases are a pulse in the middle of each frame, where the squared windows of all frames add up to 1.5.
    assert float(audio.detach().abs()[0, 32:-32].max()) == pytest.approx(magnitude / 1.5, rel=1e-4)
    assert head.out.bias.grad.isfinite().all() and head.out.weight.grad.isfinite().all()
    assert (head.out.bias.grad[:33].abs().sum() > 0) == (magnitude < 100)


def test_audio_grows_with_the_magnitudes():
    """A shift of the log-magnitude bias by ln 2 doubles the audio."""
    vocos, mel = network(), torch.randn(1, 10, 100)
    before = vocos(mel)
    with torch.no_grad():
        vocos.head.out.bias[:513] += torch.tensor(2.0).log()
    torch.testing.assert_close(vocos(mel), 2 * before, rtol=1e-3, atol=1e-5)


def test_the_default_is_the_published_size():
    assert sum(p.numel() for p in Vocos(VocosConfig()).parameters()) == pytest.approx(13.5e6, rel=0.01)


def test_discriminators_join_at_their_step():
    vocos = network()
    settings = VocosObjectiveConfig.tiny().model_copy(update={"adversarial_start": 5})
    objective = VocosObjective(vocos, VocosConfig.tiny(), settings)
    rows = batch(("audio",))
    parts = [[update.part for update in objective.updates(rows, step, generator(0))] for step in (4, 5)]
    assert parts == [["network"], ["discriminator", "network"]]


def test_the_discriminator_learns_from_constants_and_the_network_through_it():
    """The first update does not reach the generator; the second does."""
    vocos = network()
    objective = VocosObjective(vocos, VocosConfig.tiny(), VocosObjectiveConfig.tiny().model_copy(update={"mel_weight": 0.0}))
    judge, generate = objective.updates(batch(("audio",)), 0, generator(0))
    weight = vocos.head.out.weight
    assert torch.autograd.grad(judge.loss, weight, allow_unused=True)[0] is None
    assert torch.autograd.grad(generate.loss, weight)[0].abs().sum() > 0


def test_training_does_not_depend_on_the_level_of_the_recording():
    objective = build("vocos").objective()
    rows = batch(("audio",))
    quiet = type(rows)({"audio": 0.1 * rows["audio"]}, rows.lengths)
    first, second = ([u.loss for u in objective.updates(r, 0, generator(0))] for r in (rows, quiet))
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)


def test_a_silent_crop_does_no_harm():
    objective = build("vocos").objective()
    rows = batch(("audio",))
    silent = type(rows)({"audio": torch.zeros_like(rows["audio"])}, rows.lengths)
    for update in objective.updates(silent, 0, generator(0)):
        grads = torch.autograd.grad(update.loss, list(objective.parts[update.part].parameters()))
        assert all(grad.isfinite().all() for grad in grads)
