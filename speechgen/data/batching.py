"""Training batches from prepared folders: whole utterances in batches of similar length, or crops of one length.

Every batch is a function of (seed, its number) alone, so a run that starts at a later step continues as if it had never
stopped, and processes that take every world-th batch share nothing. `plan.py` chooses, this file reads and pads.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speechgen.core.config import StrictModel
from speechgen.core.errors import UserError, unknown
from speechgen.core.protocols import Batch
from speechgen.core.random import mix
from speechgen.core.types import MelSettings
from speechgen.data.compute import FRAMES_PER_TOKEN
from speechgen.data.decode import RATE, SCALE
from speechgen.data.features import KINDS, FeatureStore, find
from speechgen.data.plan import Crops, Item, WholeUtterances
from speechgen.data.prepare import load_cuts

__all__ = ["FIELDS", "DataConfig", "TrainingData"]

FIELDS = (*KINDS, "reference", "reference_latents")
_REFERENCES = {"reference": "mel", "reference_latents": "latents"}
"""Fields that are of another utterance of the speaker, and the feature they are read from."""
_FLOATS = ("mel", "reference", "latents", "reference_latents", "pitch")
REFERENCE_SECONDS = 3.0
_MEL = MelSettings()
_PADDING = {"mel": math.log(_MEL.floor), "reference": math.log(_MEL.floor)}
_TOKEN_SAMPLES = FRAMES_PER_TOKEN * _MEL.hop_samples
_PER_TOKEN = {"audio": _TOKEN_SAMPLES, "mel": FRAMES_PER_TOKEN, "tokens": 1, "labels": 1, "pitch": FRAMES_PER_TOKEN}
"""Entries of each field that one token spans, for cropping; of codes their producer tells."""
_AHEAD = 4
"""Batches read before they are asked for."""


class DataConfig(StrictModel):
    """How batches are made."""

    batch_seconds: float = Field(gt=0, description="audio in one batch, in seconds")
    crop_seconds: float | None = Field(
        None, gt=0, description="length of random crops, in whole tokens; null: whole utterances"
    )
    min_seconds: float = Field(0.5, gt=0, description="shorter utterances are left out")
    max_seconds: float = Field(15.0, gt=0, description="longer utterances are left out, unless cropped")
    speaker_balance: float = Field(
        0.0, ge=0, le=1, description="0: every utterance as often; 1: every speaker of a folder as long; whole utterances only"
    )
    buckets: int = Field(10, ge=1, description="groups of similar length that whole utterances are batched in")
    producers: dict[str, str] = Field({}, description="hash of a feature kind, where a folder has it from several producers")


class TrainingData:
    """The usable utterances of prepared folders, as endless batches.

    Attributes:
        producers: hash of each feature kind that is read, as in its folder's name.
        uses: fingerprint of the checkpoint behind a kind, such as {"tokens": ...}, where there is one.
        mel: definition of the mels that are read, if any are.
        latents: channels and rate of the latents that are read, if any are.
        summary: one line for people: what is used, what is left out and why.
    """

    def __init__(self, folders: Sequence[Path], fields: tuple[str, ...], config: DataConfig, seed: int) -> None:
        """Open the folders; reads indices only.

        Raises:
            UserError: unknown field, folder without a feature, ambiguous producer, or no usable utterance.
        """
        for name in fields:
            if name not in FIELDS:
                raise unknown("field", name, FIELDS)
        if config.crop_seconds is not None and config.speaker_balance:
            raise UserError("data.speaker_balance is for whole utterances: leave it or data.crop_seconds out")
        if config.crop_seconds is not None and (
            whole := {"phonemes", "characters", "alignment", "latents"}.intersection(fields)
        ):
            raise UserError(f"{whole.pop()} cannot be cropped with the audio: leave data.crop_seconds out for this objective")
        self._fields, self._config, self._seed = fields, config, seed
        self._crop = max(1, round(config.crop_seconds * RATE / _TOKEN_SAMPLES)) if config.crop_seconds else None  # tokens
        kinds = sorted({_REFERENCES.get(name, name) for name in fields})
        self.producers = {kind: _producer(folders, kind, config.producers) for kind in kinds}
        self._stores: list[dict[str, FeatureStore]] = []
        for folder in folders:
            paths = {kind: find(folder, kind).get(chosen) for kind, chosen in self.producers.items()}
            self._stores.append({kind: FeatureStore(path) for kind, path in paths.items() if path})
        made = [(kind, store.producer) for stores in self._stores for kind, store in stores.items()]
        makers = ("tokenizer", "codec", "autoencoder")
        self.uses = {kind: str(producer[name]) for kind, producer in made for name in makers if name in producer}
        latents = [stores["latents"] for stores in self._stores if "latents" in stores]
        self.latents = (latents[0].width, float(latents[0].producer["rate"])) if latents else None
        mels = [producer["mel"] for kind, producer in made if kind == "mel" and "mel" in producer]
        self.mel = MelSettings(**mels[0]) if mels else None
        self._items, self.summary = self._usable(folders)
        self._speakers: dict[tuple[int, str], list[Item]] = defaultdict(list)
        for item in self._items:
            self._speakers[item.folder, item.speaker].append(item)
        seconds = config.batch_seconds
        if config.crop_seconds is None:
            self._plan: WholeUtterances | Crops = WholeUtterances(
                self._items, seconds, config.buckets, seed, config.speaker_balance
            )
        else:
            self._plan = Crops(self._items, max(1, round(seconds / config.crop_seconds)), seed)

    def batches(self, start_step: int = 0, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Yield batches without end, read ahead by a thread.

        Args:
            start_step: how many batches this process has had before.
            rank: this process's number.
            world: number of processes; step s of rank r is batch s * world + r.
        """
        numbers = count(start_step * world + rank, world)
        with ThreadPoolExecutor(1, "batches") as pool:
            ahead = deque(pool.submit(self._read, next(numbers)) for _ in range(_AHEAD))
            while True:
                yield ahead.popleft().result()
                ahead.append(pool.submit(self._read, next(numbers)))

    def largest(self, kind: str) -> int:
        """The largest value of a feature that is read, such as the last id of `tokens`."""
        return max(stores[kind].largest() for stores in self._stores if kind in stores)

    def validation(self, limit_batches: int, rank: int = 0, world: int = 1) -> list[Batch]:
        """Return at most `limit_batches` batches of one pass, the same ones every time; at least one."""
        numbers = list(range(rank, self._plan.size, world))[:limit_batches] or [0]
        return [self._read(number) for number in numbers]

    def _read(self, number: int) -> Batch:
        """Read the fields of batch `number` and pad them to the longest."""
        rng = np.random.default_rng(mix(self._seed, "read", number))
        rows: dict[str, list[Tensor]] = {name: [] for name in self._fields}
        for item in self._plan(number):
            start = int(rng.integers(self._last_start(item) + 1))
            reference = item if _REFERENCES.keys().isdisjoint(self._fields) else self._another(item, rng)
            for name in self._fields:
                if name in _REFERENCES:
                    values = self._random_stretch(_REFERENCES[name], reference, rng)
                else:
                    values = self._values(name, item, start)
                rows[name].append(_tensor(name, values))
        lengths = {name: torch.tensor([len(row) for row in values]) for name, values in rows.items()}
        padded = {name: pad_sequence(values, True, _PADDING.get(name, 0)) for name, values in rows.items()}
        if "codes" in padded:
            padded["codes"] = padded["codes"].transpose(1, 2)  # [B, Q, T]
        return Batch(padded, lengths)

    def _last_start(self, item: Item) -> int:
        """The last token that a crop can start at."""
        return max(0, item.samples // _TOKEN_SAMPLES - self._crop) if self._crop else 0

    def _values(self, name: str, item: Item, start: int) -> NDArray[Any]:
        """One field of an utterance: all of it, or the crop from token `start`, repeated if the utterance is too short."""
        store = self._stores[item.folder][name]
        if not self._crop:
            return store.get(item.id)
        unit = store.producer["rate"] * _TOKEN_SAMPLES / RATE if name == "codes" else _PER_TOKEN[name]
        size = round(self._crop * unit)
        stop = min(start + self._crop, max(1, item.samples // _TOKEN_SAMPLES))
        first = round(start * unit)
        values = store.get(item.id, first, first + size if stop - start == self._crop else round(stop * unit))
        return values if len(values) == size else np.resize(values, (size, *values.shape[1:]))

    def _another(self, item: Item, rng: np.random.Generator) -> Item:
        """Another utterance of the same speaker; the same one if there is no other."""
        others = self._speakers[item.folder, item.speaker] if item.speaker else [item]
        chosen = others[int(rng.integers(len(others)))]
        if chosen is item and len(others) > 1:
            chosen = others[(others.index(item) + 1 + int(rng.integers(len(others) - 1))) % len(others)]
        return chosen

    def _random_stretch(self, kind: str, item: Item, rng: np.random.Generator) -> NDArray[Any]:
        """A random REFERENCE_SECONDS of an utterance's mel or latents, or all of it if it is shorter."""
        store = self._stores[item.folder][kind]
        frames = round(REFERENCE_SECONDS * float(store.producer.get("rate", _MEL.frame_rate)))
        start = int(rng.integers(max(0, store.length(item.id) - frames) + 1))
        return store.get(item.id, start, start + frames)

    def _usable(self, folders: Sequence[Path]) -> tuple[list[Item], str]:
        """Utterances that have every feature and an allowed length, and a line that says so."""
        config = self._config
        longest = config.max_seconds if config.crop_seconds is None else math.inf
        items: list[Item] = []
        left_out: Counter[str] = Counter()
        for number, folder in enumerate(folders):
            stores = self._stores[number]
            for cut in load_cuts(folder):
                lacking = next((kind for kind in self.producers if kind not in stores or cut.id not in stores[kind]), None)
                if lacking:
                    left_out[f"without {lacking}"] += 1
                elif cut.duration < config.min_seconds:
                    left_out[f"under {config.min_seconds:g} s"] += 1
                elif cut.duration > longest:
                    left_out[f"over {longest:g} s"] += 1
                else:
                    items.append(Item(number, cut.id, cut.supervisions[0].speaker or "", round(cut.duration * RATE)))
        reasons = ", ".join(f"{many} {reason}" for reason, many in left_out.items())
        if not items:
            where = ", ".join(str(folder) for folder in folders) or "no folder"
            raise UserError(
                f"no usable utterance in {where}: {reasons or 'none at all'}; prepare the features or widen the limits"
            )
        summary = f"{len(items)} utterances, {sum(item.seconds for item in items) / 3600:.2f} hours"
        return items, summary + (f"; left out: {reasons}" if reasons else "")


def _producer(folders: Sequence[Path], kind: str, chosen: Mapping[str, str]) -> str:
    """The hash of `kind` to read: the chosen one, or the only one that the folders have.

    Raises:
        UserError: there is none, several, or not the chosen one.
    """
    present = sorted({found for folder in folders for found in find(folder, kind)})
    if not present:
        raise UserError(f"no {kind} in {', '.join(map(str, folders))}: run `speechgen prepare` again with --features {kind}")
    if kind in chosen:
        if chosen[kind] not in present:
            raise unknown(f"producer of {kind}", chosen[kind], present)
        return chosen[kind]
    if len(present) > 1:
        raise UserError(
            f"{kind} has several producers ({', '.join(present)}): choose one with --set data.producers.{kind}={present[-1]}"
        )
    return present[0]


def _tensor(name: str, values: NDArray[Any]) -> Tensor:
    """Stored values as the objective reads them: audio, mels and pitch float32, the rest int64."""
    if name == "audio":
        return torch.from_numpy(values.astype(np.float32) / SCALE)
    return torch.from_numpy(values.astype(np.float32 if name in _FLOATS else np.int64))
