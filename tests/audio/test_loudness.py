"""Levels of speech that comes in parts."""

import pytest
import torch

from speechgen.audio.loudness import TARGET_DBFS, RunningLevel, active_level

RATE = 24000


def tone(dbfs: float, seconds: float) -> torch.Tensor:
    return 2**0.5 * 10 ** (dbfs / 20) * torch.sin(torch.arange(int(seconds * RATE)) * 0.2)


def test_a_running_level_comes_to_that_of_what_is_heard():
    """It begins as if nothing were to be done, and a breath is not taken for speech."""
    level = RunningLevel(RATE)
    assert level.gain == pytest.approx(1.0)
    level.hear(tone(-70, 0.5))
    level.hear(torch.zeros(0))
    assert level.gain == pytest.approx(1.0, rel=0.01)
    loud = tone(-10, 70)
    for part in loud.split(7000):
        level.hear(part)
    assert 20 * torch.tensor(level.gain).log10() == pytest.approx(TARGET_DBFS - active_level(loud, RATE), abs=0.05)
    for part in tone(-30, 70).split(48000):
        level.hear(part)
    assert 20 * torch.tensor(level.gain).log10() == pytest.approx(TARGET_DBFS + 30, abs=0.05)
