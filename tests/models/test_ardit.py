"""ARDiT: the mask, training = speaking for every block, exact lengths, filling in, and the gradient of distillation."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from speechgen.core.errors import UserError
from speechgen.core.random import generator
from speechgen.core.types import Latents, Text
from speechgen.models.text_to_latents.ardit.config import ARDiTConfig, ARDiTObjectiveConfig, ARDiTOptions
from speechgen.models.text_to_latents.ardit.generate import ARDiTGenerator, _Known, _Reader
from speechgen.models.text_to_latents.ardit.model import CONTEXT, ARDiT, Field, Layout, block_mask
from speechgen.models.text_to_latents.ardit.objective import Critic, Distillation, lay_out, middle, noised
from tests.models.systems import batch, build, latents

TINY = ARDiTConfig.tiny()
TOLD = TINY.model_copy(update={"untold_prompt": False})
TEXT = Text(torch.arange(20, 30)[None], torch.tensor([10]))
SAID = Text(torch.tensor([[1, 40, 41, 2]]), torch.tensor([4]))


def woken(config: ARDiTConfig = TINY) -> ARDiT:
    """Random weights, none of them zero."""
    torch.manual_seed(0)
    network = ARDiT(config)
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.eq(0).all():
                value.normal_(std=0.2)
    return network.eval()


def layout(blocks: list[int], text: int = 5, reference: int = 3, seed: int = 0) -> Layout:
    """One utterance of random latents."""
    rng, size = generator(seed), len(blocks)
    return Layout(
        text=torch.randint(18, 60, (1, text), generator=rng),
        text_lengths=torch.tensor([text]),
        hidden=torch.tensor([False]),
        reference=torch.randn(1, reference, 4, generator=rng),
        reference_lengths=torch.tensor([reference]),
        clean=torch.randn(1, size, 4, generator=rng),
        lengths=torch.tensor([size]),
        blocks=torch.tensor([blocks]),
    )


def test_the_mask_is_the_one_of_the_paper_written_out_by_hand():
    """Three symbols, five latents, blocks of two behind a shift of one: 0, 1 1, 2 2."""
    mask = block_mask(torch.ones(1, 3, dtype=torch.bool), torch.ones(1, 5, dtype=torch.bool), torch.tensor([[0, 1, 1, 2, 2]]))
    rows = """
        111 00000 00000
        111 00000 00000
        111 00000 00000
        111 10000 00000
        111 11100 00000
        111 11100 00000
        111 11111 00000
        111 11111 00000
        111 00000 10000
        111 10000 01100
        111 10000 01100
        111 11100 00011
        111 11100 00011
    """
    written = [[mark == "1" for mark in row.replace(" ", "")] for row in rows.split("\n") if row.strip()]
    assert mask[0].tolist() == written


def test_the_mask_of_filling_in_shows_both_sides_to_all():
    """Latents 0 and 4 are known, 1 to 3 are made in blocks of two; noisy latents of what is known are not used."""
    blocks = torch.tensor([[CONTEXT, 0, 0, 1, CONTEXT]])
    mask = block_mask(torch.ones(1, 1, dtype=torch.bool), torch.ones(1, 5, dtype=torch.bool), blocks)
    rows = """
        1 10001 00000
        1 11101 00000
        1 11101 00000
        1 11111 00000
        1 10001 00000
    """
    written = [[mark == "1" for mark in row.replace(" ", "")] for row in rows.split("\n") if row.strip()]
    assert mask[0, 1:6].tolist() == written
    noisy = {7: "1 10001 01100", 8: "1 10001 01100", 9: "1 11101 00010"}
    for row, expected in noisy.items():
        assert mask[0, row].tolist() == [mark == "1" for mark in expected.replace(" ", "")]


def test_nothing_looks_at_what_pads_a_row():
    prefix, valid = torch.tensor([[True, True, False]]), torch.tensor([[True, True, False]])
    mask = block_mask(prefix, valid, torch.tensor([[0, 0, 0]]))
    assert not mask[0, :, [2, 5, 8]].any()


@pytest.mark.parametrize("shift", [0, 1, 2])
@pytest.mark.parametrize("size", [1, 2, 3, 16])
@pytest.mark.parametrize("sides", [(0, 0), (2, 3)], ids=["speaking", "filling"])
def test_training_sees_in_every_block_what_speaking_sees(size, shift, sides):
    """The velocity of each block in the packed sequence is that of the block alone behind a cache of what was read."""
    network, (left, right), count = woken(), sides, 7
    shift = min(shift, size - 1)
    blocks = [CONTEXT] * left + [(index + shift) // size for index in range(count)] + [CONTEXT] * right
    whole, rng = layout(blocks), generator(9)
    noisy, times = torch.randn(whole.clean.shape, generator=rng), torch.rand(12, generator=rng)
    t = times[whole.blocks.clamp(min=0)]
    packed = network(whole, noisy, t).velocity
    clean = whole.clean
    known = _Known(whole.text, whole.reference, clean[:, :left], clean[:, left + count :], count)
    reader = _Reader(network, known, branches=1)
    for block in range(max(blocks) + 1):
        numbers = (whole.blocks[0] == block).nonzero()[:, 0]
        if len(numbers) == 0:
            continue
        alone = reader.velocity(noisy[:, numbers], numbers, float(times[block]), 0.0)
        torch.testing.assert_close(alone, packed[:, numbers], rtol=1e-4, atol=1e-5)
        reader.read(clean[:, numbers], numbers)


def test_a_block_is_not_told_its_own_clean_latents_nor_later_ones():
    network, whole = woken(), layout([0, 0, 1, 1, 2, 2])
    noisy, t = torch.randn(1, 6, 4), torch.full((1, 6), 0.3)
    changed = whole._replace(clean=whole.clean.clone())
    changed.clean[:, 2:4] += 1
    one, other = (network(each, noisy, t).velocity for each in (whole, changed))
    assert torch.equal(one[:, :4], other[:, :4]) and not torch.isclose(one[:, 4:], other[:, 4:]).any()


def test_noise_of_a_block_is_seen_by_that_block_alone():
    network, whole = woken(), layout([0, 0, 1, 1, 2, 2])
    noisy, t = torch.randn(1, 6, 4), torch.full((1, 6), 0.3)
    changed = noisy.clone()
    changed[:, 2] += 1
    one, other = (network(whole, each, t).velocity for each in (noisy, changed))
    same = torch.isclose(one, other, atol=1e-6).all(-1)[0]
    assert same.tolist() == [True, True, False, False, True, True]


def test_one_block_of_all_latents_is_a_model_that_makes_them_at_once():
    network, whole = woken(), layout([0] * 6)
    noisy, t = torch.randn(1, 6, 4), torch.full((1, 6), 0.3)
    other = network(whole._replace(clean=torch.randn(1, 6, 4)), noisy, t).velocity
    torch.testing.assert_close(network(whole, noisy, t).velocity, other)


def test_the_time_of_each_block_modulates_its_own_latents_alone():
    network, whole = woken(), layout([0, 0, 1, 1])
    noisy = torch.randn(1, 4, 4)
    t = torch.tensor([[0.2, 0.2, 0.7, 0.7]])
    other = torch.tensor([[0.2, 0.2, 0.9, 0.9]])
    one, two = (network(whole, noisy, each).velocity for each in (t, other))
    torch.testing.assert_close(one[:, :2], two[:, :2])
    assert not torch.isclose(one[:, 2:], two[:, 2:]).all()


def test_positions_spread_the_whole_utterance_over_its_symbols():
    network, whole = woken(), layout([0] * 10, text=5, reference=4)
    _, position, time, _ = network.prefix(whole)
    assert position[0].tolist() == [-2, -1.5, -1, -0.5, 0, 1, 2, 3, 4] and time[0].tolist() == [1] * 4 + [-1] * 5
    torch.testing.assert_close(network.places(whole, torch.arange(10))[0], torch.arange(10) / 2)


def speak(network: ARDiT, seed: int = 0, count: int = 13, **options: Any) -> torch.Tensor:
    asked = ARDiTOptions(**({"steps": 2} | options))
    model = ARDiTGenerator(network, network.config)
    parts = list(model.stream(TEXT, latents(7), SAID, count=count, options=asked, rng=generator(seed)))
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    return torch.cat([part.values for part in parts], dim=1)


@pytest.mark.parametrize("config", [TINY, TOLD], ids=["untold", "told"])
@pytest.mark.parametrize("block", [1, 4, 5, 16])
def test_the_length_is_the_one_that_was_asked_for_whatever_the_block(config, block):
    network = woken(config)
    assert speak(network, block=block).shape == (1, 13, 4)
    assert speak(network, block=block, speed=2.0).shape == (1, 6, 4)


def test_too_little_time_for_a_text_is_refused_and_too_much_of_everything():
    with pytest.raises(UserError, match="are too short for 10 symbols: give at least"):
        speak(woken(), count=4)
    with pytest.raises(UserError, match="at most 40"):
        speak(woken(TINY.model_copy(update={"max_positions": 40})), count=30)


def test_guidance_moves_away_from_what_is_made_without_the_text():
    """Zero strength computes one branch; the unguided branch does not know the text."""
    network = woken()
    sizes = []
    handle = network.norm.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    plain = speak(network)
    assert set(sizes) == {1}
    guided = speak(network, guidance=2.0)
    assert set(sizes) == {1, 2} and not torch.equal(plain, guided)
    handle.remove()
    silent = layout([0] * 4)._replace(hidden=torch.tensor([True]))
    noisy, t = torch.randn(1, 4, 4), torch.full((1, 4), 0.5)
    other = silent._replace(text=silent.text + 3)
    assert torch.equal(network(silent, noisy, t).velocity, network(other, noisy, t).velocity)


def test_noise_on_its_own_past_leaves_the_first_block_alone():
    network = woken()
    plain, noisy = speak(network), speak(network, context_noise=0.2)
    assert torch.equal(plain[:, :4], noisy[:, :4]) and not torch.equal(plain, noisy)


def fill(network: ARDiT, left: int = 5, right: int = 6, seed: int = 0, **options: Any) -> torch.Tensor:
    model = ARDiTGenerator(network, network.config)
    sides = latents(11, seed=3).values
    before, behind = (Latents(x, torch.tensor([x.shape[1]]), model.rate) for x in (sides[:, :left], sides[:, 11 - right :]))
    asked = ARDiTOptions(**({"steps": 2} | options))
    return model.infill(TEXT, before, behind, reference=latents(4, seed=5), count=6, options=asked, rng=generator(seed)).values


@pytest.mark.parametrize(("left", "right"), [(5, 6), (0, 6), (5, 0), (0, 0)])
def test_a_gap_is_filled_with_either_side_or_none(left, right):
    made = fill(woken(), left, right)
    assert made.shape == (1, 6, 4) and made.isfinite().all()


@pytest.mark.parametrize("config", [TINY, TOLD], ids=["untold", "told"])
def test_weights_in_bfloat16_make_about_the_same(config):
    """As on a GPU; what the solver adds up stays float32."""
    network = woken(config)
    said, filled = speak(network, guidance=1.0), fill(network)
    network.to(torch.bfloat16)
    for made, whole in ((speak(network, guidance=1.0), said), (fill(network), filled)):
        assert made.dtype == torch.float32 and 0 < (made - whole).norm() < 0.05 * whole.norm()


def test_a_gap_depends_on_both_sides():
    assert not torch.allclose(fill(woken(), 5, 6), fill(woken(), 5, 3))
    assert not torch.allclose(fill(woken(), 5, 6), fill(woken(), 2, 6))


def test_of_several_fillings_the_one_is_kept_that_leads_best_to_what_follows(monkeypatch):
    network, misfits = woken(), iter([3.0, 1.0, 2.0])
    seen: list[torch.Tensor] = []

    def misfit(self, known, made, options, rng):
        seen.append(made)
        return next(misfits)

    monkeypatch.setattr(ARDiTGenerator, "_misfit", misfit)
    made = fill(network, fillings=3)
    assert torch.equal(made, seen[1]) and not torch.equal(made, seen[0])


def test_the_misfit_is_the_distance_of_what_would_follow_from_what_does():
    network = woken()
    model, sides = ARDiTGenerator(network, TINY), latents(9).values
    options = ARDiTOptions(steps=1, block=3)
    made = torch.zeros(1, 2, 4)
    known = _Known(TEXT.ids, sides[:, :0], sides[:, :4], sides[:, 4:], 2)
    follows = _Known(TEXT.ids, sides[:, :0], torch.cat((sides[:, :4], made), dim=1), sides[:, :0], 5)
    with torch.inference_mode():
        misfit = model._misfit(known, made, options, generator(1))
        expected = next(iter(model._blocks(follows, options, generator(1))))
    assert misfit == pytest.approx(float((expected - sides[:, 4:7]).square().mean()))


def test_layouts_shift_blocks_and_leave_sides_known():
    system = build("ardit")
    rows = batch(("phonemes", "latents", "reference_latents"))
    settings = ARDiTObjectiveConfig(blocks=(3,), infill=0.5)
    widths, known = set(), 0
    for seed in range(40):
        made, data = lay_out(rows, system.config, settings, generator(seed), training=True)
        assert torch.equal(made.clean, data)
        for row, size in enumerate((6, 4)):
            blocks = made.blocks[row, :size]
            inside = blocks[blocks != CONTEXT]
            assert (inside.diff() >= 0).all() and len(inside) >= 1
            counts = torch.bincount(inside)
            counts = counts[counts > 0]
            assert (counts <= 3).all() and (counts[1:-1] == 3).all()
            widths.add(int(counts[0]))
            known += int((blocks == CONTEXT).any())
            assert not middle(made)[row, size:].any()
    assert widths == {1, 2, 3} and 15 < known < 60


def test_a_block_has_one_time_and_the_path_is_straight():
    made = layout([0, 0, 1, 1, CONTEXT])
    data = torch.randn(1, 5, 4)
    noisy, velocity, t = noised(made, data, generator(0), least=0.5)
    assert t[0, 0] == t[0, 1] != t[0, 2] and (t >= 0.5).all()
    torch.testing.assert_close(noisy + (1 - t[..., None]) * velocity, data)


def test_velocity_and_score_of_a_gaussian_are_linked_as_distillation_assumes():
    """In the paper's time s = 1 - t: v = -x / (1 - s) - s / (1 - s) score, with our velocity -v, for N(m, d^2)."""
    mean, power, t, x = 0.7, 0.5**2, 0.4, torch.linspace(-2, 2, 9)
    total = t**2 * power + (1 - t) ** 2
    data = mean + t * power / total * (x - t * mean)
    noise = (1 - t) / total * (x - t * mean)
    score = -(x - t * mean) / total
    s = 1 - t
    torch.testing.assert_close(-(data - noise), -x / (1 - s) - s / (1 - s) * score)


