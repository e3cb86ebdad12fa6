"""THE mel spectrogram: Hann STFT magnitude, HTK mel scale, natural logarithm.

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

__all__ = ["log_mel", "mel_spectrogram"]


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # kept for later calls, which may need gradients through it
def _filters(settings: MelSettings) -> Tensor:
    return melscale_fbanks(
        settings.n_fft // 2 + 1, 0.0, settings.sample_rate / 2, settings.num_bins, settings.sample_rate, mel_scale="htk"
    )


def log_mel(samples: Tensor, settings: MelSettings) -> Tensor:
    """Log-mel of raw samples, differentiable.

    Args:
        samples: [B, L] at `settings.sample_rate`, L > n_fft / 2 (reflected at the edges).
        settings: the mel's definition.

    Returns:
        [B, T, M] natural-log magnitudes, T = L // hop + 1.
    """
    window = torch.hann_window(settings.n_fft, device=samples.device)
    spectrum = torch.stft(
        samples.float(),
        settings.n_fft,
        settings.hop_samples,
        window=window,
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )  # [B, F, T]
    magnitudes = spectrum.abs().transpose(1, 2) @ _filters(settings).to(samples.device)  # [B, T, M]
    return magnitudes.clamp(min=settings.floor).log()


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
