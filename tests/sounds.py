"""Sounds of three kinds, and folders of them: for tests of what recognises sounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 24000
KINDS = {"dog bark": "tone", "Rain": "noise", "clock tick": "clicks"}


def sound(kind: str, seed: int, seconds: float = 0.6) -> np.ndarray:
    rng, time = np.random.default_rng(seed), np.arange(int(seconds * RATE)) / RATE
    if kind == "tone":
        return np.sin(2 * np.pi * rng.uniform(200, 600) * time) * np.exp(-3 * time)
    if kind == "noise":
        return rng.standard_normal(len(time)) * rng.uniform(0.1, 0.3)
    return np.where(time % rng.uniform(0.1, 0.2) < 0.002, 1.0, 0.001 * rng.standard_normal(len(time)))


def corpus(folder: Path, count: int, first_seed: int, texts: dict[str, str]) -> Path:
    """A folder of clips: {text: kind of sound}."""
    folder.mkdir()
    lines = ["file|text"]
    for n, (text, kind) in enumerate(list(texts.items()) * count):
        soundfile.write(folder / f"{n}.wav", 0.5 * sound(kind, first_seed + n), RATE)
        lines.append(f"{n}.wav|{text}")
    (folder / "metadata.csv").write_text("\n".join(lines))
    return folder
