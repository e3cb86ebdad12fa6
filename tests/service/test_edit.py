"""Editing with the default voice: words are found in a real recording, new ones are understood, the rest is untouched."""

from __future__ import annotations

import json

import pytest
import torch

from speechgen.core.types import Waveform
from speechgen.service.edit import EditRequest, read_transcript
from speechgen.service.engine import Engine

SAYS = "kathleen"


@pytest.fixture(scope="module")
def engine():
    return Engine("cpu")


@pytest.fixture(scope="module")
def recording(repository):
    says = json.loads((repository / "app/examples/voices.json").read_text(encoding="utf-8"))[SAYS]
    return repository / "app/examples" / says["file"], says["text"]


def edited(engine, recording, new, **options):
    content = {"audio": recording[0], "old_text": recording[1], "new_text": new, "seed": 1, "candidates": 2}
    return engine.edit(EditRequest.checked(content | options))


def fit(engine, result, text):
    """Log probability by phone that the result says a text."""
    pipeline = engine.load("default")
    phonemizer = pipeline.prepare("en-us")
    symbols = torch.tensor(phonemizer.vocabulary.encode(phonemizer(text)))
    return pipeline.stages.tokenizer.fit(Waveform.single(result.samples.mean(0), result.rate), symbols)


def test_words_are_found_where_they_are_spoken(engine, recording):
    found = read_transcript(engine, *recording)
    assert " ".join(word.text for word in found.words) == recording[1] and found.fit > -1.5
    assert all(word.start < word.stop for word in found.words)
    assert all(left.stop <= right.start for left, right in zip(found.words, found.words[1:], strict=False))
    lengths = {word.text: word.stop - word.start for word in found.words}
    assert lengths["combination"] > 2 * lengths["of"]


def test_a_new_word_is_heard_and_all_else_stays(engine, recording):
    new = recording[1].replace("Canadian", "foreign").replace("quickly ", "")
    result = edited(engine, recording, new)
    assert fit(engine, result, new) > fit(engine, result, recording[1]) + 0.3
    assert fit(engine, result, new) > -1.6
    before, rate = result.recording.samples, result.rate
    first, second = result.regions
    assert torch.equal(result.samples[:, : round(first.start * rate)], before[:, : round(first.start * rate)])
    tail = before.shape[1] - round(second.stop * rate)
    assert torch.equal(result.samples[:, -tail:], before[:, -tail:])
    said = [word.label for word in result.new_words]
    assert "foreign" in said and "quickly" not in said and said[0] == "A"
    assert [word.start for word in result.new_words] == sorted(word.start for word in result.new_words)


def test_the_level_of_the_new_sound_is_that_of_the_recording(engine, recording):
    result = edited(engine, recording, recording[1].replace("Canadian capital", "foreign metal"))
    (region,) = result.regions
    inside = result.samples[0, round(region.new_start * result.rate) : round(region.new_stop * result.rate)]
    old = result.recording.samples[0, round(region.start * result.rate) : round(region.stop * result.rate)]
    assert 10 * float((inside.square().mean() / old.square().mean()).log10()) == pytest.approx(0, abs=5)
