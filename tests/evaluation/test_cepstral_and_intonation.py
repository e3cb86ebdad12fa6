"""Mel-cepstral distortion and melody: closed forms, WORLD, and the alignment of librosa."""

import math

import numpy as np
import pytest
import torch

from speechgen.core.errors import UserError
from speechgen.core.types import Waveform
from speechgen.evaluation.cepstral import ALPHA, align, mel_cepstra, mel_cepstral_distortion, warping_matrix
from speechgen.evaluation.envelope import envelope_cepstra
from speechgen.evaluation.intonation import agreement, pitch_agreement

RATE = 24000


@pytest.fixture(autouse=True)
def praat():
    pytest.importorskip("parselmouth")
    pytest.importorskip("librosa")


def vowel(seconds: float = 1.0, hertz: float = 120.0, tilt: float = 1.0) -> torch.Tensor:
    """Harmonics that fall by `tilt` times 6 dB an octave, coming and going."""
    time = torch.arange(int(seconds * RATE)) / RATE
    tone = sum(torch.sin(2 * math.pi * hertz * k * time) / k**tilt for k in range(1, 40))
    return 0.05 * tone * (1 + 0.8 * torch.sin(2 * math.pi * 3 * time))


def wave(samples: torch.Tensor) -> Waveform:
    return Waveform.single(samples, RATE)


def test_the_warped_cepstrum_describes_the_same_curve_on_the_warped_axis():
    """Closed form: sum c_n cos(n w) = sum c~_m cos(m w~) where w~ = w + 2 atan(a sin w / (1 - a cos w))."""
    alpha = 0.466
    cepstrum = 0.7 ** np.arange(8) * np.random.default_rng(0).standard_normal(8)
    frequency = np.linspace(0, math.pi, 50)
    warped = frequency + 2 * np.arctan(alpha * np.sin(frequency) / (1 - alpha * np.cos(frequency)))
    before = np.cos(np.outer(frequency, np.arange(8))) @ cepstrum
    after = np.cos(np.outer(warped, np.arange(121))) @ (warping_matrix(120, alpha, 8) @ cepstrum)
    np.testing.assert_allclose(after, before, atol=1e-9)


def test_without_warping_the_cepstrum_stays():
    assert np.array_equal(warping_matrix(3, 0.0, 6), np.eye(4, 6))


def test_alpha_follows_the_mel_scale_at_24_khz():
    """Reference: the constant whose curve is nearest to the mel scale, in root mean square."""
    frequency = np.linspace(0, math.pi, 200)
    mel = np.log1p(frequency / math.pi * 12000 / 1000) / math.log1p(12000 / 1000) * math.pi

    def miss(alpha):
        warped = frequency + 2 * np.arctan(alpha * np.sin(frequency) / (1 - alpha * np.cos(frequency)))
        return np.square(warped - mel).mean()

    assert min(np.arange(0.3, 0.7, 0.001), key=miss) == pytest.approx(ALPHA, abs=0.01)


