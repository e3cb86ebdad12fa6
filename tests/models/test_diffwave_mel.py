"""DiffWave as a mel vocoder: what it reaches, parts and streams, steps, and what it hears of the mel."""

from __future__ import annotations

import pytest
import torch

from speechgen.audio.spectrogram import log_mel, whiten
from speechgen.core.config import validate
from speechgen.core.errors import UserError
from speechgen.core.protocols import Batch, Part
from speechgen.core.random import generator
from speechgen.core.types import Mel
from speechgen.models.vocoders.diffwave_mel import SPEC
from speechgen.models.vocoders.diffwave_mel.config import DiffWaveMelConfig, DiffWaveMelOptions
from speechgen.models.vocoders.diffwave_mel.generate import DiffWaveMelGenerator
from speechgen.nn.state_space import StateSpace
from tests.models.systems import MEL, build, mel
from tests.tiny import voice_like

CONFIG = DiffWaveMelConfig.tiny()
OPTIONS = DiffWaveMelOptions(steps=3)


def vocoder() -> DiffWaveMelGenerator:
    return SPEC.generator(build("diffwave_mel").network.eval(), CONFIG)


@pytest.mark.parametrize("kernel", ["s4", "lin"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["causal", "both-sides"])
def test_kernels_that_end_are_convolved_as_far_as_they_go(kernel, bidirectional):
    torch.manual_seed(0)
    layer = StateSpace(3, 8, kernel, bidirectional=bidirectional, taps=5).double()
    u = torch.randn(2, 20, 3, dtype=torch.float64)
    with torch.no_grad():
        kernels, expected = layer.kernel(5), layer.skip * u
        for place in range(20):
            for distance in range(5):
                if place - distance >= 0:
                    expected[:, place] += kernels[0, :, distance] * u[:, place - distance]
                if bidirectional and place + distance + 1 < 20:
                    expected[:, place] += kernels[1, :, distance] * u[:, place + distance + 1]
        torch.testing.assert_close(layer(u), expected)
    with pytest.raises(ValueError, match="cannot be stepped"):
        layer.recurrence()


def test_a_step_reaches_as_far_as_it_says_and_no_further():
    network, hop = build("diffwave_mel").network.eval().double(), MEL.hop_samples
    torch.manual_seed(1)
    noisy, values, level = torch.randn(1, 8 * hop).double(), mel(9).values.double(), torch.tensor([0.7]).double()
    changed, place = noisy.clone(), 1000
    changed[0, place] += 1
    with torch.inference_mode():
        difference = (network(changed, values, level) - network(noisy, values, level)).abs()[0]
    far = (torch.arange(8 * hop) - place).abs() > CONFIG.sizes.reach
    assert difference[far].max() == pytest.approx(0, abs=1e-12) and difference[~far].max() > 1e-4
    assert CONFIG.sizes.reach // 2 < (difference > 1e-12).nonzero().flatten().sub(place).abs().max()


def test_a_part_finds_the_noise_of_its_place_and_gives_the_samples_of_the_whole():
    made, given = vocoder(), mel(60)
    whole = made.generate(given, options=OPTIONS, rng=generator(1)).samples[0]
    part = Mel(given.values[:, 20:], given.lengths - 20, MEL)
    reach = OPTIONS.steps * made._step_reach + made._last_reach
    for start, differs in ((20, False), (0, True)):
        other = made.generate(part, options=OPTIONS, rng=generator(1), part=Part(start)).samples[0]
        assert torch.allclose(other[reach * 256 :], whole[(20 + reach) * 256 :], rtol=0, atol=2e-5) != differs


def test_long_mels_are_rendered_in_chunks_that_join_without_a_seam(monkeypatch):
    made, rows = vocoder(), mel(90, 40)
    whole = made.generate(rows, options=OPTIONS, rng=generator(0))
    monkeypatch.setattr("speechgen.models.vocoders.diffwave_mel.generate.CHUNK_FRAMES", 16)
    calls = []
    parts = made.generate(rows, options=OPTIONS, rng=generator(0), progress=lambda *call: calls.append(call))
    torch.testing.assert_close(parts.samples, whole.samples, rtol=0, atol=2e-5)
    assert calls == [(done, 6) for done in range(1, 7)]


def test_the_mel_says_what_is_made():
    network = build("diffwave_mel").network.eval()
    noisy, level = torch.randn(1, 8 * 256, generator=generator(0)), torch.tensor([0.5])
    with torch.inference_mode():
        quiet, loud = (network(noisy, torch.full((1, 9, 100), value), level) for value in (-8.0, -1.0))
    assert (quiet - loud).abs().max() > 1e-3


def test_a_network_that_knows_the_signal_makes_it(monkeypatch):
    """The whitened signal of a recording, which has about variance 1, becomes the recording again, nearly."""
    made, audio = vocoder(), voice_like(0.7)[None, : 60 * 256]
    given = log_mel(audio, MEL)
    data = whiten(audio, given, CONFIG.mel)
    assert 0.3 < data[:, 1024:-1024].std() < 1.2
    monkeypatch.setattr(made.network, "forward", lambda noisy, mel, level: (noisy - level * data) / (1 - level**2).sqrt())
    found = made.generate(Mel(given, torch.tensor([61]), MEL), options=OPTIONS, rng=generator(0)).samples
    assert float((found - audio)[:, 1024:-1024].square().mean() / audio.square().mean()) < 0.05


def test_crops_that_are_all_edge_are_refused():
    objective = build("diffwave_mel").objective()
    with pytest.raises(UserError, match="raise data.crop_seconds"):
        objective.validate(Batch({"audio": torch.zeros(1, 2048)}, {"audio": torch.tensor([2048])}), generator(0))


def test_what_cannot_be_is_one_clear_line():
    with pytest.raises(UserError, match="divisor of the mel's hop, 256"):
        validate(DiffWaveMelConfig, {"pools": [3, 4]}, "recipe")
    with pytest.raises(UserError, match="60 steps are asked for, the model has learnt 50"):
        vocoder().generate(mel(5), options=DiffWaveMelOptions(steps=60), rng=generator(0))
