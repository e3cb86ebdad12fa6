"""Speaker similarity, opinion scores, speed, and the reports that join everything, on synthetic sound."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from speechgen.audio.io import read_audio, write_audio
from speechgen.core.errors import UserError
from speechgen.core.types import Waveform
from speechgen.evaluation import report
from speechgen.evaluation.naturalness import predict_opinion
from speechgen.evaluation.optional import require
from speechgen.evaluation.report import Sentence, Spoken, evaluate_pipeline
from speechgen.evaluation.speaker import SpeakerSimilarity
from speechgen.evaluation.speed import Percentiles, peak_memory_bytes, percentiles, real_time_factor

RATE = 24000
SENTENCES = [Sentence(text, text, tuple(range(10)), 0.5) for text in ("The cat sat.", "A dog ran away.")]


def buzz(pitch: float, seconds: float = 2.0) -> torch.Tensor:
    time = torch.arange(int(seconds * RATE)) / RATE
    tone = sum(torch.sin(2 * math.pi * pitch * harmonic * time) / harmonic for harmonic in range(1, 30))
    return 0.1 * tone * torch.sin(math.pi * 5 * time).square()


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    write_audio(tmp_path / "low.wav", buzz(110), RATE)
    return tmp_path / "low.wav"


def test_a_voice_is_like_itself_and_less_like_another(repository):
    pytest.importorskip("resemblyzer")
    similarity = SpeakerSimilarity()
    woman, man = (read_audio(repository / "app/examples" / name) for name in ("kathleen.flac", "marcus.flac"))
    middle = woman.samples.shape[-1] // 2
    first, second = (Waveform.single(part, woman.rate) for part in (woman.samples[0, :middle], woman.samples[0, middle:]))
    assert similarity(woman, woman) == pytest.approx(1, abs=1e-5)
    assert similarity(first, second) > 0.8 > 0.7 > similarity(first, man)
    with pytest.raises(UserError, match="too short"):
        similarity.embed(Waveform.single(buzz(110, 0.4), RATE))


def test_opinion_scores_of_a_recording_fall_with_noise(repository):
    pytest.importorskip("speechmos")
    clean = read_audio(repository / "app/examples/marcus.flac")
    noise = 0.1 * torch.randn(clean.samples.shape, generator=torch.Generator().manual_seed(0))
    before, after = predict_opinion(clean), predict_opinion(Waveform.single(clean.samples[0] + noise[0], clean.rate))
    assert before.ovrl > 2.5 and before.sig > 3 and before.p808 > 3
    assert after.ovrl < before.ovrl - 0.5
    with pytest.raises(UserError, match="empty"):
        predict_opinion(Waveform.single(torch.zeros(0), RATE))


def test_percentiles_interpolate():
    assert percentiles(range(101)) == Percentiles(50.0, 95.0)
    assert percentiles([1.0, 2.0]) == Percentiles(1.5, pytest.approx(1.95))


def test_real_time_factor_is_work_over_audio():
    assert real_time_factor(1.0, 4.0) == 0.25


def test_peak_memory_covers_what_was_allocated():
    block = torch.ones(64 * 2**20, dtype=torch.uint8)
    assert block.numel() < peak_memory_bytes() < 2**40


def test_a_missing_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "jiwer", None)
    with pytest.raises(UserError, match=r'pip install "speechgen\[eval\]"'):
        require("jiwer")


@pytest.fixture
def canned(monkeypatch):
    """Stand-ins for the judges: the recogniser hears "the cat sat" whatever is said, all voices are 0.75 alike."""
    pytest.importorskip("jiwer")

    class Recogniser:
        def __init__(self, sentences):
            assert sentences == [sentence.said for sentence in SENTENCES]

        def transcribe(self, audio):
            return "the cat sat"

    class Similarity:
        def embed(self, audio):
            return np.array([0.75**0.5])

    monkeypatch.setattr(report, "ClosedVocabularyRecogniser", Recogniser)
    monkeypatch.setattr(report, "dictionary_words", lambda: frozenset(["the", "cat", "sat", "a", "dog", "ran", "away"]))
    monkeypatch.setattr(report, "SpeakerSimilarity", Similarity)
    monkeypatch.setattr(report, "version", lambda package: "0")


def speak(sentence: Sentence, reference: Path, seed: int) -> Spoken:
    return Spoken(buzz(110, 1.0 if "cat" in sentence.text else 0.4), RATE, 0.2)


def test_a_report_joins_the_figures_of_all_clips(canned, voice, tmp_path):
    """One sentence of three words right, one of four words wrong in all; the second clip is too short to tell the voice."""
    write_audio(tmp_path / "high.wav", buzz(280), RATE)
    steps = []
    result = evaluate_pipeline(
        speak, SENTENCES, [voice, tmp_path / "high.wav"], opinions=False, save_to=tmp_path / "out",
        progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert list(result.voices) == ["low", "high"]
    low = result.voices["low"]
    assert (low.wer, low.exact, low.sim, low.opinion, low.n) == (pytest.approx(4 / 7), 0.5, pytest.approx(0.75), None, 2)
    assert (result.overall.wer, result.overall.n) == (pytest.approx(4 / 7), 4)
    assert result.overall.seconds == pytest.approx(2.8)
    assert low.rtf.p50 == pytest.approx((0.2 + 0.5) / 2)
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.wav")) == [
        "high/01.wav", "high/02.wav", "low/01.wav", "low/02.wav",
    ]  # fmt: skip
    assert json.loads(result.to_json())["voices"]["low"]["exact"] == 0.5
    rows = result.table().splitlines()
    assert rows[0].count("|") == rows[4].count("|") == 14 and rows[4].startswith("| all | 4 |")
    assert "seed 0" in rows[-1]


def test_the_worst_sentence_of_each_voice_is_told_and_the_figures_of_all_are_kept(canned, voice, tmp_path):
    write_audio(tmp_path / "high.wav", buzz(280), RATE)
    result = evaluate_pipeline(speak, SENTENCES, [voice, tmp_path / "high.wav"], opinions=False)
    heads, _, low, high, _, *_ = result.table().splitlines()
    place = [cell.strip() for cell in heads.split("|")].index("worst WER")
    assert [row.split("|")[place].strip() for row in (low, high)] == ["1.000 low/02", "1.000 high/02"]
    clips = json.loads(result.to_json())["clips"]
    assert [clip["name"] for clip in clips] == ["low/01", "low/02", "high/01", "high/02"]
    assert (clips[0]["wer"], clips[1]["wer"]) == (0, 1)
    assert clips[1]["seconds"] == pytest.approx(0.4) and clips[1]["seconds_per_symbol"] == pytest.approx(0.04)


def test_what_is_empty_too_long_or_said_twice_is_counted_and_named(canned, voice, tmp_path):
    """A text that the recogniser does not know counts for everything but the word errors; a clip without sound is not lost."""
    odd = Sentence("Xqzzt!", "xqzzt", (1, 2, 3), 0.2)

    def faulty(sentence: Sentence, reference: Path, seed: int) -> Spoken:
        if "cat" in sentence.text:
            return Spoken(torch.zeros(0), RATE, 0.1, ("nothing was heard",), None)
        return Spoken(buzz(110, 1.0), RATE, 0.2, (), "kwɪ" if sentence is odd else "")

    result = evaluate_pipeline(faulty, [*SENTENCES, odd], [voice], opinions=False, save_to=tmp_path / "out")
    figures = result.overall
    assert figures.empty == ("low/01",) and figures.repeated == ("low/03",)
    assert (figures.longest.value, figures.longest.clip) == (pytest.approx(5.0), "low/03")
    assert figures.wer == 1 and figures.rtf.p50 == pytest.approx(0.2)
    assert [clip.understood for clip in result.clips] == ["", "the cat sat", None]
    assert result.clips[0].warnings == ("nothing was heard",)
    assert not (tmp_path / "out" / "low" / "01.wav").exists() and (tmp_path / "out" / "low" / "03.wav").exists()
    assert "without 3, whose words" in result.settings


def test_a_text_of_which_nothing_is_known_has_no_word_error_rate(canned, voice):
    odd = Sentence("Xqzzt!", "xqzzt", (1, 2, 3), 0.2)
    result = evaluate_pipeline(speak, [odd], [voice], opinions=False)
    assert result.overall.wer is result.overall.worst is result.overall.repeated is None
    assert "| - | - | - | 2.00 low/01 | 0 | - |" in result.table()


def test_voices_of_one_name_are_refused(canned, voice, tmp_path):
    with pytest.raises(UserError, match="all different"):
        evaluate_pipeline(speak, SENTENCES, [voice, voice])


def test_the_real_judges_find_nothing_wrong_with_the_reference_itself(repository):
    for package in ("pocketsphinx", "resemblyzer", "jiwer"):
        pytest.importorskip(package)
    reference = repository / "app/examples/marcus.flac"
    said = json.loads((repository / "app/examples/voices.json").read_text(encoding="utf-8"))["marcus"]["text"]
    audio = read_audio(reference)
    spoken = Spoken(audio.samples[0], audio.rate, 2 * audio.seconds)
    sentence = Sentence(said, said, (1,), audio.seconds)
    figures = evaluate_pipeline(lambda sentence, path, seed: spoken, [sentence], [reference], opinions=False).overall
    assert (figures.wer, figures.exact, figures.sim) == (0, 1, pytest.approx(1, abs=1e-5))
    assert figures.rtf == Percentiles(2.0, 2.0)


def test_a_voice_in_which_nothing_is_heard_is_named_with_what_was_said_of_it(canned, voice):
    nothing = Spoken(torch.zeros(0), RATE, 0.1, ("the reference is silent",))
    with pytest.raises(UserError, match="no audio in the voice low: the reference is silent"):
        evaluate_pipeline(lambda sentence, path, seed: nothing, SENTENCES, [voice])
