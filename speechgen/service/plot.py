"""One picture of generated speech: words, waveform, mel spectrogram, phonemes and semantic tokens over one time axis.

A copy is drawn below its original. Figures are made without pyplot and draw with fixed fonts and sizes: nothing of matplotlib's
global state is changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from speechgen.audio.spectrogram import log_mel
from speechgen.core.types import MelSettings
from speechgen.pipeline.alignment import Alignment, Segment
from speechgen.text.phonemes import Phonemizer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LONGEST_SECONDS", "Marked", "draw", "draw_copy", "draw_edit", "spread"]

LONGEST_SECONDS = 20.0
"""Longer sound is drawn up to here."""
DYNAMIC_RANGE_DB = 80.0
KILOHERTZ = (0.25, 0.5, 1, 2, 4, 8)
DPI = 220
ROW_SECONDS = 5.0
"""Longer sound is drawn in several rows."""
WIDTH, LEFT, RIGHT, LINE, SPACE = 7.0, 0.8, 0.45, 0.2, 0.05
"""Inches: the width of a page's text, margins, a line of text, and what lies between the parts of a row."""
HEIGHTS = (0.75, 1.9, 0.38, 0.2)
"""Inches: waveform, mel, phones, tokens."""
FONT, SIZE, SMALL = "DejaVu Sans", 8.0, 7.0
"""It has every letter of the phonetic alphabet and comes with matplotlib."""
INK, WAVE, FAINT, PAUSE = "#1c2330", "#34507e", "#9aa3b2", "#e6e8ed"
MARK = "#1f8f88"
COLORMAP = "magma"
GOLDEN = 0.618034


@dataclass(frozen=True)
class _Picture:
    """Everything that is drawn, over the whole time."""

    samples: np.ndarray  # [L]
    rate: int
    decibels: np.ndarray  # [M, T] below the loudest bin
    words: list[Segment]
    phones: list[Segment]
    pieces: list[Alignment]
    marks: Sequence[Segment] = ()


@dataclass(frozen=True)
class _Row:
    """The seconds from `start` to `stop` of a picture, and what is written above them."""

    picture: _Picture
    start: float
    stop: float
    title: str = ""


def draw(samples: Tensor, rate: int, alignment: Sequence[Alignment] = ()) -> Figure:
    """Draw the first LONGEST_SECONDS of a sound, in as many rows of equal length as keep the phones legible.

    Args:
        samples: [L] in [-1, 1], longer than half a window of the mel.
        rate: samples per second.
        alignment: pieces of text within it; without any, waveform and mel are drawn alone.
    """
    total = len(samples) / rate
    seconds = min(total, LONGEST_SECONDS)
    picture = _picture(samples[: round(seconds * rate)].float(), rate, alignment)
    count = max(1, math.ceil(seconds / ROW_SECONDS))
    rows = [_Row(picture, seconds * row / count, seconds * (row + 1) / count) for row in range(count)]
    return _draw(rows, f"first {seconds:.0f} s of {total:.1f} s" if total > seconds else "")


def draw_copy(original: Tensor, copy: Tensor, rate: int, name: str) -> Figure:
    """Draw a recording and, below it, what a vocoder made of its mel; the first ROW_SECONDS at most.

    Args:
        original: [L] in [-1, 1], longer than half a window of the mel.
        copy: [L] in [-1, 1], likewise.
        rate: samples per second of both.
        name: of the vocoder.
    """
    total = min(len(original), len(copy)) / rate
    seconds = min(total, ROW_SECONDS)
    pictures = (_picture(samples[: round(seconds * rate)].float(), rate, ()) for samples in (original, copy))
    rows = [_Row(picture, 0.0, seconds, title) for picture, title in zip(pictures, ("original", name), strict=True)]
    return _draw(rows, f"first {seconds:.0f} s of {total:.1f} s" if total > seconds else "")


@dataclass(frozen=True)
class Marked:
    """A sound with what is written and marked over it.

    Attributes:
        samples: [L] in [-1, 1], longer than half a window of the mel.
        words: where they lie; may be empty.
        marks: stretches; the first is what the picture is about.
    """

    samples: Tensor
    words: list[Segment]
    marks: list[Segment]


