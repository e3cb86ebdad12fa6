"""Token diagnostics against closed forms and synthetic speakers."""

import numpy as np
import pytest

from speechgen.core.errors import UserError
from speechgen.evaluation.tokens import phone_purity, speaker_leakage, token_histograms


def test_tokens_that_are_labels_are_pure():
    labels = np.arange(60) % 4
    result = phone_purity(labels + 7, labels)
    assert (result.phone_purity, result.cluster_purity, result.frames) == (1.0, 1.0, 60)
    assert result.pnmi == pytest.approx(1)


def test_a_constant_token_knows_the_commonest_label_and_no_more():
    result = phone_purity(np.zeros(10, int), [0] * 6 + [1] * 3 + [2])
    assert (result.phone_purity, result.cluster_purity) == (0.6, 1.0)
    assert result.pnmi == pytest.approx(0, abs=1e-12)


def test_a_token_that_merges_two_of_four_labels_loses_half_a_bit_of_two():
    """Labels 0-3 alike; 2 and 3 share a token: H = 2 bits, I = 1.5 bits, three quarters of frames named rightly."""
    labels = np.arange(40) % 4
    result = phone_purity(np.minimum(labels, 2), labels)
    assert (result.phone_purity, result.cluster_purity) == (0.75, 1.0)
    assert result.pnmi == pytest.approx(0.75)


def test_random_tokens_know_nothing():
    rng = np.random.default_rng(0)
    result = phone_purity(rng.integers(4, size=40000), rng.integers(5, size=40000))
    assert result.phone_purity == pytest.approx(1 / 5, abs=0.02)
    assert result.cluster_purity == pytest.approx(1 / 4, abs=0.02)
    assert result.pnmi < 0.001


@pytest.mark.parametrize(
    ("tokens", "labels"), [([1, 2], [1]), ([], []), ([1, 2], [3, 3])], ids=["unequal", "empty", "one label"]
)
def test_purity_refuses_what_it_cannot_compare(tokens, labels):
    with pytest.raises(UserError):
        phone_purity(tokens, labels)


def test_histograms_are_shares():
    assert token_histograms([[0, 0, 2, 1], [2]], 4).tolist() == [[0.5, 0.25, 0.25, 0], [0, 0, 1, 0]]


def make_utterances(preferences: np.ndarray, each: int = 12) -> tuple[np.ndarray, list[int]]:
    """Histograms of `each` utterances of 200 tokens per speaker, drawn with that speaker's preferences [speakers, size]."""
    rng = np.random.default_rng(0)
    speakers = [speaker for speaker in range(len(preferences)) for _ in range(each)]
    drawn = [rng.choice(preferences.shape[1], size=200, p=preferences[speaker]) for speaker in speakers]
    return token_histograms(drawn, preferences.shape[1]), speakers


def test_tokens_of_speakers_with_habits_leak():
    result = speaker_leakage(*make_utterances(np.random.default_rng(1).dirichlet(np.ones(16), size=5)))
    assert result.accuracy > 0.95
    assert (result.chance, result.speakers, result.utterances) == (0.2, 5, 60)


def test_tokens_of_speakers_alike_do_not_leak():
    features, speakers = make_utterances(np.full((5, 16), 1 / 16), each=40)
    assert speaker_leakage(features, speakers).accuracy == pytest.approx(0.2, abs=0.09)


def test_leakage_is_the_same_for_the_same_seed():
    data = make_utterances(np.full((3, 8), 1 / 8))
    assert speaker_leakage(*data, seed=3) == speaker_leakage(*data, seed=3)


@pytest.mark.parametrize(
    ("features", "speakers"),
    [(np.zeros((3, 2)), ["a", "b"]), (np.zeros((8, 2)), ["a"] * 8), (np.zeros((5, 2)), ["a"] * 4 + ["b"])],
    ids=["lengths", "one speaker", "too few utterances"],
)
def test_leakage_refuses_what_it_cannot_split(features, speakers):
    with pytest.raises(UserError):
        speaker_leakage(features, speakers)
