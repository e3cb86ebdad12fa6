"""Word error rate against canned cases, the trigram against a computation by hand, the recogniser on silence and noise."""

import itertools
import json
import math

import pytest
import torch

from speechgen.audio.io import read_audio
from speechgen.core.errors import UserError
from speechgen.core.types import Waveform
from speechgen.evaluation.intelligibility import ClosedVocabularyRecogniser, TrigramModel, spoken_words, word_error_rate

SENTENCES = ["The cat sat.", "The cat ran away.", "A dog sat."]


def test_words_are_lower_case_letters_and_apostrophes():
    assert spoken_words("Don't re-open: it's 5 O'Clock!") == ["don't", "re", "open", "it's", "o'clock"]


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (["the cat sat", "a dog ran"], 0.0),
        (["the cat", "a dog ran"], 1 / 6),
        (["the bat sat", "a dog ran off"], 2 / 6),
        (["", ""], 1.0),
    ],
    ids=["perfect", "deletion", "substitution and insertion", "nothing heard"],
)
def test_word_error_rate_counts_edits_over_all_words(heard, expected):
    pytest.importorskip("jiwer")
    assert word_error_rate(["The cat sat.", "A dog ran!"], heard) == pytest.approx(expected)


def test_word_error_rate_weighs_words_not_sentences():
    pytest.importorskip("jiwer")
    assert word_error_rate(["yes", "one two three four five six seven"], ["no", "one two three four five six seven"]) == 1 / 8


@pytest.mark.parametrize(("said", "heard"), [(["a"], []), ([], []), (["42"], ["a"])], ids=["unequal", "none", "no words"])
def test_word_error_rate_refuses_what_has_no_rate(said, heard):
    with pytest.raises(UserError):
        word_error_rate(said, heard)


def test_trigram_probabilities_equal_a_computation_by_hand():
    """10 words and 3 ends in 3 sentences; vocabulary of 8 with the end: </s> a away cat dog ran sat the."""
    model = TrigramModel(SENTENCES)
    total = 13 + 8
    assert model.vocabulary == ["</s>", "a", "away", "cat", "dog", "ran", "sat", "the"]
    assert model.probability("cat") == pytest.approx((2 + 1) / total)
    assert model.probability("sat", ("cat",)) == pytest.approx((1 - 0.5) / 2)
    assert model.probability("sat", ("the", "cat")) == pytest.approx((1 - 0.5) / 2)
    # After "cat", half the mass is left for all but "sat" (3/21) and "ran" (2/21).
    assert model.probability("dog", ("cat",)) == pytest.approx(0.5 * (2 / total) / (1 - 5 / total))
    # After "the cat", again; what "cat" has seen, "sat" and "ran", takes half the shorter history's mass.
    assert model.probability("dog", ("the", "cat")) == pytest.approx(0.5 / 0.5 * model.probability("dog", ("cat",)))
    # An unseen history falls through to the shorter one.
    assert model.probability("sat", ("away", "cat")) == pytest.approx(0.25)


def test_trigram_probabilities_sum_to_one_after_every_history():
    model = TrigramModel(SENTENCES)
    symbols = ["<s>", *model.vocabulary]
    histories = [(), *itertools.product(symbols), *itertools.product(symbols, symbols)]
    for history in histories:
        assert sum(model.probability(word, history) for word in model.vocabulary) == pytest.approx(1), history


def test_arpa_text_states_its_counts_and_the_models_logarithms():
    model = TrigramModel(SENTENCES)
    header, unigrams, bigrams, trigrams, end = model.to_arpa().split("\n\n")
    sections = [section.splitlines()[1:] for section in (unigrams, bigrams, trigrams)]
    assert header.splitlines() == ["\\data\\", *(f"ngram {order}={len(lines)}" for order, lines in enumerate(sections, 1))]
    assert [len(lines) for lines in sections] == [9, 10, 9] and end == "\\end\\\n"
    for order, lines in enumerate(sections, 1):
        for line in lines:
            logarithm, *history, word = line.split()[: order + 1]
            if word != "<s>":
                assert float(logarithm) == pytest.approx(math.log10(model.probability(word, tuple(history))), abs=1e-4)
    # P(sat | cat) = 1/4; after "cat sat" one follower gave up 1/2, shared among what is not </s>, 1 - 3/4 of the bigram's mass.
    assert f"{math.log10(1 / 4):.4f} cat sat {math.log10(2):.4f}" in bigrams.splitlines()


def test_recogniser_names_the_words_it_does_not_know():
    pytest.importorskip("pocketsphinx")
    with pytest.raises(UserError, match="blorptangle, zzyxq"):
        ClosedVocabularyRecogniser(["The zzyxq sat.", "A blorptangle ran."])


def test_recogniser_refuses_a_sentence_without_words():
    pytest.importorskip("pocketsphinx")
    with pytest.raises(UserError, match="at least one word"):
        ClosedVocabularyRecogniser(["The cat sat.", "12!"])


@pytest.mark.parametrize("text", ["The cat has 3 hats.", "The café sat."])
def test_recogniser_refuses_what_it_would_silently_leave_out_of_the_reference(text):
    """A "three" that was read well would count as an error."""
    pytest.importorskip("pocketsphinx")
    with pytest.raises(UserError, match="spell them out"):
        ClosedVocabularyRecogniser(["The cat sat.", text])


def test_recogniser_understands_a_recording_and_only_knows_its_vocabulary(repository):
    """A natural recording is transcribed without an error; noise gives words of the vocabulary, or none."""
    pytest.importorskip("pocketsphinx")
    said = json.loads((repository / "app/examples/voices.json").read_text(encoding="utf-8"))["marcus"]["text"]
    recogniser = ClosedVocabularyRecogniser([said, *SENTENCES])
    assert recogniser.transcribe(read_audio(repository / "app/examples/marcus.flac")).split() == spoken_words(said)
    noise = 0.3 * torch.randn(24000, generator=torch.Generator().manual_seed(0))
    heard = recogniser.transcribe(Waveform.single(noise, 24000)).split()
    assert set(heard) <= {word for sentence in [said, *SENTENCES] for word in spoken_words(sentence)}
    recogniser.transcribe(Waveform.single(torch.zeros(0), 24000))  # an empty clip is no error
