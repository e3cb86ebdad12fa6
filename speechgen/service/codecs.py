"""Codecs by name: which are installed, what a name with a number of codebooks means, and the table that compares them.

A codec is named by its checkpoint, or by that with its first codebooks alone: `mel-codec-small`, `mel-codec-small:codebooks=4`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from speechgen.audio.io import read_audio
from speechgen.audio.resample import resample
from speechgen.core import checkpoint
from speechgen.core.checkpoint import CheckpointInfo
from speechgen.core.errors import UserError
from speechgen.core.protocols import Codec, Progress
from speechgen.evaluation.codecs import CodecReport, Spoken, evaluate_codecs
from speechgen.evaluation.encoders import voice_encoder
from speechgen.service import catalog, voices
from speechgen.service.engine import Engine
from speechgen.service.results import SynthesisResult, provenance
from speechgen.service.vocoders import encoder_of_content, found_or_told, recordings, split_name

__all__ = ["CodecReport", "codec_of", "copy_through", "find_codec", "load_codec", "measure_codecs"]


def load_codec(name: str, device: torch.device | str = "cpu") -> tuple[Codec, int]:
    """Return a codec by its name, and how many codebooks that asks for.

    Raises:
        UserError: there is none, or it has not as many codebooks.
    """
    base, changes = split_name(name)
    loaded = checkpoint.load(catalog.find_checkpoint(base), device)
    if loaded.spec.role != "codecs":
        known = ", ".join(catalog.of_role("codecs")) or "none"
        raise UserError(f"{base} holds {loaded.info.model}, of {loaded.spec.role}: choose a codec; installed: {known}")
    codec: Codec = loaded.generator()
    asked = dict(change.partition("=")[::2] for change in changes)
    number = asked.pop("codebooks", str(codec.num_codebooks))
    if asked or not number.isdecimal() or not 1 <= int(number) <= codec.num_codebooks:
        raise UserError(f"cannot read {name!r}: write {base}:codebooks=N, with N of 1 to {codec.num_codebooks}")
    return codec, int(number)


def codec_of(info: CheckpointInfo, user: str, device: torch.device | str = "cpu", name: str | None = None) -> Codec:
    """Load the codec whose codes a checkpoint makes; see `find_codec`."""
    return find_codec(info, user, device, name)[1]


def find_codec(
    info: CheckpointInfo, user: str, device: torch.device | str = "cpu", name: str | None = None
) -> tuple[Path, Codec]:
    """Return the folder of the codec whose codes a checkpoint makes, wherever it is installed, and the codec, loaded.

    Args:
        info: of the checkpoint.
        user: its name.
        device: where the codec goes.
        name: of the codec's checkpoint, where it is not installed.

    Raises:
        UserError: it is not installed, or the one that is named is another.
    """
    wanted = info.uses.get("codes", "")
    told = f"{user} makes codes of the codec {wanted or 'that it does not name'}"
    seen = []
    for each in [name] if name else catalog.of_role("codecs"):
        try:
            codec = load_codec(each, device)[0]
        except UserError:  # a damaged codec that is not needed is none of this request's business
            if name:
                raise
            continue
        if codec.identity == wanted:
            return catalog.find_checkpoint(split_name(each)[0]), codec
        seen.append(f"{Path(each).name} ({codec.identity})")
    if name:
        raise UserError(f"{told}, which {seen[0]} is not: give the codec that it was trained with")
    raise UserError(
        f"{told}, which is not installed: put its checkpoint into {catalog.home() / 'checkpoints'}; "
        f"installed: {', '.join(seen) or 'none'}"
    )


def copy_through(engine: Engine, path: Path, name: str) -> SynthesisResult:
    """Turn a recording into codes and back.

    Args:
        engine: knows the device.
        path: an audio file.
        name: of a codec, see above.

    Raises:
        UserError: the file is not audio, or there is no such codec.
    """
    recording = read_audio(path, max_seconds=voices.LONGEST_SECONDS)
    started = time.perf_counter()
    codec, codebooks = load_codec(name, engine.device)
    loaded = time.perf_counter()
    made = codec.decode(codec.encode(recording.to(engine.device), codebooks))
    original = resample(recording, made.rate).samples[0]
    return SynthesisResult(
        samples=made.samples[0, : len(original)].cpu(),
        rate=made.rate,
        seed=0,
        pipeline=name,
        voice=str(path),
        device=str(engine.device),
        threads=torch.get_num_threads(),
        load_seconds=loaded - started,
        synthesis_seconds=time.perf_counter() - loaded,
        provenance=provenance(f"codec {Path(name).name}", 0),
        original=original,
    )


def measure_codecs(
    engine: Engine,
    names: Sequence[str],
    folder: Path,
    *,
    limit: int = 0,
    opinions: bool = True,
    save_to: Path | None = None,
    progress: Progress | None = None,
) -> CodecReport:
    """Copy the recordings in a folder through each codec, and compare. Words are counted where metadata tells them.

    Args:
        engine: knows the device.
        names: as above; without any, all codecs that are installed.
        folder: recordings, with metadata or without.
        limit: take the first ones only; 0 all.
        opinions: predict opinion scores too.
        save_to: keep the copies in this folder.
        progress: told after each copy.

    Raises:
        UserError: there are no recordings or codecs, or one of them cannot be read.
    """
    files = recordings(folder, limit)
    chosen = list(dict.fromkeys(names)) or catalog.of_role("codecs")
    missing: list[str] = []
    return evaluate_codecs(
        {name: load_codec(name, engine.device) for name in chosen},
        files,
        _texts(folder, files),
        device=engine.device,
        content=found_or_told(lambda: encoder_of_content(engine), "FDSD and KDSD", missing),
        voice=found_or_told(voice_encoder, "FAD", missing),
        opinions=opinions,
        missing=missing,
        save_to=save_to,
        progress=progress,
    )


def _texts(folder: Path, files: Sequence[Path]) -> list[Spoken]:
    """What the files say, of those that metadata beside them knows."""
    if not any((folder / f"metadata.{suffix}").is_file() for suffix in ("csv", "tsv", "jsonl")):
        return []
    # Imported here: reading corpora needs the train extra.
    from speechgen.data.corpora import read_folder

    places = {path.resolve(): path for path in files}
    said = {utterance.path.resolve(): utterance for utterance in read_folder(folder, "en-us") if utterance.text}
    return [Spoken(path, said[place].speaker, said[place].text) for place, path in places.items() if place in said]