def student() -> tuple[Distillation, Any]:
    torch.manual_seed(0)
    network = woken()
    settings = ARDiTObjectiveConfig(distill=True, blocks=(2,), regression=0.0, fake_updates=2)
    objective = Distillation(network, TINY, settings)
    return objective, batch(objective.fields)


def test_the_student_moves_by_the_difference_of_both_velocities():
    """Autograd of the loss is twice (fake - teacher) through what the student makes, and nothing else."""
    objective, rows = student()
    with torch.no_grad():
        objective.parts["critic"].fake.out.bias.add_(0.3)
    differences: list[torch.Tensor] = []
    measure = objective._difference

    def kept(layout, made, rng):
        differences.append(measure(layout, made, rng))
        return differences[-1]

    objective._difference = kept
    parameters = [p for p in objective.parts["network"].parameters() if p.requires_grad]
    update = next(objective.updates(rows, 0, generator(2)))
    found = torch.autograd.grad(update.loss, parameters, allow_unused=True)
    rng = generator(2)
    made_of, _ = lay_out(rows, TINY, objective.settings, rng, training=True)
    made = objective._student(made_of, objective._noise(made_of, rng))
    wanted = middle(made_of)[..., None]
    surrogate = (2 * differences[0] * made * wanted).sum() / (wanted.sum() * 4)
    for one, other in zip(found, torch.autograd.grad(surrogate, parameters, allow_unused=True), strict=True):
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(differences[0].mean(), torch.tensor(0.3))


