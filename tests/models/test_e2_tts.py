"""E2 TTS: what the loss sees and does not see, guidance, prompt and alignment."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from speechgen.core.config import validate
from speechgen.core.errors import UserError
from speechgen.core.protocols import Batch
from speechgen.core.random import generator
from speechgen.core.types import Mel
from speechgen.models.acoustic.e2_tts.config import E2Config, E2ObjectiveConfig, E2Options
from speechgen.models.acoustic.e2_tts.generate import E2Generator
from speechgen.models.acoustic.e2_tts.model import E2TTS
from speechgen.models.acoustic.e2_tts.objective import E2Objective
from speechgen.nn.masks import valid_mask
from tests.models.systems import MEL, NUM_TOKENS, batch, build, mel, tokens

FIELDS = ("mel", "tokens")


class Recorder(torch.nn.Module):
    """Stands for the network: keeps what it is given and predicts a field that is known to be right or zero."""

    def __init__(self, network: E2TTS, answer=None) -> None:
        super().__init__()
        self.network, self.answer, self.calls = network, answer, []

    def forward(self, noisy: Tensor, visible: Tensor, ids: Tensor, t: Tensor, lengths: Tensor, voice=None) -> Tensor:
        self.calls.append((noisy, visible, ids, t, lengths))
        return self.answer(noisy, t) if self.answer else torch.zeros_like(noisy)

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)


def objective(**settings: float) -> E2Objective:
    """With probabilities of dropping set to 0 unless given."""
    chosen = {"drop_prompt": 0.0, "drop_all": 0.0} | settings
    system = build("e2_tts")
    return E2Objective(system.network, system.config, E2ObjectiveConfig(**chosen))


def test_a_new_network_predicts_exactly_zero():
    network = E2TTS(E2Config.tiny())
    x = torch.randn(2, 5, 200)
    out = network(x, x, torch.zeros(2, 5, dtype=torch.long), torch.rand(2), torch.tensor([5, 3]))
    assert out.shape == x.shape and out.eq(0).all()


def test_modulation_changes_nothing_at_first_and_then_hears_the_visible_voice():
    torch.manual_seed(0)
    plain, modulated = E2TTS(E2Config.tiny()), E2TTS(E2Config.tiny().model_copy(update={"modulated": True}))
    modulated.load_state_dict(plain.state_dict(), strict=False)
    noisy, ids, t, lengths = torch.randn(1, 20, 200), tokens(20).ids, torch.tensor([0.5]), torch.tensor([20])
    visible = torch.cat((torch.randn(1, 12, 200), torch.zeros(1, 8, 200)), dim=1)
    for network in (plain, modulated):
        torch.nn.init.normal_(network.out.weight, generator=generator(0))
    before = plain(noisy, visible, ids, t, lengths)
    torch.testing.assert_close(modulated(noisy, visible, ids, t, lengths), before)
    for block in modulated.blocks:
        torch.nn.init.normal_(block.modulation.weight, generator=generator(1))
    assert not torch.allclose(modulated(noisy, visible, ids, t, lengths), before, atol=1e-3)
    unheard = modulated(noisy, torch.zeros_like(visible), ids, t, lengths)
    unheard.sum().backward()
    assert all(p.grad.isfinite().all() for p in modulated.parameters() if p.grad is not None)


def test_the_direct_path_weighs_the_noisy_mel_by_bin_and_time():
    network = E2TTS(E2Config.tiny().model_copy(update={"direct": True}))
    noisy, ids, t, lengths = torch.randn(2, 6, 200), tokens(6, 6).ids, torch.tensor([0.2, 0.8]), torch.tensor([6, 6])
    assert network(noisy, torch.zeros_like(noisy), ids, t, lengths).eq(0).all()
    torch.nn.init.normal_(network.direct.weight, generator=generator(0))
    weights = network(noisy, torch.zeros_like(noisy), ids, t, lengths) / noisy  # [2, 6, 200]
    torch.testing.assert_close(weights, weights[:, :1].expand_as(weights), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(weights[0], weights[1], atol=1e-2)


def test_an_odd_depth_is_refused():
    with pytest.raises(UserError, match="depth: .*multiple of 2.*given: 3"):
        validate(E2Config, {"depth": 3}, "recipe")


@pytest.mark.parametrize("frames", [1, 2, 7, 8])
def test_folding_into_patches_can_be_undone(frames):
    network, values = build("e2_tts").network, mel(frames).values
    folded = network.patches(values)
    assert folded.shape == (1, (frames + 1) // 2, 200)
    torch.testing.assert_close(network.frames(folded)[:, :frames], values)


def test_rows_of_a_batch_are_predicted_as_alone():
    network = build("e2_tts").network.eval()
    x, visible = torch.randn(2, 2, 9, 200)
    ids, t, lengths = tokens(9, 9).ids, torch.tensor([0.2, 0.7]), torch.tensor([9, 4])
    together = network(x, visible, ids, t, lengths)
    x[1, 4:], visible[1, 4:] = 1e3, -1e3
    again = network(x, visible, ids, t, lengths)
    torch.testing.assert_close(together[0], again[0])
    torch.testing.assert_close(together[1, :4], again[1, :4])
    for row, size in enumerate((9, 4)):
        only = slice(row, row + 1)
        alone = network(x[only, :size], visible[only, :size], ids[only, :size], t[only], lengths[only])
        torch.testing.assert_close(together[row, :size], alone[0], rtol=1e-4, atol=1e-5)


def test_prediction_depends_on_time_tokens_and_the_visible_mel():
    network = build("e2_tts").network.eval()
    x, visible, ids, lengths = torch.randn(1, 6, 200), torch.randn(1, 6, 200), tokens(6).ids, torch.tensor([6])
    base = network(x, visible, ids, torch.tensor([0.5]), lengths)
    for other in (
        network(x, visible, ids, torch.tensor([0.6]), lengths),
        network(x, visible, (ids + 1) % NUM_TOKENS, torch.tensor([0.5]), lengths),
        network(x, 0 * visible, ids, torch.tensor([0.5]), lengths),
    ):
        assert not torch.allclose(base, other, atol=1e-5)


def test_the_loss_ignores_what_lies_outside_the_mask_in_the_target_and_padding_has_no_gradient():
    """With the condition dropped, frames outside the mask reach the loss through the noisy input alone."""
    trained = objective(mask_low=0.4, mask_high=0.4, drop_all=1.0)
    recorder = Recorder(trained.folding)
    trained.parts["network"] = recorder
    rows = batch(FIELDS)
    values = rows["mel"].clone().requires_grad_()
    (update,) = trained.updates(Batch({**rows.fields, "mel": values}, rows.lengths), 0, generator(1))
    update.loss.backward()
    touched = values.grad.abs().sum(-1) > 0  # [B, T]
    assert touched[0, :24].sum() == 2 * -(-12 * 4 // 10) and touched[1].sum() == 2 * -(-8 * 4 // 10)
    for row in touched:
        place = row.nonzero()[:, 0]
        assert place[-1] - place[0] + 1 == len(place), "one span"
    assert not touched[1, 16:].any() and not touched[0, 24:].any()
    (_, visible, ids, _, _) = recorder.calls[0]
    assert visible.eq(0).all() and ids.eq(NUM_TOKENS).all()


def test_padding_has_no_gradient_through_the_network_either():
    trained = objective()
    rows = batch(FIELDS)
    values = rows["mel"].clone().requires_grad_()
    (update,) = trained.updates(Batch({**rows.fields, "mel": values}, rows.lengths), 0, generator(1))
    update.loss.backward()
    assert values.grad[0, :24].ne(0).any() and values.grad[1, 16:].eq(0).all() and values.grad[0, 24:].eq(0).all()


def test_what_is_visible_is_the_mel_outside_the_mask():
    trained = objective(mask_low=0.5, mask_high=0.5)
    recorder = Recorder(trained.folding)
    trained.parts["network"] = recorder
    rows = batch(FIELDS)
    list(trained.updates(rows, 0, generator(1)))
    _, visible, ids, _, lengths = recorder.calls[0]
    assert lengths.tolist() == [12, 8] and torch.equal(ids, rows["tokens"][:, :12])
    folded = trained.folding.patches(rows["mel"])[:, :12]
    shown = visible.ne(0).any(-1) & valid_mask(lengths, 12)
    assert shown.sum(1).tolist() == [6, 4]
    torch.testing.assert_close(visible[shown], folded[shown])


@pytest.mark.parametrize(("settings", "share"), [({"drop_prompt": 0.3}, 0.3), ({"drop_all": 0.2}, 0.2)])
def test_conditions_are_dropped_as_often_as_asked(settings, share):
    trained = objective(mask_low=0.5, mask_high=0.5, **settings)
    recorder = Recorder(trained.folding)
    trained.parts["network"] = recorder
    lengths = {"mel": torch.full((400,), 4), "tokens": torch.full((400,), 2)}
    rows = Batch({"mel": mel(*[4] * 400).values, "tokens": tokens(*[2] * 400).ids}, lengths)
    list(trained.updates(rows, 0, generator(1)))
    _, visible, ids, _, _ = recorder.calls[0]
    hidden, unsaid = visible.eq(0).flatten(1).all(1), ids.eq(NUM_TOKENS).all(1)
    assert float(hidden.float().mean()) == pytest.approx(share, abs=0.06)
    assert (unsaid & ~hidden).sum() == 0 and unsaid.any() == ("drop_all" in settings)


def test_the_right_field_has_no_loss():
    trained = objective()
    recorder = Recorder(trained.folding)
    trained.parts["network"] = recorder
    rows = batch(FIELDS)
    data = trained.folding.patches(rows["mel"])[:, :12]
    recorder.answer = lambda noisy, t: (data - noisy) / (1 - t.view(-1, 1, 1))
    (update,) = trained.updates(rows, 0, generator(1))
    assert update.loss < 1e-4


def test_a_field_that_has_learnt_its_guidance_has_no_loss_and_any_other_has():
    trained = objective(guidance=0.5, guided_until=0.4, mask_low=1.0)
    rows = batch(FIELDS)
    data = trained.folding.patches(rows["mel"])[:, :12]
    times = torch.rand(5, len(data), generator=generator(5))[4]  # as the objective draws them
    assert 0 < (times < 0.4).sum() < len(data)

    class Field(Recorder):
        def forward(self, noisy, visible, ids, t, lengths, voice=None):
            self.calls.append(t)
            if ids.eq(NUM_TOKENS).all():
                return torch.full_like(noisy, 0.7)
            row, time = (times == t[:, None]).int().argmax(1), t.view(-1, 1, 1)
            real = (data[row] - noisy) / (1 - time)
            return real + strength * (time < 0.4) * (real - 0.7)

    losses = {}
    for strength in (0.0, 0.5):
        trained.parts["network"] = field = Field(trained.folding)
        (update,) = trained.updates(rows, 0, generator(5))
        losses[strength] = float(update.loss)
    assert losses[0.5] < 1e-4 < 0.01 < losses[0.0]
    early = times[times < 0.4]
    assert len(field.calls) == 3 and all(torch.equal(a, b) for a, b in zip(field.calls, (early, early, times), strict=True))


def generate(network, options: E2Options, seed: int = 0, prompt: Mel | None = None) -> Tensor:
    generator_ = E2Generator(network, E2Config.tiny())
    prompt = prompt or mel(15)
    return generator_.generate(tokens(11), prompt, tokens(8, seed=1), options=options, rng=generator(seed)).values


def test_the_exact_field_generates_the_data_in_one_step_without_the_prompt():
    network = build("e2_tts").network
    whole = torch.randn(1, 8 + 11, 200)
    recorder = Recorder(network, lambda noisy, t: (whole - noisy) / (1 - t.view(-1, 1, 1)))
    made = generate(recorder, E2Options(steps=1, guidance=0.0))
    torch.testing.assert_close(made, network.frames(whole)[:, 16:], rtol=1e-4, atol=1e-4)
    assert made.shape == (1, 22, 100)


def test_the_prompt_is_visible_as_it_is_and_the_rest_is_not():
    network, prompt = build("e2_tts").network, mel(15)
    recorder = Recorder(network)
    generate(recorder, E2Options(steps=1, guidance=0.0), prompt=prompt)
    _, visible, ids, t, lengths = recorder.calls[0]
    assert torch.equal(visible[:, :8], network.patches(prompt.values)) and visible[:, 8:].eq(0).all()
    assert torch.equal(ids, torch.cat((tokens(8, seed=1).ids, tokens(11).ids), 1)) and lengths.tolist() == [19]
    assert t.tolist() == [0.0]


def test_guidance_in_one_batch_equals_two_passes():
    network = build("e2_tts").network.eval()

    class TwoPasses(torch.nn.Module):
        patches, frames, filler = staticmethod(network.patches), staticmethod(network.frames), network.filler

        def hear(self, visible, lengths):
            return None  # every pass listens for itself

        def forward(self, x, visible, ids, t, lengths, voice=None):
            rows = [network(*(value[i : i + 1] for value in (x, visible, ids, t, lengths))) for i in range(len(x))]
            return torch.cat(rows)

    options = E2Options(steps=3, guidance=1.5)
    torch.testing.assert_close(generate(network, options), generate(TwoPasses(), options), rtol=1e-4, atol=1e-4)


def test_guidance_ends_where_it_is_told_to():
    recorder = Recorder(build("e2_tts").network)
    generate(recorder, E2Options(steps=4, guidance=1.0, sway=0.0, guided_until=0.5))
    calls = [(len(noisy), round(float(t[0]), 2)) for noisy, _, _, t, _ in recorder.calls]
    assert calls == [(2, 0), (2, 0.25), (1, 0.5), (1, 0.75)]


def test_without_guidance_the_unconditional_pass_is_left_out():
    network = build("e2_tts").network.eval()
    recorders = {strength: Recorder(network) for strength in (0.0, 1.0)}
    for strength, recorder in recorders.items():
        generate(recorder, E2Options(steps=2, guidance=strength))
    assert [len(call[0]) for call in recorders[0.0].calls] == [1, 1]
    assert [len(call[0]) for call in recorders[1.0].calls] == [2, 2]
    _, visible, ids, _, _ = recorders[1.0].calls[0]
    assert visible[1].eq(0).all() and ids[1].eq(network.filler).all()


def test_midpoint_asks_twice_a_step_and_more_steps_cost_more():
    network = build("e2_tts").network.eval()
    counts = {}
    for method in ("euler", "midpoint"):
        recorder = Recorder(network)
        generate(recorder, E2Options(steps=4, guidance=0.0, method=method))
        counts[method] = len(recorder.calls)
    assert counts == {"euler": 4, "midpoint": 8}


def test_a_sample_shows_the_given_half_as_it_is():
    trained = objective()
    rows = batch(FIELDS)
    sample = trained.sample(rows, generator(0))
    assert sample.mel.shape == (24, MEL.num_bins)
    torch.testing.assert_close(sample.mel[:12], rows["mel"][0, :12], rtol=1e-4, atol=1e-4)
