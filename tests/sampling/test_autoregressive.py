"""Codes in slots: layouts, back and forth, and the loop over them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from speechgen.core.random import generator
from speechgen.sampling.autoregressive import arrange, decode_slots, inputs_of, layout, restore

BOTH = pytest.mark.parametrize("kind", ["delay", "flat"])


def test_layouts_are_those_of_the_papers():
    assert layout("delay", 3, 2).tolist() == [[0, -1], [1, 0], [2, 1], [-1, 2]]
    assert layout("flat", 2, 2).tolist() == [[0, -1], [-1, 0], [1, -1], [-1, 1]]


@BOTH
def test_codes_survive_their_slots(kind):
    codes = torch.randint(9, (2, 4, 7), generator=generator(0))
    places = layout(kind, 7, 4)
    slots = arrange(codes, places, 9)
    assert torch.equal(restore(slots, places), codes) and (slots == 9).sum() == 2 * (places < 0).sum()
    assert torch.equal(inputs_of(slots, 9)[..., 1:], slots[..., :-1]) and (inputs_of(slots, 9)[..., 0] == 9).all()


@BOTH
@pytest.mark.parametrize("known", [0, 3])
def test_each_code_is_drawn_from_the_slots_before_it(kind, known):
    """A rule that looks at the inputs alone: every code is the sum of the inputs of its slot and its codebook, modulo 9."""
    prompt = torch.randint(9, (2, 3, known), generator=generator(1))
    calls: list[int] = []

    def predict(inputs: Tensor, wanted: list[int]) -> Tensor:
        calls.append(inputs.shape[2])
        total = inputs[:, :, -1].sum(1)[:, None] + torch.tensor(wanted)
        return torch.nn.functional.one_hot(total % 9, 9) * 100.0

    made = decode_slots(predict, prompt, 5, kind, filler=9, temperature=1.0, rng=generator(0))
    whole = torch.cat((prompt, made), dim=2)
    inputs = inputs_of(arrange(whole, layout(kind, 5 + known, 3), 9), 9)
    for slot, frames in enumerate(layout(kind, 5 + known, 3).tolist()):
        for book, frame in enumerate(frames):
            if frame >= known:
                assert torch.equal(whole[:, book, frame], (inputs[:, :, slot].sum(1) + book) % 9)
    assert calls[0] == (known if kind == "delay" else 3 * known) + 1 and set(calls[1:]) == {1}
