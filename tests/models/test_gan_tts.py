"""GAN-TTS: the paper's generator, its fast form against the clear one, rendering in chunks, and what its training hears."""

from __future__ import annotations

import resource

import pytest
import torch
from torch import Tensor

from speechgen.audio.spectrogram import log_mel
from speechgen.core.errors import UserError
from speechgen.core.protocols import Batch
from speechgen.core.random import generator
from speechgen.core.types import Mel
from speechgen.models.vocoders.gan_tts import generate
from speechgen.models.vocoders.gan_tts.config import GanTtsConfig, GanTtsObjectiveConfig, GanTtsOptions
from speechgen.models.vocoders.gan_tts.generate import Baked, GanTtsGenerator
from speechgen.models.vocoders.gan_tts.model import GanTts, GBlock, compress, expand, frames_reached, mel_features
from speechgen.models.vocoders.gan_tts.objective import GanTtsObjective, frame_features
from speechgen.nn.linguistic import num_linguistic_features
from tests.models.systems import MEL, batch, build, mel

OPTIONS = GanTtsOptions()
FORMS = {
    "paper": {},
    "subpixel": {"upsampling": "subpixel", "normalisation": "none", "spectral_norm": False},
    "shaped": {"upsampling": "subpixel", "normalisation": "none", "spectral_norm": False, "shaped": True},
    "odd": {"factors": (1, 1, 2, 2, 2, 2, 16), "widths": (8, 6, 6, 4, 4, 4, 3)},
    "mu-law": {"mu_law": True},
}


def network(form: str = "paper", **changes: object) -> tuple[GanTts, GanTtsConfig]:
    """A tiny network in evaluation whose statistics, scales and shifts are not those it starts with."""
    config = GanTtsConfig(**{**GanTtsConfig.tiny().model_dump(), **FORMS[form], **changes})
    torch.manual_seed(0)
    made = GanTts(config)
    with torch.no_grad():
        for key, value in made.state_dict().items():
            if "running_var" in key:
                value.uniform_(0.5, 2)
            elif "running_mean" in key or key.endswith("bias"):
                value.normal_(std=0.3)
    return made.eval(), config


