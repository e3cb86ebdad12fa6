"""Faults of a piece's sound, each made on purpose."""

import math

import pytest
import torch

from speechgen.pipeline.checks import faults
from tests.tiny import RATE, voice_like


def test_speech_of_a_usual_length_is_fine():
    assert faults(voice_like(2.0), RATE, 30) == []
    assert faults(voice_like(2.0), RATE, 60, speed=2.0) == []


@pytest.mark.parametrize(
    ("samples", "symbols", "fault"),
    [
        (torch.zeros(RATE), 12, "silent"),
        (torch.zeros(0), 12, "silent"),
        (torch.full((RATE,), math.nan), 12, "not a number"),
        (voice_like(2.0), 300, "too short for its text"),
        (torch.cat((torch.zeros(RATE), voice_like(0.03))), 12, "too short for its text"),
        (voice_like(9.0), 12, "too long for its text"),
        ((40 * voice_like(2.0)).clamp(-1, 1), 30, "clipped"),
        (torch.cat((voice_like(2.0), 0.1 * torch.randn(RATE))), 30, "noise at its end"),
    ],
    ids=["silence", "nothing", "nan", "short", "shorter than a frame", "long", "clipped", "noise"],
)
def test_a_fault_is_named(samples, symbols, fault):
    assert faults(samples, RATE, symbols) == [fault]
