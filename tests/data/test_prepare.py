"""Preparing: every form of corpus, the faults it reports, and features added later."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechgen.audio.loudness import TARGET_DBFS, active_level
from speechgen.cli.main import run
from speechgen.core.errors import UserError
from speechgen.core.types import Latents, Mel, MelSettings, SemanticTokens, Waveform
from speechgen.data.compute import Encoder, Tokenizer, _character_times
from speechgen.data.corpora import Making
from speechgen.data.features import FeatureStore, find
from speechgen.data.prepare import load_cuts, prepare_corpus
from speechgen.text.vocabulary import ENGLISH
from tests.data.conftest import RATE, write_tone


def store(folder: Path, kind: str) -> FeatureStore:
    (path,) = find(folder, kind).values()
    return FeatureStore(path)


@pytest.mark.parametrize("form", ["header", "plain", "tsv", "jsonl"])
def test_each_form_of_folder_is_read(form, corpus, tmp_path):
    out = tmp_path / "out"
    report = prepare_corpus(corpus(form), out)
    assert (report.utterances, report.languages) == (3, {"en-us": 3})
    assert report.speakers == (2 if form in ("header", "jsonl") else 0)
    spoken = {cut.id: cut.supervisions[0].text for cut in load_cuts(out)}
    assert spoken == {"u0": "the cat 0.", "u1": "the cat 1.", "u2": "the cat 2."}
    audio, mel = store(out, "audio"), store(out, "mel")
    assert audio.length("u2") == RATE  # 1.0 s of 16 kHz became 1.0 s of 24 kHz
    assert mel.get("u2").shape == (RATE // MelSettings().hop_samples + 1, 100)


def test_ljspeech_is_read_by_its_recipe(tmp_path):
    source = tmp_path / "LJSpeech-1.1"
    for n in range(2):
        write_tone(source / "wavs" / f"LJ001-000{n}.wav", rate=22050, pitch=200 + n)
    lines = [f"LJ001-000{n}|Chapter {n}.|chapter number {n}." for n in range(2)]
    (source / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    report = prepare_corpus(source, tmp_path / "out", ("audio", "phonemes"), corpus="ljspeech")
    assert report.utterances == 2
    assert {cut.id for cut in load_cuts(tmp_path / "out")} == {"LJ001-0000", "LJ001-0001"}
    assert len(store(tmp_path / "out", "phonemes")) == 2


def test_audio_is_levelled_and_long_silence_is_cut_to_a_third_of_a_second(tmp_path):
    tone = soundfile.read(write_tone(tmp_path / "t.wav", 1.0, rate=RATE))[0]
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a.wav", np.concatenate([np.zeros(2 * RATE), tone, np.zeros(RATE // 10)]), RATE)
    (tmp_path / "in" / "metadata.csv").write_text("a.wav|a tone\n")
    prepare_corpus(tmp_path / "in", tmp_path / "out", ("audio",))
    (cut,) = load_cuts(tmp_path / "out")
    samples = torch.from_numpy(store(tmp_path / "out", "audio").get("a") / np.float32(32768))
    assert cut.duration == pytest.approx(1.4, abs=0.03) == len(samples) / RATE
    assert cut.start == pytest.approx(1.7, abs=0.03)
    assert active_level(samples, RATE) == pytest.approx(TARGET_DBFS, abs=0.1)


def test_a_corpus_played_faster_is_shorter_and_higher(corpus, tmp_path):
    plain, fast = tmp_path / "plain", tmp_path / "fast"
    prepare_corpus(corpus(), plain, ("audio",))
    prepare_corpus(corpus(), fast, ("audio",), speed=1.25)
    slow, quick = (FeatureStore(*find(out, "audio").values()) for out in (plain, fast))
    for cut in load_cuts(fast):
        assert quick.length(cut.id) == pytest.approx(slow.length(cut.id) / 1.25, abs=2)
        assert cut.duration <= cut.recording.duration + 1e-3


def test_the_report_finds_each_fault(tmp_path):
    source = tmp_path / "in"
    texts = {f"good{n}": "a text of common length" for n in range(25)}
    for n, name in enumerate(texts):
        write_tone(source / f"{name}.wav", 1.5 + 0.01 * n, pitch=200 + n)
    texts["outlier"] = "much more text than one can read in so short a time " * 5
    write_tone(source / "outlier.wav", 1.5, pitch=300)
    write_tone(source / "clipping.wav", 1.5, pitch=301, level=5.0)
    write_tone(source / "short.wav", 0.1, pitch=302)
    write_tone(source / "long.wav", 31.0, pitch=303)
    write_tone(source / "silent.wav", 1.5, pitch=304, level=1e-5)
    shutil.copy(source / "good3.wav", source / "copy.wav")
    (source / "broken.wav").write_bytes(b"RIFF and no more")
    texts |= dict.fromkeys(("clipping", "short", "silent", "copy", "broken", "gone"), "a text of common length") | {"long": ""}
    (source / "metadata.csv").write_text("\n".join(f"{name}.wav|{text}" for name, text in texts.items()))
    prepare_corpus(source, tmp_path / "out", ("audio", "phonemes"))
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["faults"] == {
        "silent": ["silent"], "duplicate": ["copy"], "too_short": ["short"], "unreadable": ["broken"], "missing": ["gone"],
    }  # fmt: skip
    assert report["warnings"] == {
        "clipping": ["clipping"], "text_outlier": ["outlier"], "too_long": ["long"], "no_text": ["long"],
    }  # fmt: skip
    assert report["utterances"] == 28
    phonemes = store(tmp_path / "out", "phonemes")
    assert "good0" in phonemes and "outlier" not in phonemes and "long" not in phonemes


def test_nothing_usable_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "metadata.csv").write_text("a.wav|text\nb.wav|text\n")
    with pytest.raises(UserError, match="2 missing"):
        prepare_corpus(tmp_path, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.bin")) and not (tmp_path / "out" / "cuts.jsonl.gz").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["folder", "--features", "mell"], "did you mean 'mel'"),
        (["folder", "--features", "tokens"], "tokenizer"),
        (["folder", "--features", "labels"], "phone times"),
        (["ljspech"], "did you mean 'ljspeech'"),
        (["folder", "--source", "nowhere"], "no such folder: nowhere"),
        (["folder", "--language", "de", "--features", "phonemes"], None),
        (["folder", "--language", "xx-none", "--features", "phonemes"], "xx-none"),
    ],
)
def test_the_command_answers_in_one_line(given, message, corpus, tmp_path, capsys):
    source = [] if "--source" in given else ["--source", str(corpus())]
    code = run(["prepare", *given, *source, "--out", str(tmp_path / "out"), "--jobs", "1"])
    printed = capsys.readouterr()
    if message is None:
        assert code == 0 and "3 utterances" in printed.out
    else:
        assert code == 2 and message in printed.err and len(printed.err.splitlines()) == 1


def test_preparing_again_adds_only_what_is_missing(corpus, tmp_path):
    source, out = corpus(), tmp_path / "out"
    prepare_corpus(source, out, ("audio",))
    (before,) = find(out, "audio").values()
    stamp = (before / "data.bin").stat().st_mtime_ns
    shutil.rmtree(source)  # what is stored suffices
    prepare_corpus(source, out, ("audio", "mel", "phonemes"))
    assert (before / "data.bin").stat().st_mtime_ns == stamp
    assert len(store(out, "mel")) == len(store(out, "phonemes")) == 3
    assert "".join(ENGLISH.decode(store(out, "phonemes").get("u0").tolist())).startswith("^ðə kˈæt")
    with pytest.raises(UserError, match="another folder"):
        prepare_corpus(source, out, corpus="ljspeech")


def test_workers_give_what_one_process_gives(corpus, tmp_path):
    source = corpus()
    for jobs in (1, 2):
        prepare_corpus(source, tmp_path / f"out{jobs}", jobs=jobs)
    for kind in ("audio", "mel"):
        one, two = store(tmp_path / "out1", kind), store(tmp_path / "out2", kind)
        assert one.offsets == two.offsets
        assert all(np.array_equal(one.get(i), two.get(i)) for i in one.offsets)


@pytest.mark.parametrize("rate", [46.875, 50.0])
def test_tokens_are_those_of_the_tokenizer_whatever_its_rate(rate, corpus, tmp_path):
    """The stand-in's token n is n, so at half a second the stored token must be half a second's number."""
    batches = []

    def encode(audio: Waveform) -> SemanticTokens:
        batches.append(audio.lengths.tolist())
        assert all(not row[length:].any() for row, length in zip(audio.samples, audio.lengths, strict=True))
        lengths = (audio.lengths / RATE * rate).ceil().long()
        return SemanticTokens(torch.arange(int(lengths.max())).expand(len(lengths), -1), lengths, rate, 100)

    prepare_corpus(
        corpus(), tmp_path / "out", ("audio", "mel", "tokens"), tokenizer=Tokenizer(encode, lambda text, audio: [], "abc")
    )
    tokens, mel = store(tmp_path / "out", "tokens"), store(tmp_path / "out", "mel")
    assert batches == [sorted(sum(batches, []))] and tokens.producer["tokenizer"] == "abc"
    for cut_id in tokens.offsets:
        assert abs(tokens.length(cut_id) - -(-mel.length(cut_id) // 2)) <= (rate == 46.875)
        assert abs(tokens.get(cut_id)[23] - 23.25 / 46.875 * rate) < 1  # at its centre


@pytest.mark.parametrize(
    ("text", "words", "wanted"),
    [
        ("ab, c", [("ab,", 1.0, 2.0), ("c", 4.0, 5.0)], [1.0, 1.5, 2.0, 3.0, 4.0, 5.0]),
        (' "ab" c. ', [('"ab"', 1.0, 2.0), ("c.", 2.0, 3.0)], [1.0, 1.0, 1.0, 1.5, 2.0, 2.0, 2.0, 3.0, 4.5, 6.0]),
        ("a – b", [("a –", 0.0, 2.0), ("b", 5.0, 6.0)], [0.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        ("7 b", [("seven", 0.0, 2.0), ("b", 5.0, 6.0)], None),
    ],
    ids=["a pause", "quotes", "a dash", "a number"],
)
def test_letters_share_the_time_of_their_word_and_marks_the_time_between(text, words, wanted):
    found = _character_times(text, words, 6.0)
    assert (found is None) if wanted is None else (found == pytest.approx(wanted))


def test_an_alignment_is_kept_of_what_a_recording_says(corpus, tmp_path):
    """Half of the recordings say something else."""
    heard = []

    def words(text: str, audio: Waveform) -> list[tuple[str, float, float]]:
        heard.append(text)
        if len(heard) % 2:
            raise UserError("the recording does not say this")
        return [(word, n / 10, (n + 1) / 10) for n, word in enumerate(text.split())]

    prepare_corpus(corpus(), tmp_path / "out", ("audio", "characters", "alignment"), tokenizer=Tokenizer(None, words, "abc"))
    found, characters = store(tmp_path / "out", "alignment"), store(tmp_path / "out", "characters")
    assert len(found) == len(characters) // 2 > 0
    for cut_id in found.offsets:
        frames = found.get(cut_id)
        assert len(frames) == characters.length(cut_id) + 1 and (np.diff(frames) >= 0).all() and frames[0] == 0


FLITE = """#!{python}
import sys, wave
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
text, out = sys.argv[sys.argv.index("-t") + 1], sys.argv[sys.argv.index("-o") + 1]
with wave.open(out, "wb") as file:
    file.setnchannels(1), file.setsampwidth(2), file.setframerate(16000)
    file.writeframes(b"".join((300 * (n % 60)).to_bytes(2, "little") for n in range(16000 + len(out))))
