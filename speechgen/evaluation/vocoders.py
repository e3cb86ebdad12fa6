"""One table for all vocoders: each copies the same recordings, and every copy is measured against its original.

Measures whose package is missing are left out, and the report says what to install.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from importlib.metadata import version
from operator import add
from pathlib import Path

import numpy as np

from speechgen.audio.io import read_audio, write_audio
from speechgen.core.errors import UserError
from speechgen.core.files import folder_name
from speechgen.core.protocols import Progress
from speechgen.core.types import Waveform
from speechgen.evaluation.cepstral import ALPHA, ORDER, mel_cepstral_distortion
from speechgen.evaluation.encoders import Encoder
from speechgen.evaluation.frechet import Features, SetComparison, compare_sets
from speechgen.evaluation.intonation import PitchAgreement, pitch_agreement
from speechgen.evaluation.naturalness import OpinionScores, predict_opinion
from speechgen.evaluation.optional import require
from speechgen.evaluation.spectral import mel_distance, pesq_wideband, stoi
from speechgen.evaluation.speed import Percentiles, percentiles, real_time_factor

__all__ = ["CopyFigures", "Render", "VocoderReport", "evaluate_vocoders"]

Render = Callable[[Waveform], Waveform]
"""Takes a recording through a vocoder; must keep level and timing, may cut the end and change the rate."""

PACKAGES = {
    "pesq": ("pesq", '"speechgen[pesq]" (it compiles C)'),
    "stoi": ("pystoi", '"speechgen[eval]"'),
    "mcd": ("librosa.sequence", '"speechgen[eval]"'),
    "pitch": ("parselmouth", '"speechgen[eval]"'),
    "opinion": ("speechmos.dnsmos", '"speechgen[eval]"'),
}
"""Measure -> module it needs, and what to install. `mcd` needs that of `pitch`, too."""


@dataclass(frozen=True)
class CopyFigures:
    """Means over the clips of one vocoder, each copy against its original; None: not measured.

    Attributes:
        pesq: wide band, 1 to 4.64.
        stoi: at most 1.
        mcd: mel-cepstral distortion in dB.
        log_f0_rmse: of ln F0, over all frames that are voiced in both.
        voicing_error: share of all frames that are voiced in one only.
        mel_distance: mean absolute difference of natural-log mels.
        speech: distances of the content encoder's features (FDSD, KDSD).
        audio: distances of the voice encoder's features (FAD).
        opinion: predicted scores of the copies.
        rtf: work over sound for each clip, from recording to copy.
    """

    pesq: float | None
    stoi: float | None
    mcd: float | None
    log_f0_rmse: float | None
    voicing_error: float | None
    mel_distance: float
    speech: SetComparison | None
    audio: SetComparison | None
    opinion: OpinionScores | None
    rtf: Percentiles


@dataclass(frozen=True)
class VocoderReport:
    """Figures of each vocoder over the same `n` clips that last `seconds` together.

    Attributes:
        vocoders: by name.
        opinion: predicted scores of the recordings themselves.
        n: clips.
        seconds: of all clips.
        settings: how the figures were made.
        missing: why some were not.
    """

    vocoders: Mapping[str, CopyFigures]
    opinion: OpinionScores | None
    n: int
    seconds: float
    settings: str
    missing: tuple[str, ...]

    def table(self) -> str:
        """Return a Markdown table, the recordings' own floors first, with the settings below."""
        heads = ["vocoder", "PESQ-WB", "STOI", "MCD dB", "log-F0 RMSE", "V/UV error", "log-mel L1"]
        heads += ["FDSD / same", "KDSD / same", "FAD / same", "DNSMOS", "rtf"]
        floors = next(iter(self.vocoders.values()))
        rows = [["recordings", *["–"] * 6, *_floors(floors), _opinion(self.opinion), "–"]]
        rows += [_row(name, figures) for name, figures in self.vocoders.items()]
        lines = ["| " + " | ".join(cells) + " |" for cells in [heads, ["---"] * len(heads), *rows]]
        return "\n".join([*lines, "", self.settings, *self.missing])

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)


