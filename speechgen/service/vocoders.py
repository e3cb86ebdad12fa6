"""Vocoders by name: which are installed, what a name with options means, and the table that compares them.

A vocoder is named by its checkpoint, or by that with options behind a colon: `default-vocoder`, `wavegrad:steps=25`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from speechgen.core import checkpoint
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.types import Waveform
from speechgen.evaluation.encoders import Encoder, content_encoder, voice_encoder
from speechgen.evaluation.vocoders import Render, VocoderReport, evaluate_vocoders
from speechgen.service import catalog
from speechgen.service.engine import Engine

__all__ = ["VocoderReport", "encoder_of_content", "found_or_told", "measure_vocoders", "recordings", "split_name"]

CONTENT_ENCODER = "default-tokenizer"
"""Checkpoint whose hidden states the speech distances are taken from: a recogniser of phones."""


def split_name(name: str) -> tuple[str, tuple[str, ...]]:
    """Return the checkpoint's name and the changes of options in `checkpoint:option=value,option=value`."""
    base, colon, options = name.rpartition(":")
    return (base, tuple(options.split(","))) if colon and "=" in options else (name, ())


def recordings(folder: Path, limit: int = 0) -> list[Path]:
    """Return the audio files in a folder, sorted; `limit` takes the first ones only, 0 all.

    Raises:
        UserError: there is no such folder, or no audio in it.
    """
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in catalog.AUDIO_SUFFIXES)
    if not files:
        raise UserError(f"{folder} holds no audio: give a folder with {', '.join(catalog.AUDIO_SUFFIXES)}")
    return files[: limit or None]


def measure_vocoders(
    engine: Engine,
    names: Sequence[str],
    folder: Path,
    *,
    limit: int = 0,
    seed: int = 0,
    opinions: bool = True,
    save_to: Path | None = None,
    progress: Progress | None = None,
) -> VocoderReport:
    """Copy the recordings in a folder through each vocoder, and compare.

    Args:
        engine: loads the vocoders.
        names: as in `split_name`; without any, all that are installed.
        folder: recordings of speech.
        limit: take the first ones only; 0 all.
        seed: for vocoders that draw noise.
        opinions: predict opinion scores too.
        save_to: keep the copies in this folder.
        progress: told after each copy.

    Raises:
        UserError: there are no recordings, a checkpoint is no vocoder or has no such option.
    """
    files = recordings(folder, limit)
    chosen = list(dict.fromkeys(names)) or catalog.of_role("vocoders")
    renders = {name: _render(engine, name, seed) for name in chosen}
    missing: list[str] = []
    content = found_or_told(lambda: encoder_of_content(engine), "FDSD and KDSD", missing)
    voice = found_or_told(voice_encoder, "FAD", missing)
    return evaluate_vocoders(
        renders,
        files,
        content=content,
        voice=voice,
        opinions=opinions,
        missing=missing,
        save_to=save_to,
        progress=progress,
    )


def _render(engine: Engine, name: str, seed: int) -> Render:
    """Load a vocoder, check its options, and return what copies a recording through it."""
    base, changes = split_name(name)
    engine.load_vocoder(base, changes)

    def render(audio: Waveform) -> Waveform:
        return engine.copy(audio, base, seed, changes)

    return render


def encoder_of_content(engine: Engine) -> Encoder:
    """Return the encoder of speech distances.

    Raises:
        UserError: its checkpoint is not installed.
    """
    folder = catalog.find_checkpoint(CONTENT_ENCODER)
    loaded = checkpoint.load(folder, engine.device)
    tokenizer, layer = loaded.generator(), loaded.config.depth
    name = f"{CONTENT_ENCODER} ({checkpoint.fingerprint(folder)[:8]}), block {layer}"
    return content_encoder(name, lambda audio: tokenizer.features(audio.to(engine.device), layer))


def found_or_told(make: Callable[[], Encoder], label: str, missing: list[str]) -> Encoder | None:
    """Return the encoder that `make` makes; if that fails, None and a line in `missing`."""
    try:
        return make()
    except UserError as error:
        missing.append(f"not measured, {label}: {error}")
        return None
