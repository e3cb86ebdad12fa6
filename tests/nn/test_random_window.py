"""Random window discriminators: the paper's table, alignment of sound and conditioning, and spectral norms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from speechgen.core.random import generator
from speechgen.models.vocoders.gan_tts.config import MEL_WINDOWS, PAPER_WINDOWS, WindowConfig
from speechgen.nn.random_window import RandomWindow, RandomWindowDiscriminators, WindowDiscriminator, cut, draw_starts, fold
from speechgen.nn.spectral_norm import iterate, spectral_norm

HOPS = {"paper": 120, "mel": 256}
WINDOWS = {"paper": PAPER_WINDOWS, "mel": MEL_WINDOWS}
both = pytest.mark.parametrize("name", HOPS)


def plain(windows: tuple[WindowConfig, ...]) -> list[RandomWindow]:
    return [RandomWindow(w.frames, w.stride, w.conditional, w.unconditional) for w in windows]


def ensemble(name: str, features: int = 3, width: int = 2) -> RandomWindowDiscriminators:
    torch.manual_seed(0)
    return RandomWindowDiscriminators(plain(WINDOWS[name]), HOPS[name], features, width)


def lengths_inside(judge: WindowDiscriminator, samples: int, frames: int) -> dict[str, list[int]]:
    """Length of what each block makes of a window, by the block's name."""
    seen: dict[str, list[int]] = {"down": [], "conditional": [], "even": []}
    for name, block in judge.named_modules():
        kind = name.partition(".")[0]
        if kind in seen and name.count(".") == (0 if kind == "conditional" else 1):
            block.register_forward_hook(lambda module, given, made, kind=kind: seen[kind].append(made.shape[-1]))
    judge(torch.randn(1, samples), torch.randn(1, frames, 3))
    return seen


