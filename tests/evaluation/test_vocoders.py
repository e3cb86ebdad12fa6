"""The table of vocoders: a perfect one is perfect, a bad one is worse, and what cannot be measured is told."""

import json
import math
import sys

import numpy as np
import pytest
import torch

from speechgen.audio.io import write_audio
from speechgen.core.errors import UserError
from speechgen.core.types import Waveform
from speechgen.evaluation.encoders import content_encoder, voice_encoder
from speechgen.evaluation.vocoders import evaluate_vocoders
from tests.tiny import RATE, voice_like

PACKAGES = ("pesq", "pystoi", "librosa", "parselmouth")


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{name}.wav" for name in ("low", "high", "middle")]
    for path, pitch in zip(paths, (110.0, 210.0, 150.0), strict=True):
        write_audio(path, voice_like(4.2, pitch=pitch), RATE)
    return paths


def states(audio: Waveform):
    """Stands in for a recogniser: three numbers every 0.1 s, those of the last window of a row are not real."""
    frames = audio.samples.unfold(1, RATE // 10, RATE // 10)
    values = torch.stack([frames.std(-1), frames.abs().amax(-1), frames.diff(dim=-1).std(-1)], dim=-1) * 10
    return torch.cat([values, torch.full_like(values[:, :1], math.nan)], dim=1), torch.full((len(values),), values.shape[1])


def perfect(audio: Waveform) -> Waveform:
    return audio


def noisy(audio: Waveform) -> Waveform:
    noise = torch.randn(audio.samples.shape, generator=torch.Generator().manual_seed(0))
    return Waveform.single((audio.samples + 0.02 * noise)[0, :-200], audio.rate)  # ends before its last frame


def test_windows_stand_side_by_side_and_are_averaged_over_their_real_frames():
    """Reference: the mean of each two seconds; the half second that is left is not seen."""
    seen = []

    def frames(audio):
        seen.append(audio)
        return states(audio)

    features = content_encoder("stand-in", frames).embed(Waveform.single(voice_like(4.5), RATE))
    assert features.shape == (2, 3) and np.isfinite(features).all()
    assert seen[0].samples.shape == (2, 2 * RATE) and seen[0].lengths.tolist() == [2 * RATE] * 2
    expected = states(seen[0])[0][1, :20].double().mean(0).numpy()
    np.testing.assert_allclose(features[1], expected)
    assert len(content_encoder("stand-in", frames).embed(Waveform.single(voice_like(1.9), RATE))) == 0


def test_the_voice_encoder_tells_one_voice_from_another(repository):
    pytest.importorskip("resemblyzer")
    from speechgen.audio.io import read_audio

    encoder = voice_encoder()
    woman, man = (encoder.embed(read_audio(repository / "app/examples" / f"{name}.flac")) for name in ("kathleen", "marcus"))
    assert woman.shape[1] == 256 and len(woman) > 2 and "resemblyzer" in encoder.name
    np.testing.assert_allclose(np.linalg.norm(woman, axis=1), 1, atol=1e-5)
    assert (woman @ woman.T).mean() > (woman @ man.T).mean() + 0.1


@pytest.fixture
def report(files, tmp_path):
    for package in PACKAGES:
        pytest.importorskip(package)
    calls = []
    return calls, evaluate_vocoders(
        {"perfect": perfect, "runs/noisy": noisy},
        files,
        content=content_encoder("stand-in", states),
        opinions=False,
        missing=["not measured, FAD: nobody listens"],
        save_to=tmp_path / "out",
        progress=lambda done, total: calls.append((done, total)),
    )


def test_a_perfect_copy_is_perfect_and_noise_makes_every_figure_worse(report):
    best, worse = report[1].vocoders.values()
    assert best.pesq == pytest.approx(4.644, abs=1e-3) and best.stoi == pytest.approx(1)
    assert best.mcd == 0 and best.log_f0_rmse == 0
    assert best.voicing_error == 0 and best.mel_distance == 0
    assert best.speech.same.frechet == pytest.approx(0, abs=1e-4)
    assert best.speech.other.frechet == pytest.approx(best.speech.floor.frechet, rel=0.01)
    assert worse.pesq < best.pesq - 1 and worse.stoi < best.stoi - 0.01 and worse.mcd > 3
    assert worse.voicing_error > best.voicing_error and worse.mel_distance > 1
    assert worse.speech.same.frechet > 0.1 and worse.speech.other.frechet > worse.speech.floor.frechet
    assert best.audio is None and best.opinion is None and 0 < best.rtf.p50 < 1


def test_the_table_has_a_row_for_each_vocoder_and_tells_encoder_n_and_what_is_missing(report, tmp_path):
    calls, found = report
    lines = found.table().splitlines()
    assert [line.split(" | ")[0] for line in lines[2:5]] == ["| recordings", "| perfect", "| runs/noisy"]
    assert len({line.count("|") for line in lines[:5]}) == 1
    assert "stand-in, mean over windows of 2 s, n = 6 windows of 3 clips" in lines[-2] and "alpha 0.466" in lines[-2]
    assert lines[-1] == "not measured, FAD: nobody listens"
    assert calls == [(count, 6) for count in range(1, 7)]
    content = json.loads(found.to_json())
    assert (content["n"], content["seconds"]) == (3, pytest.approx(12.6))
    assert content["vocoders"]["perfect"]["speech"]["windows"] == 6
    kept = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.wav"))
    assert kept == [f"{name}/{clip}.wav" for name in ("perfect", "runs_noisy") for clip in ("high", "low", "middle")]


def test_measures_without_their_package_are_left_out_and_told(files, monkeypatch):
    for package in ("pesq", "pystoi", "librosa.sequence", "parselmouth", "speechmos.dnsmos"):
        monkeypatch.setitem(sys.modules, package, None)
    found = evaluate_vocoders({"perfect": perfect}, files[:1])
    figures = found.vocoders["perfect"]
    assert figures.mel_distance < 0.01
    assert {figures.pesq, figures.stoi, figures.mcd, figures.log_f0_rmse, figures.voicing_error, figures.speech} == {None}
    assert len(found.missing) == 5 and all("pip install" in line for line in found.missing)
    assert found.table().splitlines()[3].count("–") == 9


def test_a_file_that_cannot_be_compared_is_named(tmp_path):
    for package in PACKAGES:
        pytest.importorskip(package)
    write_audio(tmp_path / "silent.wav", torch.zeros(RATE), RATE)
    with pytest.raises(UserError, match=r"silent\.wav: the reference is silent"):
        evaluate_vocoders({"perfect": perfect}, [tmp_path / "silent.wav"], opinions=False)


def test_nothing_to_compare_is_refused(files):
    with pytest.raises(UserError, match="0 files and 1 vocoders"):
        evaluate_vocoders({"perfect": perfect}, [])
    with pytest.raises(UserError, match="3 files and 0 vocoders"):
        evaluate_vocoders({}, files)