def test_a_student_whose_model_agrees_with_the_teacher_stays():
    objective, rows = student()
    updates = objective.updates(rows, 0, generator(2))
    first = next(updates)
    assert float(first.loss.detach()) < 1e-10 and [update.part for update in updates] == ["critic", "critic"]


def test_the_teacher_learns_nothing_and_is_saved_with_its_critic():
    objective, rows = student()
    critic = objective.parts["critic"]
    for update in objective.updates(rows, 0, generator(2)):
        update.loss.backward(inputs=[p for p in objective.parts[update.part].parameters() if p.requires_grad])
    assert all(p.grad is None for p in critic.teacher.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in critic.fake.parameters())
    assert {key.split(".")[0] for key in critic.state_dict()} == {"teacher", "fake"}
    assert isinstance(critic, Critic) and not critic.train().teacher.training and critic.fake.training


def test_the_comparison_with_the_teacher_comes_every_so_often():
    objective, rows = student()
    objective.settings = objective.settings.model_copy(update={"regression": 1.0, "regression_every": 3})
    told = ["regression" in next(objective.updates(rows, step, generator(2))).metrics for step in range(5)]
    assert told == [True, False, False, True, False]


class TwoPoints(torch.nn.Module):
    """The exact velocity of data that are -1 or 1 in every channel, which a teacher would learn."""

    def forward(self, layout: Layout, noisy: torch.Tensor, t: torch.Tensor) -> Field:
        t = t[..., None]
        data = torch.tanh(noisy * t / (1 - t).square().clamp(min=1e-4))
        return Field((data - noisy) / (1 - t).clamp(min=1e-2), None)


