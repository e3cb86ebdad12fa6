"""Batches: functions of seed and step, aligned across fields, padded, from the right utterances."""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import torch

from speechgen.core.errors import UserError
from speechgen.core.protocols import Batch
from speechgen.data.batching import DataConfig, TrainingData
from speechgen.data.plan import Item, WholeUtterances
from tests.data.conftest import TOKEN, write_prepared

FIELDS = ("audio", "mel", "tokens", "labels", "pitch", "reference")
WHOLE = DataConfig(batch_seconds=5, buckets=3)
CROPS = DataConfig(batch_seconds=4, crop_seconds=0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """20 utterances of 5 speakers, 0.6 to 1.9 s."""
    return write_prepared(tmp_path / "prepared", {f"u{n}": (f"s{n % 5}", 30 + 3 * n) for n in range(20)})


def take(data: TrainingData, count: int, start: int = 0, rank: int = 0, world: int = 1) -> list[Batch]:
    return list(islice(data.batches(start, rank, world), count))


def same(one: Batch, two: Batch) -> bool:
    return all(
        torch.equal(one.fields[name], two.fields[name]) and torch.equal(one.lengths[name], two.lengths[name])
        for name in one.fields
    )


def utterances(batch: Batch) -> list[int]:
    return (batch["tokens"][:, 0] // 100).tolist()


@pytest.mark.parametrize("config", [WHOLE, CROPS], ids=["whole", "crops"])
def test_resumed_batches_equal_uninterrupted_ones(folder, config):
    through = take(TrainingData([folder], FIELDS, config, 1), 30)  # several epochs
    for start in (0, 1, 17):
        resumed = take(TrainingData([folder], FIELDS, config, 1), 30 - start, start)
        assert all(map(same, through[start:], resumed))
    assert not all(map(same, through, take(TrainingData([folder], FIELDS, config, 2), 30)))
    assert not same(through[0], through[1])


@pytest.mark.parametrize("config", [WHOLE, CROPS], ids=["whole", "crops"])
def test_ranks_take_turns(folder, config):
    through = take(TrainingData([folder], FIELDS, config, 1), 12)
    for rank in range(3):
        assert all(map(same, through[rank::3], take(TrainingData([folder], FIELDS, config, 1), 4, rank=rank, world=3)))
    later = take(TrainingData([folder], FIELDS, config, 1), 2, start=2, rank=1, world=3)
    assert all(map(same, [through[7], through[10]], later))


def test_an_epoch_has_every_utterance_once_and_keeps_the_budget(folder):
    batches = TrainingData([folder], ("tokens",), WHOLE, 0).validation(1000)
    assert sorted(sum(map(utterances, batches), [])) == list(range(20))
    assert all(batch.lengths["tokens"].sum() * TOKEN / 24000 <= 5 for batch in batches)


def test_batches_hold_similar_lengths_and_other_companions_each_epoch():
    lengths = torch.rand(1000, generator=torch.Generator().manual_seed(0)) * 14 + 1
    items = [Item(0, str(n), "", int(seconds * 24000)) for n, seconds in enumerate(lengths)]
    plan = WholeUtterances(items, 60, 10, 0)
    epochs = [[plan(epoch * plan.size + n) for n in range(plan.size)] for epoch in range(2)]
    padded = sum(len(batch) * max(item.seconds for item in batch) for batch in epochs[0])
    assert padded < 1.15 * sum(item.seconds for batch in epochs[0] for item in batch)
    companions = [{frozenset(item.id for item in batch) for batch in epoch} for epoch in epochs]
    assert len(companions[0] & companions[1]) < 0.1 * plan.size
    assert len({item.id for batch in epochs[1] for item in batch}) > 950


def test_balance_gives_the_speakers_of_a_folder_equal_time_and_each_folder_its_share():
    said = {("a", 0): 90, ("b", 0): 10, ("c", 1): 20}  # utterances of 2 s
    items = [Item(folder, f"{who}{n}", who, 48000) for (who, folder), count in said.items() for n in range(count)]
    plan = WholeUtterances(items, 20, 1, 0, speaker_balance=1.0)
    drawn = Counter(item.speaker for n in range(30 * plan.size) for item in plan(n))
    assert drawn["a"] / 30 == pytest.approx(50, rel=0.1) and drawn["b"] / 30 == pytest.approx(50, rel=0.1)
    assert drawn["c"] / 30 == pytest.approx(20, rel=0.1)


def test_crops_are_aligned_across_fields(folder):
    starts = set()
    for batch in take(TrainingData([folder], FIELDS, CROPS, 0), 20):
        tokens = batch["tokens"]
        assert tokens.shape == (8, 23)  # 4 s / 0.5 s, 0.5 s in whole tokens
        assert torch.equal(batch["labels"], tokens + 1)
        assert torch.equal(batch["pitch"], tokens.repeat_interleave(2, 1) + 0.5)
        assert torch.equal(batch["mel"], tokens.repeat_interleave(2, 1)[..., None].expand(-1, -1, 100).float())
        assert torch.equal(batch["audio"], tokens.repeat_interleave(TOKEN, 1) / 32768)
        assert (tokens.diff(dim=1) == 1).all()
        starts |= set((tokens[:, 0] % 100).tolist())
    assert len(starts) > 10


def test_a_short_utterance_is_repeated_to_fill_a_crop(tmp_path):
    folder = write_prepared(tmp_path, {"a": ("s", 30)})
    (batch,) = take(TrainingData([folder], FIELDS, DataConfig(batch_seconds=2, crop_seconds=2), 0), 1)
    expected = torch.arange(94) % 30
    assert torch.equal(batch["tokens"][0], expected)
    assert torch.equal(batch["mel"][0, :, 5], expected.repeat_interleave(2).float())
    assert torch.equal(batch["audio"][0] * 32768, expected.repeat_interleave(TOKEN).float())


def test_crops_come_in_proportion_to_length(tmp_path):
    folder = write_prepared(tmp_path, {"short": ("s", 30), "long": ("s", 90)})
    batches = take(TrainingData([folder], ("tokens",), CROPS, 0), 100)
    assert sum(sum(map(utterances, batches), [])) / 800 == pytest.approx(0.75, abs=0.05)


def test_the_reference_is_another_utterance_of_the_same_speaker(folder):
    longer = 0
    for batch in take(TrainingData([folder], ("tokens", "reference"), WHOLE, 0), 30):
        for row, own in enumerate(utterances(batch)):
            length = int(batch.lengths["reference"][row])
            frames = batch["reference"][row, :length, 0]
            other = int(frames[0]) // 100
            assert other != own and other % 5 == own % 5
            assert (frames.diff() >= 0).all() and length == 60 + 6 * other  # all of it: these are shorter than 3 s
            longer += 1
    assert longer > 50


def test_a_reference_is_at_most_three_seconds(tmp_path):
    folder = write_prepared(tmp_path, {"a": ("s", 300), "b": ("s", 300)})
    batches = take(TrainingData([folder], ("reference",), WHOLE, 0), 10)
    assert {int(batch.lengths["reference"].max()) for batch in batches} == {281}
    assert len({float(batch["reference"][0, 0, 0]) % 100 for batch in batches}) > 3


def test_padding_is_silence(folder):
    batch = next(b for b in take(TrainingData([folder], FIELDS, WHOLE, 0), 20) if b.lengths["tokens"].unique().numel() > 1)
    row = int(batch.lengths["tokens"].argmin())
    ends = {name: int(batch.lengths[name][row]) for name in FIELDS}
    assert ends["audio"] == TOKEN * ends["tokens"] and ends["mel"] == 2 * ends["tokens"]
    torch.testing.assert_close(batch["mel"][row, ends["mel"] :].unique(), torch.tensor([math.log(1e-5)]))
    assert all(not batch[name][row, ends[name] :].any() for name in ("audio", "tokens", "labels"))
    assert batch["audio"].dtype == batch["mel"].dtype == torch.float32 and batch["tokens"].dtype == torch.int64


@pytest.mark.parametrize("config", [DataConfig(batch_seconds=60), DataConfig(batch_seconds=1, crop_seconds=1)])
def test_one_utterance_is_a_corpus(tmp_path, config):
    folder = write_prepared(tmp_path, {"only": ("s", 40)})
    data = TrainingData([folder], FIELDS, config, 0)
    for batch in [*take(data, 3), *data.validation(5), *data.validation(1, rank=1, world=2)]:
        assert utterances(batch) == [0]
        assert batch["reference"][0, 0, 0] < 40  # its own


def test_what_cannot_be_used_is_left_out_and_said(tmp_path):
    one = write_prepared(tmp_path / "one", {"short": ("s", 10), "right": ("s", 40), "long": ("s", 900)})
    data = TrainingData([one], ("tokens",), DataConfig(batch_seconds=5), 0)
    assert {tuple(utterances(batch)) for batch in take(data, 5)} == {(1,)}
    assert "1 under 0.5 s" in data.summary and "1 over 15 s" in data.summary
    cropped = TrainingData([one], ("tokens",), CROPS, 0)
    assert set(sum((utterances(batch) for batch in take(cropped, 20)), [])) >= {1, 2}  # the long one too


def test_several_folders_are_one_corpus_and_speakers_stay_apart(tmp_path):
    folders = [write_prepared(tmp_path / f"{n}", {"a": ("s", 40), "b": ("t", 40)}, first=1000 * n) for n in range(2)]
    data = TrainingData(folders, ("tokens", "reference"), WHOLE, 0)
    batches = take(data, 6)
    assert {n for batch in batches for n in utterances(batch)} == {0, 1, 10, 11}
    for batch in batches:  # a name in another folder is another person
        assert torch.equal(batch["reference"][:, 0, 0] // 100, torch.tensor(utterances(batch)).float())


def test_producers_are_chosen_by_hash_where_there_are_several(tmp_path):
    write_prepared(tmp_path, {"a": ("s", 40)}, tokenizer="one")
    assert TrainingData([tmp_path], ("tokens",), WHOLE, 0).uses == {"tokens": "one"}
    write_prepared(tmp_path, {"a": ("s", 40)}, first=500, tokenizer="two")
    with pytest.raises(UserError, match="data.producers.tokens="):
        TrainingData([tmp_path], ("tokens",), WHOLE, 0)
    hashes = [path.name.removeprefix("tokens-") for path in (tmp_path / "features").glob("tokens-*")]
    found = {}
    for chosen in hashes:
        data = TrainingData([tmp_path], ("tokens",), WHOLE.model_copy(update={"producers": {"tokens": chosen}}), 0)
        assert data.producers == {"tokens": chosen}
        found[data.uses["tokens"]] = utterances(take(data, 1)[0])
    assert found == {"one": [0], "two": [5]}
    with pytest.raises(UserError, match=r"unknown producer of tokens.*allowed"):
        TrainingData([tmp_path], ("tokens",), WHOLE.model_copy(update={"producers": {"tokens": "beef"}}), 0)


def test_faults_name_what_to_do(folder, tmp_path):
    with pytest.raises(UserError, match="did you mean 'mel'"):
        TrainingData([folder], ("mels",), WHOLE, 0)
    with pytest.raises(UserError, match="no usable utterance.*20 under 3 s"):
        TrainingData([folder], ("mel",), DataConfig(batch_seconds=5, min_seconds=3), 0)
    with pytest.raises(UserError, match="cropped"):
        TrainingData([folder], ("phonemes",), CROPS, 0)
    with pytest.raises(UserError, match="--features mel"):
        TrainingData([tmp_path / "empty"], ("mel",), WHOLE, 0)


@pytest.mark.parametrize("config", [WHOLE, DataConfig(batch_seconds=6, crop_seconds=1.5)], ids=["whole", "crops"])
def test_codes_come_codebook_by_codebook_at_their_own_rate(folder, config):
    """Of short utterances, too, which are repeated to the length of a crop."""
    data = TrainingData([folder], ("tokens", "codes"), config, 1)
    assert data.uses == {"tokens": "one", "codes": "f0"}
    for batch in take(data, 6):
        rows, size = batch["tokens"].shape
        assert batch["codes"].shape == (rows, 3, 2 * size) and torch.equal(batch.lengths["codes"], 2 * batch.lengths["tokens"])
        for row, length in enumerate(batch.lengths["tokens"].tolist()):
            heard = batch["tokens"][row, :length].repeat_interleave(2)
            assert torch.equal(batch["codes"][row, :, : 2 * length], heard + torch.arange(3)[:, None])


def test_latents_come_whole_with_those_of_another_utterance_and_say_what_made_them(folder):
    data = TrainingData([folder], ("tokens", "latents", "reference_latents"), WHOLE, 0)
    assert data.latents == (3, 24000 / TOKEN / 2) and data.uses["latents"] == "its"
    for batch in take(data, 10):
        assert batch["latents"].dtype == torch.float32
        for row, own in enumerate(utterances(batch)):
            size, shown = int(batch.lengths["latents"][row]), int(batch.lengths["reference_latents"][row])
            assert torch.equal(batch["latents"][row, :size, 2], batch["tokens"][row, : 2 * size : 2].float())
            other = int(batch["reference_latents"][row, 0, 0]) // 100
            assert other != own and other % 5 == own % 5 and shown == -(-(30 + 3 * other) // 2)


def test_latents_cannot_be_cropped(folder):
    with pytest.raises(UserError, match="latents cannot be cropped"):
        TrainingData([folder], ("latents",), CROPS, 0)
