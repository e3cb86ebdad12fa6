"""The phoneme vocabulary: ids, coverage and errors."""

import pytest

from speechgen.core.errors import UserError
from speechgen.text.vocabulary import ARPABET, ENGLISH, MODIFIERS, PUNCTUATION, STRESS, Vocabulary


def test_padding_is_id_zero():
    assert ENGLISH.symbols[0] == "<pad>"
    assert ENGLISH.encode(["<pad>"]) == [0]


def test_decoding_what_was_encoded_gives_every_symbol_back():
    assert ENGLISH.decode(ENGLISH.encode(ENGLISH.symbols)) == list(ENGLISH.symbols)
    assert ENGLISH.encode(ENGLISH.symbols) == list(range(ENGLISH.size))


def test_there_are_fewer_than_200_symbols():
    assert 100 < ENGLISH.size == len(ENGLISH) < 200


def test_ids_never_change():
    """Trained checkpoints rely on them: symbols may only be appended."""
    assert Vocabulary(ENGLISH.symbols[:151]).fingerprint == "f3a339fcb80dcba7"


def test_an_unknown_symbol_is_named():
    with pytest.raises(UserError, match="'qq'"):
        ENGLISH.encode(["k", "qq"])


@pytest.mark.parametrize("index", [-1, ENGLISH.size])
def test_an_id_outside_the_vocabulary_is_named(index):
    with pytest.raises(UserError, match=str(index)):
        ENGLISH.decode([index])


def test_phone_ids_are_all_but_specials_gap_punctuation_stress_and_modifiers():
    phones = {ENGLISH.symbols[index] for index in ENGLISH.phone_ids}
    others = {"<pad>", "^", "$", " ", *PUNCTUATION, *STRESS, *MODIFIERS}
    assert phones | others == set(ENGLISH.symbols)
    assert not phones & others
    assert {"k", "aɪ", "tʃ", "iː", "ɜː"} <= phones


def test_every_arpabet_phone_has_a_symbol_and_pause_is_silence():
    assert len(ARPABET) == 41
    assert {symbol for symbol in ARPABET.values() if symbol not in ENGLISH.ids} == set()
    assert ARPABET["pau"] == "<pad>"
    assert len(set(ARPABET.values())) == len(ARPABET)


@pytest.mark.parametrize(
    ("phone", "symbols", "dropped"),
    [
        ("aɪ", ("aɪ",), ""),
        ("ˈaɪ", ("ˈ", "aɪ"), ""),
        ("yː", ("y", "ː"), ""),
        ("tʃʰ", ("tʃ", "ʰ"), ""),
        ("ã", ("a", "\u0303"), ""),
        ("t͡s", ("t", "s"), "\u0361"),
        ("ɑ5", ("ɑ",), "5"),
        ("g", ("ɡ",), ""),
        ("c\u0327", ("ç",), ""),
        ("^", (), "^"),
        ("", (), ""),
    ],
)
def test_a_phone_of_another_language_is_spelled_with_known_letters(phone, symbols, dropped):
    spelling = ENGLISH.spell(phone)
    assert (spelling.symbols, spelling.dropped) == (symbols, dropped)


def test_a_vocabulary_rejects_repeated_symbols_and_a_first_symbol_that_is_not_padding():
    with pytest.raises(ValueError, match="'k'"):
        Vocabulary(("<pad>", "k", "k"))
    with pytest.raises(ValueError, match="<pad>"):
        Vocabulary(("k",))


def test_the_fingerprint_depends_on_the_order():
    assert Vocabulary(("<pad>", "a", "b")).fingerprint != Vocabulary(("<pad>", "b", "a")).fingerprint
