"""Arrangements: what a stretch of a score is played with, how fast and in which key, and the caption that says so."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from speechgen.core.errors import UserError, unknown
from speechgen.data.scores import Note, Score, key_of

__all__ = ["INSTRUMENTS", "Arrangement", "Part", "arrange", "check_instruments"]

TEMPO_RANGE = (50.0, 170.0)
TEMPO_OCTAVES = 0.4
"""How far the tempo is moved from the song's own, as a power of two."""
TRANSPOSED = range(-6, 6)
LEAD_SECONDS = 0.5
"""A note that sounds already when a stretch begins is struck at most so long before."""
MIN_NOTES = 5
"""Notes that must begin in a stretch; with fewer there is not much to hear."""
QUIET_SHARE = 0.25
"""Of a stretch, that may pass without a note beginning."""
ATTEMPTS = 24
DRUMS_SHARE = 0.3
PACES = ((76, "slow"), (112, "moderate"), (1000, "fast"))
"""Words for tempi below so many beats a minute."""
NAMES = (
    ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"),
    ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"),
)
"""Tonics of major and of minor keys."""
KICK, SNARE, HAT = 36, 38, 42


@dataclass(frozen=True)
class _Instrument:
    """General MIDI program (from 0), the range that suits it, and whether it plays chords, melodies or both."""

    program: int
    low: int
    high: int
    chords: bool
    melody: bool


INSTRUMENTS = {
    "piano": _Instrument(0, 36, 88, True, True),
    "electric piano": _Instrument(4, 40, 84, True, False),
    "harpsichord": _Instrument(6, 41, 84, True, False),
    "music box": _Instrument(10, 64, 96, True, True),
    "vibraphone": _Instrument(11, 53, 89, True, True),
    "marimba": _Instrument(12, 48, 88, True, True),
    "church organ": _Instrument(19, 36, 84, True, False),
    "accordion": _Instrument(21, 48, 84, True, True),
    "acoustic guitar": _Instrument(24, 40, 76, True, True),
    "electric guitar": _Instrument(27, 40, 80, True, True),
    "harp": _Instrument(46, 36, 90, True, True),
    "string ensemble": _Instrument(48, 36, 88, True, False),
    "choir": _Instrument(52, 43, 79, True, False),
    "brass section": _Instrument(61, 40, 79, True, False),
    "synthesizer": _Instrument(88, 40, 84, True, False),
    "violin": _Instrument(40, 57, 93, False, True),
    "cello": _Instrument(42, 38, 67, False, True),
    "double bass": _Instrument(32, 28, 52, False, True),
    "trumpet": _Instrument(56, 55, 82, False, True),
    "saxophone": _Instrument(65, 49, 80, False, True),
    "oboe": _Instrument(68, 58, 88, False, True),
    "clarinet": _Instrument(71, 50, 86, False, True),
    "flute": _Instrument(73, 60, 93, False, True),
    "pan flute": _Instrument(75, 60, 93, False, True),
}


@dataclass(frozen=True)
class Part:
    """What one player plays; times from the beginning of the stretch."""

    program: int
    notes: tuple[Note, ...]
    drums: bool = False


@dataclass(frozen=True)
class Arrangement:
    """A stretch of a song as it is to be rendered.

    Attributes:
        parts: the players; the first notes may begin up to LEAD_SECONDS before 0.
        caption: a sentence that says what is heard.
        tags: the same, word for word: instrument, bpm, key, style.
    """

    parts: tuple[Part, ...]
    caption: str
    tags: dict[str, str]


def check_instruments(names: Sequence[str]) -> None:
    """Refuse an instrument that is not known.

    Raises:
        UserError: names the nearest match.
    """
    for name in names:
        if name not in INSTRUMENTS:
            raise unknown("instrument", name, INSTRUMENTS)


def arrange(score: Score, style: str, seconds: float, rng: random.Random, allowed: Sequence[str] = ()) -> Arrangement | None:
    """Choose a stretch of a score and who plays it.

    Args:
        score: of the song.
        style: what to call it.
        seconds: of the stretch, as it is heard.
        rng: makes every choice.
        allowed: names of the instruments that may play; all of them if none is named.

    Returns:
        None if no lively enough stretch was found.

    Raises:
        UserError: none of the allowed instruments can play it.
    """
    players = _players(score, style, rng, allowed)
    shift = rng.choice(TRANSPOSED)
    for _ in range(ATTEMPTS):
        place, moved = rng.random(), 2 ** rng.uniform(-TEMPO_OCTAVES, TEMPO_OCTAVES)
        own = score.bpm(place * score.seconds)
        bpm = round(min(max(own * moved, TEMPO_RANGE[0]), TEMPO_RANGE[1]))
        begin = place * max(0.0, score.seconds - seconds * bpm / own)
        played = [(name, _stretch(notes, begin, own / bpm, seconds, shift, name)) for name, notes in players]
        if all(_lively(notes, seconds) for _, notes in played):
            break
    else:
        return None
    parts = [Part(INSTRUMENTS[name].program, notes) for name, notes in played]
    # Drums follow one tempo from the first beat on: a song whose tempo moves would leave them behind.
    drums = style == "pop song" and not allowed and len(score.tempi) == 1 and rng.random() < DRUMS_SHARE
    if drums:
        parts.append(Part(0, _drums(begin * own / bpm, bpm, seconds), drums=True))
    tonic, minor = key_of([note for _, notes in played for note in notes])
    key = f"{NAMES[minor][tonic]} {'minor' if minor else 'major'}"
    names = [name for name, _ in players]
    solo = len(players) == 1 and len(score.voices) > 1 and not INSTRUMENTS[names[0]].chords
    noun = "melody" if solo else style
    tags = {"instrument": " and ".join(names) + (" and drums" if drums else ""), "bpm": str(bpm), "key": key, "style": noun}
    return Arrangement(tuple(parts), _caption(names, noun, bpm, key, drums, rng), tags)


