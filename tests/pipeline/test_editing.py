"""Recordings changed by a filler that makes tones, and by the tiny models: what is not to change stays, bit for bit."""

from __future__ import annotations

import math

import pytest
import torch

from speechgen.core.errors import UserError
from speechgen.core.types import Mel, MelSettings, Waveform
from speechgen.models.semantic.token_transducer.generate import TransducerGenerator
from speechgen.pipeline.editing import CONTEXT_SECONDS, LEVEL_RANGE_DB, Editor
from speechgen.pipeline.edits import at_span, differences
from speechgen.pipeline.fillers import filler_for
from speechgen.pipeline.gaps import TokenFiller
from speechgen.pipeline.streaming import take
from speechgen.pipeline.transcript import Transcript, Word
from speechgen.service.engine import Engine
from speechgen.text.phonemes import Phonemizer
from tests.tiny import RATE, voice_like

HOP, STEP = 256, 512
PITCH = 125.0


@pytest.fixture(scope="module")
def phonemizer():
    return Phonemizer("en-us")


class Tones:
    """Fills every gap with as many steps as it is told; a mel's first bin is the level of its frame, and its sound a tone."""

    sample_rate, step_samples = RATE, STEP

    def __init__(self, steps=30, levels=(0.1,), around=0.1):
        self.steps, self.levels, self.around, self.gaps, self.seeds = steps, levels, around, [], []

    def fill(self, gap, *, seed, progress=None):
        self.gaps.append(gap)
        level = self.levels[len(self.seeds) % len(self.levels)]
        self.seeds.append(seed)
        sides = (gap.start // STEP, self.steps, (gap.audio.samples.shape[1] - gap.stop) // STEP)
        return tuple(self._mel(2 * size, value) for size, value in zip(sides, (self.around, level, self.around), strict=True))

    def _mel(self, frames, level):
        return Mel(torch.full((1, frames, 100), level), torch.tensor([frames]), MelSettings())

    def render(self, mel, seed):
        levels = mel.values[0, :, 0].repeat_interleave(HOP)
        return levels * torch.sin(2 * math.pi * PITCH * torch.arange(len(levels)) / RATE)

    def fit(self, audio, phonemes):
        self.phonemes = len(phonemes)
        return -abs(float(audio.samples.abs().max()) - 0.2)  # likes loud ones


def tone(seconds, rate=RATE, channels=1):
    wave = 0.2 * torch.sin(2 * math.pi * PITCH * torch.arange(int(seconds * rate)) / rate)
    return wave.expand(channels, -1).clone()


def apply(samples, changes, phonemizer, filler=None, rate=RATE, **options):
    filler = filler or Tones()
    editor = Editor(filler, filler, phonemizer, torch.device("cpu"))
    return editor.apply(samples, rate, changes, seed=options.pop("seed", 0), **options)


def same_outside(before, edited, rate):
    """Check that every sample outside of the regions is the recording's; returns how many are inside."""
    place = new_place = inside = 0
    for region in edited.regions:
        start, new_start, new_stop = (round(seconds * rate) for seconds in (region.start, region.new_start, region.new_stop))
        assert torch.equal(edited.samples[:, new_place:new_start], before[:, place:start])
        inside += new_stop - new_start
        place, new_place = round(region.stop * rate), new_stop
    assert torch.equal(edited.samples[:, new_place:], before[:, place:])
    return inside


@pytest.mark.parametrize(
    ("start", "stop"), [(1.0, 2.0), (0.0, 0.5), (2.5, 3.0), (1.5, 1.5), (0.01, 0.4), (2.6, 2.99), (0.0, 0.0), (3.0, 3.0)]
)
@pytest.mark.parametrize("rate", [24000, 16000, 44100])
def test_only_the_span_changes_and_it_lasts_as_long_as_its_words(phonemizer, start, stop, rate):
    before = tone(3.0, rate) + 0.01 * torch.randn(1, 3 * rate, generator=torch.Generator().manual_seed(0))
    edited = apply(before, [at_span(start, stop, "new words", 3.0)], phonemizer, rate=rate)
    inside = same_outside(before, edited, rate)
    assert inside / rate == pytest.approx(30 * STEP / RATE, abs=0.045)
    assert edited.regions[0].text == "new words"


@pytest.mark.parametrize("start", [1.0, 1.001, 1.0035])
def test_the_new_sound_joins_in_phase_and_at_the_level_of_the_recording(phonemizer, start):
    """The filler's tone is too low and has any phase: behind each join the tone goes on as if nothing were."""
    before = tone(3.0)
    edited = apply(before, [at_span(start, 1.7, "new words", 3.0)], phonemizer, Tones(levels=(0.08,), around=0.08))
    (region,) = edited.regions
    first, last = round(region.new_start * RATE), round(region.new_stop * RATE)
    joined, size = edited.samples[0], 2400
    torch.testing.assert_close(joined[first : first + size], before[0, first : first + size], atol=0.012, rtol=0)
    place = round(region.stop * RATE)
    torch.testing.assert_close(joined[last - size : last], before[0, place - size : place], atol=0.012, rtol=0)


def test_the_first_sound_is_faded_in_where_nothing_is_before_it(phonemizer):
    edited = apply(tone(3.0), [at_span(0.0, 1.0, "new words", 3.0)], phonemizer)
    assert float(edited.samples[0, :5].abs().max()) < 0.01


def test_channels_stay_what_they_are_and_the_voice_keeps_its_place(phonemizer):
    before = torch.cat((1.4 * tone(3.0), 0.6 * tone(3.0)))
    edited = apply(before, [at_span(1.0, 2.0, "new words", 3.0)], phonemizer)
    same_outside(before, edited, RATE)
    middle = edited.samples[:, round(1.1 * RATE) : round(1.4 * RATE)]
    levels = middle.square().mean(1).sqrt()
    assert float(levels[0] / levels[1]) == pytest.approx(1.4 / 0.6, rel=0.02)


def test_64_bit_samples_stay_64_bit(phonemizer):
    before = tone(3.0).double() + 1e-12
    edited = apply(before, [at_span(1.0, 2.0, "new words", 3.0)], phonemizer)
    assert edited.samples.dtype == torch.float64
    same_outside(before, edited, RATE)


@pytest.mark.parametrize(("start", "stop"), [(1.0, 2.0), (0.0, 1.0), (2.0, 3.0), (1.0, 1.02), (1.0, 1.005)])
def test_a_span_that_is_cut_out_leaves_a_join_that_does_not_click(phonemizer, start, stop):
    before, filler = tone(3.0), Tones()
    edited = apply(before, [at_span(start, stop, "", 3.0)], phonemizer, filler)
    same_outside(before, edited, RATE)
    assert filler.gaps == []
    assert 3.0 - edited.samples.shape[1] / RATE == pytest.approx(stop - start, abs=0.025)
    joined = edited.samples[0]
    assert float((joined[1:] - joined[:-1]).abs().max()) < 1.5 * float((before[0, 1:] - before[0, :-1]).abs().max())


SPOKEN = ("one", "two", "three", "four", "five", "six", "seven", "eight")
SAID = Transcript(tuple(Word(text, 0.2 + 0.5 * i, 0.7 + 0.5 * i) for i, text in enumerate(SPOKEN)), -1.0)


def test_several_places_are_changed_and_told_in_the_order_of_time(phonemizer):
    before = tone(4.5) + 0.01 * torch.randn(1, int(4.5 * RATE), generator=torch.Generator().manual_seed(0))
    changes = differences(SAID, ["one", "dog", "three", "five", "big", "six", "cat", "eight"], 4.5)
    filler = Tones(steps=20)
    edited = apply(before, changes, phonemizer, filler)
    same_outside(before, edited, RATE)
    assert [region.text for region in edited.regions] == ["dog", "", "big", "cat"]
    assert [region.start for region in edited.regions] == sorted(region.start for region in edited.regions)
    # The last is made first; each sees the words that will be there, and as much sound as they and the margin take.
    last, third, first = filler.gaps
    assert [word for word, _ in last.change.behind] == ["eight"]
    assert [word for word, _ in third.change.behind] == ["six", "cat", "eight"]
    assert [word for word, _ in first.change.behind] == ["three", "five", "big", "six", "cat", "eight"]
    # The sound of the first reaches to its last word, wherever that has moved to.
    growth = sum(r.new_stop - r.new_start - (r.stop - r.start) for r in edited.regions[1:])
    assert abs(growth) > 0.1
    assert first.audio.samples.shape[1] / RATE == pytest.approx(4.2 + growth + 0.1 - 0.1, abs=0.03)
    for gap in (last, third, first):
        assert gap.start % STEP == 0
        assert gap.audio.samples.shape[1] / RATE <= 2 * CONTEXT_SECONDS + 1.5


def test_what_fits_best_is_kept_and_a_faulty_one_is_told(phonemizer):
    filler = Tones(levels=(0.05, 0.2, 0.1))
    change = [at_span(1.0, 2.0, "new words", 3.0, SAID)]
    edited = apply(tone(3.0), change, phonemizer, filler, candidates=3, seed=5)
    assert filler.seeds == [5, 6, 7]
    middle = edited.samples[0, round(1.2 * RATE) : round(1.4 * RATE)]
    around = edited.samples[0, : round(0.5 * RATE)]
    # The loudest of the three, twice as loud as the sound around it, less what is too much.
    assert float(middle.abs().max() / around.abs().max()) == pytest.approx(10 ** (LEVEL_RANGE_DB / 20), rel=0.02)
    assert edited.warnings == ()
    silent = apply(tone(3.0), change, phonemizer, Tones(levels=(0.0,)))
    assert silent.warnings == ("the new sound of 'new words' is silent: try another --seed",)


def test_progress_is_told_to_the_end(phonemizer):
    told = []
    changes = differences(SAID, ["one", "dog", "three", "cat", "five", "six", "seven", "eight"], 4.5)
    apply(tone(4.5), changes, phonemizer, candidates=2, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told) and told[-1] == (200, 200) and (50, 200) in told


def test_without_a_voice_around_the_span_nothing_is_made(phonemizer):
    with pytest.raises(UserError, match="only 0.50 s of the recording are to stay"):
        apply(tone(3.0), [at_span(0.5, 3.0, "new words", 3.0)], phonemizer)
    quiet = tone(3.0)
    quiet[:, :RATE] = quiet[:, 2 * RATE :] = 0
    with pytest.raises(UserError, match="silent outside"):
        apply(quiet, [at_span(1.0, 2.0, "new words", 3.0)], phonemizer)
    assert apply(quiet, [at_span(1.0, 2.0, "", 3.0)], phonemizer).samples.shape[1] < 2.1 * RATE


# ---- the tiny models ----


@pytest.fixture
def tiny(home):
    return Engine("cpu").load("tiny")


def spoken(pipeline, phonemizer, change, samples=None, seed=0, **options):
    filler = filler_for(pipeline, pipeline.options({"temperature": 0.7}), "en-us")
    editor = Editor(filler, pipeline.stages.tokenizer, phonemizer, torch.device("cpu"))
    samples = voice_like(4.5)[None] if samples is None else samples
    return samples, editor.apply(samples, RATE, [change], seed=seed, **options)


def test_the_same_seed_gives_the_same_samples_and_another_gives_others(tiny, phonemizer):
    change = at_span(1.2, 2.2, "good morning", 4.5, SAID)
    samples, first = spoken(tiny, phonemizer, change)
    same_outside(samples, first, RATE)
    assert torch.equal(first.samples, spoken(tiny, phonemizer, change)[1].samples)
    assert not torch.equal(first.samples, spoken(tiny, phonemizer, change, seed=1)[1].samples)


@pytest.mark.parametrize("span", [(0.0, 1.0), (3.6, 4.5), (2.0, 2.0)])
def test_models_fill_gaps_at_the_edges_and_of_no_length(tiny, phonemizer, span):
    for transcript in (None, SAID):
        samples, edited = spoken(tiny, phonemizer, at_span(*span, "good morning", 4.5, transcript))
        assert same_outside(samples, edited, RATE) > 0


def test_mels_of_both_sides_are_those_of_the_recording(tiny, phonemizer, monkeypatch):
    from speechgen.audio.spectrogram import mel_spectrogram

    gaps = []
    fill = TokenFiller.fill
    monkeypatch.setattr(TokenFiller, "fill", lambda *a, **o: gaps.append(fill(*a, **o)) or gaps[-1])
    samples, _ = spoken(tiny, phonemizer, at_span(2.0, 2.5, "good morning", 4.5))
    left, middle, right = gaps[0]
    whole = mel_spectrogram(Waveform.single(samples[0], RATE), tiny.stages.mel).values[0]
    shift = left.values[0, :-8].mean() - whole[: left.values.shape[1] - 8].mean()  # the level of the models
    assert left.values.shape[1] == pytest.approx(2.01 * 93.75, abs=2) and right.values.shape[1] % 2 == 0
    start = round(2.01 * 93.75) - left.values.shape[1]
    part = whole[start + 4 : start + left.values.shape[1]]
    loud = part > -7
    assert float((left.values[0, 4:] - shift - part)[loud].abs().median()) < 0.25


def test_a_reading_without_any_token_is_told_as_silent_and_not_kept(tiny, phonemizer, monkeypatch):
    infill, calls = TransducerGenerator.infill, []

    def nothing_at_first(*arguments, **options):
        made = infill(*arguments, **options)
        calls.append(made)
        return take(made, 0, 0) if len(calls) == 1 else made

    monkeypatch.setattr(TransducerGenerator, "infill", nothing_at_first)
    change = at_span(2.0, 2.5, "good morning", 4.5)
    samples, kept = spoken(tiny, phonemizer, change, candidates=2)
    assert len(calls) == 2 and same_outside(samples, kept, RATE) > 2 * 0.01 * RATE + 1
    calls.clear()
    samples, empty = spoken(tiny, phonemizer, change)
    assert same_outside(samples, empty, RATE) <= 0.03 * RATE
    assert "is silent" in empty.warnings[0]


def test_a_model_that_cannot_fill_gaps_is_refused(tiny, monkeypatch):
    monkeypatch.delattr(type(tiny.stages.acoustic), "infill")
    with pytest.raises(UserError, match="cannot fill a gap"):
        filler_for(tiny, tiny.options(), "en-us")