print("pau:0.500 k:0.600 ae:0.800 pau:1.000 ")
"""


@pytest.fixture
def fake_flite(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "flite"
    program.parent.mkdir()
    program.write_text(FLITE.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)


def test_latents_are_made_of_the_stored_mels_which_are_made_if_they_are_missing(corpus, tmp_path):
    def encode(mel: Mel) -> Latents:
        assert mel.settings == MelSettings()
        return Latents(mel.values[:, ::4, :5], -(-mel.lengths // 4), 23.4375)

    prepare_corpus(corpus(), tmp_path / "out", ("latents",), encoder=Encoder(encode, 23.4375, "abc"))
    latents, mel = store(tmp_path / "out", "latents"), store(tmp_path / "out", "mel")
    assert (latents.producer["autoencoder"], latents.producer["rate"], latents.width) == ("abc", 23.4375, 5)
    for cut_id in latents.offsets:
        np.testing.assert_array_equal(latents.get(cut_id), mel.get(cut_id)[::4, :5])


def test_latents_need_an_autoencoder(corpus, tmp_path):
    with pytest.raises(UserError, match="latents feature needs an autoencoder"):
        prepare_corpus(corpus(), tmp_path / "out", ("latents",))


def test_flite_labels_are_the_phones_at_the_centres_of_token_frames(fake_flite, tmp_path):
    (tmp_path / "sentences.txt").write_text("; rm -rf a cat\n")
    features = ("audio", "mel", "labels", "phonemes")
    report = prepare_corpus(
        tmp_path / "sentences.txt", tmp_path / "out", features, corpus="flite", making=Making(hours=1 / 3600)
    )
    labels, mel = store(tmp_path / "out", "labels"), store(tmp_path / "out", "mel")
    assert report.utterances == len(labels) > 0
    cut_id = next(iter(labels.offsets))
    assert labels.length(cut_id) == -(-mel.length(cut_id) // 2)
    times = (512 * np.arange(labels.length(cut_id)) + 128) / RATE
    k, ae = ENGLISH.encode(["k", "æ"])
    expected = np.select([times < 0.5, times < 0.6, times < 0.8], [0, k, ae], 0)
    np.testing.assert_array_equal(labels.get(cut_id), expected)


def test_pitch_is_measured_on_the_frames_of_the_mel(corpus, tmp_path):
    prepare_corpus(corpus(), tmp_path / "out", ("audio", "mel", "pitch"))
    mel, pitch = store(tmp_path / "out", "mel"), store(tmp_path / "out", "pitch")
    assert all(pitch.length(cut_id) == mel.length(cut_id) for cut_id in mel.offsets)
    assert pitch.producer["pitch"]["extractor"] == "praat-ac"
    values = pitch.get("u0")
    assert values.dtype == np.float32 and (values >= 0).all()


def test_a_missing_flite_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="apt install flite"):
        prepare_corpus(tmp_path / "sentences.txt", tmp_path / "out", corpus="flite")


def test_a_prepared_folder_is_not_taken_for_another_corpus_or_speed(corpus, tmp_path):
    """Its features would be kept, and what was asked for would silently not be made."""
    source, out = corpus(), tmp_path / "out"
    prepare_corpus(source, out, ("audio",))
    prepare_corpus(source.parent / "." / source.name, out, ("mel",))
    for changed, speed in ((corpus("plain"), 1.0), (source, 0.9)):
        with pytest.raises(UserError, match="choose another folder"):
            prepare_corpus(changed, out, ("audio",), speed=speed)


def test_a_line_of_json_may_hold_other_line_separators(tmp_path):
    write_tone(tmp_path / "a.wav")
    entry = json.dumps({"audio": "a.wav", "text": "one\u2028two"}, ensure_ascii=False)
    (tmp_path / "metadata.jsonl").write_text(entry + "\n", encoding="utf-8")
    prepare_corpus(tmp_path, tmp_path / "out", ("audio",))
    assert [cut.supervisions[0].text for cut in load_cuts(tmp_path / "out")] == ["one\u2028two"]
