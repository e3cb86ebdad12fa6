"""Token transducer: stepping equals the lattice, causality, windows, tempo, and learning an alignment."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from speechgen.core.protocols import Batch
from speechgen.core.random import generator
from speechgen.core.types import SemanticTokens, Text
from speechgen.losses.transducer import transducer_loss
from speechgen.models.semantic.token_transducer.config import TransducerConfig, TransducerObjectiveConfig, TransducerOptions
from speechgen.models.semantic.token_transducer.generate import TransducerGenerator, _at_speed
from speechgen.models.semantic.token_transducer.model import TokenTransducer, TransducerInputs
from speechgen.models.semantic.token_transducer.objective import TransducerObjective
from speechgen.nn.masks import valid_mask
from tests.models.systems import NUM_TOKENS, batch, build, mel, tokens

FIELDS = ("phonemes", "tokens", "reference")
WHOLE = 1000
"""A window wider than any lattice here."""


def network() -> TokenTransducer:
    return build("token_transducer").network.eval()


def inputs(rows: Batch) -> TransducerInputs:
    return TransducerInputs(
        rows["phonemes"],
        rows.lengths["phonemes"],
        rows["tokens"],
        rows.lengths["tokens"],
        F.pad(rows["tokens"], (1, 0), value=NUM_TOKENS),
        rows["reference"],
        rows.lengths["reference"],
    )


def row(rows: Batch, index: int) -> Batch:
    """One row without its padding."""
    return Batch(
        {name: value[index : index + 1, : rows.lengths[name][index]] for name, value in rows.fields.items()},
        {name: value[index : index + 1] for name, value in rows.lengths.items()},
    )


def request(symbols: int = 12) -> Text:
    return Text(torch.arange(20, 20 + symbols)[None], torch.tensor([symbols]))


def test_stepping_token_by_token_gives_the_column_of_the_training_lattice():
    """The incremental predictor equals the full forward, at every cell."""
    model, rows = network(), row(batch(FIELDS), 0)
    lattice = model(inputs(rows), WHOLE)
    assert lattice.logits.shape == (1, 5, 14, NUM_TOKENS + 1) and lattice.starts.eq(0).all()
    style = model.reference(rows["reference"], valid_mask(rows.lengths["reference"], rows["reference"].shape[1]))
    encoded = model.encode(rows["phonemes"], rows.lengths["phonemes"], style)[0]
    state = model.start(style)
    for position in range(14):
        column = torch.stack([model.join(symbol, state[0][0]) for symbol in encoded])
        torch.testing.assert_close(column, lattice.logits[0, :, position], rtol=1e-4, atol=1e-5)
        if position < 13:
            state = model.advance(int(rows["tokens"][0, position]), state, style)


def test_a_prediction_does_not_see_the_tokens_to_come():
    model, rows = network(), batch(FIELDS)
    changed = rows["tokens"].clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % NUM_TOKENS
    before = model(inputs(rows), WHOLE).logits
    after = model(inputs(Batch({**rows.fields, "tokens": changed}, rows.lengths)), WHOLE).logits
    torch.testing.assert_close(before[:, :, :7], after[:, :, :7])
    assert not torch.allclose(before[:, :, 7], after[:, :, 7], atol=1e-4)


def test_rows_of_a_batch_have_the_lattice_they_have_alone():
    model, rows = network(), batch(FIELDS)
    together = model(inputs(rows), WHOLE).logits
    for index in range(2):
        alone = model(inputs(row(rows, index)), WHOLE).logits[0]
        torch.testing.assert_close(together[index, : alone.shape[0], : alone.shape[1]], alone, rtol=1e-4, atol=1e-5)


def test_the_window_shows_the_cells_of_the_whole_lattice_at_its_place():
    model, rows = network(), batch(FIELDS)
    whole, pruned = model(inputs(rows), WHOLE), model(inputs(rows), 6)
    assert pruned.logits.shape[2] == 6
    for b, s in ((0, 0), (0, 2), (0, 4), (1, 2)):
        start = int(pruned.starts[b, s])
        torch.testing.assert_close(pruned.logits[b, s], whole.logits[b, s, start : start + 6], rtol=1e-4, atol=1e-5)


def test_the_pruned_loss_is_not_below_the_whole_one_and_is_finite_in_the_narrowest_window():
    model, rows = network(), batch(FIELDS)
    losses = []
    for width in (1, 6, 10, WHOLE):
        given = inputs(rows)
        lattice = model(given, width)
        losses.append(transducer_loss(lattice.logits, given.tokens, given.phoneme_lengths, given.token_lengths, lattice.starts))
    assert all(loss >= losses[-1] - 1e-5 for loss in losses) and losses[0] < 100
    assert losses[0] > losses[-1]


@pytest.mark.parametrize("seed", range(3))
def test_far_more_tokens_than_symbols_still_have_a_finite_loss(seed):
    """Two symbols, 60 tokens: nearly all speak in one of them."""
    torch.manual_seed(seed)
    objective = TransducerObjective(network(), TransducerConfig.tiny(), TransducerObjectiveConfig(window=2))
    rows = batch(FIELDS)
    lengths = rows.lengths | {"tokens": torch.tensor([60, 50]), "phonemes": torch.tensor([2, 1])}
    rows = Batch({**rows.fields, "tokens": tokens(60, 50, seed=seed).ids}, lengths)
    assert objective.validate(rows, generator(0))["loss"] < 100


def test_the_reference_is_heard():
    speak = TransducerGenerator(network(), TransducerConfig.tiny())
    options = TransducerOptions(temperature=1.0, top_k=0)
    reference = mel(40)
    other = replace(reference, values=20 * torch.randn(1, 40, 100, generator=generator(0)))
    made = [speak.generate(request(), heard, options=options, rng=generator(0)).ids.tolist() for heard in (reference, other)]
    assert made[0] != made[1]


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 16, 33])
def test_a_reference_of_any_length_counts_as_it_does_alone(frames):
    model = network()
    padded = torch.full((2, 40, 100), 50.0)
    padded[0, :frames], padded[1] = mel(frames).values[0], mel(40, seed=1).values[0]
    together = model.reference(padded, valid_mask(torch.tensor([frames, 40]), padded.shape[1]))
    alone = model.reference(mel(frames).values, torch.ones(1, frames, dtype=torch.bool))
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)


def test_a_new_network_expects_about_four_tokens_a_symbol():
    """Its blank has a fifth of the probability where all token logits are alike."""
    torch.manual_seed(0)
    model = TokenTransducer(TransducerConfig.tiny())
    logits = torch.zeros(NUM_TOKENS + 1) + model.joint_out.bias.detach()
    logits[:-1] = 0
    assert float(logits.softmax(-1)[-1]) == pytest.approx(0.2)


def spoken(**options) -> SemanticTokens:
    speak = TransducerGenerator(network(), TransducerConfig.tiny())
    return speak.generate(request(), mel(30), options=TransducerOptions(**options), rng=generator(4))


def generate(**options) -> Tensor:
    return spoken(**options).ids


def test_speed_is_exact_and_keeps_the_order():
    plain = generate(temperature=1.0, top_k=0)
    count = plain.shape[1]
    slow, fast = generate(temperature=1.0, top_k=0, speed=0.5), generate(temperature=1.0, top_k=0, speed=2.0)
    assert torch.equal(slow, plain.repeat_interleave(2, dim=1))
    assert torch.equal(fast, plain[:, 1::2]) or fast.shape[1] == round(count / 2)
    for speed in (0.8, 1.25):
        assert generate(temperature=1.0, top_k=0, speed=speed).shape[1] == round(count / speed)


def test_a_single_token_is_not_lost_at_double_speed():
    assert _at_speed(1, 2.0, last=True).tolist() == [0] and _at_speed(0, 2.0, last=True).tolist() == []


def test_durations_tell_at_every_speed_which_symbol_each_token_belongs_to():
    plain = spoken(temperature=1.0, top_k=0).durations
    assert plain.shape == (1, 12) and plain.min() >= 0
    for speed in (0.5, 0.8, 1.25):
        made = spoken(temperature=1.0, top_k=0, speed=speed)
        assert made.durations.sum() == made.ids.shape[1]
        # Each symbol begins and ends within half a repeated token of where its pace says.
        assert (made.durations.cumsum(1) - plain.cumsum(1) / speed).abs().max() <= 0.5 / speed + 0.5
    assert torch.equal(spoken(temperature=1.0, top_k=0, speed=0.5).durations, 2 * plain)


def test_blank_bias_and_the_limit_bound_the_length():
    assert generate(blank_bias=10.0).shape[1] < generate(temperature=1.0, top_k=0, blank_bias=-10.0).shape[1]
    assert generate(blank_bias=-10.0, max_tokens_per_symbol=3).shape[1] == 12 * 3


def test_saying_nothing_is_an_empty_row(monkeypatch):
    model = network()
    with torch.no_grad():
        model.joint_out.bias[-1] = 1e6
    made = TransducerGenerator(model, TransducerConfig.tiny()).generate(
        request(), mel(30), options=TransducerOptions(speed=0.7), rng=generator(0)
    )
    assert made.ids.shape == (1, 0) and made.lengths.tolist() == [0] and made.durations.tolist() == [[0] * 12]


def test_hidden_tokens_are_hidden_from_the_predictor_alone():
    """With all of the past hidden, the loss does not depend on the tokens' embeddings but on the tokens themselves."""
    model = network()
    objective = TransducerObjective(model, TransducerConfig.tiny(), TransducerObjectiveConfig(hide_tokens=1.0))
    (update,) = objective.updates(batch(FIELDS), 0, generator(0))
    gradient = torch.autograd.grad(update.loss, model.tokens.weight)[0]
    assert gradient[:NUM_TOKENS].eq(0).all() and gradient[NUM_TOKENS].abs().sum() > 0


