"""Prepares a corpus once: decodes, checks and stores its audio, then computes features from what is stored.

Running it again on a prepared folder only adds the features that are missing; a feature counts as present if its
producer (settings, vocabulary, tokenizer) is the same. Every step is written beside and renamed when complete.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from lhotse import AudioSource, CutSet, MonoCut, Recording, SupervisionSegment
from numpy.typing import NDArray

from speechgen.audio.spectrogram import log_mel
from speechgen.core.errors import UserError, unknown
from speechgen.core.protocols import Progress
from speechgen.core.types import MelSettings, Waveform
from speechgen.data.corpora import Utterance, read_folder, read_lhotse
from speechgen.data.decode import AUDIO_PRODUCER, RATE, SCALE, Decoded, decode
from speechgen.data.features import FeatureStore, FeatureWriter, producer_hash
from speechgen.data.report import Report, text_outliers

__all__ = ["Tokenizer", "add_features", "load_cuts", "prepare_corpus"]

FEATURES = ("audio", "mel", "phonemes", "tokens")
MIN_SECONDS, LONG_SECONDS = 0.3, 30.0
CLIPPING_SHARE = 1e-3
TOKEN_BATCH_SECONDS = 120.0

Input = TypeVar("Input")
Output = TypeVar("Output")


@dataclass(frozen=True)
class Tokenizer:
    """What computes the `tokens` feature: audio [B, L] to ids [B, T'] with their lengths, and the checkpoint's fingerprint."""

    encode: Callable[[Waveform], Any]
    fingerprint: str


def prepare_corpus(
    source: Path,
    out: Path,
    features: Sequence[str] = ("audio", "mel"),
    *,
    corpus: str = "folder",
    language: str = "en-us",
    tokenizer: Tokenizer | None = None,
    jobs: int = 1,
    progress: Callable[[str], Progress] | None = None,
) -> Report:
    """Prepare a corpus, or add features to a prepared one.

    Args:
        source: the corpus as downloaded, or a folder with metadata (see `corpora`).
        out: the prepared folder.
        features: any of FEATURES; audio is always stored.
        corpus: "folder" or the name of a lhotse recipe.
        language: of utterances whose metadata does not say.
        tokenizer: needed for "tokens".
        jobs: worker processes.
        progress: given the name of a step, returns what is called with (done, total).

    Raises:
        UserError: unknown corpus or feature, unreadable metadata, or not one usable utterance.
    """
    for name in features:
        if name not in FEATURES:
            raise unknown("feature", name, FEATURES)
    if "tokens" in features and tokenizer is None:
        raise UserError("the tokens feature needs a tokenizer: give --tokenizer CHECKPOINT_FOLDER")
    if (out / "cuts.jsonl.gz").is_file():
        report = Report.load(out)
    else:
        utterances = read_folder(source, language) if corpus == "folder" else read_lhotse(corpus, source, language)
        report = store_audio(utterances, out, Report(corpus, str(source)), jobs=jobs, progress=progress)
    add_features(out, features, tokenizer=tokenizer, jobs=jobs, progress=progress)
    return report


def load_cuts(folder: Path) -> CutSet:
    """Return the cuts of a prepared folder, in memory.

    Raises:
        UserError: the folder is not prepared.
    """
    path = folder / "cuts.jsonl.gz"
    if not path.is_file():
        raise UserError(f"{folder} is not a prepared corpus (no cuts.jsonl.gz): run `speechgen prepare` with --out {folder}")
    return CutSet.from_file(path).to_eager()


def store_audio(
    utterances: Sequence[Utterance],
    out: Path,
    report: Report,
    *,
    jobs: int = 1,
    progress: Callable[[str], Progress] | None = None,
) -> Report:
    """Decode all utterances into the `audio` feature; write the cuts and the report.

    Raises:
        UserError: not one utterance is usable.
    """
    step = progress("audio") if progress else None
    cuts: dict[str, MonoCut] = {}
    digests: set[str] = set()
    with FeatureWriter(out, "audio", AUDIO_PRODUCER) as writer, _workers(jobs) as run:
        for done, decoded in enumerate(run(decode, utterances), 1):
            utterance_id = decoded.utterance.id
            fault = decoded.fault or _fault(decoded, digests)
            if fault:
                report.faults[fault].append(utterance_id)
            else:
                cut = _cut(decoded, _unique(utterance_id, cuts))
                cuts[cut.id] = cut
                writer.add(cut.id, decoded.samples)
                if decoded.clipping > CLIPPING_SHARE:
                    report.warnings["clipping"].append(cut.id)
            if step:
                step(done, len(utterances))
        if not cuts:
            found = ", ".join(f"{len(ids)} {kind}" for kind, ids in report.faults.items())
            raise UserError(f"no usable utterance in {report.source}: {found}")
    kept = list(cuts.values())
    _warn(kept, report)
    cut_set = CutSet.from_cuts(kept)
    report.count(cut_set)
    report.save(out)
    beside = out / f".{os.getpid()}.cuts.jsonl.gz"
    cut_set.to_file(beside)
    beside.replace(out / "cuts.jsonl.gz")
    return report


def add_features(
    out: Path,
    features: Iterable[str],
    *,
    tokenizer: Tokenizer | None = None,
    jobs: int = 1,
    progress: Callable[[str], Progress] | None = None,
) -> None:
    """Compute those of `features` that a prepared folder lacks, from its stored audio and texts."""
    cuts = load_cuts(out)
    audio = FeatureStore(out / "features" / f"audio-{producer_hash(AUDIO_PRODUCER)}")
    for name in features:
        step = progress(name) if progress else None
        if name == "mel":
            settings = MelSettings()
            producer = {"audio": audio.producer, "mel": settings.model_dump()}
            ids = [cut.id for cut in cuts]
            with _workers(jobs) as run:
                _write(out, "mel", producer, len(ids), zip(ids, run(partial(_mel, audio, settings), ids), strict=True), step)
        elif name == "tokens" and tokenizer is not None:
            producer = {"audio": audio.producer, "tokenizer": tokenizer.fingerprint}
            _write(out, "tokens", producer, len(audio), _tokens(audio, tokenizer), step)


def _write(
    out: Path,
    kind: str,
    producer: dict[str, Any],
    total: int,
    entries: Iterable[tuple[str, NDArray[Any]]],
    step: Progress | None,
) -> None:
    """Write one feature unless it is there already."""
    if (out / "features" / f"{kind}-{producer_hash(producer)}" / "index.json").is_file():
        return
    with FeatureWriter(out, kind, producer) as writer:
        for done, (cut_id, values) in enumerate(entries, 1):
            writer.add(cut_id, values)
            if step:
                step(done, total)


def _mel(audio: FeatureStore, settings: MelSettings, cut_id: str) -> NDArray[np.float16]:
    """Log-mel [T, M] of one stored utterance."""
    samples = torch.from_numpy(audio.get(cut_id).astype(np.float32) / SCALE)
    return log_mel(samples[None], settings)[0].numpy().astype(np.float16)


def _tokens(audio: FeatureStore, tokenizer: Tokenizer) -> Iterator[tuple[str, NDArray[np.int16]]]:
    """Tokens of every stored utterance, in batches of similar length."""
    batch: list[str] = []
    for cut_id in [*sorted(audio.offsets, key=audio.length), None]:
        if batch and (cut_id is None or audio.length(cut_id) * (len(batch) + 1) > TOKEN_BATCH_SECONDS * RATE):
            lengths = torch.tensor([audio.length(i) for i in batch])
            samples = torch.zeros(len(batch), int(lengths.max()))
            for row, i in zip(samples, batch, strict=True):
                row[: audio.length(i)] = torch.from_numpy(audio.get(i).astype(np.float32) / SCALE)
            tokens = tokenizer.encode(Waveform(samples, lengths, RATE))
            for i, ids, length in zip(batch, tokens.ids, tokens.lengths, strict=True):
                yield i, ids[: int(length)].numpy().astype(np.int16)
            batch = []
        if cut_id is not None:
            batch.append(cut_id)


@contextmanager
def _workers(jobs: int) -> Iterator[Callable[[Callable[[Input], Output], Sequence[Input]], Iterable[Output]]]:
    """Yield an ordered map: in this process, or over a pool of `jobs` processes."""
    if jobs <= 1:
        yield map
        return
    # Spawned, because a process that has used torch cannot be forked safely.
    with multiprocessing.get_context("spawn").Pool(jobs, torch.set_num_threads, (1,)) as pool:
        yield lambda function, inputs: pool.imap(function, inputs, chunksize=16)


def _fault(decoded: Decoded, digests: set[str]) -> str:
    """What makes a readable utterance unusable, or nothing; remembers its digest."""
    assert decoded.samples is not None
    if len(decoded.samples) < MIN_SECONDS * RATE:
        return "too_short"
    if decoded.digest in digests:
        return "duplicate"
    digests.add(decoded.digest)
    return ""


def _unique(name: str, taken: dict[str, MonoCut]) -> str:
    """`name`, numbered if another utterance has it."""
    return next(n for n in (name, *(f"{name}-{k}" for k in range(2, len(taken) + 3))) if n not in taken)


def _cut(decoded: Decoded, cut_id: str) -> MonoCut:
    """The utterance as a window into its recording; `duration` is that of the stored samples."""
    assert decoded.samples is not None
    utterance = decoded.utterance
    seconds = len(decoded.samples) / RATE
    recording = Recording(
        id=cut_id,
        sources=[AudioSource("file", [0], str(utterance.path))],
        sampling_rate=decoded.source_rate,
        num_samples=decoded.source_samples,
        duration=decoded.source_samples / decoded.source_rate,
    )
    spoken = SupervisionSegment(
        cut_id, cut_id, 0.0, seconds, text=utterance.text, speaker=utterance.speaker, language=utterance.language
    )
    return MonoCut(cut_id, decoded.start_seconds, seconds, 0, supervisions=[spoken], recording=recording)


def _warn(cuts: list[MonoCut], report: Report) -> None:
    """Note what is odd about kept utterances; a text that cannot be right is marked on the cut."""
    outliers = text_outliers(cuts)
    for cut in cuts:
        if cut.duration > LONG_SECONDS:
            report.warnings["too_long"].append(cut.id)
        if not cut.supervisions[0].text:
            report.warnings["no_text"].append(cut.id)
        if cut.id in outliers:
            report.warnings["text_outlier"].append(cut.id)
            cut.custom = {"text_outlier": True}
