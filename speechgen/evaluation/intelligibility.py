"""Closed-vocabulary word error rate: what is measured is the sound, not the surprise of a language model.

A pocketsphinx acoustic model listens with a trigram model over exactly the sentences that may have been read, so any
clearly spoken sentence among them is within reach, and a word error means that the sound was wrong.

The trigram uses absolute discounting with back-off (Ney, Essen and Kneser, 1994): every count gives up `DISCOUNT`, and what
a history has given up is shared among the words never seen after it, in proportion to the shorter history's model.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from speechgen.core.errors import UserError
from speechgen.core.types import Waveform
from speechgen.evaluation.optional import require
from speechgen.evaluation.signals import SPEECH_RATE, signal

__all__ = [
    "ClosedVocabularyRecogniser",
    "TrigramModel",
    "dictionary_words",
    "error_rate_by_speaker",
    "recognisable",
    "spoken_words",
    "word_error_rate",
]

DISCOUNT = 0.5
"""Taken from every bigram and trigram count."""

_START, _END = "<s>", "</s>"
_PRONUNCIATION = re.compile(r"\(\d+\)")
"""In "the(2)", the second pronunciation of "the"."""
_UNSPELT = re.compile(r"[^\W_a-zA-Z]")
"""A digit, or a letter that the dictionary does not use."""
_SMALLEST = 1e-9
"""Least probability that is written, and least mass that a weight is divided by."""


def spoken_words(text: str) -> list[str]:
    """Return the words of `text` as the dictionary spells them: lower case, letters and apostrophes; hyphens separate."""
    return re.findall(r"[a-z']+", text.lower())


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Return edits over reference words of the whole set (not the mean of each sentence's rate); 0 is perfect.

    Args:
        references: what should have been said; case and punctuation do not count.
        hypotheses: what was understood, in the same order; empty = nothing.

    Raises:
        UserError: the two differ in number, or a reference holds no words.
    """
    if len(references) != len(hypotheses):
        raise UserError(f"{len(references)} references but {len(hypotheses)} hypotheses: give one for each")
    expected = [" ".join(spoken_words(text)) for text in references]
    if not expected or not all(expected):
        raise UserError("every reference needs at least one word in a-z: remove the empty ones")
    return float(require("jiwer").wer(expected, [" ".join(spoken_words(text)) for text in hypotheses]))


def dictionary_words() -> frozenset[str]:
    """Return the words that the recogniser can hear.

    Raises:
        UserError: pocketsphinx is missing.
    """
    return frozenset(word for _, word in _dictionary())


def recognisable(text: str, dictionary: frozenset[str]) -> bool:
    """Whether the recogniser knows every word of a text, and nothing is said in it that is not written in a-z."""
    words = spoken_words(text)
    return bool(words) and text.isascii() and not _UNSPELT.search(text) and dictionary.issuperset(words)


def error_rate_by_speaker(texts: Sequence[str], speakers: Sequence[str], heard: Sequence[Waveform]) -> float:
    """Return the word error rate of recordings, for each speaker a recogniser of its own that expects any of the texts.

    Args:
        texts: what is said; all `recognisable`.
        speakers: who says it.
        heard: the recordings, one row each.
    """
    expected = [" ".join(spoken_words(text)) for text in texts]
    said, understood = [], []
    for speaker in dict.fromkeys(speakers):
        recogniser = ClosedVocabularyRecogniser(expected)
        for text, one, audio in zip(expected, speakers, heard, strict=True):
            if one == speaker:
                said.append(text)
                understood.append(recogniser.transcribe(audio))
    return word_error_rate(said, understood)


def _dictionary() -> Iterator[tuple[str, str]]:
    """Entries of the pronouncing dictionary, and the word of each."""
    path = Path(require("pocketsphinx").get_model_path("en-us/cmudict-en-us.dict"))
    for entry in path.read_text(encoding="utf-8").splitlines():
        yield entry, _PRONUNCIATION.sub("", entry.partition(" ")[0])