def test_an_alignment_is_learnt_and_decoded_greedily():
    """Each symbol says its own token as often as it is long: greedy decoding gives the tokens back."""
    torch.manual_seed(0)
    config = TransducerConfig.tiny().model_copy(update={"width": 32, "predictor_width": 32})
    model = TokenTransducer(config)
    phonemes = torch.tensor([[20, 21, 22, 23, 24], [24, 22, 20, 23, 21]])
    said = {20: (1, 3), 21: (2, 1), 22: (3, 2), 23: (4, 0), 24: (5, 4)}  # token, times
    rows = [[token for p in line for token in [said[p][0]] * said[p][1]] for line in phonemes.tolist()]
    lengths = torch.tensor([len(r) for r in rows])
    data = Batch(
        {"phonemes": phonemes, "tokens": torch.tensor(rows), "reference": mel(16, 16).values},
        {"phonemes": torch.tensor([5, 5]), "tokens": lengths, "reference": torch.tensor([16, 16])},
    )
    objective = TransducerObjective(model, config, TransducerObjectiveConfig(window=6, hide_tokens=0.0, warmup_steps=20))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(120):
        (update,) = objective.updates(data, step, generator(step))
        optimizer.zero_grad()
        update.loss.backward()
        optimizer.step()
    speak = TransducerGenerator(model.eval(), config)
    for index in range(2):
        text = Text(phonemes[index : index + 1], torch.tensor([5]))
        reference = mel(16, 16)
        one = replace(reference, values=reference.values[index : index + 1], lengths=torch.tensor([16]))
        made = speak.generate(text, one, options=TransducerOptions(temperature=0.0), rng=generator(0))
        assert made.ids[0].tolist() == rows[index]