def test_the_envelope_is_that_of_world():
    """Reference: pyworld's CheapTrick on the same frequencies, some of them unvoiced."""
    world = pytest.importorskip("pyworld")
    samples = (vowel(0.5) + 1e-3 * torch.randn(RATE // 2, generator=torch.Generator().manual_seed(0))).double().numpy()
    hertz = np.where(np.arange(len(samples) // 256 + 1) % 9 < 7, 120.0, 0.0)
    expected = world.cheaptrick(samples, hertz, np.arange(len(hertz)) * 256 / RATE, RATE, fft_size=1024)
    cepstra = envelope_cepstra(samples, hertz, RATE, floor_db=-300)
    logarithms = cepstra @ np.cos(np.outer(np.arange(513), np.arange(513)) * math.pi / 512)
    np.testing.assert_allclose(logarithms, 0.5 * np.log(expected), atol=1e-3)


def test_a_signal_has_no_distortion_from_itself_at_any_level_or_pause():
    samples = vowel()
    assert mel_cepstral_distortion(wave(samples), wave(samples)) == 0
    assert mel_cepstral_distortion(wave(samples), wave(samples / 2)) == pytest.approx(0, abs=1e-3)
    longer = torch.cat([samples[:12000], samples[9440:]])  # 0.1 s is said again
    assert mel_cepstral_distortion(wave(samples), wave(longer)) < 1


def test_a_known_change_of_the_spectrum_gives_its_distortion(monkeypatch):
    """Closed form: one coefficient that is off by x everywhere costs 10 sqrt(2) / ln 10 times x."""
    cepstra = np.random.default_rng(0).standard_normal((20, 13))
    shifted = cepstra.copy()
    shifted[:, 4] += 0.25
    found = iter([cepstra, shifted])
    monkeypatch.setattr("speechgen.evaluation.cepstral.mel_cepstra", lambda audio: next(found))
    assert mel_cepstral_distortion(wave(vowel()), wave(vowel())) == pytest.approx(10 * math.sqrt(2) / math.log(10) * 0.25)


def test_a_filter_is_heard_in_its_own_cepstrum():
    """Closed form: 1 + 0.5 z^-1 adds (-1)^(m + 1) 0.5^m / m to c_m, here on the warped axis."""
    noise = torch.randn(2 * RATE, generator=torch.Generator().manual_seed(0)) * 0.05
    filtered = noise + 0.5 * torch.nn.functional.pad(noise, (1, 0))[:-1]
    added = (mel_cepstra(wave(filtered)) - mel_cepstra(wave(noise))).mean(axis=0)
    powers = np.arange(1, 200)
    expected = warping_matrix(13, 0.466, 200) @ np.concatenate([[0], -((-0.5) ** powers) / powers])
    np.testing.assert_allclose(added, expected[1:], atol=0.02)


def test_distortion_grows_with_noise():
    noise = torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    values = [mel_cepstral_distortion(wave(vowel()), wave(vowel() + level * noise)) for level in (0.0003, 0.003, 0.03)]
    assert 0 < values[0] < values[1] < values[2]


def test_alignment_undoes_a_change_of_pace():
    """Reference: frames that are said twice are each matched with their original."""
    frames = np.random.default_rng(0).standard_normal((12, 13))
    pairs = align(frames, np.repeat(frames, 2, axis=0))
    assert np.array_equal(pairs, np.stack([np.repeat(np.arange(12), 2), np.arange(24)], axis=1))


@pytest.mark.parametrize(("samples", "message"), [(torch.zeros(RATE), "silent"), (torch.ones(61 * RATE), "61 s are too long")])
def test_signals_without_a_cepstrum_are_refused(samples, message):
    with pytest.raises(UserError, match=message):
        mel_cepstral_distortion(wave(samples), wave(vowel()))


def test_agreement_of_contours_is_counted():
    """Closed form: a semitone everywhere is ln 2 / 12; one of four frames differs in voicing."""
    reference = torch.tensor([100.0, 200.0, 0.0, 150.0])
    result = agreement(reference, torch.tensor([100.0, 200.0, 0.0, 0.0]) * 2 ** (1 / 12))
    assert result.log_f0_rmse == pytest.approx(math.log(2) / 12, abs=1e-6)
    assert (result.voicing_error, result.both, result.frames) == (0.25, 2, 4)
    assert agreement(reference, torch.zeros(4)).log_f0_rmse is None
    together = result + agreement(reference, reference)
    assert together.log_f0_rmse == pytest.approx(math.log(2) / 12 * math.sqrt(2 / 5), abs=1e-6)
    assert together.voicing_error == 1 / 8


def test_a_tone_that_is_a_semitone_higher_is_measured_so():
    result = pitch_agreement(wave(vowel(hertz=120)), wave(vowel(1.1, hertz=120 * 2 ** (1 / 12))))
    assert result.log_f0_rmse == pytest.approx(math.log(2) / 12, rel=0.02)
    assert result.voicing_error < 0.05 and result.both > 80
