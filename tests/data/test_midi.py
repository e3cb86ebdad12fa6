"""Songs to stretches with captions: what is read, what is chosen, what is heard."""

from __future__ import annotations

import io
import json
import random
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from speechgen.cli.main import run
from speechgen.core.errors import UserError
from speechgen.data.arranging import INSTRUMENTS, arrange
from speechgen.data.captions import caption
from speechgen.data.corpora import Making, split_of
from speechgen.data.decode import RATE
from speechgen.data.prepare import load_cuts, prepare_corpus, prepare_splits
from speechgen.data.scores import Note, Score, key_of, read_songs
from tests.data.conftest import write_tone
from tests.data.test_prepare import store

pretty_midi = pytest.importorskip("pretty_midi")
pytest.importorskip("midirenderer")

C_MAJOR = (60, 62, 64, 65, 67, 69, 71, 72)


def chorale(first: int = 60) -> list[list[int]]:
    """Two voices an octave apart that go up and down a scale, a quarter note each: 27 s."""
    pitches = [first + step - 60 for step in (*C_MAJOR, *C_MAJOR[::-1]) * 2]
    return [[pitch + 12, pitch] for pitch in pitches for _ in range(4)]


@pytest.fixture
def chorales(tmp_path: Path) -> Path:
    folder = tmp_path / "scores"
    folder.mkdir()
    table = {"train": [chorale(), chorale(62)], "valid": [chorale(64)], "test": [chorale(65)]}
    (folder / "chorales.json").write_text(json.dumps(table))
    return folder


def midi_bytes(bpm: float = 90.0) -> bytes:
    """A melody below an accompaniment, told by its name, and drums."""
    score = pretty_midi.PrettyMIDI(initial_tempo=bpm)
    for name, pitch, is_drum in (("PIANO", 72, False), ("MELODY", 60, False), ("beat", 36, True)):
        track = pretty_midi.Instrument(0, is_drum, name)
        track.notes = [pretty_midi.Note(80, pitch + k % 3, k * 0.5, k * 0.5 + 0.4) for k in range(40)]
        score.instruments.append(track)
    content = io.BytesIO()
    score.write(content)
    return content.getvalue()


def test_a_pitch_that_stays_is_one_note_and_the_melody_is_the_highest_voice(chorales):
    song = read_songs(chorales)[0]
    score = song.read()
    assert (song.id, song.style, song.split) == ("chorales/train-000", "chorale", "train")
    melody, bass = score.voices.values()
    quarter = 60 / 72
    assert [note.pitch for note in melody[:3]] == [72, 74, 76] and bass[0].pitch == 60
    assert (melody[1].start, melody[1].end) == pytest.approx((quarter, 2 * quarter))
    assert melody[7].end - melody[7].start == pytest.approx(2 * quarter)  # the top of the scale, twice


