"""Intrusive metrics: a signal against a reference of the very same utterance, aligned in time (vocoders, codecs).

Both signals are resampled to the metric's rate and cropped at the end to the shorter one; nothing else is aligned.
PESQ and STOI take 16 kHz (STOI goes on to 10 kHz by itself), the mel distance the mel's own rate.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch

from speechgen.audio.resample import resample
from speechgen.audio.spectrogram import log_mel
from speechgen.core.errors import UserError
from speechgen.core.types import MelSettings, Waveform
from speechgen.evaluation.optional import require
from speechgen.evaluation.signals import SPEECH_RATE, aligned_pair, row

__all__ = ["mel_distance", "pesq_wideband", "si_sdr", "stoi"]


def pesq_wideband(reference: Waveform, degraded: Waveform) -> float:
    """Return wide-band PESQ (ITU-T P.862.2) at 16 kHz: 1.0 bad to 4.64 identical. It levels and aligns by itself.

    Raises:
        UserError: the reference is silent, or PESQ finds no speech or less than a quarter of a second.
    """
    pesq = require("pesq", install='"speechgen[pesq]" (it compiles C)')
    clean, other = aligned_pair(reference, degraded)
    try:
        return float(pesq.pesq(SPEECH_RATE, clean, other, "wb"))
    except pesq.PesqError as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else error
        raise UserError(f"PESQ cannot score {len(clean) / SPEECH_RATE:.2f} s ({reason}): both need audible speech") from error


def stoi(reference: Waveform, degraded: Waveform) -> float:
    """Return short-time objective intelligibility (Taal et al., 2011), at most 1, without level correction or delay search.

    Raises:
        UserError: the reference is silent, or holds less than 0.4 s of speech: the measure's shortest segment.
    """
    metric = require("pystoi").stoi
    clean, other = aligned_pair(reference, degraded)
    short = UserError(f"STOI needs 0.4 s of speech, the reference has less in its {len(clean) / SPEECH_RATE:.2f} s")
    if len(clean) < 0.4 * SPEECH_RATE:
        raise short
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
            return float(metric(clean, other, SPEECH_RATE, extended=False))
    except RuntimeWarning:
        raise short from None


def si_sdr(reference: Waveform, degraded: Waveform) -> float:
    """Return the scale-invariant signal to distortion ratio in dB (Le Roux et al., 2019), at the rate of the degraded signal.

    Raises:
        UserError: the reference is silent.
    """
    clean, other = aligned_pair(reference, degraded, lambda audio: row(resample(audio, degraded.rate)))
    first, second = clean.astype(np.float64), other.astype(np.float64)
    target = (first @ second) / (first @ first) * first
    noise = second - target
    return float(10 * np.log10(max(target @ target, 1e-12) / max(noise @ noise, 1e-12)))


def mel_distance(reference: Waveform, degraded: Waveform, settings: MelSettings | None = None) -> float:
    """Return the mean absolute difference of natural-log mels, at the mel's own rate and without level correction.

    Args:
        reference: longer than half an FFT window.
        degraded: likewise.
        settings: the mel's definition; the default is the package's.

    Raises:
        UserError: the reference is silent, or either is too short for one window.
    """
    settings = settings or MelSettings()
    pair = aligned_pair(reference, degraded, lambda audio: row(resample(audio, settings.sample_rate)))
    if len(pair[0]) <= settings.n_fft // 2:
        raise UserError(f"a mel needs more than {settings.n_fft // 2} samples at {settings.sample_rate} Hz, got {len(pair[0])}")
    first, second = (log_mel(torch.from_numpy(samples)[None], settings) for samples in pair)  # [1, T, M]
    return float((first - second).abs().mean())
