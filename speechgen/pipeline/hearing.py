"""What a recording says: written down by the tokenizer's recogniser, or checked against a text that is longer than it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import torch

from speechgen.core.protocols import SemanticTokenizer
from speechgen.core.types import Waveform
from speechgen.pipeline.prompts import PreparedPrompt
from speechgen.sampling.words import WordTree
from speechgen.text.phonemes import Phonemizer
from speechgen.text.vocabulary import ENGLISH

__all__ = ["WordListener", "shorten"]

NEARBY_WORDS = 8
"""How far the end of a shortened text is looked for from where it would be at an even pace."""


class WordListener:
    """Hears common English words: 8,000 of them, each by the phones that espeak-ng gives it and by how common it is.

    The recogniser was trained on phones alone and errs in every fourth; of the words, two in five are wrong.
    """

    def __init__(self, tokenizer: SemanticTokenizer) -> None:
        self._tokenizer = tokenizer

    def __call__(self, audio: Waveform) -> str:
        """Return the words of one row of audio; nothing if the tokenizer has no recogniser or hears none."""
        scores = self._tokenizer.phone_scores(audio)
        return "" if scores is None else " ".join(_common_words().decode(scores.float().cpu()))


@cache
def _common_words() -> WordTree:
    """Built once, which takes two seconds."""
    lines = (files("speechgen.text") / "english_word_counts.txt").read_text(encoding="utf-8").splitlines()
    counts = {word: int(count) for word, count in (line.split() for line in lines)}
    phonemizer = Phonemizer("en-us")
    spellings = {word: [index for index in ENGLISH.encode(phonemizer(word)) if index in ENGLISH.phone_ids] for word in counts}
    return WordTree(spellings, counts)


def shorten(transcript: str, prompt: PreparedPrompt, tokenizer: SemanticTokenizer | None, phonemizer: Phonemizer) -> str:
    """Return the beginning of a text that is all that is left of its recording.

    Args:
        transcript: of the whole recording.
        prompt: its beginning.
        tokenizer: tells which beginning of the text fits best; without a recogniser the pace is taken to be even.
        phonemizer: of the language.
    """
    words = transcript.split()
    even = min(len(words), max(1, round(prompt.share * len(words))))
    fits: dict[int, float] = {}
    if tokenizer is not None:
        for count in range(max(1, even - NEARBY_WORDS), min(len(words), even + NEARBY_WORDS) + 1):
            ids = ENGLISH.encode(phonemizer(" ".join(words[:count])))
            phones = sum(index in ENGLISH.phone_ids for index in ids)
            fit = tokenizer.fit(prompt.audio, torch.tensor(ids))
            if fit is not None:
                fits[count] = fit * phones  # the log probability of the whole sequence
    return " ".join(words[: max(fits, key=fits.__getitem__, default=even)])
