"""A corpus made of scores: stretches of songs, arranged by chance, rendered through a soundfont, with captions.

The sound comes from midirenderer (no system package); the soundfont, unless another is given, is TimGM6mb by Tim Brechbill
(GPL-2), which pretty_midi carries. Same source, same settings: same files.
"""

from __future__ import annotations

import io
import random
from collections import defaultdict
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import soundfile
import torch

from speechgen.audio.io import write_audio
from speechgen.audio.loudness import normalize_level
from speechgen.audio.resample import resample
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.random import mix
from speechgen.core.types import Waveform
from speechgen.data.arranging import LEAD_SECONDS, Arrangement, arrange, check_instruments
from speechgen.data.corpora import EmptySplitError, Making
from speechgen.data.decode import RATE, Utterance
from speechgen.data.scores import Song, midi_library, read_songs

__all__ = ["generate_midi"]

SOUNDFONT = "TimGM6mb.sf2"
TICKS = 480
MIDI_BPM = 120.0


def generate_midi(source: Path, folder: Path, making: Making, progress: Progress | None = None) -> list[Utterance]:
    """Render stretches of the songs of one split until there are enough.

    Args:
        source: as `scores.read_songs` takes it. Its collections (chorales, pop songs, others) get the same time each.
        folder: where the flac files go.
        making: hours of all splits together, seconds of a stretch, seed, instruments, soundfont, split.
        progress: called with (stretches made, wanted).

    Raises:
        EmptySplitError: there are no songs for the split.
        UserError: there are no songs, an instrument or the soundfont is unknown, or a package is missing.
    """
    render = _renderer(making.soundfont)
    check_instruments(making.instruments)
    collections: dict[str, list[Song]] = defaultdict(list)
    for song in read_songs(source):
        if song.split == making.split:
            collections[song.style].append(song)
    if not collections:
        raise EmptySplitError(f"{source} has no songs for {making.split}: give more songs")
    wanted = max(1, round(making.share_of_hours * 3600 / making.seconds))
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Utterance] = []
    for number, (song, arrangement) in zip(range(wanted), _arrangements(list(collections.values()), making), strict=False):
        path = folder / f"{making.split}-{number:05d}.flac"
        write_audio(path, render(arrangement, making.seconds), RATE)
        tags = {**arrangement.tags, "song": song.id, "split": making.split}
        made.append(Utterance(path.stem, path.absolute(), arrangement.caption, language="en-us", trim=False, tags=tags))
        if progress:
            progress(number + 1, wanted)
    return made


def _arrangements(collections: list[list[Song]], making: Making) -> Iterator[tuple[Song, Arrangement]]:
    """Songs of each collection in turn, each collection shuffled anew when it is through.

    Raises:
        UserError: no song of a collection has a stretch that can be played.
    """
    rng = random.Random(mix(making.seed, "midi", making.split))
    queues: list[list[Song]] = [[] for _ in collections]
    failures = [0] * len(collections)
    while True:
        for place, songs in enumerate(collections):
            while True:
                if not queues[place]:
                    queues[place] = rng.sample(songs, len(songs))
                song = queues[place].pop()
                score = song.read()
                found = score and arrange(score, song.style, making.seconds, rng, making.instruments)
                if found:
                    failures[place] = 0
                    break
                failures[place] += 1
                if failures[place] > 2 * len(songs) + 20:
                    raise UserError(
                        f"no stretch of {making.seconds:g} s with enough notes in {songs[0].id} and {len(songs) - 1} others"
                    )
            yield song, found


def _renderer(soundfont: Path | None) -> Any:
    """Return what turns an arrangement into samples [L] at RATE.

    Raises:
        UserError: a package or the soundfont is missing.
    """
    library = midi_library()
    try:
        from midirenderer import render_wave_from
    except ImportError as error:
        raise UserError(f"rendering MIDI needs midirenderer ({error}): pip install 'speechgen[music]'") from error
    if soundfont is None:
        font = files("pretty_midi").joinpath(SOUNDFONT).read_bytes()
    else:
        if not soundfont.is_file() or not soundfont.read_bytes()[:4] == b"RIFF":
            raise UserError(f"{soundfont} is not a soundfont: give an .sf2 file")
        font = soundfont.read_bytes()

    def render(arrangement: Arrangement, seconds: float) -> torch.Tensor:
        rendered = io.BytesIO(render_wave_from(font, _file(library, arrangement, seconds)))
        samples, rate = soundfile.read(rendered, dtype="float32", always_2d=True)
        first = round(LEAD_SECONDS * rate)
        mono = torch.from_numpy(samples.mean(1)[first : first + round(seconds * rate)])
        kept = resample(Waveform.single(mono, rate), RATE).samples[0]
        return normalize_level(kept, RATE)

    return render


def _file(library: Any, arrangement: Arrangement, seconds: float) -> bytes:
    """The arrangement as a MIDI file that begins LEAD_SECONDS early and sounds to the end."""
    score = library.PrettyMIDI(resolution=TICKS, initial_tempo=MIDI_BPM)
    for part in arrangement.parts:
        track = library.Instrument(part.program, is_drum=part.drums)
        for note in part.notes:
            track.notes.append(library.Note(note.velocity, note.pitch, note.start + LEAD_SECONDS, note.end + LEAD_SECONDS))
        score.instruments.append(track)
    # Rendering stops with the last event: a note too soft to hear, behind the end, keeps it going.
    last = library.Instrument(0)
    last.notes.append(library.Note(1, 21, LEAD_SECONDS + seconds, LEAD_SECONDS + seconds + 0.1))
    score.instruments.append(last)
    content = io.BytesIO()
    score.write(content)
    return content.getvalue()
