"""NSF as a Vocoder: mels of any length in windows, with a phase that goes on from one window to the next.

The rule that makes parts equal the whole: pitch and phase are remembered for every frame of an utterance whose pitch no
later frame can change, and the noise of a place depends on the seed and the place alone. A window begins with the
remembered pitch and phase of its first frame. A part that does not follow on what is remembered begins a phase of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from speechgen.audio.source import pitch_of_samples, turns_of_samples
from speechgen.core.protocols import Part, Progress
from speechgen.core.random import generator, placed_noise
from speechgen.core.types import Mel, Waveform
from speechgen.models.vocoders.nsf.config import NSFConfig, NSFOptions
from speechgen.models.vocoders.nsf.model import NSF, Draws

WINDOW_FRAMES = 600
"""New frames in a window: long audio is rendered in the memory of a few seconds."""
WHOLE = 1 << 30
"""Reach of a network that reads the whole utterance."""


class NSFGenerator:
    """Renders mels of the settings it was trained with, at the pitch it predicts or is given."""

    def __init__(self, network: NSF, config: NSFConfig) -> None:
        self.network, self.mel, self.config = network, config.mel, config
        self.reach_frames = network.reach_frames or WHOLE

    @torch.inference_mode()
    def generate(
        self,
        mel: Mel,
        *,
        options: NSFOptions,
        rng: torch.Generator,
        part: Part | None = None,
        progress: Progress | None = None,
        pitch: Tensor | None = None,
    ) -> Waveform:
        """Return (T - 1) * hop samples for T frames.

        Args:
            mel: what to render.
            options: where to move the pitch, and how much noise.
            rng: its seed decides the noise, the same at a place however the utterance was cut.
            part: which part of an utterance it is.
            progress: told of every window.
            pitch: [B, T] Hz, 0 = unvoiced, to render at; none: predicted from the mel.

        Raises:
            ValueError: the mel is defined differently, or it or the pitch has values that are no numbers.
        """
        lengths = mel.lengths.tolist()
        self._check(mel, lengths, pitch)
        part, rows, done = part or Part(), [], 0
        total = sum(len(self._windows(size)) for size in lengths)
        for number, size in enumerate(lengths):
            given = None if pitch is None else pitch[number, :size].to(mel.values)
            memory = _Memory(part.memory, number)
            pieces = [mel.values.new_zeros(0)]
            for first, last, ready in self._windows(size):
                row = mel.values[number, first:last]
                found = given[first:last] if given is not None else self.network.predict_pitch(row[None])[0]
                late = self.network.pitch.reach_frames if given is None else 0
                moved = self._moved(found, options)
                own = given is None and moved is found
                made = self._render(row, moved, part.start + first, memory, late, options, rng, own_pitch=own)
                begin = sum(len(piece) for piece in pieces) - first * self.mel.hop_samples
                pieces.append(made[begin : (ready - first) * self.mel.hop_samples])
                done += 1
                if progress is not None:
                    progress(done, total)
            rows.append(torch.cat(pieces))
        return Waveform.from_rows(rows, self.mel.sample_rate)

    def _check(self, mel: Mel, lengths: list[int], pitch: Tensor | None) -> None:
        mel.require(self.mel)
        if min(lengths, default=1) < 1:
            raise ValueError("a mel without frames cannot be rendered: give at least one")
        if pitch is not None and pitch.shape != mel.values.shape[:2]:
            raise ValueError(f"a pitch of shape {list(pitch.shape)} does not fit a mel of {list(mel.values.shape[:2])} frames")
        if pitch is not None and not (pitch.isfinite() & (pitch >= 0)).all():
            raise ValueError("the pitch must be finite and 0 or more Hz in every frame")

    def _windows(self, size: int) -> list[tuple[int, int, int]]:
        """Cut frames 0 to `size`: (first frame read, end of what is read, frame up to which samples are then certain)."""
        windows, done = [], 0
        while done < size - 1:
            ready = done + WINDOW_FRAMES
            last = ready + self.reach_frames + 1
            if last >= size or self.network.reach_frames is None:
                ready, last = size - 1, size
            windows.append((max(0, done - self.reach_frames), last, ready))
            done = ready
        return windows

    def _moved(self, pitch: Tensor, options: NSFOptions) -> Tensor:
        if options.monotone_hz is not None:
            pitch = options.monotone_hz * (pitch > 0)
        return pitch * 2 ** (options.pitch / 12) if options.pitch else pitch

    def _render(
        self,
        mel: Tensor,
        pitch: Tensor,
        start: int,
        memory: _Memory,
        late: int,
        options: NSFOptions,
        rng: torch.Generator,
        *,
        own_pitch: bool,
    ) -> Tensor:
        """Render one window [T, M] from frame `start` of its utterance on; the pitch of the last `late` frames may change."""
        hop, frames = self.mel.hop_samples, len(mel)
        known_pitch, phase = memory.recall(start, frames)
        pitch = torch.cat((known_pitch.to(pitch), pitch[len(known_pitch) :]))[None]  # [1, T]
        turns = turns_of_samples(
            pitch_of_samples(pitch, hop, glide=self.config.glide), self.mel.sample_rate, phase.to(pitch.device)
        )
        certain = max(len(known_pitch), frames - late)
        memory.keep(start, pitch[0, :certain], turns[0, ::hop][:certain])
        count = (frames - 1) * hop
        noises = (placed_noise(rng, start * hop, count, name).to(mel.device)[None] for name in ("source", "noise"))
        offsets = torch.rand(1, self.config.harmonics, generator=generator(rng.initial_seed(), "offsets"))
        offsets[:, 0] = 0
        draws = Draws(offsets.to(mel.device), *noises)
        return self.network.render(mel[None], pitch, draws, phase.to(mel.device), options.breath, own_pitch=own_pitch)[0]


class _Memory:
    """Pitch and phase of the first frames of an utterance, in what a Part remembers; one entry of each for each row."""

    def __init__(self, values: dict[str, Tensor], row: int) -> None:
        self._values, self._pitch, self._turns = values, f"{row}.pitch", f"{row}.turns"

    def recall(self, start: int, frames: int) -> tuple[Tensor, Tensor]:
        """Return the pitches that are known of the frames from `start` on, and the phase [1] there."""
        pitch = self._values.get(self._pitch, torch.zeros(0))
        if start >= len(pitch):
            return torch.zeros(0), torch.zeros(1, dtype=torch.float64)
        return pitch[start : start + frames], self._values[self._turns][start : start + 1]

    def keep(self, start: int, pitch: Tensor, turns: Tensor) -> None:
        """Add what is certain of the frames from `start` on."""
        for name, values in ((self._pitch, pitch), (self._turns, turns)):
            before = self._values.get(name, values.new_zeros(0))[:start]
            gap = values.new_zeros(start - len(before))
            self._values[name] = torch.cat((before, gap, values))
