"""Small corpora: generated wavs, and prepared folders whose every entry tells where it came from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, MonoCut, SupervisionSegment

from speechgen.data.features import FeatureWriter

RATE = 24000
TOKEN = 512


def write_tone(path: Path, seconds: float = 1.0, *, rate: int = 16000, pitch: float = 220.0, level: float = 0.1) -> Path:
    """Write a sine with a little noise, different for every pitch."""
    time = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(int(pitch)).standard_normal(len(time))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, level * (np.sin(2 * np.pi * pitch * time) + 0.05 * noise), rate)
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Callable[..., Path]:
    """Make a source folder of `count` tones with metadata in one of the forms."""

    def make(form: str = "header", count: int = 3) -> Path:
        source = tmp_path / f"source-{form}"
        names = [f"u{n}" for n in range(count)]
        for n, name in enumerate(names):
            write_tone(source / f"{name}.wav", 0.8 + 0.1 * n, pitch=200 + 10 * n)
        if form == "header":
            lines = ["file|speaker|text|seconds", *(f"{name}.wav|s{n % 2}|the cat {n}.|1" for n, name in enumerate(names))]
        elif form == "jsonl":
            rows = ({"audio": f"{name}.wav", "text": f"the cat {n}.", "speaker": f"s{n % 2}"} for n, name in enumerate(names))
            lines = [json.dumps(row) for row in rows]
        else:
            separator = "\t" if form == "tsv" else "|"
            lines = [f"{name}.wav{separator}the cat {n}." for n, name in enumerate(names)]
        suffix = form if form in ("tsv", "jsonl") else "csv"
        (source / f"metadata.{suffix}").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return source

    return make


def write_prepared(folder: Path, utterances: Mapping[str, tuple[str, int]], *, first: int = 0, tokenizer: str = "one") -> Path:
    """Write a prepared folder from {id: (speaker, number of tokens)}.

    Token n of utterance u is `first + 100 * u + n`; each sample and frame holds the number of the token it belongs to.
    """
    cuts = []
    made = {kind: FeatureWriter(folder, kind, {"made": kind}) for kind in ("audio", "mel", "labels", "phonemes", "pitch")}
    made["tokens"] = FeatureWriter(folder, "tokens", {"tokenizer": tokenizer})
    made["codes"] = FeatureWriter(folder, "codes", {"codec": "f0", "rate": 2 * RATE / TOKEN})
    made["latents"] = FeatureWriter(folder, "latents", {"autoencoder": "its", "rate": RATE / TOKEN / 2})
    for writer in made.values():
        writer.__enter__()
    for index, (name, (speaker, size)) in enumerate(utterances.items()):
        ids = first + 100 * index + np.arange(size)
        made["audio"].add(name, np.repeat(ids, TOKEN))
        made["mel"].add(name, np.repeat(np.repeat(ids, 2)[:, None], 100, axis=1))
        made["tokens"].add(name, ids)
        made["codes"].add(name, np.repeat(ids, 2)[:, None] + np.arange(3))
        made["pitch"].add(name, np.repeat(ids, 2) + 0.5)
        made["labels"].add(name, ids + 1)
        made["latents"].add(name, np.repeat(ids[::2, None], 3, axis=1))
        made["phonemes"].add(name, np.array([1, index + 4, 2]))
        seconds = size * TOKEN / RATE
        spoken = SupervisionSegment(name, name, 0.0, seconds, text=name, speaker=speaker, language="en-us")
        cuts.append(MonoCut(name, 0.0, seconds, 0, supervisions=[spoken]))
    for writer in made.values():
        writer.__exit__(None, None, None)
    CutSet.from_cuts(cuts).to_file(folder / "cuts.jsonl.gz")
    return folder
