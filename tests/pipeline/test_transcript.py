"""Words found in a recording, with a recogniser that hears each phone at a known time."""

import pytest
import torch

from speechgen.core.errors import UserError
from speechgen.core.types import Waveform
from speechgen.pipeline import transcript
from speechgen.pipeline.transcript import align, words_of
from speechgen.text.phonemes import Phonemizer
from speechgen.text.vocabulary import ENGLISH

RATE, TOKEN_RATE = 24000, 46.875
PHONE_SECONDS = 0.1


@pytest.fixture(scope="module")
def phonemizer():
    return Phonemizer("en-us")


class Recogniser:
    """Is certain of each phone of a text in the middle of its stretch of sound; knows where by the audio's own clock."""

    rate, size = TOKEN_RATE, 8

    def __init__(self, phones, places):
        self.phones, self.places, self.heard = phones, places, []

    def phone_scores(self, audio):
        self.heard.append(audio.seconds)
        offset = round(float(audio.samples[0, 0]) * 1e4)  # the first sample tells where a part begins, in frames
        scores = torch.full((round(audio.seconds * TOKEN_RATE), ENGLISH.size), -12.0)
        scores[:, 0] = -0.01
        for phone, place in zip(self.phones, self.places, strict=True):
            frame = round(place * TOKEN_RATE) - offset
            if 0 <= frame < len(scores):
                scores[frame, 0], scores[frame, phone] = -12.0, -0.01
        return scores


def spoken(phonemizer, text, pauses=()):
    """A sound of 0.1 s for each phone, with a pause of 0.3 s before the phones numbered `pauses`, and what hears it."""
    phones = [index for index in ENGLISH.encode(phonemizer(text)) if index in ENGLISH.phone_ids]
    pieces, places, clock = [torch.zeros(int(0.3 * RATE))], [], 0.3
    for number in range(len(phones)):
        if number in pauses:
            pieces.append(torch.zeros(int(0.3 * RATE)))
            clock += 0.3
        pieces.append(0.1 * torch.sin(torch.arange(int(PHONE_SECONDS * RATE)) * 0.1))
        places.append(clock + PHONE_SECONDS / 2)
        clock += PHONE_SECONDS
    samples = torch.cat((*pieces, torch.zeros(int(0.3 * RATE))))
    samples += 1e-5 * torch.randn(len(samples), generator=torch.Generator().manual_seed(0))
    samples[0] = 0
    return Waveform.single(samples, RATE), Recogniser(phones, places)


def test_words_are_as_they_are_spoken_and_keep_their_marks(phonemizer):
    words = words_of("Mr. Lee paid $5 — twice, [[həlˈoʊ]] me!", phonemizer)
    assert [word for word, _ in words] == ["Mister", "Lee", "paid", "five", "dollars —", "twice,", "[[həlˈoʊ]]", "me!"]
    assert all(count > 0 for _, count in words)


def test_words_begin_and_end_where_their_sound_does(phonemizer):
    audio, recogniser = spoken(phonemizer, "see two cats", pauses=[4])  # siː tuː kæts
    first, second, third = align("See two, cats!", audio, recogniser, phonemizer).words
    assert [word.text for word in (first, second, third)] == ["See", "two,", "cats!"]
    assert (first.start, first.stop) == pytest.approx((0.3, 0.5), abs=0.04)
    assert second.start == first.stop
    # The pause from 0.7 to 1.0 belongs to neither, but for a margin.
    assert second.stop == pytest.approx(0.7 + transcript.MARGIN_SECONDS, abs=0.021)
    assert third.start == pytest.approx(1.0 - transcript.MARGIN_SECONDS, abs=0.021)
    assert third.stop == pytest.approx(1.4, abs=0.05)


def test_another_text_is_refused_and_one_that_is_too_long_too(phonemizer):
    audio, recogniser = spoken(phonemizer, "see two cats")
    with pytest.raises(UserError, match="does not say 'many dogs bark'"):
        align("many dogs bark", audio, recogniser, phonemizer)
    with pytest.raises(UserError, match=r"lasts 1.\d s, too short for its transcript of 60 words"):
        align("see two cats " * 20, audio, recogniser, phonemizer)


def test_without_a_recogniser_the_span_is_asked_for(phonemizer):
    audio, recogniser = spoken(phonemizer, "see two cats")
    recogniser.phone_scores = lambda audio: None
    with pytest.raises(UserError, match="give the span in seconds"):
        align("see two cats", audio, recogniser, phonemizer)


def test_a_long_recording_is_heard_in_parts_and_gives_the_same_times(phonemizer, monkeypatch):
    audio, recogniser = spoken(phonemizer, "see two cats " * 6)
    text = "see two cats " * 6
    whole = align(text, audio, recogniser, phonemizer)
    samples = audio.samples.clone()
    monkeypatch.setattr(transcript, "PART_FRAMES", 64)
    monkeypatch.setattr(transcript, "AROUND_FRAMES", 16)
    for start in range(0, round(audio.seconds * TOKEN_RATE) + 64, 64):
        low = max(0, start - 16)
        place = round(low / TOKEN_RATE * RATE)
        if place < samples.shape[1]:
            samples[0, place] = low / 1e4
    recogniser.heard.clear()
    parts = align(text, Waveform.single(samples[0], RATE), recogniser, phonemizer)
    assert len(recogniser.heard) > 3 and max(recogniser.heard) < 2.1
    for one, other in zip(whole.words, parts.words, strict=True):
        assert (one.start, one.stop) == pytest.approx((other.start, other.stop), abs=0.03)
