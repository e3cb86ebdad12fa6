"""Splitting of long text: at which boundaries, within the limit, nothing lost, in linear time."""

import random
import re

import pytest

from speechgen.text.split import ends_abbreviated, split
from tests.timing import seconds_of


def letters(text: str) -> str:
    return re.sub(r"\s", "", text)


def test_text_that_fits_is_one_piece():
    assert split("Hello there. How are you?") == ["Hello there. How are you?"]


def test_nothing_gives_no_pieces():
    assert split("") == split(" \n\n\t") == []


def test_sentences_are_kept_whole_and_packed():
    text = "One two three. Four five six! Seven eight? Nine."
    assert split(text, 30) == ["One two three. Four five six!", "Seven eight? Nine."]


def test_a_closing_quote_stays_with_its_sentence():
    assert split('He said "Go home." Then he left.', 20) == ['He said "Go home."', "Then he left."]


def test_a_long_sentence_is_cut_at_clauses():
    text = "When it rains, the cat stays inside; otherwise — it walks."
    assert split(text, 32) == ["When it rains,", "the cat stays inside;", "otherwise — it walks."]


def test_a_long_clause_is_cut_between_words():
    assert split("one two three four five", 9) == ["one two", "three", "four five"]


def test_a_long_word_is_cut_anywhere():
    assert split("abcdefghij kl", 4) == ["abcd", "efgh", "ij", "kl"]


def test_a_paragraph_ends_a_sentence():
    assert split("A heading\n\nA first sentence", 16) == ["A heading", "A first sentence"]


def test_chinese_is_cut_after_its_full_stop():
    assert split("你好世界。今天很好。", 6) == ["你好世界。", "今天很好。"]


@pytest.mark.parametrize("text", ["Mr. Smith has come", "By J. K. Rowling", "The U.S. army came", "See Dr. Who in it"])
def test_an_abbreviation_ends_no_sentence(text):
    point = text.index(".")
    assert ends_abbreviated(text, point)
    assert split(text, len(text) - 1)[0] != text[: point + 1]


@pytest.mark.parametrize("text", ["So do I. Then", "It costs 3.5. Then", "The cart. Then", "Best. Then", "Far off. No"])
def test_an_ordinary_word_ends_a_sentence(text):
    assert not ends_abbreviated(text, text.rindex("."))


@pytest.mark.parametrize("limit", [18, 20, 40])
def test_phonemes_in_brackets_are_one_word(limit):
    text = "Say it, then [[a. b, c d\n\ne]] again. [[f]]. And go [[g! h]]"
    pieces = split(text, limit)
    assert letters("".join(pieces)) == letters(text)
    assert [piece for piece in pieces if "[[a. b, c d\n\ne]]" in piece]
    assert all(piece.count("[[") == piece.count("]]") for piece in pieces)


def test_phonemes_longer_than_the_limit_are_cut():
    assert split("[[abcdef]]", 4) == ["[[ab", "cdef", "]]"]


def test_no_character_is_lost_or_repeated_and_no_piece_is_too_long():
    alphabet = "ab c. ,;:!?—…\"') \n\n(-Mr.J。，"
    rng = random.Random(0)
    for _ in range(3000):
        text = "".join(rng.choices(alphabet, k=rng.randint(0, 80)))
        limit = rng.randint(1, 30)
        pieces = split(text, limit)
        assert letters("".join(pieces)) == letters(text), repr(text)
        assert all(piece == piece.strip() and 0 < len(piece) <= limit for piece in pieces), repr(text)


@pytest.mark.parametrize(
    "unit",
    ["Words of it, and more. ", "word ", "a", "a. ", ".", ". ", " ", "\n", "\n\n", '."', "—", "- ", "Mr. ", "你。", ","],
)
def test_100_000_characters_take_well_under_a_second(unit):
    text = (unit * 100_000)[:100_000] + "z"
    assert seconds_of(lambda: split(text, 200)) < 1
    pieces = split(text, 200)
    assert letters("".join(pieces)) == letters(text)
    assert max(map(len, pieces)) <= 200


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        split("text", 0)
