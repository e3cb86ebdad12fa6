"""Recognising sounds: the classifier tells kinds of sound apart, and says how well on what it has not heard."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechgen.cli.main import run
from speechgen.core.errors import UserError
from speechgen.core.types import Waveform
from speechgen.evaluation.sounds import fit_classifier, sound_features
from speechgen.service.evaluate_sounds import classifier_of, measure_sounds
from tests.sounds import KINDS, RATE, corpus, sound

pytest.importorskip("sklearn")


@pytest.fixture
def real(tmp_path: Path) -> Path:
    return corpus(tmp_path / "real", 6, 0, KINDS)


def features(kind: str, seed: int, gain: float = 1.0, rate: int = RATE) -> np.ndarray:
    return sound_features(Waveform.single(torch.tensor(sound(kind, seed) * gain, dtype=torch.float32), rate))


def test_level_does_not_matter_and_silence_is_refused():
    np.testing.assert_allclose(features("noise", 1), features("noise", 1, 0.01), rtol=1e-3, atol=1e-3)
    with pytest.raises(UserError, match="nothing to hear"):
        features("noise", 1, 0.0)
    short = sound_features(Waveform.single(torch.ones(10), RATE))
    assert short.shape == features("noise", 1).shape and np.isfinite(short).all()


def test_accuracy_is_that_on_unseen_sounds():
    """Labels that have nothing to do with the sounds are guessed no better than by chance, however well they are learnt."""
    rows = np.array([features(kind, seed) for seed in range(10) for kind in KINDS.values()])
    labels = list(KINDS) * 10
    groups = [str(n) for n in range(len(labels))]
    assert fit_classifier(rows, labels, groups).accuracy > 0.9
    scrambled = [str(label) for label in np.random.default_rng(1).permutation(labels)]
    assert fit_classifier(rows, scrambled, groups).accuracy < 0.65
    with pytest.raises(UserError, match="5 recordings each; dog bark has fewer"):
        fit_classifier(rows[:-3], [*["Rain"] * 25, *["dog bark"] * 2], groups[:-3])


def test_clips_are_recognised_by_what_their_prompts_name(real, tmp_path):
    prompts = {"a dog barking": "tone", "the rain falling, softly": "noise", "clock tick": "clicks", "a piano": "tone"}
    report = measure_sounds(corpus(tmp_path / "clips", 3, 100, prompts), [real])
    (figures,) = report.figures
    assert figures.accuracy > 0.9 and figures.clips == 9 and len(report.passed_over) == 3
    assert figures.by_label == {"dog bark": 1.0, "rain": 1.0, "clock tick": 1.0} and figures.recognised == 1.0
    wrong = dict(zip(prompts, ("noise", "clicks", "tone", "tone"), strict=True))
    (worse,) = measure_sounds(corpus(tmp_path / "wrong", 3, 200, wrong), [real]).figures
    assert worse.recognised == 0.0 and worse.heard_as[0][2] == 3
    static = dict.fromkeys(prompts, "noise")
    (noise,) = measure_sounds(corpus(tmp_path / "static", 3, 300, static), [real]).figures
    assert noise.recognised == pytest.approx(1 / 3) and noise.frechet > figures.frechet
    assert "0.33 of 9 clips recognised" in measure_sounds(tmp_path / "static", [real]).table()


def test_features_of_recordings_are_kept(real, monkeypatch):
    first, rows = classifier_of(real)
    monkeypatch.setattr("speechgen.service.evaluate_sounds.sound_features", None)  # would fail if it were called
    again, same = classifier_of(real)
    assert first.accuracy == again.accuracy and np.array_equal(rows, same)


def test_the_manifest_of_music_tells_the_prompts(real, tmp_path, capsys):
    clips = tmp_path / "clips"
    clips.mkdir()
    soundfile.write(clips / "0001.wav", 0.5 * sound("noise", 7), RATE)
    entries = [
        {"row": 1, "path": "0001.wav", "row_sha256": "x", "prompt": "rain falling", "sha256": "y"},
        {"row": 2, "path": "0002.wav", "row_sha256": "z", "prompt": "a dog barking", "error": "no"},
    ]
    (clips / "manifest.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert run(["eval", "sounds", "--audio", str(clips), "--real", str(real), "--json"]) == 0
    (figures,) = json.loads(capsys.readouterr().out)["figures"]
    assert (figures["clips"], figures["recognised"], figures["frechet"]) == (1, 1.0, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["sounds"], "--audio and --real belong together"),
        (["sounds", "--audio", "clips"], "--real belong together"),
        (["--real", "real"], "--real belong together"),
        (["sounds", "--audio", "none", "--real", "none"], "no such folder"),
    ],
)
def test_bad_commands_are_one_line(given, message, capsys):
    assert run(["eval", *given]) == 2
    printed = capsys.readouterr().err
    assert message in printed and len(printed.splitlines()) == 1
