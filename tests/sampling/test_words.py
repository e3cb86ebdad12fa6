"""Words from phone scores: against all sequences of words, and ties by how common words are."""

import itertools
import math

import torch
import torch.nn.functional as F

from speechgen.sampling.words import WordTree

SPELLINGS = {"ab": (1, 2), "a": (1,), "ba": (2, 1), "cc": (3, 3), "abc": (1, 2, 3)}
COUNTS = {"ab": 5, "a": 9, "ba": 2, "cc": 4, "abc": 3}


def best_path(phones: tuple[int, ...], scores: torch.Tensor) -> float:
    """Score of the best CTC path of these phones, by all alignments."""
    states = [0, *itertools.chain.from_iterable((phone, 0) for phone in phones)]
    level = [-math.inf] * len(states)
    level[0] = float(scores[0, 0])
    if len(states) > 1:
        level[1] = float(scores[0, states[1]])
    for row in scores[1:]:
        level = [
            max(
                level[i],
                level[i - 1] if i else -math.inf,
                level[i - 2] if i > 1 and states[i] and states[i] != states[i - 2] else -math.inf,
            )
            + float(row[states[i]])
            for i in range(len(states))
        ]
    return max(level[-2:])


def test_the_words_are_those_of_the_best_sequence_of_all():
    """Reference: every sequence of up to three words, each by its best path."""
    tree, total = WordTree(SPELLINGS, COUNTS), sum(COUNTS.values())
    sequences = [words for size in range(4) for words in itertools.product(SPELLINGS, repeat=size)]
    checked = 0
    for seed in range(12):
        scores = (2 * torch.randn(6, 4, generator=torch.Generator().manual_seed(seed))).log_softmax(-1)
        found = tuple(tree.decode(scores))
        ranked = {}
        for words in sequences:
            phones = tuple(itertools.chain.from_iterable(SPELLINGS[word] for word in words))
            ranked[words] = best_path(phones, scores) + sum(math.log(COUNTS[word] / total) for word in words)
        joined = list(itertools.chain.from_iterable(SPELLINGS[word] for word in found))
        ends = list(itertools.accumulate(len(SPELLINGS[word]) for word in found))[:-1]
        if any(joined[end - 1] == joined[end] for end in ends):  # where it differs from CTC, as its docstring says
            continue
        checked += 1
        assert ranked[found] >= max(ranked.values()) - 1e-4
    assert checked >= 8


def test_of_words_that_sound_alike_the_commoner_is_heard():
    tree = WordTree({"sea": (1,), "see": (1,)}, {"sea": 2, "see": 7})
    scores = F.one_hot(torch.tensor([0, 1, 1, 0]), 2).float().mul(9).log_softmax(-1)
    assert tree.decode(scores) == ["see"]


def test_silence_says_nothing():
    scores = F.one_hot(torch.zeros(9, dtype=torch.long), 4).float().mul(9).log_softmax(-1)
    assert WordTree(SPELLINGS, COUNTS).decode(scores) == []
