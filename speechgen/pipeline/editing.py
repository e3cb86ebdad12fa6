"""Speech editing: stretches of a recording say other words, and nothing else changes.

The recording around a stretch is a gap that the models fill (gaps.py). The vocoder renders both sides and the gap as one; at
the joins its sound is moved to the phase of the recording, levelled and faded into it (audio/edit.py). Everything outside the
stretch is the recording itself, sample for sample: the cross-fades lie inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from speechgen.audio.edit import FADE_SECONDS, LAG_SECONDS, cross_fade, lag_between, level_gain, projection
from speechgen.audio.loudness import active_level, normalize_level
from speechgen.audio.resample import resample
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress, SemanticTokenizer
from speechgen.core.types import Mel, Waveform
from speechgen.pipeline.checks import faults
from speechgen.pipeline.edits import Change
from speechgen.pipeline.gaps import Gap, GapFiller
from speechgen.pipeline.longform import limit_peaks
from speechgen.pipeline.prompts import MIN_SOUND_SECONDS, SILENT_DBFS
from speechgen.text.phonemes import Phonemizer

__all__ = ["Edited", "Editor", "Region"]

CONTEXT_SECONDS = 4.0
"""How much of the recording the models see on either side; whole words where they are known."""
MARGIN_SECONDS = 0.1
MATCH_SECONDS = 0.02
"""What is compared beside a join to find the phase."""
LEAST_SECONDS = 0.1
"""New sound that is shorter says nothing."""
LEVEL_SECONDS = 1.0
"""What is compared on either side of the stretch to find the level."""
LEVEL_RANGE_DB = 3.0


@dataclass(frozen=True)
class Region:
    """What was changed, in seconds: where it lay in the recording, where it lies in the result, and what it says there."""

    start: float
    stop: float
    new_start: float
    new_stop: float
    text: str

    def moved(self, seconds: float) -> Region:
        """Return the same stretch, so much later in the result."""
        return replace(self, new_start=self.new_start + seconds, new_stop=self.new_stop + seconds)


@dataclass(frozen=True)
class Edited:
    """A recording after its changes: samples [C, L] at its own rate."""

    samples: Tensor
    regions: tuple[Region, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Stretch:
    """Samples [start, stop) of a recording [C, L] are to go; the cross-fades, `fade` samples each, lie inside."""

    samples: Tensor
    rate: int
    start: int
    stop: int

    @property
    def fade(self) -> int:
        return min(int(FADE_SECONDS * self.rate), (self.stop - self.start) // 2)

    @property
    def total(self) -> int:
        return self.samples.shape[1]

    def mono(self, start: int, stop: int) -> Tensor:
        """The middle of the stereo picture, [stop - start] float32."""
        return self.samples[:, max(0, start) : max(0, stop)].mean(0).float()


@dataclass(frozen=True)
class _Made:
    """Sound for a stretch, with what is known on both sides.

    Attributes:
        sound: [M] at the recording's rate and level.
        begin: sample of the recording with which it begins.
        longer: by how many samples it is longer than what it replaces.
    """

    sound: Tensor
    begin: int
    longer: int


@dataclass(frozen=True)
class _Task:
    """A stretch that is to be made.

    Attributes:
        grown: of the changes behind it, which are made already: where they ended in the recording and how much they have grown.
    """

    stretch: _Stretch
    change: Change
    grown: tuple[tuple[float, float], ...]
    seed: int
    candidates: int
    report: Progress
    warn: Callable[[str], None]


@dataclass(frozen=True)
class _Attempt:
    """A stretch with both sides, made with the seed that is `number` after the first; `size` samples of `sound` are new."""

    number: int
    sound: Tensor  # [M] at the models' rate and level
    size: int
    faults: list[str]
    fit: float

    @property
    def rank(self) -> tuple[int, float]:
        """Higher is better."""
        return -len(self.faults), self.fit


class Editor:
    """Changes recordings with the models of one pipeline."""

    def __init__(self, filler: GapFiller, recogniser: SemanticTokenizer, phonemizer: Phonemizer, device: torch.device) -> None:
        self._filler, self._recogniser, self._phonemizer, self._device = filler, recogniser, phonemizer, device

    @torch.inference_mode()
    def apply(
        self,
        samples: Tensor,
        rate: int,
        changes: Sequence[Change],
        *,
        seed: int,
        candidates: int = 1,
        progress: Progress | None = None,
    ) -> Edited:
        """Make all changes.

        Args:
            samples: [C, L] of the recording, float32 or float64.
            rate: samples per second.
            changes: in the order of time, apart from one another.
            seed: same seed, same samples.
            candidates: how often each stretch is made; the one that fits its text best is kept.
            progress: called with parts of 100 for every change.

        Raises:
            UserError: there is too little sound around the stretches to take the voice from.
        """
        self._require_voice(samples, rate, changes)
        warnings: list[str] = []
        regions: list[Region] = []
        grown: list[tuple[float, float]] = []  # (where a change ended in the recording, by how much it has grown)
        for number, change in enumerate(reversed(changes)):  # from the end: the times before stay what they are

            def report(done: int, total: int, base: int = 100 * number) -> None:
                if progress:
                    progress(base + 100 * done // max(1, total), 100 * len(changes))

            stretch = _stretch(samples, rate, change)
            if change.text:
                task = _Task(stretch, change, tuple(grown), seed, candidates, report, warnings.append)
                new = _replaced(stretch, self._best(task))
            else:
                new = _removed(stretch)
            start, stop, seconds = stretch.start / rate, stretch.stop / rate, new.shape[1] / rate
            samples = torch.cat((samples[:, : stretch.start], new, samples[:, stretch.stop :]), dim=1)
            regions = [region.moved(seconds - (stop - start)) for region in regions]
            regions.insert(0, Region(start, stop, start, start + seconds, change.text))
            grown.append((stop, seconds - (stop - start)))
            report(100, 100)
        return Edited(samples, tuple(regions), tuple(warnings))

    def _require_voice(self, samples: Tensor, rate: int, changes: Sequence[Change]) -> None:
        """Refuse what leaves too little of the voice; where words only go, nothing is needed of it."""
        if not any(change.text for change in changes):
            return
        kept, place = [], 0
        for change in changes:
            kept.append(samples[:, place : round(change.start * rate)])
            place = round(change.stop * rate)
        around = torch.cat((*kept, samples[:, place:]), dim=1).mean(0).float()
        if len(around) < MIN_SOUND_SECONDS * rate:
            raise UserError(
                f"only {len(around) / rate:.2f} s of the recording are to stay, too little to tell the voice by: at least "
                f"{MIN_SOUND_SECONDS:g} s are needed; `speechgen synth` speaks a new text in a voice"
            )
        if active_level(around, rate) < SILENT_DBFS:
            raise UserError("the recording is silent outside of what is to be changed: there is no voice to continue")

    def _best(self, task: _Task) -> _Made:
        """Make the sound of a stretch, several times, and keep what fits its text best."""
        text, rate = task.change.text, self._filler.sample_rate
        gap, begin, gain = self._gap(task)
        attempts = []
        for number in range(task.candidates):
            left, middle, right = self._filler.fill(gap, seed=task.seed + number)
            mel = Mel(
                torch.cat((left.values, middle.values, right.values), dim=1),
                left.lengths + middle.lengths + right.lengths,
                left.settings,
            )
            sound = self._filler.render(mel, task.seed + number)
            inside = sound[gap.start : gap.start + middle.values.shape[1] * mel.settings.hop_samples]
            wrong = faults(inside, rate, len(self._phonemizer(text)))
            attempts.append(_Attempt(number, sound, len(inside), wrong, self._fit(gap, sound, inside)))
            task.report(number + 1, task.candidates)
        best = max(attempts, key=lambda attempt: attempt.rank)
        if best.faults:
            task.warn(f"the new sound of {text!r} is {' and '.join(best.faults)}: try another --seed")
        longer = round((best.size - (gap.stop - gap.start)) * task.stretch.rate / rate)
        back = resample(Waveform.single(limit_peaks(best.sound / gain, rate), rate), task.stretch.rate)
        return _Made(back.samples[0], begin, longer)

    def _gap(self, task: _Task) -> tuple[Gap, int, float]:
        """The gap of a stretch, the sample that its audio begins with, and by what its level was multiplied."""
        stretch, change, rate, mine = task.stretch, task.change, task.stretch.rate, self._filler.sample_rate
        near = change.within(change.start - CONTEXT_SECONDS, change.stop + CONTEXT_SECONDS)
        low = near.before[0].start - MARGIN_SECONDS if near.before else change.start - CONTEXT_SECONDS
        ends = [stop for _, stop in near.behind if stop is not None]
        high = ends[-1] + MARGIN_SECONDS if ends else change.stop + CONTEXT_SECONDS
        high += sum(growth for stop, growth in task.grown if stop <= high)
        # What is faded belongs to both sides: the models see it.
        start = stretch.start + (stretch.fade if stretch.start else 0)
        stop = stretch.stop - (stretch.fade if stretch.stop < stretch.total else 0)
        step = self._filler.step_samples * rate / mine
        steps = int(max(0.0, start - max(0.0, low * rate)) / step)
        begin = round(start - steps * step)
        heard = stretch.mono(begin, max(round(high * rate), stop))
        level = normalize_level(heard, rate)
        gain = float(level.abs().max() / heard.abs().max().clamp(min=1e-9)) or 1.0
        audio = resample(Waveform.single(level, rate), mine).to(self._device)
        gap = Gap(audio, steps * self._filler.step_samples, round((stop - begin) * mine / rate), near)
        return gap, begin, gain

    def _fit(self, gap: Gap, sound: Tensor, inside: Tensor) -> float:
        """How well the sound says its text, the words around included where they are known."""
        change = gap.change
        words = [*(word.text for word in change.before), change.text, *(word for word, _ in change.behind)]
        symbols = torch.tensor(self._phonemizer.ids(" ".join(words)))
        heard = sound if len(words) > 1 else inside
        if len(heard) < LEAST_SECONDS * gap.audio.rate:
            return -math.inf
        fit = self._recogniser.fit(Waveform.single(heard, gap.audio.rate).to(self._device), symbols)
        return 0.0 if fit is None else fit


def _stretch(samples: Tensor, rate: int, change: Change) -> _Stretch:
    """The samples of a change, with room for two cross-fades."""
    start, stop, fade = round(change.start * rate), round(change.stop * rate), int(FADE_SECONDS * rate)
    if stop - start < 2 * fade:
        start = max(0, (start + stop) // 2 - fade)
        stop = min(samples.shape[1], start + 2 * fade)
    return _Stretch(samples, rate, start, min(stop, samples.shape[1]))


def _replaced(stretch: _Stretch, made: _Made) -> Tensor:
    """What comes in the place of the stretch: [C, N]."""
    rate, fade, start, stop, begin = stretch.rate, stretch.fade, stretch.start, stretch.stop, made.begin
    match, reach = int(MATCH_SECONDS * rate), int(LEVEL_SECONDS * rate)
    end = begin + len(made.sound) - made.longer  # of what was heard, in the recording
    first = start - begin
    if start and first > 0:
        known = min(match, first)
        first += lag_between(stretch.mono(start - known, start + fade), made.sound, first - known, rate)
    last = len(made.sound) - fade
    if stop < stretch.total:
        last = stop - fade - begin + made.longer
        last += lag_between(stretch.mono(stop - fade, min(stop + match, end)), made.sound, last, rate)
    first = max(0, first)
    last = max(first + fade, min(last, len(made.sound) - fade))
    low, high = max(begin, start - reach), min(end, stop + reach, stretch.total)
    beside = torch.cat((stretch.mono(low, start), stretch.mono(stop, high)))
    copy = torch.cat((made.sound[low - begin : start - begin],
                      made.sound[stop - begin + made.longer : high - begin + made.longer]))  # fmt: skip
    sound = made.sound * level_gain(beside, copy)
    sound = sound * _level_within(sound[first : last + fade], beside, rate)
    place = projection(stretch.samples[:, begin:end].float(), stretch.mono(begin, end))
    piece = (place[:, None] * sound).to(stretch.samples.dtype)  # [C, M]
    opening, closing = _edges(stretch)
    return torch.cat(
        (
            cross_fade(opening, piece[:, first : first + fade]),
            piece[:, first + fade : last],
            cross_fade(piece[:, last : last + fade], closing),
        ),
        dim=1,
    )


def _level_within(inside: Tensor, beside: Tensor, rate: int) -> float:
    """What new sound is multiplied by: words of one sentence do not differ in level by more than LEVEL_RANGE_DB."""
    if not len(inside) or not len(beside):
        return 1.0
    levels = [active_level(sound, rate) for sound in (inside, beside)]
    if min(levels) < SILENT_DBFS:
        return 1.0
    apart = levels[0] - levels[1]
    return float(10 ** ((max(-LEVEL_RANGE_DB, min(LEVEL_RANGE_DB, apart)) - apart) / 20))


def _removed(stretch: _Stretch) -> Tensor:
    """What is left of a stretch that is cut out: one cross-fade, [C, N]."""
    rate, fade = stretch.rate, stretch.fade
    opening, closing = _edges(stretch)
    if stretch.start and stretch.stop < stretch.total:
        # Only backwards: what lies behind the stretch stays whole.
        reach = min(int(LAG_SECONDS * rate), (stretch.stop - stretch.start) // 2 - fade)
        lag = lag_between(stretch.mono(stretch.start, stretch.start + fade), stretch.mono(0, stretch.stop),
                          stretch.stop - fade - reach, rate)  # fmt: skip
        back = max(0, reach - lag)
        later = stretch.samples[:, stretch.stop - fade - back : stretch.stop]
        return torch.cat((cross_fade(opening, later[:, :fade]), later[:, fade:]), dim=1)
    return cross_fade(opening, closing)


def _edges(stretch: _Stretch) -> tuple[Tensor, Tensor]:
    """What the recording fades out and in with, [C, fade] each; silence beyond its ends."""
    first = stretch.samples[:, stretch.start : stretch.start + stretch.fade]
    last = stretch.samples[:, stretch.stop - stretch.fade : stretch.stop]
    opening = first if stretch.start else torch.zeros_like(first)
    return opening, last if stretch.stop < stretch.total else torch.zeros_like(last)
