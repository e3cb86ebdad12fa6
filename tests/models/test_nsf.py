"""NSF: the pitch follows the request, parts equal the whole, and the papers' presets are the papers' sizes."""

from __future__ import annotations

import pytest
import torch

from speechgen.audio.pitch import estimate_pitch
from speechgen.core.protocols import Part
from speechgen.core.random import generator
from speechgen.core.types import Mel, MelSettings
from speechgen.models.vocoders.nsf import NSF, NSFConfig, NSFGenerator, NSFObjective, NSFObjectiveConfig, NSFOptions
from speechgen.models.vocoders.nsf import generate as nsf_generate
from speechgen.models.vocoders.nsf.model import PitchPredictor, decode_pitch, pitch_loss, pitch_scale
from speechgen.pipeline.streaming import VocoderStream
from tests.models.systems import MEL, batch, build, mel

HOP = MEL.hop_samples


def vocoder(config: NSFConfig | None = None) -> NSFGenerator:
    """With random weights, those that start at zero too; its predictor finds a voice nearly everywhere."""
    torch.manual_seed(0)
    config = config or NSFConfig.tiny()
    network = NSF(config).eval()
    with torch.no_grad():
        network.pitch.scores.bias[-1] = 0.5
        network.pitch.scores.weight.mul_(4)
        if config.modulated:  # random levels of a random mel would beat at its frame rate
            network.condition.level.weight.mul_(0.05)
            network.condition.level.bias.fill_(-1.0)
    return NSFGenerator(network, config)


def steady(frames: int, hertz: float) -> torch.Tensor:
    return torch.full((1, frames), hertz)


def render(
    made: NSFGenerator,
    rows: Mel,
    pitch: torch.Tensor | None = None,
    part: Part | None = None,
    options: NSFOptions | None = None,
) -> torch.Tensor:
    return made.generate(rows, options=options or NSFOptions(), rng=generator(0), part=part, pitch=pitch).samples


@pytest.mark.parametrize(("preset", "trained"), [("hn_paper", 0.72e6), ("hn_sinc_paper", 0.72e6)])
def test_the_papers_presets_have_the_papers_sizes(preset, trained):
    with torch.device("meta"):
        network = NSF(getattr(NSFConfig, preset)())
    size = sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in network.pitch.parameters())
    assert size == pytest.approx(trained, rel=0.03)
    assert sum(block.reach_samples - 1 for block in network.blocks) + 1 == 10_231
    assert network.reach_frames is None  # a BiLSTM reads everything


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "hn"},
        {"condition": "blstm", "glide": False},
        {"condition": "convnext"},
        {"fold": 1, "stair": 1, "modulated": False, "glide": False},
        {"condition_layers": 1},
    ],
    ids=str,
)
def test_every_variant_renders_and_learns(changes):
    config = NSFConfig.tiny().model_copy(update=changes)
    objective = NSFObjective(NSF(config), config, NSFObjectiveConfig())
    (update,) = objective.updates(batch(objective.fields), 0, generator(0))
    grads = torch.autograd.grad(update.loss, list(objective.parts["network"].parameters()))
    assert all(grad.isfinite().all() for grad in grads)
    assert render(vocoder(config), mel(6)).shape == (1, 5 * HOP)


@pytest.mark.parametrize("semitones", [-12.0, -3.0, 0.0, 4.0, 12.0])
def test_the_pitch_of_what_is_rendered_follows_the_request(semitones):
    made = vocoder(NSFConfig.tiny().model_copy(update={"fold": 1}))  # folds of random weights have a pitch of their own
    sound = render(made, mel(80), steady(80, 180.0), options=NSFOptions(pitch=semitones, breath=0.0))[0]
    found = estimate_pitch(sound, MEL)[10:-10]
    assert (found > 0).float().mean() > 0.9
    assert float(found[found > 0].median()) == pytest.approx(180 * 2 ** (semitones / 12), rel=0.01)


