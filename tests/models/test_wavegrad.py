"""WaveGrad: sizes, FiLM and the encoding of the level, receptive field, parts that equal the whole, and learning."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from pydantic import ValidationError

from speechgen.audio.spectrogram import filtered, log_mel, mel_envelope
from speechgen.core.errors import UserError
from speechgen.core.protocols import Part
from speechgen.core.random import generator
from speechgen.core.types import Mel
from speechgen.models.vocoders.wavegrad import generate
from speechgen.models.vocoders.wavegrad.config import WaveGradConfig, WaveGradObjectiveConfig, WaveGradOptions
from speechgen.models.vocoders.wavegrad.generate import WaveGradGenerator, betas_of, coloured, whitened
from speechgen.models.vocoders.wavegrad.model import DBlock, FiLM, UBlock, WaveGrad, reach_samples
from speechgen.models.vocoders.wavegrad.objective import WaveGradObjective
from speechgen.pipeline.longform import limit_peaks
from speechgen.pipeline.streaming import VocoderStream
from speechgen.sampling.diffusion import SCHEDULES, diffuse, draw_levels, sample
from tests.models.systems import MEL, batch, build, mel
from tests.tiny import voice_like

PLAIN = WaveGradConfig.tiny().model_copy(update={"prior": "white", "signal_scale": None})


def network(config: WaveGradConfig = PLAIN) -> WaveGrad:
    """Random, but calm: a product of random modulations grows from step to step, and rounding with it."""
    torch.manual_seed(0)
    made = WaveGrad(config).eval()
    with torch.no_grad():
        for film in made.film:
            film.output.weight.mul_(0.1)
    return made


def vocoder(config: WaveGradConfig = PLAIN) -> WaveGradGenerator:
    return WaveGradGenerator(network(config), config)


def parameters(config: WaveGradConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in WaveGrad(config).parameters())


@pytest.mark.parametrize("frames", [1, 2, 7, 33])
def test_a_hop_of_noise_for_every_frame(frames):
    made = network()(torch.randn(2, frames * 256), torch.zeros(2, frames, 100), torch.tensor([0.5, 0.9]))
    assert made.shape == (2, frames * 256)


def test_presets_have_the_sizes_of_the_paper():
    """Base was counted from the shapes of the published layers; Large repeats each block without resampling."""
    base, large, small = WaveGradConfig.base(), WaveGradConfig.large(), WaveGradConfig.small()
    assert parameters(base) == 15_920_993 and math.prod(base.up_factors) == 300
    assert len(large.up_factors) == 2 * len(base.up_factors) and 1.4 < parameters(large) / parameters(base) < 2
    assert small.mel == MEL and parameters(small) < 2_500_000


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"up_factors": (5, 5, 3, 2, 1)}, "multiply to 150, the mel's hop is 300"),
        ({"down_channels": (128,)}, "4 down_channels, got 5, 5 and 1"),
    ],
)
def test_sizes_that_do_not_fit_together_are_refused(changed, said):
    with pytest.raises(ValidationError, match=said):
        WaveGradConfig(**changed)


def test_the_noise_level_is_encoded_as_in_the_paper():
    film = FiLM(32, 4, 5000.0)
    encoded = film.encode(torch.tensor([1.0, 0.9999]))
    assert float(encoded[0, 0]) == pytest.approx(math.sin(5000), abs=1e-3)
    assert float(encoded[0, 17]) == pytest.approx(math.cos(5000 * 10 ** (-4 / 16)), abs=1e-3)
    assert torch.cosine_similarity(*FiLM(32, 4, 5000.0).encode(torch.tensor([0.9, 0.9001])), dim=0) < 0.995
    assert torch.cosine_similarity(*FiLM(32, 4, 1.0).encode(torch.tensor([1.0, 0.9999])), dim=0) > 0.999


def test_scale_one_and_shift_zero_modulate_nothing():
    torch.manual_seed(0)
    block = UBlock(3, 4, 2, (1, 2, 4, 8), "nearest")
    x = torch.randn(1, 3, 6)
    first, second, third, fourth = block.convolutions
    relu = torch.nn.LeakyReLU(0.2)
    up = x.repeat_interleave(2, -1)
    y = second(relu(first(relu(up)))) + block.residual(up)
    expected = y + fourth(relu(third(relu(y))))
    torch.testing.assert_close(block(x, torch.ones(1, 4, 12), torch.zeros(1, 4, 12)), expected)


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [1, 2, 7])
def test_the_first_convolution_at_the_low_rate_is_that_of_the_upsampled_signal(factor, length):
    block = UBlock(3, 4, factor, (1, 1, 1, 1), "nearest")
    x, still = torch.randn(2, 3, length), torch.zeros(2, 4, factor * length)
    for convolution in list(block.convolutions)[1:]:
        torch.nn.init.zeros_(convolution.weight)
        torch.nn.init.zeros_(convolution.bias)
    seen: list[torch.Tensor] = []
    block.convolutions[1].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    block(x, still + 1, still)
    relu = torch.nn.LeakyReLU(0.2)
    torch.testing.assert_close(seen[0], relu(block.convolutions[0](relu(x).repeat_interleave(factor, -1))))


@pytest.mark.parametrize(("mode", "expected"), [("nearest", [0.0, 4.0]), ("linear", [1.5, 5.5]), ("strided", [0.0, 4.0])])
def test_downsampling_takes_every_nth_or_the_middle(mode, expected):
    block = DBlock(1, 1, 4, (1,), mode)
    for convolution in (block.residual, block.convolutions[0]):
        torch.nn.init.zeros_(convolution.weight)
    torch.nn.init.ones_(block.residual.weight)
    torch.testing.assert_close(block(torch.arange(8.0)[None, None]).detach()[0, 0], torch.tensor(expected))


@pytest.mark.parametrize("upsampling", ["nearest", "linear"])
def test_nothing_outside_the_reach_is_seen(upsampling):
    """From the gradient of a middle sample; nor is the reach much longer than what is seen."""
    config = PLAIN.model_copy(update={"upsampling": upsampling, "downsampling": "linear"})
    reach, frames = reach_samples(config), 2 * (reach_samples(PLAIN) // 256) + 8
    noisy = torch.randn(1, frames * 256, requires_grad=True)
    given = torch.randn(1, frames, 100, requires_grad=True)
    middle = frames * 128 + 77
    network(config)(noisy, given, torch.tensor([0.5]))[0, middle].backward()
    seen = noisy.grad[0].nonzero()[:, 0]
    assert 0.4 * reach < max(middle - int(seen.min()), int(seen.max()) - middle) <= reach
    frames_seen = given.grad[0].abs().sum(-1).nonzero()[:, 0]
    assert middle - int(frames_seen.min()) * 256 <= reach and int(frames_seen.max()) * 256 - middle <= reach


@pytest.mark.parametrize("prior", ["white", "spectral"])
def test_chunks_equal_the_whole(prior, monkeypatch):
    config = PLAIN.model_copy(update={"prior": prior})
    given, options = mel(90), WaveGradOptions()
    whole = vocoder(config).generate(given, options=options, rng=generator(3)).samples
    monkeypatch.setattr(generate, "CHUNK_FRAMES", 7)
    parts = vocoder(config).generate(given, options=options, rng=generator(3)).samples
    torch.testing.assert_close(parts, whole, rtol=0, atol=2e-5)


def test_a_streamed_mel_gives_the_samples_of_the_whole():
    config = PLAIN.model_copy(update={"prior": "spectral"})
    model, options, given = vocoder(config), WaveGradOptions(), mel(180)
    stream = VocoderStream(model, options, generator(5))
    bounds = [0, 60, 61, 130, 180]
    parts = [stream.push(given.values[:, a:b], last=b == 180) for a, b in zip(bounds, bounds[1:], strict=False)]
    whole = model.generate(given, options=options, rng=generator(5)).samples[0]
    assert sum(len(part) > 0 for part in parts) >= 2
    torch.testing.assert_close(torch.cat(parts), limit_peaks(whole, MEL.sample_rate), rtol=0, atol=2e-5)


def test_a_part_finds_the_noise_of_its_place():
    model, options, given = vocoder(), WaveGradOptions(steps=12), mel(150)
    reach = 12 * model._step_reach
    whole = model.generate(given, options=options, rng=generator(1)).samples[0]
    part = Mel(given.values[:, 20:], given.lengths - 20, MEL)
    for start, differs in ((20, False), (0, True)):
        made = model.generate(part, options=options, rng=generator(1), part=Part(start)).samples[0]
        assert torch.allclose(made[reach * 256 :], whole[(20 + reach) * 256 :], rtol=0, atol=2e-5) != differs


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("prior", ["white", "spectral"])
def test_the_shortest_mels_are_rendered(prior, frames):
    config = PLAIN.model_copy(update={"prior": prior})
    made = vocoder(config).generate(mel(frames), options=WaveGradOptions(), rng=generator(0))
    assert made.samples.shape == (1, (frames - 1) * 256) and made.samples.isfinite().all()


def test_a_mel_that_differs_names_the_field():
    other = dataclasses.replace(mel(5), settings=MEL.model_copy(update={"hop_samples": 300, "num_bins": 80}))
    with pytest.raises(ValueError, match="hop_samples 300 instead of 256, num_bins 80 instead of 100"):
        vocoder().generate(other, options=WaveGradOptions(), rng=generator(0))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_mel_that_is_not_finite_is_refused_unless_it_is_padding(value):
    given = mel(6, 4)
    given.values[1, 5] = value
    assert vocoder().generate(given, options=WaveGradOptions(), rng=generator(0)).samples.isfinite().all()
    given.values[1, 2] = value
    with pytest.raises(ValueError, match="frame 2 of row 1 of the mel is not finite"):
        vocoder().generate(given, options=WaveGradOptions(), rng=generator(0))


def test_options_choose_the_schedule():
    fitted = PLAIN.model_copy(update={"fitted_betas": (0.1, 0.2, 0.3)})
    assert betas_of(WaveGradOptions(), PLAIN).tolist() == list(SCHEDULES[6])
    coloured_noise = WaveGradConfig.tiny()
    assert all(len(betas_of(WaveGradOptions(steps=steps), coloured_noise)) == steps for steps in (1, 3, 25, 1000))
    assert betas_of(WaveGradOptions(steps=3), fitted).tolist() == [0.1, 0.2, 0.3]
    assert betas_of(WaveGradOptions(steps=3, betas=(0.5,)), fitted).tolist() == [0.5]
    with pytest.raises(ValueError, match="no ready-made schedule has 3 steps"):
        betas_of(WaveGradOptions(steps=3), PLAIN)
    for betas in ((), (0.0,), (1.0, 0.5)):
        with pytest.raises(ValidationError, match="betas must be numbers between 0 and 1"):
            WaveGradOptions(betas=betas)


def test_the_level_of_what_is_generated_follows_the_temperature():
    quiet, loud = (
        vocoder().generate(mel(8), options=WaveGradOptions(temperature=t, clamp=False), rng=generator(0)).samples
        for t in (0.0, 1.0)
    )
    assert not torch.equal(quiet, loud)


def test_an_envelope_and_its_inverse_leave_audio_nearly_as_it_was():
    """Filters of overlapping frames do not commute, but nearly."""
    audio = voice_like(1.0)[None, : 90 * 256]
    given = log_mel(audio, MEL)
    config = WaveGradConfig.tiny()
    flat = whitened(audio, given, config)
    assert 0.03 < float(flat.std()) < 0.12
    back = coloured(flat, given, config)
    assert float((back - audio)[:, 1024:-1024].square().mean() / audio.square().mean()) < 0.02


def test_noise_with_the_envelope_of_a_mel_has_that_mel():
    audio = voice_like(1.0)[None, : 90 * 256]
    given = log_mel(audio, MEL)
    noise = torch.randn(audio.shape, generator=generator(1))
    made = log_mel(filtered(noise, mel_envelope(given, MEL), MEL), MEL)
    loud = given > -4
    assert float((made - given)[loud].mean().abs()) < 0.5


def test_white_noise_has_an_envelope_of_its_level():
    noise = 0.05 * torch.randn(1, 200 * 256, generator=generator(2))
    envelope = mel_envelope(log_mel(noise, MEL), MEL)  # [1, T, F]
    assert float(envelope[:, 4:-4, 20:].mean()) == pytest.approx(0.05, rel=0.15)


def test_what_the_crop_disturbs_is_not_learnt_from():
    """The mel that is learnt from is that of the whole recording, not of the crop."""
    audio = torch.stack([voice_like(2.0, seed=1), voice_like(2.0, pitch=180.0)])
    objective = WaveGradObjective(network(), PLAIN, WaveGradObjectiveConfig())
    start, stop = 40 * 256, 100 * 256
    signal, given = objective._learnt(audio[:, start:stop], generator(0))
    assert signal.shape == (2, 56 * 256) and given.shape == (2, 57, 100)
    torch.testing.assert_close(given, log_mel(audio, MEL)[:, 42:99], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(signal, audio[:, 42 * 256 : 98 * 256])
    with pytest.raises(UserError, match="raise data.crop_seconds"):
        objective._learnt(audio[:, : 4 * 256], generator(0))


def test_the_training_schedule_is_the_one_of_the_objective():
    levels = WaveGradObjective(network(), PLAIN, WaveGradObjectiveConfig()).levels
    assert len(levels) == 1001 and float(levels[-1] ** 2) == pytest.approx(0.0066, abs=1e-4)


def test_the_scaled_network_begins_with_the_best_linear_guess():
    """Where it says nothing itself, the guess for a Gaussian signal of that scale is left, at every level."""
    config = PLAIN.model_copy(update={"signal_scale": 0.08})
    silent = network(config)
    torch.nn.init.zeros_(silent.output.weight)
    torch.nn.init.zeros_(silent.output.bias)
    signal = 0.08 * torch.randn(3, 8 * 256, generator=generator(0))
    noise = torch.randn(signal.shape, generator=generator(1))
    level = torch.tensor([0.999, 0.9, 0.2])
    with torch.no_grad():
        guess = silent(diffuse(signal, level, noise), torch.zeros(3, 8, 100), level)
    share = level**2 * 0.08**2 / (level**2 * 0.08**2 + 1 - level**2)
    torch.testing.assert_close((guess - noise).square().mean(1), share, rtol=0.1, atol=0.01)


@pytest.mark.slow
def test_a_clip_is_learnt_by_heart():
    """Half a second, then 50 steps: its mel comes back."""
    torch.manual_seed(0)
    config = WaveGradConfig.tiny().model_copy(
        update={"up_channels": (32, 24, 16), "down_channels": (16, 32), "audio_channels": 16}
    )
    audio = voice_like(0.5)[None, : 46 * 256]
    given = log_mel(audio, config.mel)
    model, signal = WaveGrad(config), whitened(audio, given, config).expand(4, -1)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    objective = WaveGradObjective(model, config, WaveGradObjectiveConfig(geometric=True, last_beta=0.03))
    for step in range(600):
        rng = generator("learn", step)
        level = draw_levels(objective.levels, 4, rng)
        noise = torch.randn(signal.shape, generator=rng)
        loss = (model(diffuse(signal, level, noise), given.expand(4, -1, -1), level) - noise).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        made = sample(
            lambda noisy, level: model(noisy, given, torch.tensor([level])),
            SCHEDULES[50],
            lambda n: torch.randn(1, 46 * 256, generator=generator("draw", n)),
            limit=1.0,
        )
    distance = (log_mel(coloured(made, given, config), config.mel) - given).abs()
    assert float(distance[given > -6].mean()) < 0.3


def test_validation_and_training_see_the_same_loss():
    system = build("wavegrad")
    objective = system.objective()
    rows = batch(("audio",))
    (update,) = objective.updates(rows, 0, generator(7))
    assert float(update.loss.detach()) == pytest.approx(float(objective.validate(rows, generator(7))["loss"]), rel=1e-5)
