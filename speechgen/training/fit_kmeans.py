"""Fits a tokenizer's centroids: hidden states of real speech, z-normalised, then mini-batch k-means (Lakhotia et al., 2021).

The encoder is not changed. It may come from a checkpoint trained here or from a network of `transformers`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechgen.core import checkpoint, registry
from speechgen.core.checkpoint import CheckpointInfo, Loaded
from speechgen.core.config import validate
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.random import mix
from speechgen.core.types import MelSettings, Waveform
from speechgen.data.decode import RATE, SCALE
from speechgen.data.features import FeatureStore, find

__all__ = ["KMeansFit", "fit_kmeans", "open_encoder"]

_MODEL = "wav2vec2_kmeans"


@dataclass(frozen=True)
class KMeansFit:
    """What was fitted: frames used, share of the variance that the centroids leave unexplained, clusters that are used."""

    frames: int
    unexplained: float
    used: int


def open_encoder(source: Path) -> Loaded:
    """Open a checkpoint of this project, or a folder of `transformers` weights (wav2vec 2.0, HuBERT, WavLM).

    Raises:
        UserError: it is neither.
    """
    if not (source / "config.json").is_file():
        raise UserError(f"no encoder at {source}: give a checkpoint folder or a folder with a transformers config.json")
    try:
        settings: dict[str, Any] = json.loads((source / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{source}/config.json is damaged: {error}") from error
    if "model_type" not in settings:
        return checkpoint.load(source)
    from transformers import AutoModel

    spec = registry.get(_MODEL)
    config = validate(spec.config, {"pretrained": settings, "layer": 1}, str(source / "config.json"))
    network = spec.build(config)
    network.encoder = AutoModel.from_pretrained(source, local_files_only=True, use_safetensors=True)
    info = CheckpointInfo(
        format=checkpoint.FORMAT, model=_MODEL, config={}, accepts=spec.accepts, produces=spec.produces, mel=MelSettings()
    )
    return Loaded(source, info, spec, config, network.float().eval())


def fit_kmeans(
    source: Path,
    folders: Sequence[Path],
    out: Path,
    *,
    layer: int,
    clusters: int,
    frames: int = 200_000,
    seed: int = 0,
    progress: Progress | None = None,
) -> KMeansFit:
    """Fit centroids on one layer and write the finished tokenizer.

    Args:
        source: see `open_encoder`.
        folders: prepared corpora with the `audio` feature.
        out: checkpoint folder to write.
        layer: hidden layer, 1 = after the first block.
        clusters: number of centroids.
        frames: hidden states to fit on, drawn from random utterances.
        seed: order of the utterances and start of k-means.
        progress: called with (frames so far, frames).

    Raises:
        UserError: no audio, or fewer frames than clusters.
    """
    from sklearn.cluster import MiniBatchKMeans

    encoder = open_encoder(source)
    config = validate(type(encoder.config), {**encoder.config.model_dump(), "layer": layer, "clusters": clusters}, "fit-kmeans")
    features = _hidden_states(encoder, folders, layer, frames, seed, progress)
    if len(features) < clusters:
        raise UserError(f"{len(features)} frames cannot make {clusters} clusters: give more audio or fewer clusters")
    mean, scale = features.mean(0), features.std(0) + 1e-5
    normalised = (features - mean) / scale
    fitted = MiniBatchKMeans(clusters, batch_size=10_000, n_init=5, max_no_improvement=50, random_state=seed).fit(normalised)
    state = {key: value for key, value in encoder.network.state_dict().items() if not key.startswith("centroids.")}
    state |= {
        f"centroids.{key}": torch.from_numpy(np.asarray(value, np.float32))
        for key, value in (("centers", fitted.cluster_centers_), ("mean", mean), ("scale", scale))
    }
    info = encoder.info.model_copy(update={"config": config.model_dump(mode="json")})
    recipe = source / "recipe.yaml"
    fit = KMeansFit(len(features), float(fitted.inertia_ / normalised.size), len(np.unique(fitted.labels_)))
    checkpoint.save(out, info, state, recipe=recipe.read_text(encoding="utf-8") if recipe.is_file() else "", metrics=vars(fit))
    return fit


def _hidden_states(
    encoder: Loaded, folders: Sequence[Path], layer: int, frames: int, seed: int, progress: Progress | None
) -> NDArray[np.float32]:
    """Hidden states [N, D] of random utterances, N about `frames`."""
    generator = encoder.generator()
    collected: list[NDArray[np.float32]] = []
    total = 0
    for audio in _utterances(folders, seed):
        hidden, lengths = generator.features(audio, layer)
        collected.append(hidden[0, : lengths[0]].numpy())
        total += len(collected[-1])
        if progress is not None:
            progress(min(total, frames), frames)
        if total >= frames:
            break
    return np.concatenate(collected) if collected else np.empty((0, 1), np.float32)


def _utterances(folders: Sequence[Path], seed: int) -> Iterator[Waveform]:
    """Audio of all folders in random order."""
    paths = list(chain.from_iterable(find(folder, "audio").values() for folder in folders))
    if not paths:
        raise UserError(f"no audio feature in {', '.join(map(str, folders))}: run `speechgen prepare … --features audio`")
    stores = [FeatureStore(path) for path in paths]
    items = [(store, key) for store in stores for key in store.offsets]
    for index in np.random.default_rng(mix(seed, "k-means")).permutation(len(items)):
        store, key = items[index]
        yield Waveform.single(torch.from_numpy(store.get(key).astype(np.float32) / SCALE), RATE)
