"""What a recording says: written down by the tokenizer's recogniser, or checked against a text that is longer than it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files

import torch
from torch import Tensor

from speechgen.core.errors import UserError
from speechgen.core.protocols import SemanticTokenizer
from speechgen.core.types import Waveform
from speechgen.pipeline.prompts import PreparedPrompt
from speechgen.sampling.words import WordTree
from speechgen.text.normalize import speakable
from speechgen.text.phonemes import Phonemizer
from speechgen.text.vocabulary import ENGLISH

__all__ = ["CannotHear", "Hear", "WordListener", "count_phones", "phones_in", "shorten", "told_text"]

Hear = Callable[[Waveform], str]
"""Writes down what one row of audio says."""


class CannotHear(Exception):
    """Who should hear is not able to; says why."""


HEARD_SHARE = 0.95
"""Of the phones that are spoken, the recogniser hears so many (0.95 with a deviation of 0.04 over recordings)."""
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


def phones_in(symbols: Tensor) -> int:
    """How many of some symbols are phones."""
    return sum(index in ENGLISH.phone_ids for index in symbols.tolist())


def count_phones(tokenizer: SemanticTokenizer, audio: Waveform) -> float | None:
    """Return about how many phones one row of audio has, by the tokenizer's recogniser; None if it has none."""
    scores = tokenizer.phone_scores(audio)
    if scores is None:
        return None
    heard = torch.unique_consecutive(scores.argmax(-1))
    return int((heard != 0).sum()) / HEARD_SHARE  # 0 is the blank of CTC


def told_text(
    prompt: PreparedPrompt,
    transcript: str | None,
    name: str,
    *,
    tokenizer: SemanticTokenizer | None,
    hear: Hear | None,
    phonemizer: Phonemizer,
    needed: bool = True,
) -> tuple[str, list[str]]:
    """Return what a prompt says, as a sentence that has ended, and what the user should know about it.

    Args:
        prompt: the recording.
        transcript: what all of it says; None: not known.
        name: what to call it in messages.
        tokenizer: finds how much of a text is left in a recording that was shortened.
        hear: writes down what it says; None if nobody can.
        phonemizer: of the language.
        needed: whether a text that is not told must be heard; otherwise it may be empty.

    Raises:
        UserError: it is needed, not known and cannot be heard.
    """
    notes = []
    if transcript is not None and prompt.share < 1:
        transcript = shorten(transcript, prompt, tokenizer, phonemizer)
        notes.append(f"{name} was shortened to {prompt.audio.seconds:.1f} s, and its text to {transcript!r}")
    if transcript is None and needed:
        if hear is None:
            raise UserError(f"what {name} says is not known: give it by --ref-text")
        try:
            transcript = hear(prompt.audio)
        except CannotHear as error:
            if tokenizer is None:
                raise UserError(f"what {name} says cannot be heard ({error}): give it by --ref-text") from error
            notes.append(f"{error}: the pipeline's own recogniser, which errs more, heard {name}")
            transcript = WordListener(tokenizer)(prompt.audio)
        notes.append(f"{name} came without a text and was heard as {transcript!r}: give --ref-text where that is wrong")
    return _ended(phonemizer.spoken(transcript or "")), notes


def _ended(text: str) -> str:
    """A sentence that has ended: else the model finishes it before it begins with the text to speak. Nothing stays nothing."""
    if not speakable(text):
        return ""
    return f"{text} " if text.endswith((".", "!", "?", "…", "。")) else f"{text.rstrip(' ,;:—-')}. "


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
