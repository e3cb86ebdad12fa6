"""Phonemes by espeak-ng: against known words, in threads, and for text it cannot read."""

import copy
import json
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from speechgen.core.errors import UserError
from speechgen.text.phonemes import Phonemizer, language_warning
from speechgen.text.vocabulary import ENGLISH, Vocabulary


@pytest.fixture(scope="module")
def english() -> Phonemizer:
    return Phonemizer()


def body(symbols: list[str]) -> str:
    """Symbols between ^ and $, written without separators."""
    assert symbols[0] == "^"
    assert symbols[-1] == "$"
    return "".join(symbols[1:-1])


def test_the_cat_is_as_documented(english):
    assert english("the cat.") == ["^", "ð", "ə", " ", "k", "ˈ", "æ", "t", ".", "$"]


def test_a_phone_of_several_characters_is_one_symbol_and_stress_stands_before_its_vowel(english):
    assert english("cheese pie")[1:-1] == ["tʃ", "ˈ", "iː", "z", " ", "p", "ˈ", "aɪ"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, world!", "həlˈoʊ, wˈɜːld!"),
        ("hello,world", "həlˈoʊ, wˈɜːld"),
        ('He said "go" (now) -- yes... ok', 'hiː sˈɛd "ɡˈoʊ" (nˈaʊ) — jˈɛs… ˌoʊkˈeɪ'),
        ("Mr. Smith", "mˈɪstɚ smˈɪθ"),
        ("3.14", "θɹˈiː pˈɔɪnt wˈʌn fˈɔːɹ"),
        ("don’t", "dˈoʊnt"),
        ("'tis the dogs'", "tˈɪz ðə dˈɑːɡz"),
        ("THE CAT", "ðə kˈæt"),
        ("hi 😀 there", "hˈaɪ ðˈɛɹ"),
        ("a\x00cat", "ɐ kˈæt"),
        ("^ cat $ (en)", None),
    ],
)
def test_text_is_read_with_its_punctuation(english, text, expected):
    symbols = english(text)
    assert ENGLISH.decode(ENGLISH.encode(symbols)) == symbols
    assert symbols.count("^") == symbols.count("$") == 1
    assert "  " not in body(symbols)
    if expected:
        assert body(symbols) == expected


def test_numbers_and_symbols_are_read_in_words(english):
    assert english("Pay $5 @ 3pm on 2nd St.") == english("Pay five dollars at three PM on second St.")
    assert english.spoken("Items: 2.\n \n\nThen 1/2") == "Items: two.\n\nThen one half"
    assert english("One.\n\nTwo") == english("One. Two")
    british = Phonemizer("en-gb")
    assert british.spoken("105 on 5/3/2024") == "one hundred and five on the fifth of March, twenty twenty-four"
    assert Phonemizer("de").spoken("105 & 5") == "105 & 5"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[həlˈoʊ]]", "həlˈoʊ"),
        ("say [[tə.mˈeɪ.ɾoʊ]], now", "sˈeɪ təmˈeɪɾoʊ, nˈaʊ"),
        ("[[fəʊniːmz]]!", "fəʊniːmz!"),
        ("the [[t͡ʃˈiːz  kˈeɪk]]s", "ðə tʃˈiːz kˈeɪkˈɛs"),
        ("[[ɪt]] costs $5", "ɪt kˈɔsts fˈaɪv dˈɑːlɚz"),
        ("[[θ]] is not α", "θ ɪz nˌɑːt ˈælfə"),
    ],
)
def test_phonemes_in_brackets_are_taken_as_they_are(english, text, expected):
    symbols = english(text)
    assert body(symbols) == expected
    ENGLISH.encode(symbols)


@pytest.mark.parametrize(
    ("text", "fault"),
    [("[[Paris]]", "'P'"), ("a [[h'a]] b", '"\'"'), ("[[5]]", "'5'"), ("[[a, b]]", "','")],
)
def test_what_is_no_phoneme_is_named(english, text, fault):
    with pytest.raises(UserError, match=f"cannot speak {fault} in .*allowed are"):
        english(text)


@pytest.mark.parametrize("text", ["so [[]]", "[[ˈ]]", "a [[  ]]"])
def test_brackets_without_phonemes_are_refused(english, text):
    with pytest.raises(UserError, match="no phoneme in"):
        english(text)


def test_a_language_other_than_english_is_warned_of():
    assert language_warning("en-us") is language_warning("en-gb") is language_warning("en") is None
    assert "'de'" in language_warning("de")
    assert "trained on English" in language_warning("enm")