def _row(name: str, figures: CopyFigures) -> list[str]:
    speech, audio = figures.speech, figures.audio
    return [
        name,
        *(_number(value, digits) for value, digits in ((figures.pesq, 3), (figures.stoi, 4), (figures.mcd, 2))),
        *(_number(value, 4) for value in (figures.log_f0_rmse, figures.voicing_error, figures.mel_distance)),
        f"{speech.other.frechet:.3f} / {speech.same.frechet:.3f}" if speech else "–",
        f"{speech.other.kernel:.4f} / {speech.same.kernel:.4f}" if speech else "–",
        f"{audio.other.frechet:.4f} / {audio.same.frechet:.4f}" if audio else "–",
        _opinion(figures.opinion),
        _number(figures.rtf.p50, 3),
    ]


def _floors(figures: CopyFigures) -> list[str]:
    speech, audio = figures.speech, figures.audio
    cells = [f"{speech.floor.frechet:.3f}", f"{speech.floor.kernel:.4f}"] if speech else ["–", "–"]
    return [*cells, f"{audio.floor.frechet:.4f}" if audio else "–"]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _opinion(opinion: OpinionScores | None) -> str:
    return "–" if opinion is None else f"{opinion.ovrl:.2f}"


@dataclass(frozen=True)
class _Original:
    """A recording, and what is measured of it once."""

    name: str
    audio: Waveform
    speech: Features | None
    voice: Features | None


@dataclass(frozen=True)
class _Clip:
    """Measurements of one copy."""

    scores: dict[str, float]
    pitch: PitchAgreement | None
    opinion: OpinionScores | None
    speech: Features | None
    voice: Features | None
    rtf: float


def evaluate_vocoders(
    renders: Mapping[str, Render],
    files: Sequence[Path],
    *,
    content: Encoder | None = None,
    voice: Encoder | None = None,
    opinions: bool = True,
    missing: Sequence[str] = (),
    save_to: Path | None = None,
    progress: Progress | None = None,
) -> VocoderReport:
    """Take every file through every vocoder and compare the copies with the originals.

    Args:
        renders: by the vocoder's name.
        files: recordings of speech.
        content: encoder of FDSD and KDSD.
        voice: encoder of FAD.
        opinions: predict opinion scores too.
        missing: what the caller has found missing, told in the report.
        save_to: keep the copies as `<vocoder>/<file>.wav` in this folder.
        progress: told after each copy.

    Raises:
        UserError: no files or vocoders, or a file cannot be read or compared.
    """
    if not files or not renders:
        raise UserError(f"{len(files)} files and {len(renders)} vocoders to evaluate: give at least one of each")
    measures, found_missing = _available(opinions)
    originals = [_read(path, content, voice) for path in files]
    figures = {}
    for order, (name, render) in enumerate(renders.items()):
        clips = []
        for number, original in enumerate(originals, 1):
            folder = None if save_to is None else save_to / folder_name(name)
            try:
                clips.append(_copy(render, original, measures, content, voice, folder))
            except UserError as error:
                raise UserError(f"{original.name}: {error}") from error
            if progress:
                progress(order * len(files) + number, len(renders) * len(files))
        figures[name] = _summarise(originals, clips)
    return VocoderReport(
        vocoders=figures,
        opinion=_mean_opinion([predict_opinion(original.audio) for original in originals] if "opinion" in measures else []),
        n=len(originals),
        seconds=sum(original.audio.seconds for original in originals),
        settings=_settings(originals, next(iter(figures.values())), measures, content, voice),
        missing=(*missing, *found_missing),
    )


def _available(opinions: bool) -> tuple[set[str], list[str]]:
    """Return the measures whose packages are here, and why the others are not made."""
    found, lines = set(), []
    for name, (module, install) in PACKAGES.items():
        if name == "opinion" and not opinions:
            continue
        try:
            require(module, install=install)
            found.add(name)
        except UserError as error:
            lines.append(f"not measured, {name}: {error}")
    return (found if "pitch" in found else found - {"mcd"}), lines


def _read(path: Path, content: Encoder | None, voice: Encoder | None) -> _Original:
    audio = read_audio(path)
    return _Original(path.name, audio, content.embed(audio) if content else None, voice.embed(audio) if voice else None)


