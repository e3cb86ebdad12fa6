"""Masked decoding: schedules as written in the papers, nothing lost, nothing kept is changed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from speechgen.core.random import generator
from speechgen.sampling.masked import (
    Masking,
    Pass,
    Rescoring,
    confidence_passes,
    decode_masked,
    masked_share,
    pick,
    span_passes,
)

MASK, LEVELS, FRAMES = 8, 3, 20
MASKINGS = pytest.mark.parametrize(
    "masking",
    [Masking(), Masking(3, "max"), Masking(3, "prod"), Masking(3, "prod", overlapping=True)],
    ids=["frames", "max", "prod", "stride1"],
)


class Oracle:
    """Knows the truth, is unsure about it by chance, and remembers what it saw."""

    def __init__(self, truth: Tensor, certainty: float = 50.0) -> None:
        self.truth, self.certainty = truth, certainty
        self.seen: list[tuple[Tensor, Tensor, Pass]] = []

    def __call__(self, codes: Tensor, masked: Tensor, step: Pass) -> Tensor:
        self.seen.append((codes.clone(), masked.clone(), step))
        rng = torch.Generator().manual_seed(len(self.seen))
        logits = torch.rand(int(masked.sum()), MASK, generator=rng)
        wanted = self.truth[:, step.level][masked]
        return logits.scatter_add(1, wanted[:, None], torch.full((len(wanted), 1), self.certainty))


def truth(rows: int = 1, seed: int = 0) -> Tensor:
    return torch.randint(MASK, (rows, LEVELS, FRAMES), generator=torch.Generator().manual_seed(seed))


def decode(oracle: Oracle, passes: list[Pass], prompt: int = 5, seed: int = 0, **settings: object) -> Tensor:
    codes, free = torch.zeros_like(oracle.truth), torch.ones(len(oracle.truth), FRAMES, dtype=torch.bool)
    codes[..., :prompt], free[:, :prompt] = oracle.truth[..., :prompt], False
    return decode_masked(oracle, codes, free, passes, mask_id=MASK, rng=generator(seed), **settings)


SCHEDULES = pytest.mark.parametrize(
    "passes",
    [
        confidence_passes((1, 1, 1)),
        confidence_passes((7, 2, 1), temperature=1.5),
        span_passes((6, 3, 2)),
        span_passes((1, 1, 1)),
        span_passes((20, 20, 20)),
    ],
    ids=["greedy", "confidence", "spans", "spans at once", "more passes than spans"],
)


@SCHEDULES
@MASKINGS
def test_an_oracle_returns_the_truth_with_one_evaluation_a_pass(passes, masking):
    oracle = Oracle(truth(2), 400.0)
    done: list[tuple[int, int]] = []
    made = decode(oracle, passes, masking=masking, progress=lambda *each: done.append(each))
    assert torch.equal(made, oracle.truth)
    assert [step for _, _, step in oracle.seen] == passes and done == [(i + 1, len(passes)) for i in range(len(passes))]


@SCHEDULES
@MASKINGS
def test_no_mask_is_left_the_prompt_stays_and_what_is_kept_never_changes(passes, masking):
    """Seen from the network: it is given the prompt, the levels that are done, masks at what it is asked for and above."""
    oracle = Oracle(truth(), certainty=0.0)
    made = decode(oracle, passes, masking=masking, top_p=0.9)
    assert made.min() >= 0 and made.max() < MASK
    assert torch.equal(made[..., :5], oracle.truth[..., :5])
    before: dict[int, Tensor] = {}
    for codes, masked, step in oracle.seen:
        assert not masked[:, :5].any() and masked.any()
        assert torch.equal(codes[:, step.level] == MASK, masked)
        assert (codes[:, step.level + 1 :, 5:] == MASK).all() and (codes[:, : step.level] != MASK).all()
        kept = codes[:, step.level][~masked]
        assert torch.equal(kept, made[:, step.level][~masked])
        if step.level in before:
            assert (before[step.level] | ~masked).all()  # only what was masked before
        before[step.level] = masked


def test_confidence_counts_follow_the_cosine_of_the_free_frames():
    """floor(|U| cos(pi/2 i/N)) are masked after pass i (SoundStorm, section 3.3); each row counts for itself."""
    oracle, steps, sizes = Oracle(truth(2), 0.0), 6, (20, 9)
    free = torch.arange(FRAMES)[None] < torch.tensor(sizes)[:, None]
    decode_masked(oracle, oracle.truth, free, confidence_passes((steps,)), mask_id=MASK, rng=generator(0))
    for i, (_, masked, _) in enumerate(oracle.seen):
        assert masked.sum(1).tolist() == [math.floor(size * math.cos(math.pi / 2 * i / steps)) for size in sizes]


def test_spans_are_masked_whole_and_counted_as_published():
    """max(int(cos(pi/2 i/(N-1)) n), 1) spans, of those behind the prompt; 18 frames are 6 spans."""
    oracle, steps = Oracle(truth()[..., :18], 0.0), 5
    free = (torch.arange(18) >= 3)[None]
    decode_masked(oracle, oracle.truth, free, span_passes((steps,)), mask_id=MASK, masking=Masking(3, "max"), rng=generator(0))
    for i, (_, masked, _) in enumerate(oracle.seen):
        spans = masked.unflatten(1, (6, 3))
        assert torch.equal(spans.any(-1), spans.all(-1))
        assert spans.any(-1).sum() == max(int(5 * math.cos(math.pi / 2 * i / (steps - 1))), 1)


def test_overlapping_spans_cover_no_more_than_the_schedule_and_nearly_as_much():
    oracle, passes = Oracle(truth(4), 0.0), span_passes((8,))
    decode(oracle, passes, prompt=0, masking=Masking(3, "prod", overlapping=True))
    for _, masked, step in oracle.seen[1:]:
        runs = torch.nn.functional.pad(masked.long(), (1, 1)).diff(dim=1)
        lengths = (runs == -1).nonzero()[:, 1] - (runs == 1).nonzero()[:, 1]
        assert (lengths >= 1).all() and masked.sum(1).max() <= max(3, int(step.share * FRAMES))
        assert masked.sum(1).min() >= 1


def test_the_unsure_are_masked_again():
    """One step of each scoring, by hand: doubts 0.5 0.9 0.9 | 0.6 0.6 0.6; the surest frame or all together."""
    sure = torch.tensor([0.5, 0.9, 0.9, 0.6, 0.6, 0.6])
    for scoring, again in (("max", [3, 4, 5]), ("prod", [3, 4, 5])):
        first = [Pass(0, 1.0, 0.0), Pass(0, 0.5, 0.0)]
        seen = []

        def predict(codes: Tensor, masked: Tensor, step: Pass, seen: list[list[int]] = seen) -> Tensor:
            seen.append(masked[0].nonzero()[:, 0].tolist())
            rest = (1 - sure) / (MASK - 1)
            return torch.cat((sure[:, None], rest[:, None].expand(-1, MASK - 1)), dim=1).log()[masked[0]]

        codes, free = torch.zeros(1, 1, 6, dtype=torch.long), torch.ones(1, 6, dtype=torch.bool)
        decode_masked(predict, codes, free, first, mask_id=MASK, masking=Masking(3, scoring), rng=generator(0))
        assert seen[1] == again
    sure[3:] = torch.tensor([0.95, 0.3, 0.3])  # max: the second is surer; prod: the first
    for scoring, again in (("max", [0, 1, 2]), ("prod", [3, 4, 5])):
        seen.clear()
        decode_masked(predict, codes, free, first, mask_id=MASK, masking=Masking(3, scoring), rng=generator(0))
        assert seen[1] == again, scoring


def test_another_model_can_decide_what_is_masked_again():
    asked: list[Tensor] = []

    def rescore(codes: Tensor, masked: Tensor, step: Pass) -> Tensor:
        asked.append(codes[:, step.level].clone())
        likes = torch.arange(FRAMES)[None].expand(len(codes), -1)[masked] < 10  # only what comes early
        rows = torch.zeros(int(masked.sum()), MASK)
        return rows.scatter(1, codes[:, step.level][masked][:, None], torch.where(likes, 9.0, -9.0)[:, None])

    oracle = Oracle(truth(), 0.0)
    decode(oracle, confidence_passes((2,), noise=0.0), prompt=0, rescoring=Rescoring(rescore, weight=1.0))
    assert all((codes != MASK).all() for codes in asked) and len(asked) == 2
    again = oracle.seen[1][1][0]
    assert again.sum() == 14 and again[10:].all()  # all late ones, and 4 others


def test_schedules_are_those_of_the_papers():
    assert masked_share(0) == 1 and masked_share(1) == pytest.approx(0, abs=1e-12)
    passes = span_passes((20, 10), temperature=3.0, most_guidance=9.0, least_guidance=0.0)
    heats = [step.temperature for step in passes if step.level == 0]
    assert heats[0] == pytest.approx(3.0 * 19 / 20) and heats[-1] == 0.01
    assert all(one > two for one, two in zip(heats, heats[1:], strict=False))
    assert passes[0].guidance == 9 and passes[19].guidance == pytest.approx(0, abs=1e-9)
    for step in passes:
        assert 1 + step.guidance == pytest.approx(10 * step.share + 1 * (1 - step.share))
        assert step.score_temperature == step.temperature
    confident = confidence_passes((4, 1), temperature=1.5, noise=2.0)
    assert [step.temperature for step in confident] == [1.125, 0.75, 0.375, 0, 0]
    assert [step.noise for step in confident] == [1.5, 1, 0.5, 0, 0] and len(confident) == 5
    assert all(step.score_temperature == 1 for step in confident)


def test_noise_of_the_confidence_is_gumbel_noise():
    """Frames of one probability: which is kept is drawn; with other probabilities, in proportion to them."""
    sure = torch.tensor([0.7, 0.2, 0.1])
    kept = torch.zeros(3)
    for seed in range(300):
        seen: list[Tensor] = []

        def predict(codes: Tensor, masked: Tensor, step: Pass, seen: list[Tensor] = seen) -> Tensor:
            seen.append(masked)
            return torch.stack((sure, 1 - sure), dim=1).log()[masked[0]]

        passes = [Pass(0, 1.0, 0.0, noise=1.0), Pass(0, 0.67, 0.0)]
        sure_first = [Pass(0, 1.0, 0.0, noise=1.0), passes[1]]
        codes, free = torch.zeros(1, 1, 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool)
        decode_masked(predict, codes, free, sure_first, mask_id=2, rng=generator(seed))
        kept += (~seen[1][0]).float()
    # The likeliest codes have 0.7, 0.8 and 0.9: one of three is kept, by the Gumbel trick in proportion to that.
    torch.testing.assert_close(kept / 300, torch.tensor([0.7, 0.8, 0.9]) / 2.4, atol=0.08, rtol=0)


def test_picking_obeys_its_limits():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().expand(2000, -1)

    def drawn(**settings: float) -> set[int]:
        return set(pick(logits, rng=generator(0), **{"temperature": 1.0, **settings}).tolist())

    assert drawn() == {0, 1, 2, 3} and drawn(top_k=2) == {0, 1} and drawn(temperature=0) == {0}
    assert drawn(top_p=0.6) == {0, 1} and drawn(top_p=0.9) == {0, 1, 2} and drawn(top_p=0.3) == {0}
    shares = pick(logits, temperature=1.0, rng=generator(1)).bincount(minlength=4) / 2000
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.3, 0.15, 0.05]), atol=0.04, rtol=0)
    assert pick(logits[:0], temperature=1.0, rng=generator(0)).shape == (0,)


def test_the_seed_decides():
    passes = confidence_passes((4, 2, 1))
    one, same, other = (decode(Oracle(truth(), 0.0), passes, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
