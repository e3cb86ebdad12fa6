"""THE mel spectrogram: Hann STFT magnitude, HTK mel scale, natural logarithm; filters made of it, and sound made to fit it.

The definition that the published Vocos, E2 TTS and F5-TTS weights use (Vocos clamps at 1e-7 instead of 1e-5, which only
silence shows). Everything that trains or speaks calls this.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, pad
from torch.nn.utils.rnn import pad_sequence
from torchaudio.functional import melscale_fbanks

from speechgen.audio.resample import resample
from speechgen.core.types import Mel, MelSettings, Waveform

__all__ = [
    "colour",
    "corrected",
    "corrected_frames",
    "filtered",
    "log_mel",
    "mel_envelope",
    "mel_spectrogram",
    "whiten",
]


_SOFTEST = 1e-6
"""Gain of white noise that `corrected` takes for silence."""
_LOUDEST = 8.0
"""More than the log-mel of any sound within full scale."""
_BEYOND = 1e4
"""Full scale is 1; the spectrum of much more is not finite."""
_LARGEST_GAIN = 4.0
"""12 dB: what is further off in a pass is no matter of colour."""


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
    return _log_bins(_stft(samples.float(), settings), settings)


def _log_bins(spectrum: Tensor, settings: MelSettings) -> Tensor:
    """Log-mel [B, T, M] of a complex spectrum [B, F, T]."""
    magnitudes = spectrum.abs().pow(settings.power) if settings.power != 1 else spectrum.abs()
    bins = magnitudes.transpose(1, 2) @ _filters(settings).to(spectrum.device)  # [B, T, M]
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
    return _istft(_stft(samples, settings, "constant") * gains.transpose(1, 2), settings, samples.shape[-1])


def _istft(spectrum: Tensor, settings: MelSettings, length: int) -> Tensor:
    size = settings.window_samples or settings.n_fft
    window = torch.hann_window(size, device=spectrum.device)
    return torch.istft(spectrum, settings.n_fft, settings.hop_samples, size, window, center=True, length=length)


def whiten(audio: Tensor, mel: Tensor, settings: MelSettings) -> Tensor:
    """Audio [B, (T - 1) * hop] without the envelope of its mel [B, T, M]: about of variance 1."""
    return filtered(audio, 1 / mel_envelope(mel, settings), settings)


def colour(signal: Tensor, mel: Tensor, settings: MelSettings) -> Tensor:
    """The audio that `whiten` made `signal` of, nearly: filters of overlapping frames do not undo each other exactly."""
    return filtered(signal, mel_envelope(mel, settings), settings)


def corrected(samples: Tensor, mel: Tensor, settings: MelSettings, passes: int = 1, blur_hz: float = 0.0) -> Tensor:
    """Move the spectral envelope of samples [B, L], L = (T - 1) * hop, to the one that their mel [B, T, M] asks for.

    What a vocoder is given says how loud every band is at every time, and what it made says how loud it is: the rest is a
    filter for each frame. Frames overlap, so that one pass does not go all the way. Differentiable. A sample depends on
    `corrected_frames` on either side.

    Args:
        samples: what a vocoder made.
        mel: what it was asked for.
        settings: of the mel.
        passes: how often; 0: not at all.
        blur_hz: envelopes are averaged over so many Hz on either side, for sound of another pitch than the mel's: a mel tells
            the lower harmonics apart.
    """
    if samples.shape[-1] <= settings.n_fft // 2:
        return samples  # shorter than half a window
    bins = round(blur_hz * settings.n_fft / settings.sample_rate)
    wanted = _blurred(mel_envelope(mel.clamp(max=_LOUDEST), settings, _SOFTEST), bins)
    samples = samples.clamp(-_BEYOND, _BEYOND)
    for _ in range(passes):
        spectrum = _stft(samples.float(), settings)
        made = _blurred(mel_envelope(_log_bins(spectrum, settings), settings, _SOFTEST), bins)
        gains = (wanted / made).clamp(1 / _LARGEST_GAIN, _LARGEST_GAIN)
        samples = _istft(spectrum * gains.transpose(1, 2), settings, samples.shape[-1])
    return samples


def _blurred(envelope: Tensor, bins: int) -> Tensor:
    """Envelopes [B, T, F], averaged over `bins` frequencies on either side."""
    return avg_pool1d(pad(envelope, (bins, bins), mode="replicate"), 2 * bins + 1, 1) if bins else envelope


def corrected_frames(settings: MelSettings, passes: int) -> int:
    """Frames on either side that a corrected sample depends on: the windows that it lies in, and where they end."""
    return passes * -(-(settings.window_samples or settings.n_fft) // settings.hop_samples)


def mel_spectrogram(audio: Waveform, settings: MelSettings) -> Mel:
    """Resample if needed and compute the mel of a batch.

    Returns:
        Mel with `lengths = L // hop + 1`, padded with silence.
    """
    audio = resample(audio, settings.sample_rate)
    # Row by row: the reflected edge of a short row must not see what pads it.
    rows = [log_mel(row[None], settings)[0] for row in audio.rows]
    values = pad_sequence(rows, batch_first=True, padding_value=math.log(settings.floor))  # [B, T, M]
    return Mel(values, audio.lengths // settings.hop_samples + 1, settings)
