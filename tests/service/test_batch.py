"""Batches: lists are checked whole, the manifest tells the truth, and a sudden end loses nothing and doubles nothing."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys

import pytest
import torch

import speechgen
from speechgen.audio.io import write_audio
from speechgen.core.errors import UserError
from speechgen.service import batch
from speechgen.service.batch import run_batch
from speechgen.service.batch_rows import read_rows
from speechgen.service.engine import Engine
from speechgen.service.lists import RowsError
from speechgen.service.manifest import Manifest
from tests.killing import finished_when_killed
from tests.tiny import RATE, voice_like, write_pipeline

DEFAULTS = {"pipeline": "tiny", "seed": 1}


@pytest.fixture
def here(home, tmp_path, monkeypatch):
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def rows(here):
    """Reads a list; the items are what is spoken."""

    def read(*items, **defaults):
        path = here / "items.jsonl"
        path.write_text("".join(json.dumps(item) + "\n" for item in items))
        return read_rows(path, here / "out", {**DEFAULTS, **defaults})

    return read


def test_csv_tsv_and_jsonl_say_the_same(here):
    (here / "words.txt").write_text("Words from a file.")
    lines = [
        ("text", "file", "voice", "out", "speed"),
        ("One, two.", "", "buzz", "a/first", "1.5"),
        ("", "words.txt", "", "", ""),
    ]
    (here / "items.tsv").write_text("\n".join("\t".join(line) for line in lines))
    (here / "items.csv").write_text("\ufeff" + "\n".join(",".join(f'"{cell}"' for cell in line) for line in lines))
    (here / "items.jsonl").write_text(
        '{"text": "One, two.", "voice": "buzz", "out": "a/first", "speed": 1.5}\n{"file": "words.txt"}'
    )
    found = [read_rows(here / f"items.{kind}", here / "out", dict(DEFAULTS)) for kind in ("csv", "tsv", "jsonl")]
    assert [(row.digest, row.path) for row in found[0]] == [(row.digest, row.path) for row in found[1]]
    assert [(row.digest, row.path) for row in found[0]] == [(row.digest, row.path) for row in found[2]]
    assert [row.path for row in found[0]] == ["a/first.wav", "0002.wav"]
    assert found[0][1].request.text == "Words from a file." and found[0][0].request.speed == 1.5


def test_every_fault_is_listed_with_its_line_before_anything_is_loaded(here):
    write_audio(here / "short.wav", voice_like(0.3), RATE)
    (here / "items.csv").write_text(
        "text,ref,voice,speed,out,seed\n"
        '"fine, over\ntwo lines",,,,,\n'
        ",,,,,\n"
        "Hi.,none.wav,,,,\n"
        "Hi.,short.wav,,,,\n"
        "Hi.,,bzz,,,\n"
        "Hi.,,,9,,\n"
        "Hi.,,,,../x,\n"
        "Hi.,,,,a.xyz,\n"
        "Hi.,,,,0001.wav,\n"
        "Hi.,,,,,x\n"
        "...,,,,,\n"
        "Hi.,,,,,1,more\n"
        ",none.wav,,,,\n"
    )
    with pytest.raises(RowsError) as caught:
        read_rows(here / "items.csv", here / "out", dict(DEFAULTS))
    expected = {
        5: "no such audio file",
        6: "lasts 0.30 s",
        7: "did you mean 'buzz'",
        8: "less than or equal to 2",
        9: "leaves the output folder",
        10: "formats are",
        11: "written by line 2 already",
        12: "valid integer",
        13: "nothing to speak",
        14: "7 cells for 6 columns",
        15: "neither text nor file",
    }
    assert len(caught.value.faults) == len(expected)
    for fault, (line, message) in zip(caught.value.faults, expected.items(), strict=True):
        assert fault.startswith(f"line {line}: ") and message in fault


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,sped\nHi.,1", "did you mean 'speed'"),
        ("a.csv", "voice\nbuzz", "text or file among them"),
        ("a.csv", "", "text or file among them"),
        ("a.csv", "text\n", "holds no rows"),
        ("a.csv", b"text\ncaf\xe9", "not UTF-8"),
        ("a.jsonl", '{"text": "Hi."\n', "line 1: it is not JSON"),
        ("a.jsonl", "[1]\n", "not a JSON object"),
        ("a.jsonl", '{"text": "Hi \\ud800"}', "line 1: it is not JSON .*surrogates not allowed"),
        ("a.jsonl", '{"text": "Hi.", "sede": 1}', "did you mean 'seed'"),
        ("a.jsonl", '{"text": "Hi.", "file": "a.txt"}', "choose one"),
        ("a.xlsx", "", "give .csv, .tsv or .jsonl"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused(here, name, content, message):
    (here / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        read_rows(here / name, here / "out", dict(DEFAULTS))


@pytest.mark.parametrize(
    "cells",
    [{"out": "."}, {"out": "/"}, {"out": "a\0b"}, {"ref": "a\0.wav"}, {"file": "\0"}, {"tempo_ref": "a\0"}],
    ids=repr,
)
def test_what_names_no_file_is_a_fault_of_its_line(rows, cells):
    with pytest.raises(RowsError) as caught:
        rows({"text": "Hi."}, {**({} if "file" in cells else {"text": "Hi."}), **cells})
    (fault,) = caught.value.faults
    assert fault.startswith("line 2: ") and "is no name of a file" in fault


def test_a_row_overrides_the_default_voice_of_either_kind(rows, here):
    write_audio(here / "ref.wav", voice_like(2.0), RATE)
    first, second = rows({"text": "Hi.", "ref": "ref.wav"}, {"text": "Hi."}, voice="buzz")
    assert (first.request.voice, first.request.ref) == (None, here / "ref.wav")
    assert second.request.voice == "buzz"


def test_the_manifest_says_what_was_written(rows, here):
    report = run_batch(rows({"text": "One."}, {"text": "Two.", "out": "b/two.flac", "seed": 7}), here / "out")
    assert (report.spoken, report.skipped, report.failed) == (2, 0, ())
    first, second = Manifest(here / "out").entries()
    assert (first["row"], first["path"], first["seed"]) == (1, "0001.wav", 1)
    assert (second["row"], second["path"], second["seed"]) == (2, "b/two.flac", 7)
    for entry in (first, second):
        assert entry["sha256"] == hashlib.sha256((here / "out" / entry["path"]).read_bytes()).hexdigest()
        assert entry["seconds"] > 0 and entry["rtf"] > 0 and entry["warnings"] == []


def test_resuming_speaks_only_what_changed_is_damaged_failed_or_new(rows, here, monkeypatch):
    write_audio(here / "ref.wav", voice_like(2.0), RATE)
    items = [{"text": f"Number {n}."} for n in ("one", "two", "three", "four")] + [{"text": "Five.", "ref": "ref.wav"}]
    silent = {"text": "Silent.", "ref": "silent.wav"}
    write_audio(here / "silent.wav", torch.zeros(2 * RATE), RATE)
    report = run_batch(rows(*items, silent), here / "out")
    assert [entry["row"] for entry in report.failed] == [6] and "is silent" in report.failed[0]["error"]
    with pytest.raises(UserError, match="continue it by --resume"):
        run_batch(rows(*items), here / "out")

    (here / "out" / "0001.wav").write_bytes(b"damaged")
    (here / "out" / "0002.wav").unlink()
    items[2]["text"] = "Another text."
    for name in ("ref.wav", "silent.wav"):
        write_audio(here / name, voice_like(3.0, pitch=80.0), RATE)
    spoken = []
    synthesize = Engine.synthesize
    monkeypatch.setattr(Engine, "synthesize", lambda *a: spoken.append(a[1].text) or synthesize(*a))
    report = run_batch(rows(*items, silent, {"text": "New."}), here / "out", resume=True)
    assert spoken == ["Number one.", "Number two.", "Another text.", "Five.", "Silent.", "New."]
    assert (report.spoken, report.skipped, report.failed) == (6, 1, ())
    assert sorted(entry["row"] for entry in Manifest(here / "out").entries()) == [1, 2, 3, 4, 5, 6, 7]


def test_what_other_checkpoints_or_another_version_spoke_is_not_finished(rows, here, home, monkeypatch):
    def spoken():
        return run_batch(rows({"text": "One."}), here / "out", resume=True).spoken

    assert [spoken(), spoken()] == [1, 0]
    for path in (home / "checkpoints" / "tiny-vocoder" / "config.json", home / "pipelines" / "tiny.yaml"):
        path.write_text(path.read_text() + "\n")
        assert [spoken(), spoken()] == [1, 0], path
    monkeypatch.setattr(speechgen, "__version__", "99")
    assert [spoken(), spoken()] == [1, 0]


def test_a_pipeline_that_cannot_be_loaded_fails_its_own_rows_alone(rows, here, home):
    write_pipeline(home, "torn", vocoder="torn-vocoder")
    torn = shutil.copytree(home / "checkpoints" / "tiny-vocoder", home / "checkpoints" / "torn-vocoder")
    (torn / "model.safetensors").write_bytes(b"torn")
    items = rows({"text": "One.", "pipeline": "torn"}, {"text": "Two."}, {"text": "Three.", "pipeline": "torn"})
    report = run_batch(items, here / "out")
    assert report.spoken == 1 and [entry["row"] for entry in report.failed] == [1, 3]
    assert all("is missing or damaged" in entry["error"] for entry in report.failed)
    with pytest.raises(UserError, match="is missing or damaged"):  # told once where nothing can be made
        run_batch(items[::2], here / "none")
    (torn / "model.safetensors").unlink()
    with pytest.raises(RowsError, match="line 1: cannot read .*restore or pull"):
        rows({"text": "One.", "pipeline": "torn"})


def test_a_line_that_was_cut_off_is_ignored_and_swept(rows, here):
    items = rows({"text": "One."}, {"text": "Two."})
    run_batch(items, here / "out")
    path = here / "out" / "manifest.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    (here / "out" / ".0002.wav.4711").write_bytes(b"half")
    report = run_batch(items, here / "out", resume=True)
    assert (report.spoken, report.skipped) == (1, 1)
    assert sorted(entry["row"] for entry in Manifest(here / "out").entries()) == [1, 2]
    assert sorted(file.name for file in (here / "out").iterdir()) == ["0001.wav", "0002.wav", "manifest.jsonl"]


def test_several_processes_write_the_same_files(rows, here):
    items = rows(*({"text": f"Text number {n}."} for n in "abc"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run_batch(items, here / "one")
        report = run_batch(items, here / "two", jobs=2)
    finally:
        torch.set_num_threads(threads)
    assert report.spoken == 3
    for item in items:
        assert (here / "one" / item.path).read_bytes() == (here / "two" / item.path).read_bytes()


def test_ray_that_is_not_installed_says_how_to_install_it(rows, here, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'speechgen\[ray\]'"):
        run_batch(rows({"text": "Hi."}), here / "out", engine="ray")
    with pytest.raises(UserError, match="allowed: local, ray"):
        run_batch(rows({"text": "Hi."}), here / "out", engine="dask")
    assert not (here / "out").exists()


class RayHere:
    """Stands for ray and ray.data: what travels is what Ray would carry, and one actor of this process has it all."""

    def from_items(self, items, *, override_num_blocks):
        assert override_num_blocks == len(items) and all(isinstance(value, str) for item in items for value in item.values())
        self.items = items
        return self

    def map(self, actor, *, fn_constructor_args, concurrency, num_cpus, num_gpus):
        assert (concurrency, num_gpus) == (1, None) and num_cpus >= 1
        self.made = map(actor(*fn_constructor_args), self.items)
        return self

    def iter_rows(self):
        return self.made

    @property
    def data(self):
        return self


@pytest.mark.filterwarnings("ignore")  # Ray warns of itself
@pytest.mark.parametrize("real", [False, pytest.param(True, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_ray_writes_the_same_files(rows, here, monkeypatch, real):
    if real:
        pytest.importorskip("ray")
    else:
        monkeypatch.setitem(sys.modules, "ray", RayHere())
        monkeypatch.setitem(sys.modules, "ray.data", RayHere())
    items = rows({"text": "One."}, {"text": "Two."})
    run_batch(items, here / "one")
    assert run_batch(items, here / "ray", engine="ray").spoken == 2
    for item in items:
        assert (here / "one" / item.path).read_bytes() == (here / "ray" / item.path).read_bytes()


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_batch_killed_at_any_moment_goes_on_with_nothing_lost_and_nothing_twice(rows, here, jobs):
    items = rows(*({"text": f"Item {n} " + "is spoken " * (n % 4) + "now."} for n in range(1, 13)))
    command = [sys.executable, "-m", "speechgen", "batch", "--list", "items.jsonl", "--pipeline", "tiny", "--seed", "1"]
    command += ["--jobs", str(jobs), "-q", "--resume"]
    wanted, environment = random.randint(1, 10), {**os.environ, "OMP_NUM_THREADS": "1"}
    kept = finished_when_killed([*command, "--out-dir", "out"], here / "out", wanted, environment)
    assert kept
    assert subprocess.run([*command, "--out-dir", "out"], env=environment).returncode == 0
    entries = Manifest(here / "out").entries()
    assert sorted(entry["row"] for entry in entries) == list(range(1, 13))
    assert all(kept[entry["row"]] == entry for entry in entries if entry["row"] in kept), "finished rows are not spoken again"
    assert sorted(file.name for file in (here / "out").iterdir()) == sorted([*(item.path for item in items), "manifest.jsonl"])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run_batch(items, here / "whole")
    finally:
        torch.set_num_threads(threads)
    for item in items:
        assert (here / "whole" / item.path).read_bytes() == (here / "out" / item.path).read_bytes()


def test_a_worker_that_dies_is_one_clear_line(rows, here, monkeypatch):
    class Broken:
        def __init__(self, *arguments, **options):
            pass

        def submit(self, *arguments):
            raise batch.BrokenProcessPool("died")

        def shutdown(self, **options):
            pass

    monkeypatch.setattr(batch, "ProcessPoolExecutor", Broken)
    with pytest.raises(UserError, match="fewer --jobs"):
        run_batch(rows({"text": "One."}, {"text": "Two."}), here / "out", jobs=2)