def test_a_monotone_stays_on_one_note_and_keeps_its_pauses():
    pitch = torch.cat((steady(30, 150.0), steady(20, 0.0), steady(30, 210.0)), dim=1)
    options = NSFOptions(monotone_hz=130.0, breath=0.0)
    found = estimate_pitch(render(vocoder(), mel(80), pitch, options=options)[0], MEL)
    heard = torch.cat((found[6:24], found[56:74]))
    assert float(heard[heard > 0].median()) == pytest.approx(130, rel=0.01) and (heard > 0).float().mean() > 0.8


def test_breath_is_the_gain_of_the_noise():
    made = vocoder(NSFConfig.tiny().model_copy(update={"corrections": 0}))  # a correction restores the envelope
    rows, pitch = mel(20), steady(20, 150.0)
    none, usual, double = (render(made, rows, pitch, options=NSFOptions(breath=gain)) for gain in (0.0, 1.0, 2.0))
    inside = (none.abs() < 1) & (usual.abs() < 1) & (double.abs() < 1)
    torch.testing.assert_close((double - none)[inside], 2 * (usual - none)[inside], rtol=1e-3, atol=1e-5)
    assert not torch.equal(none, usual)


@pytest.mark.parametrize("pitch", [None, 0.0, 200.0], ids=["predicted", "unvoiced", "voiced"])
def test_windows_join_to_the_whole(monkeypatch, pitch):
    made, rows = vocoder(), mel(150)
    given = None if pitch is None else steady(150, pitch) * (1 + 0.2 * torch.sin(torch.arange(150) / 9))
    whole = render(made, rows, given)
    monkeypatch.setattr(nsf_generate, "WINDOW_FRAMES", 23)
    assert len(made._windows(150)) > 4
    torch.testing.assert_close(render(made, rows, given), whole, rtol=1e-3, atol=1e-4)


def test_a_stream_is_what_the_whole_would_be():
    made, rows = vocoder(), mel(200)
    whole = render(made, rows)[0]
    stream = VocoderStream(made, NSFOptions(), generator(0))
    cuts = [0, 60, 71, 130, 200]
    pieces = [stream.push(rows.values[:, a:b], last=b == 200) for a, b in zip(cuts, cuts[1:], strict=False)]
    assert sum(len(piece) > 0 for piece in pieces) > 2
    quiet = whole.abs().max() < 0.5
    assert quiet, "the limiter would change it"
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=1e-3, atol=1e-4)


def test_a_phase_goes_on_where_a_part_follows_and_begins_anew_where_it_does_not():
    made, rows, pitch = vocoder(), mel(120), steady(120, 173.0)
    reach = made.reach_frames
    whole = render(made, rows, pitch)[0]
    memory = Part()
    render(made, Mel(rows.values[:, :90], torch.tensor([90]), MEL), pitch[:, :90], memory)
    later = Mel(rows.values[:, 60:], torch.tensor([60]), MEL)
    follows = render(made, later, pitch[:, 60:], Part(60, memory.memory))[0]
    torch.testing.assert_close(follows[reach * HOP :], whole[(60 + reach) * HOP :], rtol=1e-3, atol=1e-4)
    alone = render(made, later, pitch[:, 60:], Part(60))[0]
    assert not torch.allclose(alone[reach * HOP :], whole[(60 + reach) * HOP :], atol=1e-3)


def test_samples_depend_on_no_more_than_the_reach_of_the_mel():
    made = vocoder()
    rows, reach, at = mel(140), made.reach_frames, 70
    changed = rows.values.clone()
    changed[:, : at - reach] += 1
    changed[:, at + reach + 1 :] -= 1
    pitch = steady(140, 120.0)
    first, second = (render(made, Mel(values, rows.lengths, MEL), pitch)[0] for values in (rows.values, changed))
    torch.testing.assert_close(first[at * HOP], second[at * HOP], rtol=0, atol=1e-6)