class TrigramModel:
    """Trigram probabilities over the words of `sentences` and the end of a sentence, `</s>`.

    Attributes:
        vocabulary: every word that can be predicted, sorted.
        discounted: for each history of zero to two words, the probability of each word seen after it.
        backoff: for each history of one or two words, what the shorter history's probability is multiplied by otherwise.
    """

    def __init__(self, sentences: Sequence[str]) -> None:
        counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for sentence in sentences:
            symbols = [_START, *spoken_words(sentence), _END]
            for position in range(1, len(symbols)):
                for order in range(min(position, 2) + 1):
                    counts[tuple(symbols[position - order : position])][symbols[position]] += 1
        self.vocabulary = sorted(counts[()])
        total = counts[()].total() + len(self.vocabulary)
        self.discounted: dict[tuple[str, ...], dict[str, float]] = {}
        self.discounted[()] = {word: (count + 1) / total for word, count in counts.pop(()).items()}
        self.backoff: dict[tuple[str, ...], float] = {}
        for history, followers in sorted(counts.items(), key=lambda item: len(item[0])):
            seen = followers.total()
            self.discounted[history] = {word: (count - DISCOUNT) / seen for word, count in followers.items()}
            unseen = 1 - sum(self.discounted[history[1:]][word] for word in followers)
            self.backoff[history] = DISCOUNT * len(followers) / seen / max(unseen, _SMALLEST)

    def probability(self, word: str, history: tuple[str, ...] = ()) -> float:
        """Return P(word | history), for at most two words of history."""
        seen = self.discounted.get(history, {})
        if word in seen or not history:
            return seen[word]
        return self.backoff.get(history, 1.0) * self.probability(word, history[1:])

    def to_arpa(self) -> str:
        """Return the model in the ARPA format: base-10 logarithms of probabilities and of back-off weights."""
        orders: list[list[str]] = [[f"-99 {_START} {_log10(self.backoff[(_START,)])}"], [], []]
        for history, followers in sorted(self.discounted.items()):
            for word, probability in sorted(followers.items()):
                ngram = (*history, word)
                weight = f" {_log10(self.backoff.get(ngram, 1.0))}" if len(ngram) < 3 else ""
                orders[len(history)].append(f"{_log10(probability)} {' '.join(ngram)}{weight}")
        header = [f"ngram {order}={len(lines)}" for order, lines in enumerate(orders, 1)]
        sections = [["\\data\\", *header], *([f"\\{n}-grams:", *lines] for n, lines in enumerate(orders, 1)), ["\\end\\"]]
        return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _log10(value: float) -> str:
    return f"{math.log10(max(value, _SMALLEST)):.4f}"


class ClosedVocabularyRecogniser:
    """Hears which of the words of `sentences` were spoken.

    It adapts its estimate of the channel from clip to clip, so use a fresh one for every voice.

    Args:
        sentences: all that may have been read.

    Raises:
        UserError: a sentence holds no words, digits, or words that the pronouncing dictionary does not know.
    """

    def __init__(self, sentences: Sequence[str]) -> None:
        sphinx = require("pocketsphinx")
        if not sentences or not all(spoken_words(sentence) for sentence in sentences):
            raise UserError("every sentence to recognise needs at least one word in a-z: remove the empty ones")
        if unspelt := [sentence for sentence in sentences if _UNSPELT.search(sentence)]:
            raise UserError(f"{unspelt[0]!r} has digits or letters other than a-z, which would count as errors: spell them out")
        vocabulary = {word for sentence in sentences for word in spoken_words(sentence)}
        needed = {entry: word for entry, word in _dictionary() if word in vocabulary}
        missing = sorted(vocabulary - set(needed.values()))
        if missing:
            raise UserError(f"words missing from the recogniser's dictionary: {', '.join(missing)}: spell or choose others")
        with tempfile.TemporaryDirectory() as folder:
            model, dictionary = Path(folder) / "trigram.arpa", Path(folder) / "words.dict"
            model.write_text(TrigramModel(sentences).to_arpa(), encoding="utf-8")
            # The whole dictionary would give the same results, and take several seconds to read.
            dictionary.write_text("".join(f"{entry}\n" for entry in needed), encoding="utf-8")
            # Wide beams: time is no concern, and a narrow one loses the right path in unclear speech.
            self._decoder = sphinx.Decoder(
                hmm=sphinx.get_model_path("en-us/en-us"),
                dict=str(dictionary),
                lm=str(model),
                samprate=float(SPEECH_RATE),
                lw=4.0,
                beam=1e-60,
                wbeam=1e-40,
                pbeam=1e-60,
                loglevel="FATAL",
            )

    def transcribe(self, audio: Waveform) -> str:
        """Return the words understood, lower case, separated by spaces; empty if none."""
        pcm = (signal(audio) * 32767).astype(np.int16)
        pcm = np.pad(pcm, SPEECH_RATE // 5)  # the recogniser expects silence around speech
        self._decoder.start_utt()
        self._decoder.process_raw(pcm.tobytes(), full_utt=True)
        self._decoder.end_utt()
        best = self._decoder.hyp()
        return _PRONUNCIATION.sub("", best.hypstr) if best else ""
