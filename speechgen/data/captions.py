"""Captions of labelled sounds: what a recording is called becomes a phrase that says what is heard."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import soundfile

from speechgen.data.corpora import EmptySplitError, Making, source_of, split_of
from speechgen.data.decode import Utterance

__all__ = ["PHRASES", "caption", "described"]

PHRASES = {
    # ESC-10
    "dog bark": "a dog barking",
    "rain": "rain falling",
    "sea waves": "sea waves on the shore",
    "baby cry": "a baby crying",
    "clock tick": "a clock ticking",
    "person sneeze": "a person sneezing",
    "helicopter": "a helicopter flying",
    "chainsaw": "a chainsaw running",
    "rooster": "a rooster crowing",
    "fire crackling": "a fire crackling",
    # FSDKaggle2018
    "acoustic guitar": "an acoustic guitar note",
    "bass drum": "a bass drum hit",
    "cello": "a cello note",
    "clarinet": "a clarinet note",
    "double bass": "a double bass note",
    "flute": "a flute note",
    "hi hat": "a hi hat hit",
    "saxophone": "a saxophone note",
    "snare drum": "a snare drum hit",
    "violin or fiddle": "a violin note",
}
"""Phrases of labels that are no phrases themselves."""
HELD_OUT_PERCENT = 10
"""Of the recordings, for each of valid and test."""
LONGEST = 160
_SOURCE = re.compile(r"\s*(?:https?://|\bis licensed\b|\bis in the public domain\b|\s{2,}from\b|\bcc-by\b).*", re.I | re.S)
"""Where and under which licence a recording was found is no part of what is heard."""


def caption(label: str) -> str:
    """Return what is heard in a recording of this label, or of this description."""
    text = " ".join(_SOURCE.sub("", label).split()) or " ".join(label.split())
    text = text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0]
    return PHRASES.get(text.lower(), text)


def described(utterances: Sequence[Utterance], making: Making) -> list[Utterance]:
    """Return the recordings of one split with captions, long ones cut into windows.

    All recordings of one source go into the same split: those whose names differ in a last letter alone, as 1-100032-A and
    1-100032-B do.

    Raises:
        EmptySplitError: none is for it.
    """
    kept = [one for one in utterances if split_of(source_of(one.id), HELD_OUT_PERCENT) == making.split]
    if not kept:
        raise EmptySplitError(f"no recording is for {making.split}: there are only {len(utterances)}")
    return [window for one in kept for window in _windows(one, making)]


def _windows(one: Utterance, making: Making) -> list[Utterance]:
    """A recording, or its windows of `making.seconds`; the last one may be shorter, down to a half."""
    tags = {"label": " ".join(one.text.lower().split())[:LONGEST], "split": making.split}
    whole = replace(one, text=caption(one.text), tags=tags)
    try:
        seconds = soundfile.info(one.path).duration
    except (OSError, soundfile.LibsndfileError):
        return [whole]  # decoding tells what is wrong with it
    count = max(1, int(seconds / making.seconds + 0.5))
    if count == 1:
        return [whole]
    return [
        replace(whole, id=f"{one.id}-{k}", start_seconds=k * making.seconds, seconds=making.seconds, trim=False)
        for k in range(count)
    ]
