"""Figures of waveform models on a prepared corpus: bits per sample beside linear prediction, and whether digits are understood.

Likelihoods of one table are comparable if the rows name the same quantiser and rate.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from speechgen.audio.io import write_audio
from speechgen.audio.quantize import dequantize, read_levels
from speechgen.core.config import StrictModel
from speechgen.core.errors import UserError
from speechgen.core.files import folder_name
from speechgen.core.protocols import AutoregressiveModel, Progress
from speechgen.core.random import generator
from speechgen.core.types import Waveform
from speechgen.evaluation.digits import DigitClassifier, accuracy, recognise, train_classifier
from speechgen.evaluation.prediction import prediction_bits
from speechgen.service import catalog, waveforms
from speechgen.service.prepared import RATE, read_clips
from speechgen.service.vocoders import split_name
from speechgen.text.english_numbers import DIGITS

__all__ = ["WaveformFigures", "WaveformReport", "measure_waveforms"]

CLIP_SECONDS = 1.0


@dataclass(frozen=True)
class WaveformFigures:
    """Of one model.

    Attributes:
        quantizer: of its levels.
        rate: samples per second.
        bits: per sample, mean over all samples of the split.
        predicted: the same by adaptive linear prediction.
        real: accuracy of the digit classifier on the split; None if the corpus holds no digits.
        confident: share of generated clips in which it hears a digit with more than 0.8 probability.
        counts: these clips by digit.
    """

    quantizer: str
    rate: int
    bits: float
    predicted: float
    real: float | None
    confident: float | None
    counts: tuple[int, ...]


@dataclass(frozen=True)
class WaveformReport:
    """All models on one split."""

    models: dict[str, WaveformFigures]
    data: str
    clips: int
    seconds: float
    generated: int

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)

    def table(self) -> str:
        """Return the figures as Markdown."""
        rows = ["| model | quantiser | rate | bits per sample | linear prediction | real digits | generated digits | of each |",
                "|---|---|--:|--:|--:|--:|--:|---|"]  # fmt: skip
        for name, each in self.models.items():
            real, confident = (("–" if value is None else f"{value:.1%}") for value in (each.real, each.confident))
            rows.append(
                f"| {name} | {each.quantizer}, 8 bit | {each.rate} | {each.bits:.3f} | {each.predicted:.3f} | {real} | "
                f"{confident} | {' '.join(map(str, each.counts))} |"
            )
        said = f"{self.data}: {self.clips} clips, {self.seconds:.0f} s; {self.generated} generated clips of {CLIP_SECONDS:g} s"
        return "\n".join((*rows, "", said))


def measure_waveforms(
    names: Sequence[str],
    data: Path,
    *,
    count: int = 100,
    limit: int = 0,
    seed: int = 0,
    save_to: Path | None = None,
    progress: Progress | None = None,
) -> WaveformReport:
    """Measure models on data/test; if the texts are digits, also what is heard in generated clips.

    Args:
        names: checkpoints, options behind a colon (`service.vocoders.split_name`); without any, all that are installed.
        data: prepared corpus with the splits train and test.
        count: clips that each model draws.
        limit: use only the first clips of the test split; 0: all.
        seed: of what is drawn.
        save_to: keep the clips as `<model>/<seed>-<number>.wav` in this folder.
        progress: told after each model.

    Raises:
        UserError: there is no such model or split.
    """
    chosen = list(dict.fromkeys(names)) or catalog.of_role("waveform")
    if not chosen:
        raise UserError("no waveform model is installed: name a checkpoint's folder by --model")
    clips = read_clips(data / "test", limit)
    test, words = [clip.samples for clip in clips], [clip.text for clip in clips]
    audio = Waveform(torch.nn.utils.rnn.pad_sequence(test, True), torch.tensor([len(clip) for clip in test]), RATE)
    digits = [DIGITS.index(word) for word in words] if set(words) <= set(DIGITS) else None
    found, classifiers, predicted = {}, dict[int, DigitClassifier](), dict[tuple[int, str], float]()
    for number, name in enumerate(chosen):
        base, changes = split_name(name)
        model, options = waveforms.load_autoregressive(base, changes)
        kind = model.sample_rate, model.quantizer
        if kind not in predicted:
            predicted[kind] = _mean(prediction_bits(audio, *kind), audio)  # type: ignore[arg-type]
        real = confident = None
        counts: tuple[int, ...] = ()
        if digits is not None:
            if model.sample_rate not in classifiers:
                classifiers[model.sample_rate] = _classifier(data / "train", model)
            judge = classifiers[model.sample_rate]
            real = accuracy(judge, _heard(audio, model), digits)
            drawn = _draw(model, options, (count, seed), None if save_to is None else save_to / folder_name(name))
            heard = recognise(judge, drawn)
            confident, counts = heard.confident, heard.counts
        bits = _mean(model.bits(audio).numpy(), audio)
        found[name] = WaveformFigures(model.quantizer, model.sample_rate, bits, predicted[kind], real, confident, counts)
        if progress is not None:
            progress(number + 1, len(chosen))
    return WaveformReport(found, str(data / "test"), len(test), audio.lengths.sum().item() / RATE, count if digits else 0)


def _mean(bits, audio: Waveform) -> float:  # type: ignore[no-untyped-def]
    """Mean over all samples: rows weigh as much as they are long."""
    lengths = audio.lengths.double().numpy()
    return float((bits * lengths).sum() / lengths.sum())


def _heard(audio: Waveform, model: AutoregressiveModel) -> list[Tensor]:
    """Clips as the model's levels hold them: real and generated sound differ in nothing else."""
    levels, lengths = read_levels(audio, model.sample_rate, model.quantizer)  # type: ignore[arg-type]
    samples = dequantize(levels, model.quantizer)  # type: ignore[arg-type]
    return [row[:length] for row, length in zip(samples, lengths.tolist(), strict=True)]


def _classifier(folder: Path, model: AutoregressiveModel) -> DigitClassifier:
    clips = read_clips(folder)
    samples = [clip.samples for clip in clips]
    audio = Waveform(torch.nn.utils.rnn.pad_sequence(samples, True), torch.tensor([len(row) for row in samples]), RATE)
    return train_classifier(_heard(audio, model), [DIGITS.index(clip.text) for clip in clips], model.sample_rate)


def _draw(model: AutoregressiveModel, options: StrictModel, asked: tuple[int, int], save_to: Path | None) -> list[Tensor]:
    """Generated clips [L], so many of a seed, written to files if there is a folder for them."""
    count, seed = asked
    samples = round(CLIP_SECONDS * model.sample_rate)
    drawn = model.generate(count, samples, None, options=options, rng=generator(seed, "sample")).samples
    if save_to is not None:
        save_to.mkdir(exist_ok=True)
        for number, row in enumerate(drawn, 1):
            write_audio(save_to / f"{seed}-{number:03}.wav", row, model.sample_rate)
    return list(drawn)