class Line(torch.nn.Module):
    """A velocity field of each channel alone: a small perceptron of state and time."""

    tokens = None

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(2, 32), torch.nn.Tanh(), torch.nn.Linear(32, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1)
        )

    def forward(self, layout: Layout, noisy: torch.Tensor, t: torch.Tensor) -> Field:
        return Field(self.layers(torch.stack((noisy, t[..., None].expand_as(noisy)), dim=-1))[..., 0], None)


def test_a_student_of_two_points_makes_both_in_one_step():
    """A one-step student without matching would make their mean; matched, it makes as many of each."""
    torch.manual_seed(1)
    network = Line()
    settings = ARDiTObjectiveConfig(distill=True, blocks=(4,), infill=0.0, regression=1.0, regression_every=1, fake_updates=2)
    objective = Distillation(network, TINY, settings)
    objective.parts["critic"].teacher = TwoPoints()
    optimizers = {part: torch.optim.Adam(objective.parts[part].parameters(), 5e-3) for part in ("network", "critic")}
    rows = batch(objective.fields)
    rows.fields["latents"] = torch.randn(16, 12, 4)
    rows.lengths["latents"] = torch.full((16,), 12)
    for name in ("phonemes", "reference_latents"):
        rows.fields[name] = rows.fields[name][:1].repeat(16, *[1] * (rows.fields[name].dim() - 1))
        rows.lengths[name] = rows.lengths[name][:1].repeat(16)
    for step in range(250):
        for update in objective.updates(rows, step, generator(step)):
            optimizers[update.part].zero_grad()
            update.loss.backward(inputs=[p for p in objective.parts[update.part].parameters() if p.requires_grad])
            optimizers[update.part].step()
    made_of, _ = lay_out(rows, TINY, settings, generator(0), training=False)
    made = objective._student(made_of, objective._noise(made_of, generator(7)))
    assert (made.abs() - 1).abs().mean() < 0.35
    assert 0.35 < float((made > 0).float().mean()) < 0.65


def test_the_published_size_can_be_built():
    with torch.device("meta"):
        network = ARDiT(ARDiTConfig.published())
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(228, rel=0.02)
    assert math.isclose(ARDiTConfig.published().latent_rate, 23.4375)
