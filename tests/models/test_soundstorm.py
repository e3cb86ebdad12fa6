"""SoundStorm: who sees what, which codes are learnt, and how many passes it takes."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
import torch
from torch import Tensor

from speechgen.core.random import generator
from speechgen.core.types import SemanticTokens
from speechgen.models.acoustic.soundstorm.config import SoundStormConfig, SoundStormObjectiveConfig, SoundStormOptions
from speechgen.models.acoustic.soundstorm.generate import SoundStormGenerator
from speechgen.models.acoustic.soundstorm.model import SoundStorm, chosen
from speechgen.models.acoustic.soundstorm.objective import Question, SoundStormObjective
from tests.models.systems import CODEBOOKS, CODES, TOKEN_RATE, batch, codes, tokens

FIELDS = ("codes", "tokens")


def network(**changes: object) -> SoundStorm:
    torch.manual_seed(0)
    return SoundStorm(SoundStormConfig.tiny().model_copy(update=changes)).eval()


def objective(model: SoundStorm, **settings: float) -> SoundStormObjective:
    return SoundStormObjective(model, model.config, SoundStormObjectiveConfig(**settings))


def ask(model: SoundStorm, seed: int = 0, level: int | None = None, **settings: float) -> Question:
    return objective(model, **settings).ask(batch(FIELDS), generator(seed), level)


def logits(model: SoundStorm, question: Question, given: Tensor | None = None) -> Tensor:
    shown = question.given if given is None else given
    return model(question.tokens, question.speakers, shown, question.lengths, question.wanted)


def test_of_the_target_one_level_is_asked_for_and_finer_ones_are_hidden():
    """The prompt and coarser levels are visible everywhere (section 3.3)."""
    model = network()
    for seed in range(30):
        question = ask(model, seed)
        hidden = question.given == CODES
        for row, length in enumerate(question.lengths.tolist()):
            level = int(question.wanted[row].any(1).nonzero())
            assert 1 <= question.wanted[row].sum() and not question.wanted[row, :, length:].any()
            assert torch.equal(hidden[row, level, :length], question.wanted[row, level, :length])
            assert not hidden[row, :level].any()
            for finer in range(level + 1, CODEBOOKS):
                start = int(hidden[row, finer].long().argmax())
                assert hidden[row, finer, start:length].all() and not question.wanted[row, :, :start].any()


def test_masks_have_the_share_of_the_paper():
    """E[cos u] = 2 / pi of the target frames; without prompts the target is everything."""
    model = network()
    shares = [ask(model, seed, drop_prompt=1.0) for seed in range(300)]
    found = sum(float(q.wanted.sum()) for q in shares) / sum(float(q.lengths.sum()) for q in shares)
    assert found == pytest.approx(2 / math.pi, abs=0.03)


def test_levels_are_drawn_evenly_or_coarse_first():
    def drawn(power: float) -> Tensor:
        found = [ask(network(), seed, coarse_first=power).wanted.any(2).float().mean(0) for seed in range(150)]
        return torch.stack(found).mean(0)

    torch.testing.assert_close(drawn(0.0), torch.full((3,), 1 / 3), atol=0.09, rtol=0)
    torch.testing.assert_close(drawn(1.0), torch.tensor([3, 2, 1]) / 6, atol=0.09, rtol=0)


def test_the_loss_teaches_one_head():
    model = network()
    question = ask(model, level=1)
    torch.nn.functional.cross_entropy(logits(model, question), chosen(question.codes, question.wanted)).backward()
    by_level = model.heads.weight.grad.unflatten(0, (CODEBOOKS, CODES)).abs().sum((1, 2))
    assert (by_level > 0).tolist() == [False, True, False]
    assert model.codes.weight.grad.unflatten(0, (CODEBOOKS, CODES + 1))[1:, CODES].abs().sum(1).min() > 0


def test_hidden_codes_do_not_matter_and_visible_ones_do():
    model = network()
    question = ask(model, level=1)
    first = logits(model, question)
    other = (question.codes + 1) % CODES
    again = torch.where(question.given == CODES, question.given, question.codes)
    assert torch.equal(first, logits(model, question, again))
    assert not torch.allclose(first, logits(model, question, torch.where(question.given == CODES, CODES, other)))


def test_each_codebook_has_a_table_of_its_own():
    model = network()
    ids = codes(6).ids
    by_hand = sum(model.codes.weight[ids[0, level] + level * (CODES + 1)] for level in range(CODEBOOKS))
    torch.testing.assert_close(model.codes(ids, range(CODEBOOKS))[0], by_hand)


def test_passes_are_counted_and_what_is_embedded_once_changes_nothing(monkeypatch):
    """16 + 1 for each other codebook: with 12 codebooks 27 for any length (section 3.3)."""
    model, calls = network(num_codebooks=12), []
    refine = model.refine

    def counted(x: Tensor) -> Tensor:
        calls.append(x.shape)
        return refine(x)

    monkeypatch.setattr(model, "refine", counted)
    prompt = codes(5)
    prompt = type(prompt)(prompt.ids.repeat(1, 4, 1), prompt.lengths, prompt.rate, prompt.size, prompt.codec)
    model_options = SoundStormOptions()
    made = SoundStormGenerator(model, model.config).generate(
        tokens(40), prompt, tokens(5), options=model_options, rng=generator(0)
    )
    assert len(calls) == 27 and {shape[1] for shape in calls} == {45}
    assert made.ids.shape == (1, 12, 40) and made.ids.max() < CODES


def test_the_predictor_gives_what_the_network_gives():
    from speechgen.models.acoustic.soundstorm.generate import _Predictor
    from speechgen.sampling.masked import Pass

    model, question = network(), ask(network(), level=1)
    row = Question(*(getattr(question, each.name)[:1] for each in fields(question)))
    predict = _Predictor(model, model.said(row.tokens, row.speakers))
    with torch.no_grad():
        predict(row.given, row.wanted[:, 0], Pass(0, 1.0, 0.0))
        made = predict(row.given, row.wanted[:, 1], Pass(1, 1.0, 0.0))
        torch.testing.assert_close(made, logits(model, row), rtol=1e-4, atol=1e-5)


def test_tokens_of_another_rate_are_aligned_by_time_and_fewer_codebooks_can_be_made():
    model = network(code_rate=50.0)
    generate = SoundStormGenerator(model, model.config).generate
    prompt = codes(10)
    prompt = type(prompt)(prompt.ids, prompt.lengths, 50.0, prompt.size, prompt.codec)
    made = generate(tokens(47), prompt, tokens(9), options=SoundStormOptions(codebooks=2), rng=generator(0))
    assert made.ids.shape == (1, 2, round(47 / TOKEN_RATE * 50))
    said = SemanticTokens(torch.arange(47)[None], torch.tensor([47]), TOKEN_RATE, 47)
    assert said.at(TOKEN_RATE).tolist() == [list(range(47))] and said.at(2 * TOKEN_RATE)[0, :4].tolist() == [0, 0, 1, 1]
    assert said.at(50.0, 60)[0, -9:].tolist() == [46] * 9


@pytest.mark.parametrize("order", ["delay", "flat"])
def test_one_code_after_another_with_a_cache_is_what_the_whole_pass_predicts(order):
    """Greedy codes are each the likeliest of the uncached causal network; and nothing later changes what was predicted."""
    model = network(order=order)
    prompt, said, before = codes(4), tokens(6), tokens(4, seed=1)
    made = SoundStormGenerator(model, model.config).generate(
        said, prompt, before, options=SoundStormOptions(temperature=0), rng=generator(0)
    )
    rows = batch(FIELDS)
    whole = torch.cat((prompt.ids, made.ids), dim=2)
    length = torch.tensor([10])
    rows = type(rows)({"codes": whole, "tokens": torch.cat((before.ids, said.ids), dim=1)}, {"codes": length, "tokens": length})
    question = objective(model).ask(rows, generator(0))
    wanted = question.wanted.clone()
    with torch.no_grad():
        scores = logits(model, question)
    likeliest = torch.zeros_like(question.codes).transpose(0, 1)
    likeliest[wanted.transpose(0, 1)] = scores.argmax(-1)
    from speechgen.sampling.autoregressive import layout, restore

    guessed = restore(likeliest.transpose(0, 1), layout(order, 10, CODEBOOKS))
    assert torch.equal(guessed[..., 4:], made.ids)
    assert wanted.sum() == CODEBOOKS * 10


def test_joined_utterances_are_a_dialogue_with_a_prompt_for_each_speaker():
    """Nothing of either is lost, the second speaks up behind the prompt of the first, and as somebody else."""
    model, rows = network(), batch(FIELDS)
    for seed in range(20):
        question = ask(model, seed, join=1.0)
        assert question.lengths.tolist() == [21] and question.tokens.shape == (1, 21)
        assert sorted(question.tokens[0].tolist()) == sorted(rows["tokens"][0].tolist() + rows["tokens"][1, :8].tolist())
        second = question.speakers[0] != question.speakers[0, 0]
        if second[0]:
            second = ~second
        begin = int(second.long().argmax())
        assert second[begin : begin + 8].all() and second.sum() == 8
        assert torch.equal(question.codes[0][:, second], rows["codes"][1, :, :8])
        assert torch.equal(question.codes[0][:, ~second], rows["codes"][0])
    assert ask(model, 0, join=0.0).tokens.shape == (2, 13)


def test_a_dialogue_is_one_generation_and_each_turn_follows_its_own_prompt():
    model, calls = network(), []
    for value in model.parameters():
        value.data.normal_(std=0.5, generator=generator(3))
    refine = model.refine
    model.refine = lambda x: (calls.append(x.shape[1]), refine(x))[1]
    generator_ = SoundStormGenerator(model, model.config)
    turns = [(0, tokens(5)), (1, tokens(4)), (0, tokens(3))]
    prompts, said = [codes(6), codes(7, seed=1)], [tokens(6), tokens(7)]

    def speak(prompts, options=SoundStormOptions(temperature=0, confidence_noise=0)):  # noqa: B008  frozen
        return generator_.converse(turns, prompts, said, options=options, rng=generator(0))

    made = speak(prompts)
    assert [each.ids.shape for each in made] == [(1, 3, 5), (1, 3, 4), (1, 3, 3)] and calls == [25] * 18
    other = speak([codes(6, seed=2), prompts[1]])
    assert any(not torch.equal(one.ids, two.ids) for one, two in zip(made, other, strict=True))
    with pytest.raises(ValueError, match="holds 2 speakers apart, not 3"):
        speak([*prompts, codes(6)])
