"""Scores: notes of songs in seconds, out of MIDI files, archives of them, and chorales as tables of pitches.

    a folder            every .mid and .midi in it, every .tar.gz or .zip of such files, every .json of chorales
    chorales.json       {"train": [[[74, 70, 65, 58], ...], ...], "valid": ..., "test": ...}: MIDI pitches of the voices in
                        each sixteenth, from the highest down; a pitch that stays is one note

Songs are not parsed before they are needed: a folder of a thousand is listed at once.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from speechgen.core.errors import UserError
from speechgen.data.corpora import SPLITS, split_of

__all__ = ["Note", "Score", "Song", "key_of", "midi_library", "read_songs"]

HELD_OUT_PERCENT = 5
"""Of the songs, for each of valid and test, where a collection does not say."""
CHORALE_BPM = 72.0
CHORALE_VELOCITY = 90
MIDI_SUFFIXES = (".mid", ".midi")
MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
"""How well each degree of the scale fits its key (Krumhansl and Kessler, 1982)."""


@dataclass(frozen=True)
class Note:
    """A key held from `start` to `end`, in seconds; pitch and velocity as in MIDI."""

    pitch: int
    start: float
    end: float
    velocity: int


@dataclass(frozen=True)
class Score:
    """A song.

    Attributes:
        voices: notes by the name of their voice, the melody first.
        tempi: (seconds, beats a minute from there on), the first at 0.
    """

    voices: dict[str, tuple[Note, ...]]
    tempi: tuple[tuple[float, float], ...]

    @property
    def seconds(self) -> float:
        """Where its last note ends."""
        return max(note.end for notes in self.voices.values() for note in notes)

    def bpm(self, seconds: float) -> float:
        """Beats a minute at a time."""
        return [bpm for start, bpm in self.tempi if start <= seconds or start == 0][-1]


@dataclass(frozen=True)
class Song:
    """A song that has not been read yet.

    Attributes:
        id: unlike that of any other song of the source.
        style: what its collection holds: "chorale", "pop song" or "piece".
        split: one of SPLITS.
        read: returns its score, None if it is damaged or has no notes.
    """

    id: str
    style: str
    split: str
    read: Callable[[], Score | None]


def read_songs(source: Path) -> list[Song]:
    """List the songs of a file or folder.

    Raises:
        UserError: there are none, or an archive or table cannot be read.
    """
    if not source.exists():
        raise UserError(f"no such file or folder: {source}")
    files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    base = source if source.is_dir() else source.parent
    songs = [song for path in files for song in _songs_of(path, path.relative_to(base).as_posix())]
    if not songs:
        raise UserError(f"{source} holds no .mid files, no .tar.gz or .zip of them, and no .json of chorales")
    return songs


def key_of(notes: Sequence[Note]) -> tuple[int, bool]:
    """Return the likeliest tonic as a pitch class, and whether the key is minor (Krumhansl and Schmuckler's correlation)."""
    seconds = np.zeros(12)
    for note in notes:
        seconds[note.pitch % 12] += note.end - note.start
    fits = [[float(np.corrcoef(seconds, np.roll(profile, k))[0, 1]) for k in range(12)] for profile in (MAJOR, MINOR)]
    minor, tonic = divmod(int(np.nan_to_num(np.array(fits)).argmax()), 12)
    return tonic, bool(minor)


def _songs_of(path: Path, name: str) -> Iterator[Song]:
    """The songs of one file; none of a file that holds something else."""
    lower = path.name.lower()
    if lower.endswith(MIDI_SUFFIXES):
        yield _song(name, _style(name), partial(_midi, path.read_bytes))
    elif lower.endswith((".tar.gz", ".tgz", ".tar", ".zip")):
        for member, content in _members(path):
            song_id = f"{name.partition('.')[0]}/{member}"
            yield _song(song_id, _style(song_id), partial(_midi, lambda content=content: content))
    elif lower.endswith(".json"):
        yield from _chorales(path, name)


def _style(name: str) -> str:
    return "pop song" if "pop" in name.lower() else "piece"


def _song(name: str, style: str, read: Callable[[], Score | None]) -> Song:
    """A song whose split follows from its name."""
    return Song(name, style, split_of(name, HELD_OUT_PERCENT), read)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each MIDI file of an archive."""
    try:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    if name.lower().endswith(MIDI_SUFFIXES):
                        yield name, archive.read(name)
            return
        with tarfile.open(path) as archive:
            for member in sorted(archive.getmembers(), key=lambda member: member.name):
                if member.isfile() and member.name.lower().endswith(MIDI_SUFFIXES):
                    yield member.name, archive.extractfile(member).read()  # type: ignore[union-attr]
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise UserError(f"{path} cannot be read as an archive: {error}") from error


def _midi(content: Callable[[], bytes]) -> Score | None:
    """A MIDI file as a score; drums are left out."""
    library = midi_library()
    try:
        read = library.PrettyMIDI(io.BytesIO(content()))
    except (OSError, ValueError, EOFError, KeyError, IndexError):  # what mido and pretty_midi say of damaged files
        return None
    voices = {
        f"{number} {track.name}": tuple(Note(n.pitch, n.start, n.end, n.velocity) for n in track.notes if n.end > n.start)
        for number, track in enumerate(read.instruments)
        if not track.is_drum
    }
    times, tempi = read.get_tempo_changes()
    return _score(
        {name: notes for name, notes in voices.items() if notes}, tuple(zip(times.tolist(), tempi.tolist(), strict=True))
    )


def _score(voices: dict[str, tuple[Note, ...]], tempi: tuple[tuple[float, float], ...]) -> Score | None:
    """A score with its melody first: the voice of that name, or the highest one."""
    if not voices:
        return None

    def rank(name: str) -> tuple[bool, float]:
        return "melody" not in name.lower(), -float(np.mean([note.pitch for note in voices[name]]))

    ordered = {name: voices[name] for name in sorted(voices, key=rank)}
    return Score(ordered, tempi)


def midi_library() -> Any:
    """Return pretty_midi.

    Raises:
        UserError: it is not installed.
    """
    try:
        import pretty_midi
    except ImportError as error:
        raise UserError(f"reading MIDI needs pretty_midi ({error}): pip install 'speechgen[music]'") from error
    return pretty_midi


def _chorales(path: Path, name: str) -> Iterator[Song]:
    """The songs of a table of chorales; none if the file is something else."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(table, dict) or not set(table) & set(SPLITS):
        return
    for split in SPLITS:
        for number, columns in enumerate(table.get(split, ())):
            yield Song(f"{name.partition('.')[0]}/{split}-{number:03d}", "chorale", split, partial(_chorale, columns))


def _chorale(columns: list[list[int]]) -> Score | None:
    """A table of pitches [sixteenths, voices] as a score; a pitch below 1, or none (NaN), is a rest."""
    step = 60 / CHORALE_BPM / 4
    voices: dict[str, tuple[Note, ...]] = {}
    for voice in range(max(map(len, columns), default=0)):
        pitches = [column[voice] if voice < len(column) else 0 for column in columns]
        changes = [0, *(k for k in range(1, len(pitches)) if pitches[k] != pitches[k - 1]), len(pitches)]
        notes = tuple(
            Note(int(pitches[first]), first * step, last * step, CHORALE_VELOCITY)
            for first, last in zip(changes, changes[1:], strict=False)
            if pitches[first] > 0
        )
        if notes:
            voices[f"{voice}"] = notes
    return _score(voices, ((0.0, CHORALE_BPM),))