def _copy(
    render: Render, original: _Original, measures: set[str], content: Encoder | None, voice: Encoder | None, folder: Path | None
) -> _Clip:
    """Render one recording and measure the copy."""
    audio = original.audio
    started = time.perf_counter()
    copy = render(audio)
    work = time.perf_counter() - started
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_audio(folder / f"{Path(original.name).stem}.wav", copy.samples[0], copy.rate)
    against = {"pesq": pesq_wideband, "stoi": stoi, "mcd": mel_cepstral_distortion}
    return _Clip(
        scores={name: measure(audio, copy) for name, measure in against.items() if name in measures}
        | {"mel_distance": mel_distance(audio, copy)},
        pitch=pitch_agreement(audio, copy) if "pitch" in measures else None,
        opinion=predict_opinion(copy) if "opinion" in measures else None,
        speech=content.embed(copy) if content else None,
        voice=voice.embed(copy) if voice else None,
        rtf=real_time_factor(work, audio.seconds),
    )


def _summarise(originals: Sequence[_Original], clips: Sequence[_Clip]) -> CopyFigures:
    scores = {name: float(np.mean([clip.scores[name] for clip in clips])) for name in clips[0].scores}
    contours = [clip.pitch for clip in clips if clip.pitch is not None]
    pitch = reduce(add, contours) if contours else None
    return CopyFigures(
        pesq=scores.get("pesq"),
        stoi=scores.get("stoi"),
        mcd=scores.get("mcd"),
        log_f0_rmse=pitch.log_f0_rmse if pitch else None,
        voicing_error=pitch.voicing_error if pitch else None,
        mel_distance=scores["mel_distance"],
        speech=_compare([original.speech for original in originals], [clip.speech for clip in clips]),
        audio=_compare([original.voice for original in originals], [clip.voice for clip in clips]),
        opinion=_mean_opinion([clip.opinion for clip in clips if clip.opinion is not None]),
        rtf=percentiles([clip.rtf for clip in clips]),
    )


def _compare(real: Sequence[Features | None], made: Sequence[Features | None]) -> SetComparison | None:
    """Compare as many windows of each clip as both have: a copy may end up to one frame earlier."""
    pairs = [(first, second) for first, second in zip(real, made, strict=True) if first is not None and second is not None]
    pairs = [(first[: len(second)], second[: len(first)]) for first, second in pairs]
    return compare_sets([first for first, _ in pairs], [second for _, second in pairs])


def _mean_opinion(scores: Sequence[OpinionScores]) -> OpinionScores | None:
    if not scores:
        return None
    return OpinionScores(*np.mean([(score.ovrl, score.sig, score.p808) for score in scores], axis=0).tolist())


def _settings(
    originals: Sequence[_Original], figures: CopyFigures, measures: set[str], content: Encoder | None, voice: Encoder | None
) -> str:
    parts = [f"{len(originals)} clips, {sum(original.audio.seconds for original in originals):.1f} s"]
    if "pesq" in measures:
        parts.append(f"PESQ-WB: pesq {version('pesq')} at 16 kHz")
    if "stoi" in measures:
        parts.append(f"STOI: pystoi {version('pystoi')}")
    if "mcd" in measures:
        parts.append(f"MCD: c1-c{ORDER} of CheapTrick's envelope, 24 kHz, alpha {ALPHA}, hop 256, with DTW")
    if "pitch" in measures:
        parts.append(f"F0: Praat autocorrelation, parselmouth {version('praat-parselmouth')}")
    for label, encoder, found in (("FDSD, KDSD", content, figures.speech), ("FAD", voice, figures.audio)):
        if encoder and found:
            parts.append(f"{label}: {encoder.name}, n = {found.windows} windows of {found.clips} clips")
    if figures.speech or figures.audio:
        parts.append(
            "distances: one half of the recordings against copies of the other half, mean of 10 halvings; recordings: the same "
            "without a copy, their floor at this n; same: all recordings against their own copies"
        )
    if "opinion" in measures:
        parts.append(f"DNSMOS: speechmos {version('speechmos')}, overall")
    return "; ".join([*parts, "log-mel L1: natural logarithm, 24 kHz, 100 bins", "rtf: median over clips, with the mel"])