def test_windows_are_those_of_the_paper():
    """240 to 3600 samples, folded to length 240; the conditional ones see 2 to 30 frames of 5 ms."""
    assert [w.frames * 120 for w in PAPER_WINDOWS] == [240, 480, 960, 1920, 3600]
    assert [w.stride for w in PAPER_WINDOWS] == [1, 2, 4, 8, 15]
    assert [w.frames for w in PAPER_WINDOWS] == [2, 4, 8, 16, 30]
    assert {w.frames * 120 // w.stride for w in PAPER_WINDOWS} == {240}
    assert [w.conditional for w in PAPER_WINDOWS] == [(5, 3, 2, 2, 2), (5, 3, 2, 2), (5, 3, 2), (5, 3), (2, 2, 2)]
    assert [w.unconditional for w in PAPER_WINDOWS] == [(5, 3)] * 4 + [(2, 2)]


def test_windows_for_the_mel_are_whole_frames_of_one_folded_length():
    assert [w.frames * 256 for w in MEL_WINDOWS] == [512, 1024, 2048, 4096, 8192]
    assert {w.frames * 256 // w.stride for w in MEL_WINDOWS} == {512}


def test_there_are_ten_discriminators_of_the_papers_channels():
    judge = ensemble("paper", features=567, width=64)
    assert len(judge.conditional) == len(judge.unconditional) == 5
    channels = [[block.outer.out_channels for block in one.down] for one in judge.conditional]
    assert channels == [[64, 128, 128, 256, 256], [64, 128, 256, 256], [64, 128, 256], [64, 256], [64, 128, 256]]
    assert {one.conditional.outer.out_channels for one in judge.conditional} == {512}
    assert all([block.outer.out_channels for block in one.down] == [64, 128, 256] for one in judge.unconditional)
    assert {(c.inner.dilation, c.outer.dilation) for one in judge.conditional for c in one.down} == {((1,), (2,))}


@both
def test_conditioning_joins_where_there_is_one_entry_a_frame(name):
    judge, hop = ensemble(name), HOPS[name]
    for window, conditional, unconditional in zip(judge.windows, judge.conditional, judge.unconditional, strict=True):
        length = window.frames * hop // window.stride
        expected = [length]
        for factor in window.conditional[:-1]:
            expected.append(expected[-1] // factor)
        seen = lengths_inside(conditional, window.frames * hop, window.frames)
        assert seen == {"down": expected, "conditional": [window.frames], "even": [window.frames] * 2}
        seen = lengths_inside(unconditional, window.frames * hop, window.frames)
        first, second = window.unconditional
        assert seen["down"] == [length, length // first, length // first // second] and not seen["conditional"]


@both
def test_each_discriminator_hears_its_window_and_nothing_else(name):
    """Its receptive field is the window: every sample of it counts, none outside."""
    judge, hop, frames = ensemble(name, width=8), HOPS[name], 40
    starts = draw_starts(judge.windows, frames, hop, 1, generator(3))
    samples = torch.randn(1, frames * hop, requires_grad=True)
    features = torch.randn(1, frames, 3, requires_grad=True)
    scores = judge(samples, features, starts)
    assert len(scores) == 10 and all(score.shape == (1,) for score in scores)
    for index, (score, start) in enumerate(zip(scores, starts[:, 0].tolist(), strict=True)):
        window = judge.windows[index % 5]
        heard, seen = torch.autograd.grad(score.sum(), (samples, features), retain_graph=True, allow_unused=True)
        places = heard[0].nonzero()[:, 0]
        assert start <= places.min() and places.max() < start + window.frames * hop
        assert len(places) > 0.9 * window.frames * hop
        if index < 5:
            assert seen[0].abs().sum(-1).nonzero()[:, 0].tolist() == list(range(start // hop, start // hop + window.frames))
        else:
            assert seen is None or not seen.any()


@both
def test_conditioning_is_that_of_the_window(name):
    """Features and samples that say the number of their frame agree in 1000 draws, and all places are drawn."""
    hop, frames, windows = HOPS[name], 36, plain(WINDOWS[name])
    index = torch.arange(frames).float()[None]
    samples = index.repeat_interleave(hop, 1)
    rng, seen = generator(0), set()
    for _ in range(100):
        starts = draw_starts(windows, frames, hop, 10, rng)
        seen |= set(starts[4].tolist())
        for window, start in zip(windows, starts[:5], strict=True):
            sound = cut(samples.expand(10, -1), start, window.frames * hop)
            features = cut(index.expand(10, -1), start // hop, window.frames)
            assert torch.equal(sound, features.repeat_interleave(hop, 1))
    assert seen == {place * hop for place in range(frames - windows[4].frames + 1)}


def test_a_crop_as_long_as_the_widest_window_has_one_place():
    windows = plain(PAPER_WINDOWS)[-1:]
    assert not draw_starts(windows, 30, 120, 4, generator(0)).any()
    with pytest.raises(ValueError, match="the widest window covers 30 frames, the crop has 29"):
        draw_starts(windows, 29, 120, 4, generator(0))


def test_unconditional_windows_begin_anywhere():
    starts = draw_starts(plain(PAPER_WINDOWS), 60, 120, 200, generator(0))
    assert (starts[:5] % 120 == 0).all() and len((starts[5:] % 120).unique()) > 100


@pytest.mark.parametrize("stride", [1, 2, 15])
def test_folding_keeps_every_sample_in_its_place(stride):
    """Block i of successive samples is column i; unfolding gives the window back, and blocks of one change nothing."""
    window = torch.arange(2.0 * 60).reshape(2, 60)
    folded = fold(window, stride)
    assert folded.shape == (2, stride, 60 // stride)
    assert torch.equal(folded[0, :, 1], torch.arange(stride, 2.0 * stride))
    assert torch.equal(folded.transpose(1, 2).flatten(1), window)


def test_factors_that_do_not_meet_the_frames_are_refused():
    with pytest.raises(ValueError, match="has to be downsampled by 60, its conditional factors .* make 30"):
        RandomWindowDiscriminators([RandomWindow(4, 2, (5, 3, 2), (5, 3))], 120, 3, 4)


def test_the_largest_singular_value_becomes_one():
    """Also while the weights change."""
    torch.manual_seed(0)
    layer = spectral_norm(nn.Conv1d(5, 7, 3))
    original = layer.parametrizations.weight.original
    for _ in range(50):
        (slope,) = torch.autograd.grad(layer(torch.randn(2, 5, 9)).square().sum(), original)
        with torch.no_grad():
            original -= 0.1 * slope
        iterate(layer)
    assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=0.02)


def test_every_weight_of_the_ensemble_is_normalised():
    for name, value in ensemble("mel", width=4).named_parameters():
        assert value.ndim == 1 or name.endswith("parametrizations.weight.original"), name


def test_the_norm_stands_still_while_the_weights_do():
    layer = spectral_norm(nn.Linear(6, 4))
    x = torch.randn(3, 6)
    before = layer(x)
    iterate(layer)
    assert torch.equal(layer(x), before)
    with torch.no_grad():
        layer.parametrizations.weight.original.mul_(3)
    torch.testing.assert_close(layer(x), before)  # a scale is divided out at once