def slow_block(block: GBlock, x: Tensor, z: Tensor) -> Tensor:
    """Section 3.2 step by step: normalise, scale and shift by z, ReLU, repeat samples, convolve; twice with a residual."""

    def activated(h: Tensor, norm: torch.nn.Module) -> Tensor:
        if norm.batch is not None:
            mean, var = norm.batch.running_mean[:, None], norm.batch.running_var[:, None]
            h = (h - mean) / (var + 1e-5).sqrt()
        gain, shift = (z @ norm.affine.weight.T + norm.affine.bias).chunk(2, -1)
        return ((1 + gain)[..., None] * h + shift[..., None]).clamp(min=0)

    def repeated(h: Tensor) -> Tensor:
        return torch.stack([h] * block.factor, -1).flatten(2)

    def convolved(h: Tensor, layer: torch.nn.Conv1d, dilation: int) -> Tensor:
        weight = layer.weight
        side = dilation * (weight.shape[-1] // 2)
        padded = torch.nn.functional.pad(h, (side, side))
        taps = [padded[..., k * dilation : k * dilation + h.shape[-1]] for k in range(weight.shape[-1])]
        return sum(torch.einsum("oi,bin->bon", weight[..., k], tap) for k, tap in enumerate(taps)) + layer.bias[:, None]

    n = block.norms
    h = convolved(repeated(activated(x, n[0])), block.upsampled.convolution, 1)
    h = convolved(activated(h, n[1]), block.dilated[0], 2)
    shortcut = repeated(x) if block.residual is None else convolved(repeated(x), block.residual.convolution, 1)
    h = h + shortcut
    r = convolved(activated(h, n[2]), block.dilated[1], 4)
    return h + convolved(activated(r, n[3]), block.dilated[2], 8)


def test_the_paper_preset_is_the_papers_generator():
    """567 features at 200 Hz to 24 kHz in seven blocks; 27 million parameters if residual paths that keep their width
    had a convolution too."""
    config = GanTtsConfig.paper()
    with torch.device("meta"):
        made = GanTts(config.model_copy(update={"spectral_norm": False}))
    assert config.hop_samples == 120 and config.num_features == 567 and config.noise_size == 128
    shapes = [(b.factor, b.upsampled.convolution.in_channels, b.upsampled.convolution.out_channels) for b in made.blocks]
    assert shapes == [(1, 768, 768), (1, 768, 768), (2, 768, 384), (2, 384, 384), (2, 384, 384), (3, 384, 192), (5, 192, 96)]
    assert all([c.dilation[0] for c in (b.upsampled.convolution, *b.dilated)] == [1, 2, 4, 8] for b in made.blocks)
    size = sum(value.numel() for value in made.parameters())
    assert size == pytest.approx(25.5e6, rel=0.005)
    assert size + 2 * 768**2 + 2 * 384**2 == pytest.approx(27.0e6, rel=0.005)


def test_the_receptive_field_is_that_of_the_paper():
    """0.449 s by the response to one frame, and as `frames_reached` says; weights and shifts that let everything through."""
    config = GanTtsConfig(**{**GanTtsConfig.paper().model_dump(), "widths": (2,) * 7, "noise_size": 1, "spectral_norm": False})
    made = GanTts(config).double().eval()
    with torch.no_grad():
        for key, value in made.state_dict().items():
            if key.endswith("weight") and value.ndim == 3:
                value.fill_(0.1)
    features = torch.zeros(1, 121, 567, dtype=torch.float64, requires_grad=True)
    z = torch.zeros(1, 1, dtype=torch.float64)
    samples = made(features + 1e-3, z)[0]
    width = []
    for place in (60 * 120, 60 * 120 + 60, 61 * 120 - 1):
        (seen,) = torch.autograd.grad(samples[place], features, retain_graph=True)
        frames = seen[0].abs().sum(-1).nonzero()[:, 0]
        width.append(max(60 - frames.min().item(), frames.max().item() - 60))
    assert max(width) == frames_reached(config)
    heard = torch.autograd.grad(samples[60 * 120 + 60], features)[0][0].abs().sum(-1).nonzero()[:, 0]
    assert len(heard) == pytest.approx(0.449 * 200, abs=1.5)


@pytest.mark.parametrize("form", FORMS)
def test_a_sample_depends_on_no_more_frames_than_promised(form):
    made, config = network(form)
    made = made.double()
    size, reach = 150, frames_reached(config)
    features = torch.randn(1, size, 100, dtype=torch.float64, requires_grad=True)
    samples = made(features, torch.zeros(1, 4, dtype=torch.float64))[0]
    for place in (75 * 256, 75 * 256 + 100, 76 * 256 - 1):
        (seen,) = torch.autograd.grad(samples[place], features, retain_graph=True)
        frames = seen[0].abs().sum(-1).nonzero()[:, 0]
        assert 75 - reach <= frames.min() and frames.max() <= 75 + reach
        assert frames.max() - frames.min() > reach  # and not on far fewer


@pytest.mark.parametrize("frames", [*range(1, 8), 50])
@pytest.mark.parametrize("form", FORMS)
def test_every_frame_becomes_a_hop_of_samples(form, frames):
    made, _ = network(form)
    assert made(torch.randn(2, frames, 100), torch.randn(2, 4)).shape == (2, frames * 256)


@pytest.mark.parametrize(("inputs", "width", "factor"), [(6, 6, 1), (6, 4, 1), (6, 6, 3), (6, 4, 5)])
def test_a_block_is_what_the_paper_says(inputs, width, factor):
    config = GanTtsConfig.tiny()
    torch.manual_seed(1)
    block = GBlock(inputs, width, factor, config).eval()
    for norm in block.norms:
        norm.batch.running_mean.normal_()
        norm.batch.running_var.uniform_(0.5, 2)
    x, z = torch.randn(2, inputs, 9), torch.randn(2, 4)
    torch.testing.assert_close(block(x, z), slow_block(block, x, z), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_fast_form_equals_the_network(form):
    """Folded scales, kernels of the lower rate and what is normalised: equal to rounding, at the edges too."""
    made, _ = network(form)
    features, z = torch.randn(2, 13, 100), torch.randn(4)
    with torch.no_grad():
        torch.testing.assert_close(Baked(made, z)(features), made(features, z.expand(2, -1)), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("form", FORMS)
def test_chunks_join_to_the_whole(form, monkeypatch):
    made, config = network(form)
    rows = mel(200, 131)
    vocoder = GanTtsGenerator(made, config)
    whole = vocoder.generate(rows, options=OPTIONS, rng=generator(0))
    monkeypatch.setattr(generate, "CHUNK_FRAMES", 23)
    parts = vocoder.generate(rows, options=OPTIONS, rng=generator(0))
    torch.testing.assert_close(parts.samples, whole.samples, rtol=1e-4, atol=2e-5)


def test_a_mel_that_comes_in_overlapping_parts_sounds_like_the_whole():
    """What streaming does: `reach_frames` on either side are enough."""
    made, config = network("shaped")
    vocoder = GanTtsGenerator(made, config)
    whole = mel(200)
    reach, options, hop = vocoder.reach_frames, GanTtsOptions(temperature=0.7), 256
    expected = vocoder.generate(whole, options=options, rng=generator(3)).samples[0]
    rng = generator(3)
    for first, last in ((0, 40), (40, 90), (90, 199)):
        low, high = max(0, first - reach), min(200, last + reach + 1)
        window = Mel(whole.values[:, low:high], torch.tensor([high - low]), MEL)
        made_here = vocoder.generate(window, options=options, rng=rng).samples[0]
        piece = made_here[(first - low) * hop : (last - low) * hop]
        torch.testing.assert_close(piece, expected[first * hop : last * hop], rtol=1e-4, atol=2e-5)


def test_noise_is_of_the_seed_and_only_if_asked_for():
    made, config = network()
    vocoder = GanTtsGenerator(made, config)

    def rendered(seed: int, temperature: float) -> Tensor:
        return vocoder.generate(mel(20), options=GanTtsOptions(temperature=temperature), rng=generator(seed)).samples

    assert torch.equal(rendered(1, 1.0), rendered(1, 1.0)) and torch.equal(rendered(1, 0.0), rendered(2, 0.0))
    assert not torch.allclose(rendered(1, 1.0), rendered(2, 1.0), atol=1e-4)
    assert not torch.allclose(rendered(1, 1.0), rendered(1, 0.0), atol=1e-4)


def test_noise_changes_what_is_heard_in_training_too():
    made, _ = network()
    x = torch.randn(2, 10, 100)
    assert not torch.allclose(made.train()(x, torch.zeros(2, 4)), made(x, torch.ones(2, 4)), atol=1e-4)


def test_one_frame_is_no_sound_and_no_frame_neither():
    made, config = network()
    audio = GanTtsGenerator(made, config).generate(mel(1), options=OPTIONS, rng=generator(0))
    assert audio.samples.shape == (1, 0) and audio.lengths.tolist() == [0]


def test_a_broken_frame_is_named_and_one_that_only_pads_is_not():
    made, config = network()
    vocoder, rows = GanTtsGenerator(made, config), mel(9, 5)
    rows.values[1, 7, 3] = torch.nan
    assert vocoder.generate(rows, options=OPTIONS, rng=generator(0)).samples.isfinite().all()
    rows.values[1, 4, 3] = torch.inf
    with pytest.raises(ValueError, match="frame 4 of row 1 of the mel is not finite"):
        vocoder.generate(rows, options=OPTIONS, rng=generator(0))


def test_the_settings_in_which_a_mel_differs_are_named():
    made, config = network()
    rows = mel(5)
    other = Mel(rows.values, rows.lengths, MEL.model_copy(update={"hop_samples": 300, "floor": 1e-7}))
    with pytest.raises(
        ValueError,
        match="has hop_samples 300 instead of 256, floor 1e-07 instead of 1e-05: choose",
    ):
        GanTtsGenerator(made, config).generate(other, options=OPTIONS, rng=generator(0))


def test_ten_minutes_need_no_more_memory_than_their_sound():
    """The network's own values for ten minutes at once would be gigabytes."""
    made, config = network("shaped", widths=(2, 2, 2, 2, 2, 2, 2))
    vocoder = GanTtsGenerator(made, config)
    long = Mel(torch.full((1, 56250, 100), -5.0), torch.tensor([56250]), MEL)
    vocoder.generate(mel(400), options=OPTIONS, rng=generator(0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    audio = vocoder.generate(long, options=OPTIONS, rng=generator(0))
    assert audio.samples.shape == (1, 56249 * 256) and audio.samples.isfinite().all()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # KiB: the sound, three times 58 MB


@pytest.mark.parametrize("value", [-1e4, -11.5, 20.0, 1e4])
def test_extreme_mels_give_finite_audio_and_gradients(value):
    made, _ = network()
    features = mel_features(torch.full((1, 8, 100), value)).requires_grad_()
    made(features, torch.zeros(1, 4)).square().sum().backward()
    assert features.grad.isfinite().all() and all(p.grad.isfinite().all() for p in made.parameters())
    vocoder, rows = GanTtsGenerator(*network("shaped")), mel(8)
    loud = Mel(torch.full_like(rows.values, value), rows.lengths, MEL)
    assert vocoder.generate(loud, options=OPTIONS, rng=generator(0)).samples.isfinite().all()


def test_companding_is_undone():
    samples = torch.linspace(-1, 1, 101)
    torch.testing.assert_close(expand(compress(samples)), samples)
    assert float(compress(torch.tensor(0.01))) == pytest.approx(0.2286, abs=1e-3)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"factors": (1, 1, 2, 2, 4, 4, 2)}, "make 128 samples a frame, not hop_samples 256"),
        ({"widths": (8, 8)}, "7 factors and 2 widths"),
        ({"num_features": 80}, "num_features is 80, but mel conditioning has 100"),
        ({"conditioning": "linguistic", "num_features": 20}, "but linguistic conditioning has"),
        ({"shaped": True, "mu_law": True}, "shaped needs a mel"),
        ({"hop_samples": 128, "factors": (1, 1, 2, 2, 2, 4, 4)}, "hop_samples is 128, but the mel has 256"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(setting, said):
    with pytest.raises(ValueError, match=said):
        GanTtsConfig(**{**GanTtsConfig.tiny().model_dump(), **setting})


def test_the_mel_of_the_rendering_has_as_many_frames_as_were_given():
    made, config = network()
    audio = GanTtsGenerator(made, config).generate(mel(20), options=OPTIONS, rng=generator(0))
    assert log_mel(audio.samples, MEL).shape == (1, 20, 100)


def test_discriminators_join_at_their_step_and_have_as_many_updates_as_asked():
    settings = GanTtsObjectiveConfig.tiny().model_copy(update={"adversarial_start": 5, "discriminator_updates": 2})
    objective = GanTtsObjective(build("gan_tts").network, GanTtsConfig.tiny(), settings)
    parts = [[u.part for u in objective.updates(batch(("audio",)), step, generator(0))] for step in (4, 5)]
    assert parts == [["network"], ["discriminator", "discriminator", "network"]]


def test_the_discriminators_hear_the_frames_that_they_are_told_of():
    """Sample i of what they judge belongs to conditioning frame i // hop: centred on it in the recording."""
    objective = build("gan_tts").objective()
    heard = {}

    def spy(module: torch.nn.Module, given: tuple[Tensor, ...]) -> None:
        heard["samples"], heard["features"], _ = given

    objective.parts["discriminator"].register_forward_pre_hook(spy)
    ramp = torch.arange(12288.0).expand(2, -1) / 12288
    next(objective.updates(Batch({"audio": ramp}, {"audio": torch.tensor([12288, 12288])}), 0, generator(0)))
    assert heard["features"].shape == (4, 47, 100) and heard["samples"].shape == (4, 47 * 256)
    frames = heard["samples"][0].unflatten(0, (47, 256)) * 12288
    torch.testing.assert_close(frames.mean(-1), torch.arange(1, 48) * 256 - 0.5)


def test_scores_of_one_are_no_loss_for_the_discriminators_and_the_network_wants_more():
    objective = build("gan_tts").objective()
    judge = objective.parts["discriminator"]
    with torch.no_grad():
        for one in (*judge.conditional, *judge.unconditional):
            one.score.parametrizations.weight.original.fill_(1)
            one.score.bias.fill_(-1e3)  # everything is called generated
    found = {u.part: u for u in objective.updates(batch(("audio",)), 0, generator(0))}
    assert float(found["discriminator"].metrics["fake"]) < -900
    assert float(found["network"].metrics["adversarial"]) > 900


def test_the_discriminator_does_not_train_the_network_and_the_network_learns_through_it():
    system = build("gan_tts")
    settings = GanTtsObjectiveConfig.tiny().model_copy(update={"stft_weight": 0.0, "mel_weight": 0.0})
    objective = GanTtsObjective(system.network, system.config, settings)
    judge, learn = objective.updates(batch(("audio",)), 0, generator(0))
    weight = system.network.output.bias
    assert torch.autograd.grad(judge.loss, weight, allow_unused=True)[0] is None
    assert torch.autograd.grad(learn.loss, weight)[0].abs().sum() > 0


def test_a_silent_crop_does_no_harm():
    objective = build("gan_tts").objective()
    silent = Batch({"audio": torch.zeros(2, 12288)}, {"audio": torch.tensor([12288, 12288])})
    for update in objective.updates(silent, 0, generator(0)):
        grads = torch.autograd.grad(update.loss, list(objective.parts[update.part].parameters()))
        assert all(grad.isfinite().all() for grad in grads)


def linguistic_config() -> GanTtsConfig:
    count = num_linguistic_features(60)
    changes = {"conditioning": "linguistic", "vocabulary_size": 60, "num_features": count, "mu_law": True}
    return GanTtsConfig(**{**GanTtsConfig.tiny().model_dump(), **changes})


def linguistic_batch() -> Batch:
    rng = torch.Generator().manual_seed(0)
    fields = {
        "audio": batch(("audio",))["audio"],
        "labels": torch.randint(60, (2, 24), generator=rng),
        "pitch": 200 * torch.rand(2, 48, generator=rng),
    }
    return Batch(fields, {name: torch.tensor([value.shape[1]] * 2) for name, value in fields.items()})


def test_phones_and_pitch_train_it_as_mels_do():
    config = linguistic_config()
    torch.manual_seed(0)
    objective = GanTtsObjective(GanTts(config), config, GanTtsObjectiveConfig.tiny())
    assert objective.fields == ("audio", "labels", "pitch") and config.accepts == ("LinguisticFeatures",)
    parts = {u.part: u.loss for u in objective.updates(linguistic_batch(), 0, generator(0))}
    assert set(parts) == {"network", "discriminator"} and all(loss.isfinite() for loss in parts.values())
    assert objective.validate(linguistic_batch(), generator(0))["loss"].isfinite()


def test_phones_and_pitch_are_rendered_and_mels_then_refused():
    config = linguistic_config()
    vocoder = GanTtsGenerator(GanTts(config).eval(), config)
    rows = linguistic_batch()
    features = frame_features(rows["labels"], rows["pitch"], 12288, config)
    audio = vocoder.render(features, torch.tensor([49, 30]), options=OPTIONS, rng=generator(0))
    assert audio.lengths.tolist() == [12288, 29 * 256] and audio.samples.isfinite().all()
    with pytest.raises(UserError, match="renders linguistic features"):
        vocoder.generate(mel(9), options=OPTIONS, rng=generator(0))
    with pytest.raises(UserError, match="renders mels"):
        GanTtsGenerator(*network()).render(features, torch.tensor([49, 30]), options=OPTIONS, rng=generator(0))


@pytest.mark.parametrize("hop", [256, 120])
def test_labels_and_pitch_are_taken_at_the_time_of_the_frame(hop):
    """Label k lasts from mel frame 2k to 2k + 1, both centred on their samples; checked by the time in seconds."""
    config = GanTtsConfig.paper() if hop == 120 else linguistic_config()
    labels = torch.arange(24)[None]
    features = frame_features(labels, 100 + torch.arange(48.0)[None], 12288, config)
    assert features.shape == (1, 12288 // hop + 1, config.num_features)
    said = features[0, :, : config.vocabulary_size].argmax(-1)
    place = num_linguistic_features(config.vocabulary_size) - 2
    hertz = 150 * features[0, :, place].exp2()
    for frame in range(12288 // hop):
        sample = frame * hop
        assert said[frame] == min(23, (sample + 128) // 512)
        assert float(hertz[frame]) == pytest.approx(100 + min(47, round((sample + 0.01) / 256)), abs=0.01)