def test_archives_and_folders_of_midi_are_read_and_damaged_files_passed_over(tmp_path):
    (tmp_path / "loose.mid").write_bytes(midi_bytes())
    (tmp_path / "broken.mid").write_bytes(b"MThd, but no more")
    with tarfile.open(tmp_path / "pop.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("001.mid")
        member.size = len(midi_bytes())
        archive.addfile(member, io.BytesIO(midi_bytes()))
    songs = {song.id: song for song in read_songs(tmp_path)}
    assert {name: song.style for name, song in songs.items()} == {
        "broken.mid": "piece", "loose.mid": "piece", "pop/001.mid": "pop song"
    }  # fmt: skip
    assert songs["broken.mid"].read() is None
    score = songs["pop/001.mid"].read()
    assert [name.split()[1] for name in score.voices] == ["MELODY", "PIANO"]
    assert score.bpm(3.0) == pytest.approx(90, abs=0.01)


def test_nothing_to_read_is_one_line(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("la la la")
    assert run(["prepare", "midi", "--source", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "holds no .mid files" in capsys.readouterr().err
    assert run(["prepare", "midi", "--source", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert "no such file or folder" in capsys.readouterr().err


@pytest.mark.parametrize("first", [60, 63, 70])
def test_keys_of_scales_are_found(first):
    tonic = first % 12
    scale = [Note(first + step - 60, k, k + (2.0 if step in (60, 67, 72) else 1.0), 90) for k, step in enumerate(C_MAJOR)]
    assert key_of(scale) == (tonic, False)
    minor = (0, 2, 3, 5, 7, 8, 11, 12)
    assert key_of([Note(first + s, k, k + (2.0 if s in (0, 7, 12) else 1.0), 90) for k, s in enumerate(minor)]) == (tonic, True)


def test_captions_say_what_the_parts_play(chorales):
    """Tempo by the distance of the notes, key by their pitches, instrument by its program."""
    score, heard = read_songs(chorales)[0].read(), set()
    for seed in range(40):
        made = arrange(score, "chorale", 6.0, random.Random(seed))
        notes = sorted((note for note in made.parts[0].notes if note.start >= 0), key=lambda note: note.start)
        starts = np.unique(np.round([note.start for note in notes], 6))
        assert 60 / np.median(np.diff(starts)) == pytest.approx(int(made.tags["bpm"]), rel=0.02)
        names = made.tags["instrument"].split(" and ")
        assert [INSTRUMENTS[name].program for name in names] == [part.program for part in made.parts]
        assert all(name.replace(" ", "-") in made.caption.replace(" ", "-") for name in names)
        bounds = INSTRUMENTS[names[0]]
        assert all(bounds.low - 5 <= note.pitch <= bounds.high + 5 for note in notes)
        heard.add(made.tags["key"])
        if " in " in made.caption:
            assert f" in {made.tags['key']}" in made.caption
        pace = "slow" if int(made.tags["bpm"]) < 76 else "moderate" if int(made.tags["bpm"]) < 112 else "fast"
        assert made.caption.startswith(f"a {pace} ")
    assert len(heard) > 6  # transposed


def test_a_stretch_without_enough_notes_is_not_taken():
    sparse = Score({"0": (Note(60, 0.0, 30.0, 90), Note(62, 30.0, 60.0, 90))}, ((0.0, 60.0),))
    assert arrange(sparse, "piece", 6.0, random.Random(0)) is None


def test_splits_share_no_song_and_are_the_same_again(chorales, tmp_path):
    making = Making(hours=18 / 3600, seconds=3.0, instruments=("piano", "violin"))
    made = prepare_splits(chorales, tmp_path / "a", corpus="midi", making=making)
    assert [folder.name for folder in made] == ["train", "valid", "test"]
    again = prepare_splits(chorales, tmp_path / "b", corpus="midi", making=making)
    assert [report.utterances for report in made.values()] == [report.utterances for report in again.values()] == [5, 1, 1]
    for split in ("train", "valid", "test"):
        one, two = (store(tmp_path / name / split, "audio") for name in ("a", "b"))
        assert one.offsets == two.offsets and all(np.array_equal(one.get(i), two.get(i)) for i in one.offsets)
        for cut in load_cuts(tmp_path / "a" / split):
            told = cut.supervisions[0]
            assert told.custom["song"].startswith(f"chorales/{split}-") and told.custom["split"] == split
            assert set(told.custom["instrument"].split(" and ")) <= {"piano", "violin"}
            assert "".join(map(chr, store(tmp_path / "a" / split, "characters").get(cut.id))) == told.text
    other = prepare_corpus(chorales, tmp_path / "c", corpus="midi", making=Making(hours=18 / 3600, seconds=3.0, seed=1))
    assert other.utterances == 5
    assert [cut.supervisions[0].text for cut in load_cuts(tmp_path / "c")] != [
        cut.supervisions[0].text for cut in load_cuts(tmp_path / "a" / "train")
    ]


def test_what_is_rendered_has_the_pitch_of_its_notes(tmp_path):
    """A violin that repeats one note: whatever it is transposed to, its strongest frequency is one of the scale of A 440."""
    table = {"train": [([[69]] * 3 + [[0]]) * 24]}
    (tmp_path / "a.json").write_text(json.dumps(table))
    making = Making(hours=4 / 3600, seconds=4.0, instruments=("violin",))
    prepare_corpus(tmp_path / "a.json", tmp_path / "out", ("audio",), corpus="midi", making=making)
    (cut,) = load_cuts(tmp_path / "out")
    samples = torch.from_numpy(store(tmp_path / "out", "audio").get(cut.id).astype(np.float32))
    assert len(samples) == 4 * RATE
    power = torch.fft.rfft(samples * torch.hann_window(len(samples))).abs()
    strongest = float(power.argmax()) / 4
    semitones = 12 * np.log2(strongest / 440)
    assert abs(semitones - round(semitones)) < 0.15
    assert cut.supervisions[0].custom["style"] == "chorale" and "violin" in cut.supervisions[0].text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--instruments", "vuvuzela"], "unknown instrument 'vuvuzela'"),
        (["--soundfont", "none.sf2"], "not a soundfont"),
        (["--seconds", "0"], "1"),
        (["--hours", "many"], "valid number"),
    ],
)
def test_bad_wishes_are_one_line(given, message, chorales, tmp_path, capsys):
    assert run(["prepare", "midi", "--source", str(chorales), "--out", str(tmp_path / "out"), *given]) == 2
    printed = capsys.readouterr().err
    assert message in printed and len(printed.splitlines()) == 1


def test_labels_become_captions_and_long_sounds_windows(tmp_path):
    source = tmp_path / "in"
    names = ["1-100-A", "1-100-B", *(f"1-{n}-A" for n in range(101, 112))]
    for n, name in enumerate(names):
        write_tone(source / f"{name}.wav", 5.0 if n == 2 else 0.5, pitch=200 + n)
    labels = ["Dog bark", "Violin or fiddle", *["a very odd noise"] * 11]
    lines = ["file|text", *(f"{name}.wav|{label}" for name, label in zip(names, labels, strict=True))]
    (source / "metadata.csv").write_text("\n".join(lines))
    made = prepare_splits(source, tmp_path / "out", corpus="sounds", making=Making(seconds=2.0), jobs=1)
    told = {cut.id: cut for folder in made for cut in load_cuts(folder)}
    assert told["1-100-A"].supervisions[0].text == "a dog barking"
    assert told["1-100-A"].supervisions[0].custom == {"label": "dog bark", "split": split_of("1-100", 10)}
    assert told["1-100-B"].supervisions[0].text == "a violin note"
    assert told["1-100-B"].supervisions[0].custom["split"] == split_of("1-100", 10)
    windows = sorted((cut.start, cut.duration) for name, cut in told.items() if name.startswith("1-101-A"))
    assert windows == [(0.0, 2.0), (2.0, 2.0), (4.0, 1.0)]
    assert not any("text_outlier" in (cut.custom or {}) for cut in told.values())


def test_where_a_recording_was_found_is_not_heard_in_it():
    assert caption("Vibe Ace by Kevin MacLeod is licensed under a Licence. https://x.org CC-BY") == "Vibe Ace by Kevin MacLeod"
    assert caption("a humpback  whale song https://nps.gov") == "a humpback whale song"
    assert len(caption("word " * 200)) <= 160


def test_a_missing_package_says_how_to_get_it(chorales, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "midirenderer", None)
    with pytest.raises(UserError, match=r"speechgen\[music\]"):
        prepare_corpus(chorales, tmp_path / "out", corpus="midi")


def test_a_table_may_hold_no_pitch(tmp_path):
    """Voices that rest are NaN in the tables that are passed around, and their pitches are floats."""
    (tmp_path / "a.json").write_text('{"train": [[[60.0, NaN], [60.0, NaN], [62.0, 48.0]]]}')
    melody, bass = read_songs(tmp_path)[0].read().voices.values()
    assert [note.pitch for note in melody] == [60, 62] and [type(note.pitch) for note in (*melody, *bass)] == [int] * 3
