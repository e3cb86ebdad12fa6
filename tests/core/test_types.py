"""Carriers: tokens are brought to other rates by time."""

from __future__ import annotations

import math

import pytest
import torch

from speechgen.core.types import SemanticTokens

RATE = 46.875


@pytest.mark.parametrize("rate", [25.0, 46.875, 50.0, 93.75])
def test_each_entry_at_another_rate_is_the_token_that_sounds_at_its_centre(rate):
    """The length in seconds is kept."""
    ids = torch.arange(40)[None]
    laid = SemanticTokens(ids, torch.tensor([40]), rate, 40).at(RATE)[0]
    assert len(laid) == round(40 / rate * RATE)
    centres = [(index + 0.5) / RATE for index in range(len(laid))]
    assert laid.tolist() == [min(39, math.floor(centre * rate + 1e-9)) for centre in centres]
    if rate == RATE:
        assert torch.equal(laid, ids[0])


def test_tokens_one_too_short_or_too_long_are_laid_under_all_that_is_asked_for():
    for size in (7, 8, 9):
        ids = torch.arange(size)[None]
        laid = SemanticTokens(ids, torch.tensor([size]), RATE, 9).at(RATE, 8)
        assert laid.shape == (1, 8) and torch.equal(laid[:, : min(size, 8)], ids[:, :8])
    nothing = SemanticTokens(torch.zeros(1, 0, dtype=torch.long), torch.tensor([0]), RATE, 9)
    assert nothing.at(50.0).shape == nothing.at(50.0, 3).shape == (1, 0)
