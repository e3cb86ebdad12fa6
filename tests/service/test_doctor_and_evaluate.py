"""Looking over an installation, and measuring what is installed."""

import gzip
import json

import numpy as np
import pytest
import torch

from speechgen.audio.io import write_audio
from speechgen.core import checkpoint
from speechgen.core.errors import UserError
from speechgen.service.doctor import examine, verify_checkpoint
from speechgen.service.engine import Engine
from speechgen.service.evaluate import measure_pipeline, measure_tokenizer, read_sentences
from speechgen.service.evaluate_long import measure_long
from tests.tiny import RATE, voice_like


def test_the_doctor_finds_everything_that_the_tiny_pipeline_needs(home):
    findings = {finding.part: finding for finding in examine("tiny")}
    assert all(finding.ok for finding in findings.values() if finding.needed)
    fingerprint = checkpoint.fingerprint(home / "checkpoints" / "tiny-vocoder")
    assert fingerprint in findings["tiny-vocoder"].text and "MB" in findings["tiny-vocoder"].text
    assert "fit together" in findings["pipeline tiny"].text


def test_the_doctor_names_a_missing_checkpoint(home):
    (home / "checkpoints" / "tiny-acoustic" / "config.json").unlink()
    missing = [finding for finding in examine("tiny") if finding.needed and not finding.ok]
    assert [finding.part for finding in missing] == ["tiny-acoustic"]


def test_verify_loads_a_checkpoint_and_notices_damage(home):
    assert verify_checkpoint("tiny-vocoder").ok
    path = home / "checkpoints" / "tiny-vocoder" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    finding = verify_checkpoint("tiny-vocoder")
    assert not finding.ok and "damaged" in finding.text


def test_sentences_are_the_lines_that_are_not_blank(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("One.\n\n  Two.  \n", encoding="utf-8")
    assert read_sentences(path) == ["One.", "Two."]
    assert len(read_sentences(None)) == 20
    path.write_text("\n")
    with pytest.raises(UserError, match="holds no sentences"):
        read_sentences(path)


def test_any_text_is_measured_as_it_is_spoken(home):
    """Numbers count as words, pauses as time; what cannot be read is an empty clip, what the recogniser lacks has no WER."""
    pytest.importorskip("pocketsphinx")
    pytest.importorskip("resemblyzer")
    texts = ["Dr. Smith paid $3.50…", "Wait [pause:0.5] there.", "Xqzztian food.", "\u732b"]
    report = measure_pipeline(Engine("cpu"), "tiny", texts, [home / "voices" / "buzz.wav"], opinions=False)
    paid, wait, food, cat = report.clips
    assert paid.said.split() == ["Doctor", "Smith", "paid", "three", "dollars", "and", "fifty", "cents"]
    assert paid.wer is not None and wait.said == "Wait there." and food.wer is None
    assert paid.repeated is not None and paid.seconds > 0
    assert wait.seconds / wait.times_needed > 0.5 + 0.06 * 10
    assert report.overall.empty == ("buzz/04",) and "most of its letters are not Latin" in cat.warnings[0]
    assert "without 3, 4, whose words" in report.settings


def test_the_ends_of_a_long_recording_are_compared_with_its_voice(tmp_path):
    pytest.importorskip("resemblyzer")
    same, other = voice_like(4.0), voice_like(4.0, pitch=260.0)
    write_audio(tmp_path / "voice.wav", same, RATE)
    write_audio(tmp_path / "book.wav", torch.cat([same, same.repeat(8), other]), RATE)
    report = measure_long(tmp_path / "book.wav", tmp_path / "voice.wav")
    assert report.first == pytest.approx(1, abs=1e-3) and report.last < report.first - 0.03 and report.seconds == 40
    assert "| 40.0 | 1.0000 |" in report.table() and json.loads(report.to_json())["seconds"] == 40
    with pytest.raises(UserError, match="give more than 5 s"):
        measure_long(tmp_path / "voice.wav", tmp_path / "voice.wav")


def test_a_tokenizer_is_measured_on_prepared_tokens_labels_and_speakers(home, tmp_path):
    pytest.importorskip("lhotse")
    pytest.importorskip("sklearn")
    from speechgen.data.features import FeatureWriter

    fingerprint = checkpoint.fingerprint(home / "checkpoints" / "tiny-tokenizer")
    names = [f"{speaker}-{take}" for speaker in "ab" for take in range(4)]
    with gzip.open(tmp_path / "cuts.jsonl.gz", "wt") as file:
        for name in names:
            supervision = {"id": name, "recording_id": name, "start": 0, "duration": 1, "channel": 0, "speaker": name[0]}
            recording = {"id": name, "sources": [], "sampling_rate": 24000, "num_samples": 24000, "duration": 1}
            cut = {"id": name, "start": 0, "duration": 1, "channel": 0, "supervisions": [supervision], "type": "MonoCut"}
            file.write(json.dumps({**cut, "recording": recording}) + "\n")
    with pytest.raises(UserError, match="holds no tokens"):
        measure_tokenizer("tiny-tokenizer", tmp_path)
    with (
        FeatureWriter(tmp_path, "tokens", {"tokenizer": fingerprint}) as tokens,
        FeatureWriter(tmp_path, "labels", {"labels": "test"}) as labels,
    ):
        for name in names:
            ids = np.tile(np.array([0, 1] if name[0] == "a" else [2, 3], np.int16), 20)
            tokens.add(name, ids)
            labels.add(name, ids % 2)
    report = measure_tokenizer("tiny-tokenizer", tmp_path)
    assert report.purity.phone_purity == 1.0
    assert report.leakage.accuracy == 1.0 and report.leakage.chance == 0.5
    assert "speaker probe" in report.table() and json.loads(report.to_json())["purity"]["frames"] == 320
