"""DiTAR: what sees what, the cache, guidance, temperature, the end, and what its losses count."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from speechgen.core.errors import UserError
from speechgen.core.random import generator
from speechgen.core.types import Latents, Text
from speechgen.models.text_to_latents.ditar.config import DiTARConfig, DiTARObjectiveConfig, DiTAROptions
from speechgen.models.text_to_latents.ditar.generate import DiTARGenerator
from speechgen.models.text_to_latents.ditar.model import DiTAR, Spoken
from speechgen.models.text_to_latents.ditar.objective import DiTARObjective
from tests.models.systems import batch, build, latents

TINY = DiTARConfig.tiny()
TOLD = TINY.model_copy(update={"untold_prompt": False, "paced": False})
TEXT = Text(torch.arange(20, 30)[None], torch.tensor([10]))
SAID = Text(torch.tensor([[1, 40, 41, 2]]), torch.tensor([4]))


def woken(config: DiTARConfig) -> DiTAR:
    """Random weights, none of them zero."""
    torch.manual_seed(0)
    network = DiTAR(config)
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.eq(0).all():
                value.normal_(std=0.2)
    return network.eval()


def spoken(network: DiTAR, pace: float = 1.5) -> Spoken:
    reference = torch.randn(1, 3, 2, 4, generator=generator(1))
    if not network.config.untold_prompt:
        reference = reference[:, :0]
    return Spoken(TEXT.ids, TEXT.lengths, reference, torch.tensor([reference.shape[1]]), torch.tensor([pace]))


def speak(network: DiTAR, seed: int = 0, count: int = 12, prompt: Latents | None = None, **options: Any) -> list[Any]:
    generator_ = DiTARGenerator(network, network.config)
    given = prompt or latents(7)
    asked = DiTAROptions(**({"steps": 2} | options))
    return list(generator_.stream(TEXT, given, SAID, count=count, options=asked, rng=generator(seed)))


def values(parts: list[Any]) -> torch.Tensor:
    return torch.cat([part.values for part in parts], dim=1)


@pytest.mark.parametrize("config", [TINY, TOLD], ids=["untold", "told"])
def test_a_patch_changes_nothing_that_was_said_before_it(config):
    network = woken(config)
    patches = torch.randn(1, 6, 2, 4, generator=generator(0))
    changed = patches.clone()
    changed[:, 3] += 1
    prefix = network.prefix(spoken(network))
    one, other = (network.follow(prefix, each) for each in (patches, changed))
    assert torch.equal(one[:, :4], other[:, :4]) and not torch.isclose(one[:, 4:], other[:, 4:]).all(-1).any()


def test_latents_of_a_patch_see_each_other_in_the_head():
    network = woken(TINY)
    said, past, known = torch.randn(1, 16), torch.randn(1, 4, 4), torch.ones(1, 4, dtype=torch.bool)
    noisy = torch.randn(1, 2, 4)
    changed = noisy.clone()
    changed[:, 1] += 1
    one, other = (network.head(each, torch.tensor([0.5]), said, past, known) for each in (noisy, changed))
    assert not torch.isclose(one[:, 0], other[:, 0]).all()


@pytest.mark.parametrize("config", [TINY, TOLD], ids=["untold", "told"])
def test_speaking_from_a_cache_says_what_reading_the_whole_says(config):
    """Teacher-forced by its own patches, the training forward leads up to each patch that was made."""
    network = woken(config)
    parts = speak(network, shortest=1.0, stop_at=0.999, longest=1.0)
    made = values(parts).unflatten(1, (-1, 2))
    prompt = latents(7).values[:, :6].unflatten(1, (-1, 2))
    told = not config.untold_prompt
    text = torch.cat((SAID.ids[:, :-1], TEXT.ids[:, 1:]), dim=1) if told else TEXT.ids
    reference, before = (prompt[:, :0], prompt) if told else (prompt, prompt[:, :0])
    sizes = torch.tensor([text.shape[1]]), torch.tensor([reference.shape[1]])
    asked = Spoken(text, sizes[0], reference, sizes[1], sizes[0] / (before.shape[1] + made.shape[1]))
    whole = torch.cat((before, made), dim=1)
    context = network.follow(network.prefix(asked), whole[:, :-1])
    past, known = network.pasts(whole)
    rng = generator(0)
    for place in range(before.shape[1], whole.shape[1]):
        noise = torch.randn(1, 2, 4, generator=rng)
        x = noise
        for t in (0.0, 0.5):
            told_, at = context[:, place], torch.tensor([t])
            conditional = network.head(x, at, told_, past[:, place], known[:, place])
            plain = network.head(x, at, 0 * told_, past[:, place], known[:, place])
            v = (2 * conditional - plain) / (math.pi / 2)
            sin, cos = math.sin(math.pi / 2 * t), math.cos(math.pi / 2 * t)
            data, residue = sin * x + cos * v, cos * x - sin * v
            after = math.pi / 2 * (t + 0.5)
            x = math.sin(after) * data + math.cos(after) * residue
        torch.testing.assert_close(x, whole[:, place], rtol=1e-3, atol=1e-4)


def test_the_past_of_a_patch_are_the_latents_before_it_and_what_is_lacking_is_known_to_be():
    network = woken(TINY)
    patches = torch.arange(6.0).view(1, 3, 2, 1).expand(-1, -1, -1, 4)
    past, known = network.pasts(patches)
    assert past[0, 2, :, 0].tolist() == [0, 1, 2, 3] and known[0, 2].all()
    assert known[0, 0].tolist() == [False] * 4 and known[0, 1].tolist() == [False, False, True, True]
    assert past[0, 1, 2:, 0].tolist() == [0, 1]


def test_a_model_without_history_sees_none():
    network = woken(TINY.model_copy(update={"history": 0}))
    assert network.pasts(torch.randn(1, 3, 2, 4))[0].shape == (1, 3, 0, 4)
    assert values(speak(network)).isfinite().all()


def test_no_guidance_is_the_conditional_path_alone():
    """The unconditional branch, which the text does not reach, is then not computed."""
    network = woken(TINY)
    sizes = []
    network.head.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    speak(network, guidance=0.0)
    assert set(sizes) == {1}
    speak(network, guidance=1.0)
    assert set(sizes) == {1, 2}


def test_the_language_model_runs_once_for_each_patch_whatever_the_steps():
    network = woken(TINY)
    runs = []
    network.norm.register_forward_hook(lambda module, args, made: runs.append(made.shape[1]))
    parts = speak(network, steps=16)
    assert runs[1:] == [1] * len(parts)  # after the prefix


def test_temperature_0_is_the_same_for_every_seed_and_1_is_not():
    network = woken(TINY)
    bounds = {"shortest": 1.0, "longest": 1.0, "steps": 4}
    cold = [values(speak(network, seed, temperature=0.0, **bounds)) for seed in (1, 2)]
    mild, hot = ([values(speak(network, seed, temperature=t, **bounds)) for seed in (1, 2)] for t in (0.5, 1.0))
    assert torch.equal(*cold) and not torch.equal(*mild) and not torch.equal(*hot)


def test_it_ends_when_the_head_says_so_within_its_bounds():
    network = woken(TINY)
    with torch.no_grad():
        network.stop.weight.zero_()
        network.stop.bias.fill_(5.0)
    assert [part.last for part in speak(network, shortest=0.5)] == [False, False, True]  # of 6 patches
    assert len(speak(network, shortest=0.0)) == 1
    assert not any(part.ran_on for part in speak(network, shortest=1.0, longest=1.0))
    with torch.no_grad():
        network.stop.bias.fill_(-5.0)
    assert [part.ran_on for part in speak(network, longest=1.5)] == [False] * 8 + [True]
    assert len(speak(network, longest=1.5, speed=2.0)) == 5


@pytest.mark.parametrize("config", [TINY, TOLD], ids=["untold", "told"])
def test_weights_in_bfloat16_make_about_the_same(config):
    """As on a GPU; what the solver adds up stays float32."""
    network, bounds = woken(config), {"shortest": 1.0, "longest": 1.0}
    whole = values(speak(network, guidance=1.0, **bounds))
    made = values(speak(network.to(torch.bfloat16), guidance=1.0, **bounds))
    assert made.dtype == torch.float32 and 0 < (made - whole).norm() < 0.05 * whole.norm()


def test_what_cannot_be_read_is_said_before_anything_is_made():
    config = TINY.model_copy(update={"max_positions": 40})
    with pytest.raises(UserError, match="of at most 40: give a shorter text"):
        next(iter(speak(woken(config), count=60)))


def test_noise_on_its_own_past_changes_what_follows_and_none_is_none():
    network = woken(TINY)
    bounds = {"shortest": 1.0, "longest": 1.0}
    plain, same, noisy = (values(speak(network, context_noise=k, **bounds)) for k in (0.0, 0.0, 0.2))
    assert torch.equal(plain, same) and torch.equal(plain[:, :2], noisy[:, :2]) and not torch.equal(plain, noisy)


def test_language_model_and_head_know_the_same_past_which_is_not_what_is_handed_on(monkeypatch):
    """As in training, where both are shown the patches with one noise."""
    network = woken(TINY)
    read, pasts = [], []
    embed, head = network.embed, network.head.forward
    monkeypatch.setattr(network, "embed", lambda patches: read.append(patches) or embed(patches))
    monkeypatch.setattr(
        network.head, "forward", lambda x, t, said, past, known: pasts.append(past) or head(x, t, said, past, known)
    )
    made = values(speak(network, context_noise=0.3, steps=1, shortest=1.0, longest=1.0))
    history = TINY.history * TINY.patch
    heard = torch.cat(read[1:], dim=1).flatten(1, 2)  # [1, T, C], without the reference
    for number, past in enumerate(pasts[TINY.history :]):
        assert torch.equal(past[:1], heard[:, number * TINY.patch : number * TINY.patch + history])
    assert heard.shape[1] == made.shape[1] - TINY.patch and not torch.isclose(heard, made[:, : heard.shape[1]]).any()


def test_targets_stay_clean_where_the_past_is_disturbed():
    """With its own patch hidden from it a draw differs by the past alone; the velocity to learn never does."""
    system = build("ditar")
    rows = batch(("phonemes", "latents", "reference_latents", "tokens"))
    found = []
    for strength in (0.0, 0.9):
        settings = DiTARObjectiveConfig(context_noise=strength)
        objective = DiTARObjective(system.network, system.config, settings)
        calls: list[Any] = []
        handle = system.network.register_forward_pre_hook(lambda module, args, calls=calls: calls.append(args))
        list(objective.updates(rows, 0, generator(4)))
        handle.remove()
        found.append(calls[0])
    assert torch.equal(found[0][2].noisy, found[1][2].noisy) and not torch.equal(found[0][1], found[1][1])


def test_the_end_is_with_the_last_patch_of_each_row_alone():
    objective = build("ditar").objective()
    lengths, valid = torch.tensor([3, 2]), torch.tensor([[True, True, True], [True, True, False]])
    right = torch.tensor([[-9.0, -9.0, 9.0], [-9.0, 9.0, 9.0]])
    assert objective._stop(right, valid, lengths) < 1e-3
    wrong = right.clone()
    wrong[1, 1] = -9.0
    assert objective._stop(wrong, valid, lengths) == pytest.approx(9 * 3 / 5, rel=0.01)


def test_tokens_are_learnt_with_the_patch_they_sound_in():
    objective = build("ditar").objective()
    rows = batch(("tokens",))
    logits = torch.zeros(2, 3, 4 * 8)
    for row, size in enumerate((12, 8)):
        for index in range(size):
            logits[row, index // 4, 8 * (index % 4) + rows["tokens"][row, index]] = 20.0
    valid = torch.tensor([[True, True, True], [True, True, False]])
    assert objective._token(logits, rows, valid) < 1e-3
    assert objective._token(logits.roll(1, dims=1), rows, valid) > 3


def test_several_draws_for_each_patch_are_of_its_own_data():
    system = build("ditar")
    objective = DiTARObjective(system.network, system.config, DiTARObjectiveConfig(draws=3, drop=1.0))
    patches = torch.randn(2, 3, 2, 4)
    valid = torch.tensor([[True, True, True], [True, False, False]])
    draws, velocity = objective._draws(patches, valid, generator(0), training=True)
    assert len(draws.rows) == 3 * 4 and draws.hidden.all() and valid[draws.rows, draws.places].all()
    angle = (math.pi / 2 * draws.t)[:, None, None]
    torch.testing.assert_close(
        angle.sin() * draws.noisy + angle.cos() * velocity / (math.pi / 2), patches[draws.rows, draws.places]
    )


def test_one_utterance_can_be_learnt_and_spoken():
    """Its latents come out again, without noise and with the language model's word alone."""
    torch.manual_seed(0)
    config = TINY.model_copy(update={"untold_prompt": False, "num_tokens": 0, "width": 32, "head_width": 32})
    network = DiTAR(config)
    rows = batch(("phonemes", "latents"))
    settings = DiTARObjectiveConfig(draws=8, drop=0.0, pace_jitter=0.0)
    objective = DiTARObjective(network, config, settings)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for step in range(250):
        (update,) = objective.updates(rows, step, generator(step))
        optimizer.zero_grad()
        update.loss.backward()
        optimizer.step()
    model = DiTARGenerator(network.eval(), config)
    text, nothing = Text(rows["phonemes"][:1], torch.tensor([5])), Text(torch.zeros(1, 0, dtype=torch.long), torch.tensor([0]))
    asked = DiTAROptions(steps=8, guidance=0.0, temperature=0.0, shortest=0.0)
    parts = list(model.stream(text, latents(2), nothing, count=6, options=asked, rng=generator(0)))
    assert len(parts) == 3, "it ends where the utterance did"
    torch.testing.assert_close(values(parts), rows["latents"][:1], atol=0.5, rtol=0)


@pytest.mark.parametrize(("size", "millions"), [("0.1B", 108), ("0.4B", 432), ("0.6B", 646), ("1B", 1009)])
def test_the_published_sizes_can_be_built(size, millions):
    with torch.device("meta"):
        network = DiTAR(DiTARConfig.published(size))
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)


def test_tokens_that_are_no_whole_number_for_each_latent_are_refused():
    with pytest.raises(ValueError, match="not a whole number"):
        DiTARConfig(num_tokens=8, token_rate=50.0)