def _players(score: Score, style: str, rng: random.Random, allowed: Sequence[str]) -> list[tuple[str, tuple[Note, ...]]]:
    """Who plays which notes: one instrument everything, one the melody alone, or one the melody and another the rest."""
    known = {name: instrument for name, instrument in INSTRUMENTS.items() if not allowed or name in allowed}
    chords = [name for name, instrument in known.items() if instrument.chords]
    singers = [name for name, instrument in known.items() if instrument.melody and not instrument.chords]
    melody, *others = score.voices.values()
    rest = tuple(note for notes in others for note in notes)
    ways = []
    if chords:
        ways += ["all"] * (3 if style == "chorale" else 2)
    if singers:
        ways += ["melody"] * 2
    if chords and singers and rest:
        ways += ["duo"] * (1 if style == "chorale" else 3)
    if not ways:
        raise UserError(f"none of {', '.join(allowed)} can play this: allow another instrument")
    way = rng.choice(ways)
    if way == "all":
        return [(rng.choice(chords), (*melody, *rest))]
    if way == "melody":
        return [(rng.choice(singers), melody)]
    return [(rng.choice(singers), melody), (rng.choice(chords), rest)]


def _stretch(notes: Sequence[Note], begin: float, pace: float, seconds: float, shift: int, name: str) -> tuple[Note, ...]:
    """The notes that sound in a stretch: moved in time and key, and by octaves into the range of the instrument."""
    heard = []
    for note in notes:
        start, end = (note.start - begin) * pace, (note.end - begin) * pace
        if start < seconds and end > 0.05:
            heard.append(Note(note.pitch + shift, max(start, -LEAD_SECONDS), end, note.velocity))
    if not heard:
        return ()
    instrument = INSTRUMENTS[name]
    middle = float(np.median([note.pitch for note in heard]))
    octaves = 12 * round(((instrument.low + instrument.high) / 2 - middle) / 12)
    moved = (replace(note, pitch=note.pitch + octaves) for note in heard)
    return tuple(note for note in moved if instrument.low - 5 <= note.pitch <= instrument.high + 5)


def _lively(notes: Sequence[Note], seconds: float) -> bool:
    """Whether enough notes begin in a stretch, and no part of it is without."""
    starts = sorted(note.start for note in notes if 0 <= note.start < seconds)
    silences = [late - early for early, late in zip((0.0, *starts), (*starts, seconds), strict=True)]
    return len(starts) >= MIN_NOTES and max(silences) < QUIET_SHARE * seconds


def _drums(begin: float, bpm: int, seconds: float) -> tuple[Note, ...]:
    """Bass drum on the odd beats, snare on the even ones, hi-hat on every half; `begin` is the song's time, at this tempo."""
    half = 30 / bpm
    first = -int(-begin // half)
    notes = []
    for count in range(first, first + int(seconds / half) + 1):
        start = count * half - begin
        struck = [HAT] + ([KICK if count % 4 == 0 else SNARE] if count % 2 == 0 else [])
        notes += [Note(pitch, start, start + 0.1, 60 if pitch == HAT else 90) for pitch in struck]
    return tuple(notes)


def _caption(names: list[str], noun: str, bpm: int, key: str, drums: bool, rng: random.Random) -> str:
    """One of several ways to say it."""
    pace = next(word for limit, word in PACES if bpm < limit)
    behind = " with drums" if drums else ""
    what = f"{names[0].replace(' ', '-')} {noun}" if len(names) == 1 else f"{noun} for {names[0]} and {names[1]}"
    return rng.choice(
        (
            f"a {pace} {what}{behind} in {key}, {bpm} bpm",
            f"a {pace} {what}{behind} in {key}",
            f"a {pace} {what}{behind}, {bpm} bpm",
            f"a {pace} {what}{behind}",
        )
    )
