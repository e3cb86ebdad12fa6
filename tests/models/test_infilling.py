"""Gaps: the acoustic model sees both sides, the semantic model continues what was said before."""

from __future__ import annotations

import pytest
import torch

from speechgen.core.random import generator
from speechgen.core.types import Mel, MelSettings, SemanticTokens, Text
from speechgen.models.acoustic.e2_tts.config import E2Options
from speechgen.models.acoustic.e2_tts.generate import E2Generator
from speechgen.models.semantic.token_transducer.config import TransducerConfig, TransducerOptions
from speechgen.models.semantic.token_transducer.generate import TransducerGenerator
from tests.models.systems import MEL, NUM_TOKENS, TOKEN_RATE, build, mel, tokens

LEFT, OWN, RIGHT = 7, 5, 4


def row(ids):
    return SemanticTokens(ids, torch.tensor([ids.shape[1]]), TOKEN_RATE, NUM_TOKENS)


class Seen(torch.nn.Module):
    """Stands for the network: keeps what it sees."""

    def __init__(self, network):
        super().__init__()
        self.filler, self.patches, self.frames, self.hear = network.filler, network.patches, network.frames, network.hear

    def forward(self, noisy, visible, ids, t, lengths, voice=None):
        self.visible, self.ids = visible, ids
        return torch.zeros_like(noisy)


def filled(network, config, left=LEFT, right=RIGHT, right_mel=None, settings=MEL):
    """Fill a gap of OWN tokens between so many patches."""
    whole, ids = mel(2 * (left + right)).values, tokens(left + OWN + right).ids
    before, behind = whole[:, : 2 * left], whole[:, 2 * left :] if right_mel is None else right_mel
    parts = [row(part) for part in ids.split((left, OWN, right), dim=1)]
    made = E2Generator(network, config).infill(
        parts[1],
        Mel(before, torch.tensor([2 * left]), MEL),
        parts[0],
        Mel(behind, torch.tensor([2 * right]), settings),
        parts[2],
        options=E2Options(steps=2, guidance=0.0),
        rng=generator(0),
    )
    return made.values


def test_both_sides_are_visible_and_the_gap_is_not():
    system = build("e2_tts")
    seen = Seen(system.network)
    assert filled(seen, system.config).shape == (1, 2 * OWN, MEL.num_bins)
    known = system.network.patches(mel(2 * (LEFT + RIGHT)).values)
    assert torch.equal(seen.visible[:, :LEFT], known[:, :LEFT])
    assert torch.equal(seen.visible[:, LEFT + OWN :], known[:, LEFT:])
    assert seen.visible[:, LEFT : LEFT + OWN].eq(0).all()
    assert torch.equal(seen.ids, tokens(LEFT + OWN + RIGHT).ids)


@pytest.mark.parametrize(("left", "right"), [(0, RIGHT), (LEFT, 0)])
def test_a_side_may_be_missing(left, right):
    system = build("e2_tts")
    seen = Seen(system.network)
    assert filled(seen, system.config, left, right).shape[1] == 2 * OWN
    assert seen.visible.shape[1] == left + OWN + right


def test_what_is_made_depends_on_the_right_side():
    system = build("e2_tts")
    network = system.network.eval()
    one = filled(network, system.config)
    assert torch.equal(one, filled(network, system.config))
    assert not torch.allclose(one, filled(network, system.config, right_mel=torch.zeros(1, 2 * RIGHT, MEL.num_bins)), atol=1e-4)


def test_a_side_of_another_mel_is_refused():
    system = build("e2_tts")
    with pytest.raises(ValueError, match="the prompt is"):
        filled(system.network, system.config, settings=MelSettings(num_bins=80))


@pytest.fixture(scope="module")
def transducer():
    return TransducerGenerator(build("token_transducer").network.eval(), TransducerConfig.tiny())


TEXT = Text(torch.arange(20, 32)[None], torch.tensor([12]))
LIKELIEST = TransducerOptions(temperature=0.0, max_tokens_per_symbol=6)


@pytest.mark.parametrize("cut", [0, 1, 5, 11])
def test_tokens_of_the_last_symbols_follow_from_those_before_as_in_the_whole(transducer, cut):
    whole = transducer.generate(TEXT, mel(30), options=LIKELIEST, rng=generator(0))
    place = int(whole.durations[0, :cut].sum())
    assert 0 < whole.ids.shape[1]
    rest = transducer.infill(TEXT, range(cut, 12), row(whole.ids[:, :place]), mel(30), options=LIKELIEST, rng=generator(0))
    assert torch.equal(rest.ids, whole.ids[:, place:]) and torch.equal(rest.durations, whole.durations[:, cut:])


def test_only_the_symbols_asked_for_are_spoken_but_the_text_around_is_read(transducer):
    def middle(text, before):
        made = transducer.infill(text, range(4, 7), before, mel(30), options=LIKELIEST, rng=generator(0))
        assert made.durations.shape == (1, 3) and int(made.durations.sum()) == made.ids.shape[1]
        return made.ids.tolist()

    other = Text(TEXT.ids + 30, TEXT.lengths)
    other.ids[:, 4:7] = TEXT.ids[:, 4:7]
    made = {str(middle(text, before)) for text in (TEXT, other) for before in (row(tokens(9).ids[:, :0]), tokens(9, seed=2))}
    assert len(made) > 1
