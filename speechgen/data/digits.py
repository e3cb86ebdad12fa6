"""Corpora of spoken digits, one word a recording, each in its authors' own split.

fsdd    Free Spoken Digit Dataset: recordings/{digit}_{speaker}_{index}.wav at 8 kHz. Indices 0 to 4 are its test set; of the
        others 5 to 7 are kept for validation.
sc09    The ten digits of Speech Commands: {word}/{speaker}_nohash_{index}.wav at 16 kHz, split by validation_list.txt and
        testing_list.txt.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from speechgen.core.errors import UserError
from speechgen.data.corpora import EmptySplitError
from speechgen.data.decode import Utterance
from speechgen.text.english_numbers import DIGITS

__all__ = ["DIGIT_CORPORA", "read_digits"]

FSDD_TEST, FSDD_VALID = range(0, 5), range(5, 8)
SHORTEST_SECONDS = 0.1
"""A spoken digit may be short."""


def read_digits(corpus: str, source: Path, split: str) -> list[Utterance]:
    """Return the utterances of one split of a corpus; the text is the digit's word.

    Args:
        corpus: a key of DIGIT_CORPORA.
        source: the corpus as it was unpacked.
        split: train, valid or test.

    Raises:
        UserError: `source` does not hold the corpus, or nothing of this split.
    """
    if not source.is_dir():
        raise UserError(f"no such folder: {source}")
    found = DIGIT_CORPORA[corpus](source, split)
    if not found:
        raise EmptySplitError(f"{source} holds nothing of {corpus} for {split}: give the folder that it was unpacked into")
    return found


def _fsdd(source: Path, split: str) -> list[Utterance]:
    folder = source / "recordings" if (source / "recordings").is_dir() else source
    found = []
    for path in sorted(folder.glob("*.wav")):
        named = re.fullmatch(r"(\d)_(\w+)_(\d+)", path.stem)
        if named is None:
            continue
        index = int(named[3])
        belongs = "test" if index in FSDD_TEST else "valid" if index in FSDD_VALID else "train"
        if belongs == split:
            found.append(_utterance(path.stem, path, DIGITS[int(named[1])], named[2]))
    return found


def _sc09(source: Path, split: str) -> list[Utterance]:
    lists = {"valid": source / "validation_list.txt", "test": source / "testing_list.txt"}
    for path in lists.values():
        if not path.is_file():
            raise UserError(f"{source} has no {path.name}: give the folder that Speech Commands was unpacked into")
    listed = {name: set(path.read_text(encoding="utf-8").split()) for name, path in lists.items()}
    found = []
    for word in DIGITS:
        for path in sorted((source / word).glob("*.wav")):
            name = f"{word}/{path.name}"
            belongs = next((each for each, names in listed.items() if name in names), "train")
            if belongs == split:
                found.append(_utterance(f"{word}-{path.stem}", path, word, path.stem.partition("_nohash_")[0]))
    return found


def _utterance(name: str, path: Path, word: str, speaker: str) -> Utterance:
    return Utterance(name, path.absolute(), word, speaker, "en-us", trim=False, shortest_seconds=SHORTEST_SECONDS)


DIGIT_CORPORA: dict[str, Callable[[Path, str], list[Utterance]]] = {"fsdd": _fsdd, "sc09": _sc09}
