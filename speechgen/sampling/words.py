"""The likeliest sequence of words by CTC scores of their phones and by how common each is (Viterbi over a tree of words)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

__all__ = ["WordTree"]

_NEVER = -1e9


class WordTree:
    """Words that share the nodes of their first phones; a word may follow any other.

    Differs from CTC in one thing: a word may begin with the phone that the one before it ends with, without a blank between.

    Args:
        spellings: the phones of each word, ids into the scores; 0 is the blank.
        counts: how often each word is met.
        weight: of the words' log probabilities beside the scores.
    """

    def __init__(self, spellings: Mapping[str, Sequence[int]], counts: Mapping[str, int], weight: float = 1.0) -> None:
        parents, phones, children = [0], [0], dict[tuple[int, int], int]()
        ends: dict[int, str] = {}
        for word, spelling in spellings.items():
            node = 0
            for phone in spelling:
                if (node, phone) not in children:
                    children[node, phone] = len(parents)
                    parents.append(node)
                    phones.append(phone)
                node = children[node, phone]
            if node and counts[word] > counts.get(ends.get(node, ""), 0):  # of words that sound alike the commoner one
                ends[node] = word
        total = sum(counts.values())
        self._parents, self._phones = torch.tensor(parents), torch.tensor(phones)
        self._first = self._parents == 0
        self._repeats = self._phones == self._phones[self._parents]
        self._ends, self._words = torch.tensor(list(ends)), list(ends.values())
        self._priors = torch.tensor([weight * math.log(counts[word] / total) for word in self._words])

    def decode(self, scores: Tensor) -> list[str]:
        """Return the likeliest words.

        Args:
            scores: [T, V] log probabilities, on the CPU.
        """
        size = len(self._parents)
        sounding = torch.full((size,), _NEVER)  # the last frame is the node's phone
        resting = torch.full((size,), _NEVER)  # the last frame is a blank behind it
        begun = torch.zeros(2, size, dtype=torch.long)  # the frame in which the word of each began
        level, path = 0.0, _Path()  # of all words that have ended
        paths: list[_Path] = []
        for frame, row in enumerate(scores):
            paths.append(path)
            passing = sounding[self._parents].masked_fill(self._repeats, _NEVER)
            rested = resting[self._parents]
            entered = torch.maximum(passing, rested).masked_fill(self._first, level)
            since = torch.where(passing >= rested, begun[0][self._parents], begun[1][self._parents])
            since = since.masked_fill(self._first, frame)
            behind = torch.where(sounding >= resting, begun[0], begun[1])
            resting = torch.maximum(sounding, resting) + row[0]
            begun = torch.stack((torch.where(entered > sounding, since, begun[0]), behind))
            sounding = torch.maximum(entered, sounding) + row[self._phones]
            sounding[0] = resting[0] = _NEVER
            ended = torch.maximum(sounding[self._ends], resting[self._ends]) + self._priors
            best = int(ended.argmax())
            level += float(row[0])
            if float(ended[best]) > level:
                node = int(self._ends[best])
                start = int(begun[0][node] if sounding[node] >= resting[node] else begun[1][node])
                level, path = float(ended[best]), _Path(self._words[best], paths[start])
        return path.words()


class _Path:
    """A word and those before it."""

    def __init__(self, word: str = "", before: _Path | None = None) -> None:
        self.word, self.before = word, before

    def words(self) -> list[str]:
        """All of them in order."""
        found, path = [], self
        while path.before is not None:
            found.append(path.word)
            path = path.before
        return found[::-1]
