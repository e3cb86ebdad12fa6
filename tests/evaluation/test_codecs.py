"""Figures of codecs: bits and use of codebooks by hand, words by the recogniser."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from speechgen.audio.io import write_audio
from speechgen.core.types import CodecTokens, Waveform
from speechgen.evaluation.codecs import Spoken, _understandable, evaluate_codecs
from speechgen.evaluation.spectral import si_sdr
from tests.tiny import RATE, voice_like

HOP = 480


class Halving:
    """A codec of two codebooks that gives back the audio at half its level; its codes count its frames."""

    identity, sample_rate, rate, size, num_codebooks = "halving", RATE, RATE / HOP, 256, 2

    def encode(self, audio: Waveform, codebooks: int | None = None) -> CodecTokens:
        self.audio = audio
        frames = torch.arange(audio.samples.shape[1] // HOP)
        ids = torch.stack((frames % 4, torch.full_like(frames, 7)))[None, :codebooks]
        return CodecTokens(ids, torch.tensor([len(frames)]), self.rate, self.size, self.identity)

    def decode(self, tokens: CodecTokens) -> Waveform:
        return Waveform(0.5 * self.audio.samples, self.audio.lengths, RATE)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.wav" for name in "ab"]
    for index, path in enumerate(paths):
        write_audio(path, voice_like(1.2, seed=index), RATE)
    return paths


def test_bits_and_use_of_codebooks_are_counted(files):
    report = evaluate_codecs({"both": (Halving(), 2), "one": (Halving(), 1)}, files, device=torch.device("cpu"), opinions=False)
    both, one = report.codecs["both"], report.codecs["one"]
    assert (both.kilobits, one.kilobits) == (pytest.approx(2 * 8 * 50 / 1000), pytest.approx(8 * 50 / 1000))
    assert both.perplexity == pytest.approx((4.0, 1.0)) and both.used == pytest.approx((4 / 256, 1 / 256))
    assert len(one.perplexity) == 1 and both.si_sdr > 60 and both.wer is None and report.wer is None
    table = report.table()
    assert "| both | 0.80 |" in table and "4 1" in table and "PESQ-WB" in table


def test_words_are_counted_of_recordings_and_copies(files, monkeypatch):
    texts = [Spoken(files[0], "s", "Open the door."), Spoken(files[1], "s", "Close the window.")]
    report = evaluate_codecs({"c": (Halving(), 2)}, files, texts, device=torch.device("cpu"), opinions=False)
    assert report.texts == 2 and report.wer is not None and report.codecs["c"].wer is not None  # a buzz says no words
    assert report.wer > 0.5


def test_texts_that_the_recogniser_cannot_hear_are_passed_over():
    path = Path("a.wav")
    texts = [Spoken(path, "s", text) for text in ("open the door", "xqzzt", "", "12 doors", "geöffnet")]
    assert [said.text for said in _understandable(texts)] == ["open the door"]


def test_signal_to_distortion_is_that_of_the_best_level():
    """Reference: noise of a hundredth of the power is 20 dB, whatever the gain."""
    torch.manual_seed(0)
    clean = torch.randn(24000)
    noise = torch.randn(24000)
    noise = noise - (noise @ clean) / (clean @ clean) * clean
    noise = 0.1 * noise * clean.norm() / noise.norm()
    scale = 0.05
    first, second = (Waveform.single(scale * each, RATE) for each in (clean, 0.3 * (clean + noise)))
    assert si_sdr(first, second) == pytest.approx(20, abs=1e-3)
