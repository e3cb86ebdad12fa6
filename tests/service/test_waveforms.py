"""Waveform models measured: bits, digits and speed, with tiny ones that have learnt nothing."""

from __future__ import annotations

import pytest

from speechgen.audio.io import write_audio
from speechgen.core.errors import UserError
from speechgen.data.prepare import prepare_splits
from speechgen.evaluation import digits
from speechgen.service import bench_waveform
from speechgen.service.bench_waveform import bench_waveforms
from speechgen.service.evaluate_waveform import measure_waveforms
from tests.tiny import save_checkpoint, voice_like


@pytest.fixture
def model(home):
    save_checkpoint(home / "checkpoints" / "tiny-waveform", "samplernn")
    return "tiny-waveform"


def test_a_model_is_measured_beside_linear_prediction_and_its_clips_are_listened_to(model, tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "EPOCHS", 1)
    (tmp_path / "recordings").mkdir()
    for digit, index in ((digit, index) for digit in range(10) for index in (0, 5, 8)):
        sound = voice_like(0.15, 8000, seed=digit, pitch=100.0 + 20 * digit + index)
        write_audio(tmp_path / "recordings" / f"{digit}_ann_{index}.wav", sound, 8000)
    prepare_splits(tmp_path, tmp_path / "prepared", ["audio"], corpus="fsdd")
    (tmp_path / "clips").mkdir()
    report = measure_waveforms([model], tmp_path / "prepared", count=2, limit=5, save_to=tmp_path / "clips")
    (figures,) = report.models.values()
    assert (figures.quantizer, figures.rate, report.clips, report.generated) == ("mu-law", 16000, 5, 2)
    assert 7 < figures.bits < 9  # near to all levels alike
    assert 0.5 < figures.predicted < 6 and figures.real is not None and len(figures.counts) == 10
    clips = sorted(path.relative_to(tmp_path / "clips").as_posix() for path in (tmp_path / "clips").rglob("*.wav"))
    assert clips == [f"tiny-waveform/0-00{n}.wav" for n in (1, 2)]
    assert "| tiny-waveform | mu-law, 8 bit | 16000 |" in report.table()
    with pytest.raises(UserError, match="not a prepared corpus"):
        measure_waveforms([model], tmp_path)


def test_speed_is_measured_beside_vocoders(model, monkeypatch):
    monkeypatch.setattr(bench_waveform, "_presets", dict)
    monkeypatch.setattr(bench_waveform, "EAGER_SAMPLES", 32)
    monkeypatch.setattr(bench_waveform, "BATCHED_SAMPLES", 32)
    monkeypatch.setattr(bench_waveform.catalog, "of_role", lambda role: ["tiny-vocoder"])
    report = bench_waveforms([model], seconds=0.02, runs=1)
    speed = report.models[model]
    assert speed.stepped < speed.eager and speed.rate == 16000 and speed.parameters < 20_000
    assert report.vocoders["tiny-vocoder"] > 0
    # The tiny one's channels are filled up to 16: two layers of two products of 16 x 48 in each tier, and what is around them.
    tiers = (32 * 16 + 4 * 768 + 16 * 32) / 32 + (16 * 16 + 4 * 768 + 16 * 256) / 16
    assert speed.operations == 2 * 16000 * (tiers + 16 * 16 + 16 * 256)
    assert report.peak > 1e9


def test_what_is_no_waveform_model_is_refused(home):
    with pytest.raises(UserError, match="give a waveform model's checkpoint"):
        bench_waveforms(["tiny-vocoder"])