def draw_edit(before: Marked, after: Marked, rate: int) -> Figure:
    """Draw the surroundings of the first mark in a recording, and below it what became of them, ROW_SECONDS each at most."""
    rows = []
    for sound, title in ((before, "original"), (after, "edited")):
        total, middle = len(sound.samples) / rate, (sound.marks[0].start + sound.marks[0].stop) / 2
        start = max(0.0, min(middle - ROW_SECONDS / 2, total - ROW_SECONDS))
        picture = replace(_picture(sound.samples.float(), rate, ()), words=sound.words, marks=sound.marks)
        rows.append(_Row(picture, start, min(total, start + ROW_SECONDS), title))
    return _draw(rows, "")


def _draw(rows: Sequence[_Row], title: str) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = HEIGHTS if rows[0].picture.pieces else HEIGHTS[:2]
    lines = bool(rows[0].title) + any(row.picture.words for row in rows)
    top, bottom = 0.06 + LINE * lines, 0.22
    row_height = top + sum(heights) + SPACE * (len(heights) - 1) + bottom
    height = len(rows) * row_height + LINE * (1 + bool(title))
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    FigureCanvasAgg(figure)
    above = height
    if title:
        figure.text(0.5, 1 - 0.05 / height, title, va="top", ha="center", **_font(SIZE))
        above -= LINE
    for number, row in enumerate(rows):
        axes: list[Axes] = []
        edge = above - number * row_height - top
        if row.title:
            bottom_line = (edge + 0.05 + LINE * (lines - 1)) / height
            figure.text(LEFT / WIDTH, bottom_line, row.title, va="bottom", ha="left", **_font(SIZE))
        for size in heights:
            edge -= size
            place = (LEFT / WIDTH, edge / height, 1 - (LEFT + RIGHT) / WIDTH, size / height)
            axes.append(figure.add_axes(place, xlim=(row.start, row.stop), sharex=axes[0] if axes else None))
            edge -= SPACE
        _draw_row(axes, row.picture)
    axes[-1].set_xlabel("time (s)", labelpad=2, **_font(SIZE))
    return figure


def _picture(samples: Tensor, rate: int, alignment: Sequence[Alignment]) -> _Picture:
    settings = MelSettings(sample_rate=rate)
    decibels = (log_mel(samples[None], settings)[0].T * (20 / math.log(10))).numpy()
    loudest = max(float(decibels.max()), 20 * math.log10(settings.floor) + DYNAMIC_RANGE_DB)  # silence stays dark
    pieces = [piece for piece in alignment if piece.start < len(samples) / rate]
    phonemizers = {piece.language: Phonemizer(piece.language) for piece in pieces}
    words = [word for piece in pieces for word in piece.words(phonemizers[piece.language])]
    phones = [phone for piece in pieces for phone in piece.phones()]
    return _Picture(samples.numpy(), rate, decibels - loudest, words, phones, pieces)


def _draw_row(axes: Sequence[Axes], picture: _Picture) -> None:
    """Draw what lies within the limits of one row's axes: waveform, mel and, where there is text, phones and tokens."""
    limits = axes[0].get_xlim()
    _draw_wave(axes[0], picture)
    _draw_mel(axes[1], picture)
    if picture.words:
        _draw_words(axes[0], axes[1], picture.words)
    _draw_marks(axes[0], axes[1], picture.marks)
    if picture.pieces:
        _draw_phones(axes[2], picture.phones)
        _draw_tokens(axes[3], picture.pieces)
    for axis in axes:
        axis.set_xlim(limits)  # images have widened it
        _dress(axis, last=axis is axes[-1])


def _font(size: float) -> dict[str, Any]:
    return {"fontsize": size, "fontfamily": FONT, "color": INK}


def _dress(axis: Axes, *, last: bool) -> None:
    """Give an axis the fonts and lines of the picture; the last one carries the seconds."""
    from matplotlib.ticker import MultipleLocator

    for spine in axis.spines.values():
        spine.set(linewidth=0.5, color=INK)
    axis.tick_params(
        labelsize=SMALL, labelfontfamily=FONT, width=0.5, length=2.5, color=INK, labelcolor=INK, bottom=last, labelbottom=last
    )
    first, stop = axis.get_xlim()
    axis.xaxis.set_major_locator(MultipleLocator(0.5 if stop - first > 2 else 0.1))


