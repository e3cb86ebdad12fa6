"""THE mel spectrogram: Hann STFT magnitude, HTK mel scale, natural logarithm; and filters made of it.

The definition that the published Vocos, E2 TTS and F5-TTS weights use (Vocos clamps at 1e-7 instead of 1e-5, which only
silence shows). Everything that trains or speaks calls this.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchaudio.functional import melscale_fbanks

from speechgen.audio.resample import resample
from speechgen.core.types import Mel, MelSettings, Waveform

__all__ = ["filtered", "log_mel", "mel_envelope", "mel_spectrogram"]


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # kept for later calls, which may need gradients through it
def _filters(settings: MelSettings) -> Tensor:
    high = settings.high_hz or settings.sample_rate / 2
    return melscale_fbanks(
        settings.n_fft // 2 + 1, settings.low_hz, high, settings.num_bins, settings.sample_rate, mel_scale="htk"
    )


def log_mel(samples: Tensor, settings: MelSettings) -> Tensor:
    """Log-mel of raw samples, differentiable.

    Args:
        samples: [B, L] at `settings.sample_rate`, L > n_fft / 2 (reflected at the edges).
        settings: the mel's definition.

    Returns:
        [B, T, M] natural-log magnitudes, T = L // hop + 1.
    """
    spectrum = _stft(samples.float(), settings).abs()  # [B, F, T]
    magnitudes = spectrum.pow(settings.power) if settings.power != 1 else spectrum
    bins = magnitudes.transpose(1, 2) @ _filters(settings).to(samples.device)  # [B, T, M]
    return bins.clamp(min=settings.floor).log()


def _stft(samples: Tensor, settings: MelSettings, beyond: str = "reflect") -> Tensor:
    """Complex spectrum [B, F, T] of samples [B, L], which go on `beyond` their edges as torch.nn.functional.pad says."""
    size = settings.window_samples or settings.n_fft
    window = torch.hann_window(size, device=samples.device)
    return torch.stft(
        samples, settings.n_fft, settings.hop_samples, size, window, center=True, pad_mode=beyond, return_complex=True
    )


def mel_envelope(mel: Tensor, settings: MelSettings, floor: float = 1e-4) -> Tensor:
    """The spectral envelope that a log-mel tells, as the gain of a filter that shapes white noise of variance 1 like it.

    Args:
        mel: [B, T, M] natural-log mel.
        settings: its definition.
        floor: the smallest gain.

    Returns:
        [B, T, F] gains of the F = n_fft // 2 + 1 frequencies; the mean of the bins that a frequency lies in.
    """
    filters = _filters(settings).to(mel.device)  # [F, M]
    weights = filters @ filters.sum(0)  # [F]
    window = torch.hann_window(settings.window_samples or settings.n_fft, device=mel.device)
    white = window.square().sum().sqrt()  # magnitude of white noise
    means = (mel.exp() @ filters.T / weights.clamp(min=1e-6)).pow(1 / settings.power)
    covered = (weights > 1e-6).nonzero()[:, 0]
    nearest = torch.arange(len(weights), device=mel.device).clamp(int(covered[0]), int(covered[-1]))
    return (means[..., nearest] / white).clamp(min=floor)


def filtered(samples: Tensor, gains: Tensor, settings: MelSettings) -> Tensor:
    """Filter samples [B, L], L = (T - 1) * hop, by the gains [B, T, F] of each frame's spectrum."""
    size = settings.window_samples or settings.n_fft
    window = torch.hann_window(size, device=samples.device)
    spectrum = _stft(samples, settings, "constant") * gains.transpose(1, 2)
    return torch.istft(spectrum, settings.n_fft, settings.hop_samples, size, window, center=True, length=samples.shape[-1])


def mel_spectrogram(audio: Waveform, settings: MelSettings) -> Mel:
    """Resample if needed and compute the mel of a batch.

    Returns:
        Mel with `lengths = L // hop + 1`, padded with silence.
    """
    audio = resample(audio, settings.sample_rate)
    # Row by row: the reflected edge of a short row must not see what pads it.
    rows = [log_mel(row[None, :size], settings)[0] for row, size in zip(audio.samples, audio.lengths.tolist(), strict=True)]
    values = pad_sequence(rows, batch_first=True, padding_value=math.log(settings.floor))  # [B, T, M]
    return Mel(values, audio.lengths // settings.hop_samples + 1, settings)
