"""Text normalisation: what is spelled out, what is kept, and what is refused."""

import random

import pytest

from speechgen.text.normalize import normalize, speakable
from tests.timing import seconds_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  two\n\n words\t", "two words"),
        ("“It’s” «so»", '"It\'s" "so"'),
        ("well -- no – or—yes - ok", "well — no — or — yes — ok"),
        ("ice-cream‑cone", "ice-cream-cone"),
        ("so... . and…", "so… and…"),
        ("What?!?! No!!!", "What?!?! No!"),
        ("one , two .", "one, two."),
        ("one,two;three", "one, two; three"),
        ("1,000 at 12:30 is .5", "1,000 at 12:30 is .5"),
        ("ｆｕｌｌ ｗｉｄｔｈ，ﬁne", "full width, fine"),
        ("cafe\u0301", "café"),
        ("2½ by 10² °C", "2½ by 10² °C"),
        ("a\x00b\x07c", "a b c"),
        ("co\u00adoperate\ufeff", "cooperate"),
        ("zero\u200bwidth", "zero width"),
        ("hi 😀👨‍👩‍👧 there 🇩🇪❤️!", "hi there!"),
        ("Kleenex™ ©", "Kleenex"),
        ("你好。世界！", "你好.世界!"),
        ("so [[həlˈoʊ  [ˈ…]]]", "so ((həlˈoʊ (ˈ…)))"),
        ("“it” [[a  ´b – c]] – [[d]]\ue000!", '"it" [[a  ´b – c]] — [[d]]!'),
        ("", ""),
        ("\u200d", ""),
    ],
)
def test_text_becomes_canonical(text, expected):
    assert normalize(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("THE CAT IS TWENTY.", "the cat is twenty."),
        ("NASA", "NASA"),
        ("NASA 2024", "NASA 2024"),
        ("The USA", "The USA"),
        ("STRASSE ÜBER KÖLN", "strasse über köln"),
    ],
)
def test_a_sentence_in_capitals_is_lowered_but_not_an_acronym(text, expected):
    assert normalize(text) == expected


def test_normalizing_twice_changes_nothing():
    alphabet = "aZ é.,…!?-—'\"“()[]  \n\t\u200b\u200d😀5½²°:;ﬁ¿।™´‐"
    rng = random.Random(0)
    for _ in range(3000):
        text = "".join(rng.choices(alphabet, k=rng.randint(0, 12)))
        once = normalize(text)
        assert normalize(once) == once, repr(text)


@pytest.mark.parametrize("filler", [" ", ".", "-", "—", ",", "\u200d", ". ", "- ", "😀", "\n"])
def test_long_runs_take_linear_time(filler):
    text = "a" + filler * 100_000 + "b"
    assert seconds_of(lambda: normalize(text)) < 1


@pytest.mark.parametrize("text", ["a", "7", "...x", "你", "ж", "½"])
def test_letters_and_digits_of_any_script_are_speakable(text):
    assert speakable(text)


@pytest.mark.parametrize("text", ["", " \n", "...!?", "😀", "\x00", "“—”"])
def test_punctuation_emoji_and_space_are_not_speakable(text):
    assert not speakable(text)