def test_odd_text_raises_nothing_but_user_errors(english):
    pieces = [
        "[[",
        "]]",
        "[[a]]",
        "[[q",
        "1",
        "$",
        ".",
        " ",
        "-",
        "a",
        "½",
        "%",
        "\n\n",
        "\x00",
        "é",
        "你",
        "٣",
        "\ud800",
        "@",
        "😀",
    ]
    rng = random.Random(0)
    for _ in range(300):
        text = "".join(rng.choices(pieces, k=rng.randint(1, 8)))
        try:
            symbols = english(text)
        except UserError:
            continue
        ENGLISH.encode(symbols)


@pytest.mark.parametrize("text", ["", "  \n", "...!?", "😀👍", "\x00\x01"])
def test_text_with_nothing_to_speak_is_refused(english, text):
    with pytest.raises(UserError, match="nothing to speak"):
        english(text)


@pytest.mark.parametrize("text", ["Привет, мир", "你好，世界", "नमस्ते"])
def test_english_refuses_other_scripts_instead_of_spelling_them(english, text):
    with pytest.raises(UserError, match="not Latin"):
        english(text)


def test_english_reads_a_foreign_letter_among_latin_ones(english):
    assert body(english("alpha is α")) == "ˈælfə ɪz ˈælfə"


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("de", "Köln.", "kˈœln."),
        ("fr-fr", "un bon football", "œ̃ bˈɔ̃ fˈʊtbɔːl"),  # the (en) and (fr) flags around football are removed
        ("ru", "мир", "mʲˈir"),
    ],
)
def test_other_languages_are_written_with_the_same_symbols(language, text, expected):
    symbols = Phonemizer(language)(text)
    assert body(symbols) == expected
    ENGLISH.encode(symbols)


def test_characters_without_a_symbol_are_dropped_and_counted():
    mandarin = Phonemizer("cmn")
    symbols = mandarin("你好，世界。")
    ENGLISH.encode(symbols)
    assert [symbol for symbol in symbols if symbol in ",."] == [",", "."]
    assert mandarin.dropped["5"] > 0


def test_english_drops_nothing(english):
    english.batch(["Mountains were judged by uncommon button makers; pure fire, poor tour, near air.", "loch Bach vision"])
    assert not english.dropped


def test_a_batch_equals_single_texts_and_names_the_text_at_fault(english):
    texts = ["one", "two."]
    assert english.batch(texts) == [english(text) for text in texts]
    with pytest.raises(UserError, match="text 2 of 2: nothing to speak"):
        english.batch(["one", "?"])


def test_threads_do_not_disturb_one_another(english):
    texts = [f"number {number} of the many cats, and dogs" for number in range(60)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(english, texts)) == english.batch(texts)


def test_a_copy_for_another_process_reads_alike(english):
    """Copying and pickling go by the same method."""
    again = copy.deepcopy(english)
    assert again is not english
    assert again("the cat") == english("the cat")
    assert again.producer() == english.producer()


@pytest.mark.parametrize("unit", ["word ", "a", "Mr. ", "a, ", "5"])
def test_100_000_characters_are_read(english, unit):
    start = time.perf_counter()
    assert len(english((unit * 100_000)[:100_000])) > 1000
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize(("given", "near"), [("en", "en-us"), ("sv-SE", "sv"), ("en_us", "en-us"), ("", None)])
def test_an_unknown_language_names_near_matches_and_all_others(given, near):
    with pytest.raises(UserError, match=f"unknown language '{given}'") as caught:
        Phonemizer(given)
    message = str(caught.value)
    assert near is None or near in message.split("espeak-ng knows")[0]
    assert "fr-fr" in message.split("espeak-ng knows")[1]
    assert "\n" not in message


def test_the_producer_identifies_language_vocabulary_and_version(english):
    producer = english.producer()
    json.dumps(producer)
    assert producer["language"] == "en-us"
    assert producer["espeak"].count(".") == 2
    assert producer["vocabulary"] == ENGLISH.fingerprint
    assert Phonemizer("en-gb").producer() != producer
    assert Phonemizer("en-us", Vocabulary(ENGLISH.symbols + ("new",))).producer() != producer


def test_importing_the_room_loads_no_espeak_and_leaves_the_environment_alone():
    script = """
import os, sys
before = dict(os.environ)
import speechgen.text.phonemes, speechgen.text.split, speechgen.text.normalize, speechgen.text.vocabulary
heavy = [name for name in ("phonemizer", "espeakng_loader", "torch", "numpy", "ctypes") if name in sys.modules]
assert not heavy, heavy
from speechgen.text.phonemes import Phonemizer
Phonemizer()("silent")
assert dict(os.environ) == before
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
