"""What a reference says, by a Whisper that is on this machine already; nothing is ever downloaded for it.

It is looked for in $SPEECHGEN_HOME/whisper (a folder with config.json, tokenizer and model.safetensors), then in the cache of
the Hugging Face hub, where `openai/whisper-*` lies if any program has fetched it; the largest is taken.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import torch

from speechgen.audio.resample import resample
from speechgen.core.types import Waveform
from speechgen.pipeline.hearing import CannotHear, Hear
from speechgen.service import catalog

__all__ = ["find_whisper", "local_whisper"]

RATE = 16000


def find_whisper() -> Path | None:
    """Return the folder of a Whisper with its weights, None if there is none."""
    hub = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface") / "hub"
    places = [catalog.home() / "whisper"]
    cached = Path(os.environ.get("HF_HUB_CACHE") or hub).glob("models--openai--whisper-*/snapshots/*")
    places += sorted(cached, key=_size, reverse=True)
    return next((place for place in places if (place / "config.json").is_file() and _size(place)), None)


def _size(folder: Path) -> int:
    weights = folder / "model.safetensors"
    return weights.stat().st_size if weights.is_file() else 0


def local_whisper(device: torch.device) -> Hear | None:
    """Return what writes down speech, loaded when it is first asked; None without a Whisper here, or without transformers."""
    folder = find_whisper()
    if folder is None:
        return None
    try:
        import transformers
    except ImportError:
        return None

    @cache
    def loaded() -> Any:
        try:
            return transformers.pipeline("automatic-speech-recognition", model=str(folder), device=device)
        except Exception as error:  # of half a copy transformers raises what its own loaders do
            raise CannotHear(f"the Whisper in {folder} cannot be loaded ({type(error).__name__}), copy it again") from error

    def hear(audio: Waveform) -> str:
        samples = resample(audio, RATE).samples[0].float().cpu().numpy()
        made: dict[str, str] = loaded()({"raw": samples, "sampling_rate": RATE})
        return made["text"].strip()

    return hear
