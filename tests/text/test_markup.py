"""Pauses written into text, and what is refused."""

import contextlib
import random

import pytest

from speechgen.core.errors import UserError
from speechgen.text.markup import Passage, parse
from tests.timing import seconds_of


@pytest.mark.parametrize(
    ("text", "passages"),
    [
        ("Hello.", [Passage("Hello.", 0.0)]),
        ("One. [pause:0.8] Two.", [Passage("One.", 0.8), Passage("Two.", 0.0)]),
        ("One[pause:800ms]two", [Passage("One", 0.8), Passage("two", 0.0)]),
        ("One [Pause: 2s ] two", [Passage("One", 2.0), Passage("two", 0.0)]),
        ('One <break time="800ms"/> two', [Passage("One", 0.8), Passage("two", 0.0)]),
        ('One <break time="0.8s"/> two', [Passage("One", 0.8), Passage("two", 0.0)]),
        ("One <break time = '.5s' /> two", [Passage("One", 0.5), Passage("two", 0.0)]),
        ("[pause:1] Late", [Passage("", 1.0), Passage("Late", 0.0)]),
        ("Early [pause:1]", [Passage("Early", 1.0)]),
        ("A [pause:1][pause:2] b", [Passage("A", 1.0), Passage("", 2.0), Passage("b", 0.0)]),
        ("A [pause:99] b", [Passage("A", 10.0), Passage("b", 0.0)]),
        ("A [pause:-1] b", [Passage("A", 0.0), Passage("b", 0.0)]),
        ("A [pause:" + "9" * 400 + "] b", [Passage("A", 10.0), Passage("b", 0.0)]),
        ("say [[tə.mˈeɪ.toʊ]] [pause:1] now", [Passage("say [[tə.mˈeɪ.toʊ]]", 1.0), Passage("now", 0.0)]),
        ("", []),
        (" \n", []),
    ],
)
def test_text_is_cut_at_its_pauses(text, passages):
    assert parse(text) == passages


PROSE = """
if a < b and c > d; x<y and z>w; i <3 you; it was [sic] so; see [1] and [2, 3]; [Note: this is so]; at [12:30]; [https://a.org/b];
<https://a.org>; <me@a.org>; a[b[0]]; a -> b <- c; <<; []; <>; a pause: 3; [paused]
"""


@pytest.mark.parametrize("text", [text.strip() for text in PROSE.split(";")])
def test_prose_keeps_its_brackets(text):
    assert parse(text) == [Passage(text, 0.0)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('<prosody rate="slow">so</prosody>', "<prosody rate"),
        ("<speak>so</speak>", "<speak>"),
        ("so</speak>", "</speak>"),
        ("[laugh:loud] ha", r"\[laugh:loud\]"),
        ("[/laugh:1]", r"\[/laugh:1\]"),
        ("<b>so</b>", "<b>"),
        ("so<br/>", "<br/>"),
        ("<break/>", "<break/>"),
        ('<break strength="weak"/>', "<break strength"),
        ('<break time="soon"/>', "<break time"),
        ('<break time="1s"', "<break time"),
        ("<emphasis", "<emphasis"),
        ('<?xml version="1.0"?>', "<.xml"),
        ("<!-- no -->", "<!--"),
        ("[pause]", r"\[pause\]"),
        ("[pause:]", r"\[pause:\]"),
        ("[pause:long]", r"\[pause:long\]"),
        ("[pause=3]", r"\[pause=3\]"),
        ("[pause 3]", r"\[pause 3\]"),
        ("[pause:nan]", r"\[pause:nan\]"),
        ('<voice name="' + "x" * 500 + '">', "<voice name"),
    ],
)
def test_other_markup_is_refused_by_name(text, name):
    with pytest.raises(UserError, match=f"unknown markup ['\"]{name}.*allowed are .*pause:0.8.*break time") as caught:
        parse(text)
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["say [[həlˈoʊ", "[[a [pause:1] b]]", "[[a]] [[b", "[[1, 2], [3, 4]]"])
def test_phonemes_that_do_not_end_are_refused(text):
    with pytest.raises(UserError, match=r"\[\[ without \]\]"):
        parse(text)


@pytest.mark.parametrize(
    "unit", ["[", "]", "<", "[pause:", "[pause:1]", "<a ", "<a b=", "<break ", "[[a]]", "[a:", '<a b="', "x"]
)
def test_100_000_characters_take_well_under_a_second(unit):
    text = (unit * 100_000)[:100_000]

    def read():
        with contextlib.suppress(UserError):
            parse(text)

    assert seconds_of(read) < 1


def test_odd_text_gives_passages_or_a_clear_line():
    pieces = [*"[]<>/:1a \n\"'é\x00", "pause", "ms", "break", " time=", "[[", "]]"]
    rng = random.Random(0)
    for _ in range(5000):
        text = "".join(rng.choices(pieces, k=rng.randint(1, 12)))
        try:
            assert all(0 <= passage.pause <= 10 for passage in parse(text))
        except UserError as error:
            assert "\n" not in str(error)
