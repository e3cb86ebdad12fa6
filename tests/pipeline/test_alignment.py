"""Durations of symbols become stretches of time: phones, pauses and words."""

import pytest
import torch

from speechgen.pipeline.alignment import Alignment, Segment
from speechgen.text.phonemes import Phonemizer


@pytest.fixture(scope="module")
def phonemizer() -> Phonemizer:
    return Phonemizer("en-us")


def spoken(text: str, symbols: list[str], durations: list[int], start: float = 0.0) -> Alignment:
    """Ten tokens a second."""
    return Alignment(
        text, "en-us", tuple(symbols), torch.tensor(durations), torch.zeros(sum(durations), dtype=torch.long), 8, 10.0, start
    )


def evenly(text: str, phonemizer: Phonemizer) -> Alignment:
    symbols = phonemizer(text)
    return spoken(text, symbols, [1] * len(symbols))


def times(segments: list[Segment]) -> list[tuple[str, float, float]]:
    return [(segment.label, round(segment.start, 6), round(segment.stop, 6)) for segment in segments]


def test_stress_belongs_to_the_phone_behind_it_and_modifiers_to_the_one_before():
    made = spoken("ah", ["^", "ˈ", "a", "ː", "t", "$"], [1, 2, 3, 1, 2, 0])
    assert times(made.phones()) == [("", 0.0, 0.1), ("ˈaː", 0.1, 0.7), ("t", 0.7, 0.9)]


def test_neighbouring_pauses_are_one_and_what_has_no_duration_is_left_out():
    made = spoken("a, b.", ["^", "ɐ", ",", " ", "b", "s", ".", "$"], [0, 1, 2, 3, 2, 0, 1, 1])
    assert times(made.phones()) == [("ɐ", 0.0, 0.1), ("", 0.1, 0.6), ("b", 0.6, 0.8), ("", 0.8, 1.0)]


def test_phones_cover_the_piece_from_its_start_without_gaps(phonemizer):
    made = spoken("x", phonemizer("Every quiet garden, too."), [2] * len(phonemizer("Every quiet garden, too.")), start=1.5)
    phones = made.phones()
    assert phones[0].start == 1.5 and phones[-1].stop == pytest.approx(1.5 + made.seconds)
    assert all(left.stop == right.start for left, right in zip(phones, phones[1:], strict=False))


def test_a_word_lasts_from_its_stress_mark_to_its_last_phone():
    made = spoken("The cat.", ["^", "ð", "ə", " ", "k", "ˈ", "æ", "t", ".", "$"], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    assert times(made.words(Phonemizer("en-us"))) == [("The", 0.1, 0.3), ("cat", 0.4, 0.8)]


@pytest.mark.parametrize(
    "text",
    [
        "One of the boats leaves, and nobody waits for it.",
        "In 1984 she paid 25 for a hat at 7:30!",
        "“Well,” he said — quietly — “it is late.”",
        "Don't ask; the well-known singer's voice isn't here.",
    ],
)
def test_every_word_is_found_in_order_even_where_several_are_spoken_as_one(phonemizer, text):
    words = evenly(text, phonemizer).words(phonemizer)
    assert [word.label for word in words] == [part.strip("“”,.!—;") for part in text.split() if part != "—"]
    assert all(left.stop <= right.start + 1e-9 for left, right in zip(words, words[1:], strict=False))


def test_a_word_begins_where_its_own_phones_begin(phonemizer):
    made = evenly("The harbour of the old town.", phonemizer)
    found = {word.label: word for word in made.words(phonemizer)}
    symbols = made.symbols
    assert symbols[round(10 * found["town"].start)] == "t"
    assert symbols[round(10 * found["harbour"].start)] == "h"
    assert symbols[round(10 * found["old"].start)] in ("ˈ", "oʊ")
