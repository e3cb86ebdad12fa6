"""Finds the utterances of a corpus: by lhotse's recipes (`prepare_<name>`), or in a folder with a metadata file.

Metadata files, in a folder beside the audio:
    metadata.csv    `|`-separated: a header line naming `file` (and `text`, `speaker`, `language`), or plain `audio|text`
    metadata.tsv    the same, separated by tabs
    metadata.jsonl  one {"audio": ..., "text": ..., "speaker": ..., "language": ...} a line
"""

from __future__ import annotations

import csv
import hashlib
import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lhotse import recipes

from speechgen.core.errors import UserError, unknown
from speechgen.data.decode import Utterance

__all__ = ["SPLITS", "EmptySplitError", "Making", "lhotse_corpora", "read_folder", "read_lhotse", "source_of", "split_of"]

_FILE_COLUMNS = ("file", "audio", "path", "audio_file", "file_name")
_TEXT_COLUMNS = ("text", "transcript", "sentence", "normalized_text")
_SUFFIXES = ("", ".wav", ".flac", ".ogg", ".opus", ".mp3")

SPLITS = ("train", "valid", "test")
SHARES = {"train": 0.9, "valid": 0.05, "test": 0.05}
"""Of the hours that are made."""


class EmptySplitError(UserError):
    """Nothing of a corpus falls into a split."""


@dataclass(frozen=True)
class Making:
    """What is wanted of a corpus that is made (flite, midi) or cut into windows (sounds).

    Attributes:
        hours: to make, of all splits together.
        seconds: of a rendered stretch, or of a window of a long recording.
        seed: of what is left to chance.
        split: "train", "valid" or "test".
        instruments: that may play; all if none is named.
        soundfont: an .sf2 file, instead of the one that is installed.
    """

    hours: float = 2.0
    seconds: float = 10.0
    seed: int = 0
    split: str = "train"
    instruments: tuple[str, ...] = ()
    soundfont: Path | None = None

    @property
    def share_of_hours(self) -> float:
        """Hours to make of this split."""
        return self.hours * SHARES[self.split]


def source_of(name: str) -> str:
    """Return what a recording was cut from, by its name: those that differ in a last letter alone are of one source."""
    return re.sub(r"[-_ ]?[A-Za-z]$", "", name)


def split_of(name: str, percent: int) -> str:
    """Return the split of what has this name: `percent` of all names are for valid, as many for test, the same ones always."""
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % 100
    return "valid" if place < percent else "test" if place < 2 * percent else "train"


def read_folder(source: Path, language: str) -> list[Utterance]:
    """Read a folder with metadata.{csv,tsv,jsonl}, or such a file itself.

    Args:
        source: the folder or the metadata file.
        language: of utterances whose metadata does not say.

    Raises:
        UserError: there is no metadata, or a line of it cannot be read.
    """
    metadata = source if source.is_file() else _find_metadata(source)
    try:
        # Not splitlines(): a text may hold other separators, such as U+2028.
        lines = metadata.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{metadata} is not UTF-8 text ({error}): save it as UTF-8") from error
    rows = list(_json_rows(lines, metadata) if metadata.suffix == ".jsonl" else _table_rows(lines, metadata))
    if not rows:
        raise UserError(f"{metadata} lists no utterances")
    return [_utterance(row, metadata, language) for row in rows]


def lhotse_corpora() -> list[str]:
    """Names of the corpora that lhotse can prepare from a folder."""
    return sorted(name.removeprefix("prepare_") for name in dir(recipes) if name.startswith("prepare_"))


