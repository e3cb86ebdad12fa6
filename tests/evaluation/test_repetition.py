"""What is heard twice though it is written once: on scores made by hand, and on a recording a part of which is played twice."""

from __future__ import annotations

import json

import torch

from speechgen.audio.io import read_audio
from speechgen.core import checkpoint
from speechgen.core.types import Waveform
from speechgen.evaluation.repetition import heard_twice
from speechgen.text.phonemes import Phonemizer
from speechgen.text.vocabulary import ENGLISH

SIZE = 12


def sound(phones: list[int], seed: int = 0) -> torch.Tensor:
    """Scores of a recogniser that is unsure: each phone for two frames and a blank, a fourth of the phones taken for others."""
    rng = torch.Generator().manual_seed(seed)
    heard = [int(torch.randint(1, SIZE, (1,), generator=rng)) if torch.rand(1, generator=rng) < 0.25 else x for x in phones]
    logits = torch.rand(3 * len(phones), SIZE, generator=rng)
    for place, (said, taken) in enumerate(zip(phones, heard, strict=True)):
        logits[3 * place : 3 * place + 2, said] += 2
        logits[3 * place : 3 * place + 2, taken] += 3
        logits[3 * place + 2, 0] += 4
    return logits.log_softmax(-1)


def test_what_is_said_twice_is_found_where_it_is_and_nothing_else():
    text = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 3, 5, 7, 9]
    for seed in range(5):
        assert not heard_twice(sound(text, seed), text)
        found = heard_twice(sound([*text[:9], *text[4:]], seed), text)  # five phones twice
        assert found and set(found) <= set(range(3, 11)), seed


def test_what_the_text_repeats_is_no_fault_but_once_more_is():
    text = [1, 2, 3, 4] * 4
    assert not heard_twice(sound(text), text)
    assert heard_twice(sound([1, 2, 3, 4] * 5), text)


def test_short_texts_are_told_too():
    assert heard_twice(sound([5, 6, 5, 6]), [5, 6]) == range(2)
    assert not heard_twice(sound([5]), [5])
    assert not heard_twice(sound([5])[:1], [5, 6, 7])  # too few frames to say it once


def test_half_a_second_of_a_recording_played_twice_is_heard(repository):
    tokenizer = checkpoint.load(repository / "checkpoints" / "default-tokenizer").generator()
    audio = read_audio(repository / "app/examples/marcus.flac")
    said = json.loads((repository / "app/examples/voices.json").read_text(encoding="utf-8"))["marcus"]["text"]
    phones = [index for index in Phonemizer().ids(said) if index in ENGLISH.phone_ids]
    start, stop = 2 * audio.rate, int(2.5 * audio.rate)
    again = Waveform.single(torch.cat((audio.samples[0, :stop], audio.samples[0, start:])), audio.rate)
    assert not heard_twice(tokenizer.phone_scores(audio), phones)
    assert heard_twice(tokenizer.phone_scores(again), phones)
