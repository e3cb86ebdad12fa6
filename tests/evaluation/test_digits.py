"""The classifier of spoken digits, on tones that stand for them."""

from __future__ import annotations

import math

import torch

from speechgen.evaluation import digits
from speechgen.evaluation.digits import accuracy, recognise, train_classifier


def clips(count: int, seed: int) -> tuple[list[torch.Tensor], list[int]]:
    """Tones of ten heights, of various length and level, with noise."""
    rng = torch.Generator().manual_seed(seed)
    made, classes = [], []
    for number in range(count):
        length = int(torch.randint(2000, 6000, (1,), generator=rng))
        tone = torch.sin(2 * math.pi * (200 + 300 * (number % 10)) * torch.arange(length) / 8000)
        level = 0.02 + 0.2 * torch.rand(1, generator=rng)
        made.append(level * tone + 0.001 * torch.randn(length, generator=rng))
        classes.append(number % 10)
    return made, classes


def test_it_learns_ten_classes_and_is_not_sure_of_noise(monkeypatch):
    monkeypatch.setattr(digits, "BATCH", 12)
    before = torch.get_rng_state()
    network = train_classifier(*clips(120, 0), 8000)
    assert torch.equal(torch.get_rng_state(), before)
    unseen, classes = clips(20, 1)
    assert accuracy(network, unseen, classes) >= 0.9
    heard = recognise(network, unseen)
    assert heard.confident >= 0.5 and sum(heard.counts) == round(heard.confident * 20)