def read_lhotse(name: str, source: Path, language: str) -> list[Utterance]:
    """Read a corpus by lhotse's recipe of that name.

    Args:
        name: such as "ljspeech"; dashes are as good as underscores.
        source: the corpus as downloaded.
        language: of utterances whose recipe does not say.

    Raises:
        UserError: unknown name, or `source` is not that corpus.
    """
    name = name.replace("-", "_")
    recipe = getattr(recipes, f"prepare_{name}", None)
    if recipe is None:
        raise unknown("corpus", name, ["folder", "flite", "fsdd", "midi", "sc09", "sounds", *lhotse_corpora()])
    required = [p.name for p in inspect.signature(recipe).parameters.values() if p.default is p.empty]
    needs_output = "output_dir" in required
    if len(required) != 1 + needs_output:
        raise UserError(
            f"lhotse's {name} needs more than one folder ({', '.join(required)}): prepare it with `lhotse prepare` "
            "and list the utterances in a metadata.jsonl"
        )
    with TemporaryDirectory() as manifests_folder:
        try:
            manifests = recipe(source, manifests_folder) if needs_output else recipe(source)
        except (OSError, AssertionError, ValueError, KeyError) as error:
            raise UserError(f"{source} is not {name} as lhotse expects it: {error or type(error).__name__}") from error
        utterances = [u for part in _parts(manifests) for u in _from_manifests(part, language)]
    if not utterances:
        raise UserError(f"lhotse found no utterances of {name} in {source}: give the folder that the corpus was unpacked into")
    return utterances


def _find_metadata(folder: Path) -> Path:
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}")
    names = ("metadata.csv", "metadata.tsv", "metadata.jsonl")
    for path in (folder / name for name in names):
        if path.is_file():
            return path
    raise UserError(f"{folder} has none of {', '.join(names)}: list its audio files and texts in one of these")


def _json_rows(lines: list[str], path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number} is not JSON ({error})") from error
        if not isinstance(row, dict):
            raise UserError(f'{path}, line {number} must be an object such as {{"audio": "a.wav", "text": "..."}}')
        yield row


def _table_rows(lines: list[str], path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a table with or without a header line; without one the columns are file and text."""
    separator = "\t" if path.suffix == ".tsv" else "|"
    table = list(csv.reader((line for line in lines if line.strip()), delimiter=separator, quoting=csv.QUOTE_NONE))
    if not table:
        return
    header = [cell.strip().lower() for cell in table[0]]
    named = any(column in header for column in _FILE_COLUMNS)
    columns = header if named else ["file", "text"]
    for number, cells in enumerate(table[1:] if named else table, 2 if named else 1):
        if len(cells) < 2:
            raise UserError(f"{path}, line {number} has no {separator!r}: write audio{separator}text")
        yield dict(zip(columns, cells, strict=False))


def _utterance(row: dict[str, Any], metadata: Path, language: str) -> Utterance:
    def pick(columns: tuple[str, ...]) -> str:
        return next((str(row[column]).strip() for column in columns if row.get(column)), "")

    name = pick(_FILE_COLUMNS)
    if not name:
        raise UserError(f"{metadata}: an entry names no audio file: {json.dumps(row, ensure_ascii=False)[:120]}")
    # LJ Speech lists bare ids of files in wavs/.
    places = [metadata.parent / folder / f"{name}{suffix}" for folder in ("", "wavs") for suffix in _SUFFIXES]
    path = next((place for place in places if place.is_file()), places[0])
    speaker = pick(("speaker", "speaker_id"))
    return Utterance(
        id=str(Path(name).with_suffix("") if Path(name).suffix.lower() in _SUFFIXES else name),
        path=path.absolute(),
        text=pick(_TEXT_COLUMNS),
        speaker="" if speaker == "-" else speaker,
        language=pick(("language", "lang")) or language,
    )


def _parts(manifests: Any) -> Iterator[dict[str, Any]]:
    """Every {"recordings": ..., "supervisions": ...} in what a recipe returned, however deeply it nests them."""
    if isinstance(manifests, dict):
        if "recordings" in manifests:
            yield manifests
        else:
            for value in manifests.values():
                yield from _parts(value)


def _from_manifests(part: dict[str, Any], language: str) -> Iterator[Utterance]:
    recordings = {recording.id: recording for recording in part["recordings"]}
    supervisions = part.get("supervisions")
    if supervisions is None:
        for recording in recordings.values():
            yield Utterance(recording.id, Path(recording.sources[0].source).absolute(), language=language)
        return
    for s in supervisions:
        path = Path(recordings[s.recording_id].sources[0].source).absolute()
        spoken = s.language or language
        yield Utterance(s.id, path, s.text or "", s.speaker or "", spoken, s.start, s.duration)
