"""Codecs compared as vocoders are, and what codes alone have: bits, use of the codebooks, words that are still understood."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from speechgen.audio.io import read_audio
from speechgen.core.errors import UserError
from speechgen.core.protocols import Codec, Progress
from speechgen.core.types import Waveform
from speechgen.evaluation.encoders import Encoder
from speechgen.evaluation.intelligibility import dictionary_words, error_rate_by_speaker, recognisable
from speechgen.evaluation.spectral import si_sdr
from speechgen.evaluation.speed import percentiles, real_time_factor
from speechgen.evaluation.vocoders import VocoderReport, evaluate_vocoders

__all__ = ["CodecFigures", "CodecReport", "Spoken", "evaluate_codecs"]


@dataclass(frozen=True)
class Spoken:
    """A recording whose words are known, and who says them."""

    path: Path
    speaker: str
    text: str


@dataclass(frozen=True)
class CodecFigures:
    """Of one codec, over all clips.

    Attributes:
        codebooks: that were used.
        kilobits: per second.
        si_sdr: scale-invariant signal to distortion ratio in dB, mean over clips.
        wer: of the copies; None: no clip has a text.
        used: share of each codebook's codes that occur.
        perplexity: of each codebook: how many codes are used, if all alike.
        encode_rtf: median over clips.
        decode_rtf: likewise.
    """

    codebooks: int
    kilobits: float
    si_sdr: float
    wer: float | None
    used: tuple[float, ...]
    perplexity: tuple[float, ...]
    encode_rtf: float
    decode_rtf: float


@dataclass(frozen=True)
class CodecReport:
    """The copies as those of vocoders, and figures of each codec; `wer` is that of the recordings themselves."""

    copies: VocoderReport
    codecs: Mapping[str, CodecFigures]
    wer: float | None
    texts: int

    def table(self) -> str:
        """Return two Markdown tables."""
        heads = ["codec", "kbit/s", "SI-SDR dB", f"WER ({self.texts} texts)", "codes used", "perplexity by codebook"]
        heads += ["encode rtf", "decode rtf"]
        rows = [["recordings", "–", "–", _share(self.wer), *["–"] * 4]]
        for name, figures in self.codecs.items():
            uses = " ".join(f"{value:.0f}" for value in figures.perplexity)
            rates = [f"{figures.encode_rtf:.4f}", f"{figures.decode_rtf:.4f}"]
            used = f"{100 * sum(figures.used) / len(figures.used):.0f} %"
            rows.append([name, f"{figures.kilobits:.2f}", f"{figures.si_sdr:.2f}", _share(figures.wer), used, uses, *rates])
        lines = ["| " + " | ".join(cells) + " |" for cells in [heads, ["---"] * len(heads), *rows]]
        return "\n".join([self.copies.table(), "", *lines])

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


@dataclass
class _Listener:
    """Takes recordings through a codec and keeps what is asked of it later."""

    codec: Codec
    codebooks: int
    device: torch.device
    copies: list[Waveform] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    encode_rtf: list[float] = field(default_factory=list)
    decode_rtf: list[float] = field(default_factory=list)
    counts: Tensor | None = None  # [Q, size]

    def __call__(self, audio: Waveform) -> Waveform:
        started = time.perf_counter()
        tokens = self.codec.encode(audio.to(self.device), self.codebooks)
        encoded = time.perf_counter()
        made = self.codec.decode(tokens).to("cpu")
        decoded = time.perf_counter()
        self.encode_rtf.append(real_time_factor(encoded - started, audio.seconds))
        self.decode_rtf.append(real_time_factor(decoded - encoded, audio.seconds))
        found = torch.nn.functional.one_hot(tokens.ids[0].cpu(), self.codec.size).sum(1)  # [Q, size]
        self.counts = found if self.counts is None else self.counts + found
        copy = Waveform.single(made.samples[0, : math.ceil(audio.seconds * made.rate)], made.rate)
        self.ratios.append(si_sdr(audio, copy))
        self.copies.append(copy)
        return copy


def evaluate_codecs(
    codecs: Mapping[str, tuple[Codec, int]],
    files: Sequence[Path],
    texts: Sequence[Spoken] = (),
    *,
    device: torch.device,
    content: Encoder | None = None,
    voice: Encoder | None = None,
    opinions: bool = True,
    missing: Sequence[str] = (),
    save_to: Path | None = None,
    progress: Progress | None = None,
) -> CodecReport:
    """Take every file through every codec and compare the copies with the originals.

    Args:
        codecs: by name, each with the number of codebooks to use.
        files: recordings.
        texts: what some of them say. Those with words that the recogniser does not know are passed over.
        device: of the codecs.
        content: encoder of FDSD and KDSD.
        voice: encoder of FAD.
        opinions: predict opinion scores too.
        missing: what the caller has found missing, told in the report.
        save_to: keep the copies as `<codec>/<file>.wav` in this folder.
        progress: told after each copy.

    Raises:
        UserError: no files or codecs, or a file cannot be read or compared.
    """
    listeners = {name: _Listener(codec, codebooks, device) for name, (codec, codebooks) in codecs.items()}
    copies = evaluate_vocoders(
        listeners, files, content=content, voice=voice, opinions=opinions, missing=missing, save_to=save_to, progress=progress
    )
    known = _understandable(texts)
    originals = {said.path: read_audio(said.path) for said in known}
    figures = {
        name: _figures(listener, _errors(known, dict(zip(files, listener.copies, strict=True))))
        for name, listener in listeners.items()
    }
    return CodecReport(copies, figures, _errors(known, originals), len(known))


def _understandable(texts: Sequence[Spoken]) -> list[Spoken]:
    """Texts whose every word the recogniser knows; none if it is not installed."""
    try:
        words = dictionary_words() if texts else frozenset()
    except UserError:
        return []
    return [said for said in texts if recognisable(said.text, words)]


def _errors(texts: Sequence[Spoken], heard: Mapping[Path, Waveform]) -> float | None:
    """Word error rate over all speakers."""
    if not texts:
        return None
    return error_rate_by_speaker(
        [said.text for said in texts], [said.speaker for said in texts], [heard[said.path] for said in texts]
    )


def _figures(listener: _Listener, wer: float | None) -> CodecFigures:
    counts = listener.counts if listener.counts is not None else torch.zeros(1, 1)
    shares = counts / counts.sum(-1, keepdim=True)
    return CodecFigures(
        codebooks=listener.codebooks,
        kilobits=listener.codebooks * math.log2(listener.codec.size) * listener.codec.rate / 1000,
        si_sdr=float(np.mean(listener.ratios)),
        wer=wer,
        used=tuple((counts > 0).float().mean(-1).tolist()),
        perplexity=tuple(torch.special.entr(shares).sum(-1).exp().tolist()),
        encode_rtf=percentiles(listener.encode_rtf).p50,
        decode_rtf=percentiles(listener.decode_rtf).p50,
    )
