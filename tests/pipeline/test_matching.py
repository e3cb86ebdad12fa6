"""What is made of a voice is moved to the voice: the closed form of optimal transport, and what a match may not do."""

import pytest
import torch

from speechgen.core.types import Mel, MelSettings
from speechgen.pipeline import matching
from speechgen.pipeline.matching import fit_match

SETTINGS = MelSettings(num_bins=4)


def moved(match: matching.VoiceMatch | None, frames: torch.Tensor) -> torch.Tensor:
    assert match is not None
    return match(Mel(frames[None], torch.tensor([len(frames)]), SETTINGS)).values[0]


def speech(seed: int, frames: int = 2000) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    mixed = torch.randn(frames, 4, generator=rng) @ torch.randn(4, 4, generator=rng)
    return mixed + torch.tensor([-4.0, -5.0, -6.0, -7.0])


def loud(frames: torch.Tensor) -> torch.Tensor:
    level = frames.mean(1)
    return frames[level >= level.quantile(matching.QUIET_SHARE)]


def test_the_moved_frames_have_mean_and_covariance_of_the_recording(monkeypatch):
    monkeypatch.setattr(matching, "SHRINKAGE", 0.0)
    monkeypatch.setattr(matching, "FLOOR", 0.0)
    made, recorded = speech(1), speech(2, 1200)
    there = moved(fit_match(made, recorded, 1.0), loud(made))
    torch.testing.assert_close(there.mean(0), loud(recorded).mean(0), rtol=0, atol=1e-4)
    torch.testing.assert_close(torch.cov(there.T), torch.cov(loud(recorded).T), rtol=1e-3, atol=1e-3)


def test_independent_bins_are_scaled_each_by_its_own_deviation(monkeypatch):
    monkeypatch.setattr(matching, "SHRINKAGE", 1.0)  # nothing is believed of how bins go together
    monkeypatch.setattr(matching, "FLOOR", 0.0)
    made, recorded = speech(1), speech(2)
    turn = fit_match(made, recorded, 1.0).turn
    torch.testing.assert_close(turn, (loud(recorded).std(0) / loud(made).std(0)).diag(), rtol=1e-4, atol=1e-5)


def test_a_voice_that_is_met_already_stays_and_strength_goes_part_of_the_way():
    made, recorded = speech(1), speech(2)
    same = moved(fit_match(made, made, 1.0), made)
    torch.testing.assert_close(same, made, rtol=0, atol=1e-4)
    none, half, full = (moved(fit_match(made, recorded, s), made) for s in (0.0, 0.5, 1.0))
    torch.testing.assert_close(none, made, rtol=0, atol=1e-4)
    torch.testing.assert_close(half, (made + full) / 2, rtol=0, atol=1e-4)


@pytest.mark.parametrize("frames", [0, 1, matching.LEAST_FRAMES - 1])
def test_too_short_a_recording_has_no_match(frames):
    assert fit_match(speech(1), speech(2, frames), 1.0) is None
    assert fit_match(speech(1, frames), speech(2), 1.0) is None


def test_constant_bins_give_a_finite_match():
    still = torch.full((200, 4), -5.0)
    assert moved(fit_match(still, speech(2), 1.0), still).isfinite().all()
