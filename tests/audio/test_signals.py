"""Mel, level and resampling against torchaudio, librosa and closed forms."""

from __future__ import annotations

import math

import librosa
import pytest
import torch
import torchaudio

from speechgen.audio.loudness import TARGET_DBFS, active_level, normalize_level
from speechgen.audio.resample import resample
from speechgen.audio.spectrogram import corrected, corrected_frames, log_mel, mel_spectrogram
from speechgen.core.types import MelSettings, Waveform
from tests.tiny import voice_like

SETTINGS = MelSettings()
RATE = 24000


def test_mel_equals_torchaudio():
    """The published Vocos computes its input with exactly this transform."""
    samples = voice_like(1.0)[None]
    transform = torchaudio.transforms.MelSpectrogram(RATE, n_fft=1024, hop_length=256, n_mels=100, center=True, power=1)
    expected = transform(samples).clamp(min=1e-5).log().transpose(1, 2)
    torch.testing.assert_close(log_mel(samples, SETTINGS), expected, rtol=0, atol=1e-4)


def test_mel_equals_librosa():
    samples = voice_like(1.0)
    spectrum = librosa.feature.melspectrogram(
        y=samples.numpy(), sr=RATE, n_fft=1024, hop_length=256, n_mels=100, htk=True, norm=None, power=1, pad_mode="reflect"
    )
    expected = torch.from_numpy(spectrum).clamp(min=1e-5).log().T
    torch.testing.assert_close(log_mel(samples[None], SETTINGS)[0], expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("length", [513, 767, 768, 2560, 2561, 24000])
def test_a_mel_has_one_frame_more_than_whole_hops(length):
    mel = mel_spectrogram(Waveform.single(torch.randn(length), RATE), SETTINGS)
    assert mel.values.shape == (1, length // 256 + 1, 100) and mel.lengths.tolist() == [length // 256 + 1]


def test_silence_is_the_floor():
    assert log_mel(torch.zeros(1, 2000), SETTINGS).eq(math.log(1e-5)).all()


def test_a_tone_sits_in_its_own_bin():
    centres = torchaudio.functional.melscale_fbanks(513, 0.0, 12000.0, 100, RATE).argmax(0) * RATE / 1024
    samples = torch.sin(2 * torch.pi * 3000 * torch.arange(RATE) / RATE)[None]
    loudest = log_mel(samples, SETTINGS)[0, 40].argmax()
    assert abs(float(centres[loudest]) - 3000) < 150


def test_mel_has_finite_gradients_for_silence():
    samples = torch.zeros(1, 2000, requires_grad=True)
    log_mel(samples, SETTINGS).sum().backward()
    assert samples.grad.isfinite().all()


def test_a_row_of_a_batch_has_the_mel_it_has_alone():
    """Its reflected end does not see what pads it."""
    rows = [voice_like(1.0), voice_like(0.61, seed=1), voice_like(0.3, seed=2)]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0.7)
    together = mel_spectrogram(Waveform(padded, torch.tensor([len(row) for row in rows]), RATE), SETTINGS)
    for index, row in enumerate(rows):
        alone = mel_spectrogram(Waveform.single(row, RATE), SETTINGS)
        size = int(alone.lengths[0])
        assert together.lengths[index] == size == alone.values.shape[1]
        torch.testing.assert_close(together.values[index, :size], alone.values[0])
        assert together.values[index, size:].eq(math.log(1e-5)).all()


@pytest.mark.parametrize(("old", "new"), [(8000, 24000), (44100, 24000), (24000, 16000), (48000, 24000), (22050, 24000)])
def test_resampled_lengths_are_those_of_each_row_alone(old, new):
    lengths = torch.tensor([30 * old + 7, 30 * old + 5, 11 * old + 1, 2000])
    together = resample(Waveform(torch.zeros(4, int(lengths.max())), lengths, old), new)
    alone = [torchaudio.functional.resample(torch.zeros(1, int(size)), old, new).shape[1] for size in lengths]
    assert together.lengths.tolist() == alone and together.samples.shape[1] == max(alone) and together.rate == new


def test_resampling_keeps_a_tone_and_removes_what_does_not_fit():
    time = torch.arange(48000) / 48000
    low, high = torch.sin(2 * torch.pi * 1000 * time), torch.sin(2 * torch.pi * 15000 * time)
    audio = resample(Waveform.single(low + high, 48000), RATE)
    expected = torch.sin(2 * torch.pi * 1000 * torch.arange(24000) / RATE)
    torch.testing.assert_close(audio.samples[0, 500:-500], expected[500:-500], rtol=0, atol=0.01)


def test_the_same_rate_is_the_same_object():
    audio = Waveform.single(torch.zeros(10), RATE)
    assert resample(audio, RATE) is audio


def test_level_is_measured_over_sound_alone():
    """A sine of amplitude 0.5 has 20 log10(0.5 / sqrt 2) dB, whatever silence is around it."""
    sine = 0.5 * torch.sin(2 * torch.pi * 100 * torch.arange(RATE) / RATE)
    expected = 20 * math.log10(0.5 / math.sqrt(2))
    assert active_level(sine, RATE) == pytest.approx(expected, abs=0.01)
    assert active_level(torch.cat((torch.zeros(RATE), sine, torch.zeros(3 * RATE))), RATE) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("gain", [0.01, 0.3, 1.0])
def test_speech_of_any_level_is_brought_to_one_level(gain):
    voice = 0.3 * voice_like(2.0)
    louder = normalize_level(gain * voice, RATE)
    assert active_level(louder, RATE) == pytest.approx(TARGET_DBFS, abs=0.01)
    torch.testing.assert_close(louder, normalize_level(voice, RATE), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(normalize_level(louder, RATE), louder, rtol=1e-3, atol=1e-5)


def test_peaks_stay_below_full_scale():
    clicks = torch.zeros(RATE)
    clicks[::2000] = 0.9
    assert float(normalize_level(clicks + 1e-4, RATE, target_dbfs=-3.0).abs().max()) == pytest.approx(0.95)


@pytest.mark.parametrize(
    "samples", [torch.zeros(RATE), torch.zeros(10), torch.full((RATE,), 1e-6)], ids=["silence", "short", "faint"]
)
def test_silence_is_not_amplified(samples):
    assert torch.equal(normalize_level(samples, RATE), samples)


def test_a_ratio_of_large_terms_takes_neither_memory_nor_time():
    """22051 and 24000 have no common factor; the exact filter would have 529 million taps."""
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(22051) / 22051)
    audio = resample(Waveform.single(tone, 22051), RATE)
    expected = torch.sin(2 * torch.pi * 1000 * torch.arange(RATE) / RATE)
    assert audio.samples.shape[1] == audio.lengths[0] and abs(audio.samples.shape[1] - RATE) <= 1
    torch.testing.assert_close(audio.samples[0, 100 : RATE - 100], expected[100:-100], rtol=0, atol=0.03)


def test_a_mel_has_gradients_even_if_the_first_one_was_made_in_inference():
    settings = MelSettings(num_bins=20)
    with torch.inference_mode():
        log_mel(torch.rand(1, 2000), settings)
    samples = torch.rand(1, 2000, requires_grad=True)
    log_mel(samples, settings).sum().backward()
    assert samples.grad.abs().sum() > 0


def _too_dull(size: int = 12800):
    """Noise with the mel of other noise that is louder and brighter and swells: [1, L], [1, T, M]."""
    rng = torch.Generator().manual_seed(0)
    noise, other = (0.05 * torch.randn(1, size, generator=rng) for _ in range(2))
    bright = (other - 0.5 * torch.nn.functional.pad(other, (1, 0))[:, :-1]) * torch.linspace(0.5, 3, size)
    return noise, log_mel(bright, SETTINGS)


def test_corrected_sound_has_the_mel_that_was_asked_for():
    noise, mel = _too_dull()
    away = [(log_mel(corrected(noise, mel, SETTINGS, passes), SETTINGS) - mel).abs().mean() for passes in (0, 1, 2)]
    assert away[1] < 0.4 * away[0] and away[2] < 0.8 * away[1]


def test_correction_has_gradients_and_leaves_what_is_right_and_what_is_too_short():
    noise, mel = _too_dull()
    torch.testing.assert_close(corrected(noise, log_mel(noise, SETTINGS), SETTINGS), noise, atol=1e-5, rtol=1e-4)
    assert torch.equal(corrected(noise[:, :512], mel[:, :3], SETTINGS, 2), noise[:, :512])
    noise.requires_grad_()
    corrected(noise, mel, SETTINGS).square().sum().backward()
    assert noise.grad is not None and noise.grad.isfinite().all() and noise.grad.abs().max() > 0


def test_no_correction_goes_further_than_four_times_and_silence_stays_silent():
    noise, mel = _too_dull()
    assert corrected(noise, mel + 10, SETTINGS).std() < 4.1 * noise.std()
    assert corrected(torch.zeros_like(noise), torch.full_like(mel, -11.5), SETTINGS).abs().max() == 0


@pytest.mark.parametrize("passes", [1, 2])
def test_a_corrected_sample_depends_on_so_many_frames_and_on_no_more(passes):
    noise, mel = _too_dull()
    reach = corrected_frames(SETTINGS, passes)
    whole, part = corrected(noise, mel, SETTINGS, passes), corrected(noise[:, 10 * 256 :], mel[:, 10:], SETTINGS, passes)
    torch.testing.assert_close(whole[:, (10 + reach) * 256 :], part[:, reach * 256 :], atol=1e-6, rtol=1e-4)
    early = slice((10 + reach // 2) * 256, (10 + reach) * 256)
    assert not torch.allclose(whole[:, early], part[:, reach // 2 * 256 : reach * 256], atol=1e-6, rtol=1e-4)