def _name(axis: Axes, name: str, height: float = 0.5) -> None:
    """Write what an axis shows at the left edge of the picture, level."""
    left = -(LEFT - 0.06) / _inches(axis)
    axis.text(left, height, name, transform=axis.transAxes, ha="left", va="center", linespacing=1.15, **_font(SIZE))


def _inches(axis: Axes) -> float:
    """Width of an axis."""
    return float(axis.get_position().width * WIDTH)


def _draw_wave(axis: Axes, picture: _Picture) -> None:
    """Fill between the extremes of every few samples: sharp at any size."""
    first, last = (round(edge * picture.rate) for edge in axis.get_xlim())
    samples = picture.samples[first:last]
    step = max(1, int(len(samples) / (2 * DPI * _inches(axis))))
    blocks = samples[: len(samples) // step * step].reshape(-1, step)
    time = (first + (np.arange(len(blocks)) + 0.5) * step) / picture.rate
    axis.fill_between(time, blocks.min(1), blocks.max(1), color=WAVE, linewidth=0.3)
    peak = max(0.01, float(np.abs(picture.samples).max()))
    axis.set_ylim(-1.08 * peak, 1.08 * peak)
    tick = 10.0 ** math.floor(math.log10(peak))
    tick *= max(factor for factor in (1, 2, 5) if factor * tick <= peak)
    axis.set_yticks([-tick, 0, tick], [f"\u2212{tick:g}", "0", f"{tick:g}"])
    _name(axis, "wave")


def _draw_mel(axis: Axes, picture: _Picture) -> None:
    """Draw what is heard; the bins are named by their frequency."""
    settings = MelSettings(sample_rate=picture.rate)
    hop, bins = settings.hop_samples / picture.rate, settings.num_bins
    first, last = axis.get_xlim()
    low, high = max(0, math.floor(first / hop) - 1), math.ceil(last / hop) + 2
    decibels = picture.decibels[:, low:high]
    image = axis.imshow(
        decibels,
        origin="lower",
        aspect="auto",
        extent=((low - 0.5) * hop, (low + decibels.shape[1] - 0.5) * hop, 0.5, bins + 0.5),
        cmap=COLORMAP,
        vmin=-DYNAMIC_RANGE_DB,
        vmax=0,
        interpolation="nearest",
    )

    nyquist = picture.rate / 2000

    def height(kilohertz: float) -> float:
        """Position of a frequency among the bins 1 to M, whose centres divide the HTK mel scale evenly."""
        return (bins + 1) * math.log1p(kilohertz / 0.7) / math.log1p(nyquist / 0.7)

    shown = [value for value in KILOHERTZ if value < nyquist]
    axis.set_yticks([height(value) for value in shown], [f"{value:g}" for value in shown])
    _name(axis, "mel\n(kHz)")
    scale = axis.inset_axes((1 + 0.06 / _inches(axis), 0, 0.09 / _inches(axis), 1))
    bar = axis.figure.colorbar(image, cax=scale, ticks=np.arange(-DYNAMIC_RANGE_DB, 1, 20))
    bar.ax.set_yticklabels([f"{value:.0f}".replace("-", "\u2212") for value in np.arange(-DYNAMIC_RANGE_DB, 1, 20)])
    bar.outline.set(linewidth=0.5, edgecolor=INK)
    scale.tick_params(labelsize=SMALL - 1, labelfontfamily=FONT, width=0.5, length=2, pad=1.5, color=INK, labelcolor=INK)
    scale.set_title("dB", pad=3, **_font(SMALL - 1))


def _draw_words(wave: Axes, mel: Axes, words: Sequence[Segment]) -> None:
    """Write the words over the waveform and mark where they begin, and where they end before a pause."""
    following = [word.start for word in words[1:]] + [math.inf]
    edges = [word.start for word in words]
    edges += [word.stop for word, start in zip(words, following, strict=True) if start - word.stop > 0.05]
    for axis, color in ((wave, FAINT), (mel, "white")):
        axis.vlines(edges, 0, 1, transform=axis.get_xaxis_transform(), color=color, linewidth=0.5, alpha=0.5)
    _write(wave, words, 1 + 0.05 / HEIGHTS[0], va="bottom")


def _draw_marks(wave: Axes, mel: Axes, marks: Sequence[Segment]) -> None:
    """Shade stretches of the waveform and frame them in the mel."""
    for mark in marks:
        wave.axvspan(mark.start, mark.stop, color=MARK, alpha=0.25, linewidth=0)
        mel.axvspan(mark.start, mark.stop, 0.01, 0.99, fill=False, edgecolor=MARK, linewidth=1.2)


def _draw_phones(axis: Axes, phones: Sequence[Segment]) -> None:
    """Mark every boundary, shade pauses, write every phone in the middle of its stretch, on two lines in turn."""
    edges = {edge for phone in phones for edge in (phone.start, phone.stop)}
    axis.vlines(sorted(edges), 0, 1, color=FAINT, linewidth=0.5)
    for phone in phones:
        if not phone.label:
            axis.axvspan(phone.start, phone.stop, color=PAUSE, linewidth=0)
    spoken = [phone for phone in phones if phone.label]
    _write(axis, spoken[::2], 0.73)
    _write(axis, spoken[1::2], 0.27)
    axis.set(yticks=[], ylim=(0, 1))
    _name(axis, "phones")


def _write(axis: Axes, segments: Sequence[Segment], height: float, *, va: str = "center") -> None:
    """Write labels over their stretches, on one line, moved apart as little as keeps them from touching."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    first, last = axis.get_xlim()
    centres = [(segment.label, (segment.start + segment.stop) / 2) for segment in segments]
    shown = [(label, middle) for label, middle in centres if first <= middle < last]
    measure, font = TextToPath(), FontProperties(family=FONT, size=SIZE)
    scale = (last - first) / (72 * _inches(axis))  # seconds for each point
    widths = [scale * (1.5 + measure.get_text_width_height_descent(label, font, ismath=False)[0]) for label, _ in shown]
    places = spread([middle for _, middle in shown], widths, (first, last))
    for (label, _), place in zip(shown, places, strict=True):
        axis.text(place, height, label, transform=axis.get_xaxis_transform(), ha="center", va=va, **_font(SIZE))


def spread(middles: Sequence[float], widths: Sequence[float], limits: tuple[float, float]) -> list[float]:
    """Move intervals apart, and inside the limits, so that none overlap and the squared moves are least.

    Isotonic regression by pooling neighbours: those that overlap become a block around its mean place.

    Args:
        middles: of the intervals, ascending.
        widths: of the intervals.
        limits: the first wins if there is not enough room.

    Returns:
        Their new middles.
    """
    offsets = [width / 2 + sum(widths[:index]) for index, width in enumerate(widths)]  # if all stood side by side at 0
    blocks: list[tuple[float, int]] = []  # where the block would begin without those before it, and its size
    for middle, offset in zip(middles, offsets, strict=True):
        mean, count = middle - offset, 1
        while blocks and blocks[-1][0] > mean:
            before, size = blocks.pop()
            mean, count = (mean * count + before * size) / (count + size), count + size
        blocks.append((mean, count))
    placed = [mean for mean, count in blocks for _ in range(count)]
    return [max(limits[0], min(limits[1] - sum(widths), mean)) + offset for mean, offset in zip(placed, offsets, strict=True)]


def _draw_tokens(axis: Axes, pieces: Sequence[Alignment]) -> None:
    """Give every token the colour of its number; neighbouring numbers have hues far apart."""
    from matplotlib.colors import hsv_to_rgb

    for piece in pieces:
        ids = piece.tokens.numpy()
        colors = np.stack([ids * GOLDEN % 1, 0.3 + 0.3 * (ids % 2), 0.95 - 0.2 * (ids % 3 == 0)], axis=-1)
        extent = (piece.start, piece.start + piece.seconds, 0, 1)
        axis.imshow(hsv_to_rgb(colors)[None], aspect="auto", extent=extent, interpolation="nearest")
    axis.set(ylim=(0, 1), yticks=[])
    _name(axis, "tokens")
