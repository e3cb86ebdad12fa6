"""Text as symbols of a vocabulary of characters, with phonemes among them."""

import json

import pytest

from speechgen.core.errors import UserError
from speechgen.text.characters import IPA, CharacterReader, respell, segmented, spoken_bytes
from speechgen.text.phonemes import Phonemizer
from tests.conftest import REPOSITORY

LETTERS = (" ", *"abcdefghijklmnopqrstuvwxyzT.,-'\"")


def test_every_symbol_has_the_id_of_its_place():
    assert CharacterReader(LETTERS)("The end.").ids == tuple(LETTERS.index(letter) for letter in "The end.")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("ABBA", "abba"),
        ("née Über", "nee uber"),
        ("so; it is", "so, it is"),
        ("a—b", "a-b"),
        ("wait…", "wait..."),
        ("“x”", '"x"'),
    ],
)
def test_what_is_missing_is_written_in_another_way(text, written):
    reader = CharacterReader(LETTERS)
    assert reader(text) == reader(written) and not reader(text).missing


def test_what_cannot_be_written_is_left_out_and_told_once():
    made = CharacterReader(LETTERS)("a 中 b 中 ☃\n")
    assert made.ids == CharacterReader(LETTERS)("a  b  ").ids and made.missing == "中☃"


SEGMENTED = json.loads((REPOSITORY / "tests" / "golden" / "f5_text.json").read_text(encoding="utf-8"))["texts"]
"""By the front end that the published E2 and F5 learned with (golden/make_f5_text.py)."""


@pytest.mark.parametrize("text", SEGMENTED)
def test_published_models_read_the_segments_of_their_front_end(text):
    assert segmented(text) == SEGMENTED[text]
    vocabulary = tuple(sorted({*SEGMENTED[text], *text}))
    assert "".join(vocabulary[index] for index in CharacterReader(vocabulary, segments=True)(text).ids) == SEGMENTED[text]
    assert "".join(vocabulary[index] for index in CharacterReader(vocabulary)(text).ids) == text


def test_phonemes_are_letters_between_brackets():
    vocabulary = (*LETTERS, "[", "]", *IPA)
    reader = CharacterReader(vocabulary)
    assert reader.reads_phonemes and not CharacterReader(LETTERS).reads_phonemes
    assert "".join(vocabulary[index] for index in reader("say [[ˈjɛs]] now").ids) == "say [ˈjɛs] now"
    with pytest.raises(UserError, match="cannot speak '§'"):
        reader("[[§]]")
    with pytest.raises(UserError, match="has no phonemes"):
        CharacterReader(LETTERS)("[[ˈjɛs]]")


def test_a_word_of_phonemes_counts_as_its_letters_for_the_duration():
    assert spoken_bytes(tuple("say yes")) == 7 and spoken_bytes(tuple("say [ˈjɛs]")) == 7 and spoken_bytes(("你",)) == 3


def test_words_are_respelt_where_their_draw_is_low():
    text = "Don't stop, the tomato's well!"
    heard = Phonemizer("en-us")(text)
    assert respell(text, heard, [1.0] * 9, 0.15) == text
    assert respell(text, heard, [1, 0.1, 1, 1, 0.1], 0.15) == "Don't [stˈɑːp], the tomato's [wˈɛl]!"
    every = respell(text, heard, [0.0] * 9, 1.0)
    assert every.count("[") == 5 and every.endswith("]!") and "], [" in every


def test_a_text_whose_words_are_not_those_that_are_heard_is_left_alone():
    heard = Phonemizer("en-us")("In 1984 it rained.")
    assert respell("In 1984 it rained.", heard, [0.0] * 9, 1.0) == "In 1984 it rained."