def test_one_frame_is_no_sound():
    assert render(vocoder(), mel(1)).shape == (1, 0)


def test_silence_of_pitch_is_noise_without_a_tone():
    sound = render(vocoder(), mel(60), steady(60, 0.0))[0]
    assert sound.isfinite().all() and sound.abs().max() > 0
    assert (estimate_pitch(sound, MEL) > 0).float().mean() < 0.2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(value):
    made, rows = vocoder(), mel(5, 4)
    rows.values[1, 2, 3] = value
    with pytest.raises(ValueError, match="frame 2 of row 1 of the mel is not finite"):
        render(made, rows)
    with pytest.raises(ValueError, match="the pitch must be finite"):
        render(made, mel(5), steady(5, value))
    with pytest.raises(ValueError, match="does not fit a mel of"):
        render(made, mel(5), steady(4, 100.0))


def test_what_pads_a_row_may_be_anything():
    rows = mel(9, 5)
    before = render(vocoder(), rows)
    rows.values[1, 5:] = float("nan")
    torch.testing.assert_close(render(vocoder(), rows), before)


def test_another_mel_is_named_by_its_field():
    other = MelSettings(hop_samples=300)
    with pytest.raises(ValueError, match="hop_samples 300 instead of 256"):
        render(vocoder(), Mel(mel(5).values, torch.tensor([5]), other))


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="fold must divide stair"):
        NSF(NSFConfig.tiny().model_copy(update={"fold": 24}))


def test_pitches_between_the_bins_are_decoded_and_cost_least():
    scale = pitch_scale(torch.zeros(160))
    pitch = torch.tensor([[60.0, 101.3, 0.0, 222.2, 600.0]])
    scores = -((pitch.clamp(min=55).log()[..., None] - scale) / (scale[1] - scale[0])).square() / 2
    voicing = torch.tensor([[9.0, 9.0, -9.0, 9.0, 9.0]])
    torch.testing.assert_close(decode_pitch(scores, voicing), pitch, rtol=2e-3, atol=0)
    taught = pitch_loss(scores, voicing, pitch)
    assert taught < pitch_loss(scores.roll(5, -1), voicing, pitch)
    assert taught < pitch_loss(scores, -voicing, pitch)


def test_the_predictor_learns_the_pitch_of_crops():
    torch.manual_seed(0)
    predictor = PitchPredictor(4, 16, 1, 40)
    pitch = 80 + 200 * torch.rand(4, 50)
    features = torch.stack([(pitch.log() - 5 - shift) for shift in (-0.5, 0.0, 0.3, 0.6)], dim=1)
    optimizer = torch.optim.Adam(predictor.parameters(), 1e-2)
    for _ in range(300):
        loss = pitch_loss(*predictor(features), pitch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = decode_pitch(*predictor(features))
    assert ((found / pitch - 1).abs() < 0.08).float().mean() > 0.9


def test_papers_recipes_have_no_discriminator_and_small_ones_get_them_at_their_step():
    network, config = NSF(NSFConfig.tiny()), NSFConfig.tiny()
    assert set(NSFObjective(network, config, NSFObjectiveConfig()).parts) == {"network"}
    objective = NSFObjective(network, config, NSFObjectiveConfig.tiny().model_copy(update={"adversarial_start": 5}))
    rows = batch(objective.fields)
    parts = [[update.part for update in objective.updates(rows, step, generator(0))] for step in (4, 5)]
    assert parts == [["network"], ["discriminator", "network"]]


def test_a_silent_crop_does_no_harm():
    objective = build("nsf").objective()
    rows = batch(objective.fields)
    silent = type(rows)({name: torch.zeros_like(values) for name, values in rows.fields.items()}, rows.lengths)
    for update in objective.updates(silent, 0, generator(0)):
        grads = torch.autograd.grad(update.loss, list(objective.parts[update.part].parameters()), allow_unused=True)
        assert all(grad.isfinite().all() for grad in grads if grad is not None)
