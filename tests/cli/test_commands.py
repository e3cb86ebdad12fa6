"""Every command does what it says, prints what it promises and starts fast."""

import io
import json
import subprocess
import sys
import time

import pytest
import soundfile

from speechgen.audio.io import FORMATS, write_audio
from speechgen.cli import console
from speechgen.cli.main import run
from speechgen.service.results import provenance
from tests.tiny import RATE, voice_like

SYNTH = ["synth", "--pipeline", "tiny", "--text", "Hello there.", "--seed", "3"]


@pytest.fixture
def here(home, tmp_path, monkeypatch):
    """An empty working folder, with the tiny pipeline installed."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_synth_writes_the_file_and_prints_seed_voice_and_device(here, capsys):
    assert run(SYNTH) == 0
    line = capsys.readouterr().out
    for part in ("out.wav", "seed 3", "voice buzz", "cpu", "threads", "rtf"):
        assert part in line
    assert soundfile.info(here / "out.wav").samplerate == RATE
    assert [path.name for path in here.iterdir()] == ["out.wav"]


def test_synth_json_is_exactly_one_object_with_the_promised_keys(here, capsys):
    assert run([*SYNTH, "--json", "-v"]) == 0
    out = capsys.readouterr().out
    found = json.loads(out)
    assert out.count("\n") == 1
    promised = "path sample_rate seconds seed load_seconds synthesis_seconds rtf pipeline device threads voice"
    assert set(promised.split()) <= set(found)
    assert (found["path"], found["sample_rate"], found["seed"]) == ("out.wav", RATE, 3)


def test_the_same_seed_gives_the_same_bytes_in_every_format(here):
    for suffix in console.FORMATS:
        for name in ("a", "b"):
            assert run([*SYNTH, "-q", "-o", f"{name}.{suffix}"]) == 0
        assert (here / f"a.{suffix}").read_bytes() == (here / f"b.{suffix}").read_bytes()
    assert run([*SYNTH[:-1], "4", "-q", "-o", "c.wav"]) == 0
    assert (here / "a.wav").read_bytes() != (here / "c.wav").read_bytes()


@pytest.mark.parametrize("option", ["--ref", "--ref-audio", "--ref_audio", "--speaker_wav", "--speaker-wav", "--prompt-wav"])
def test_the_names_other_tools_use_for_the_reference_are_accepted(here, capsys, option):
    write_audio(here / "ref.wav", voice_like(2.0), RATE)
    assert run([*SYNTH, option, "ref.wav", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["voice"] == "ref.wav"


def test_text_comes_from_a_file_or_standard_input(here, monkeypatch, capsys):
    (here / "text.txt").write_text("\ufeffHello there.", encoding="utf-8")
    command = ["synth", "--pipeline", "tiny", "--seed", "3", "-q"]
    assert run([*SYNTH, "-q", "-o", "text.wav"]) == 0
    assert run([*command, "--file", "text.txt", "-o", "file.wav"]) == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Hello there.")))
    assert run([*command, "-o", "stdin.wav"]) == 0
    assert capsys.readouterr().out == ""
    assert (here / "text.wav").read_bytes() == (here / "file.wav").read_bytes() == (here / "stdin.wav").read_bytes()


def test_the_format_gives_the_suffix_and_the_plot_is_drawn(here):
    assert (
        run([*SYNTH, "--format", "flac", "--plot", "mel.png", "--speed", "1.2", "--steps", "1", "--guidance", "0", "--offline"])
        == 0
    )
    assert soundfile.info(here / "out.flac").format == "FLAC"
    assert (here / "mel.png").read_bytes().startswith(b"\x89PNG")


def test_vocode_copies_a_recording(here, capsys):
    write_audio(here / "in.wav", voice_like(2.0), RATE)
    command = ["vocode", "in.wav", "--vocoder", "tiny-vocoder", "-o", "copy.wav", "--json"]
    assert run([*command, "--plot", "copy.png"]) == 0
    assert json.loads(capsys.readouterr().out)["seconds"] == pytest.approx(2.0, abs=0.02)
    assert (here / "copy.png").read_bytes().startswith(b"\x89PNG")


def test_models_lists_shows_and_verifies(here, home, capsys):
    assert run(["models"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("vocos", "tiny-vocoder", "default", "buzz"))
    assert run(["models", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"]["vocos"] == "vocoders"
    for name, part in (("vocos", "Mel -> Waveform"), ("tiny-vocoder", '"model": "vocos"'), ("tiny", "tiny-acoustic")):
        assert run(["models", "show", name]) == 0
        assert part in capsys.readouterr().out
    assert run(["models", "verify", "tiny-vocoder", "tiny-acoustic"]) == 0
    (home / "checkpoints" / "tiny-acoustic" / "model.safetensors").write_bytes(b"")
    assert run(["models", "verify", "tiny-vocoder", "tiny-acoustic"]) == 1
    assert "damaged  tiny-acoustic" in capsys.readouterr().out


def test_doctor_prints_a_line_for_each_part_and_fails_if_synth_cannot_work(home, capsys, tmp_path):
    from tests.tiny import write_pipeline

    write_pipeline(home, "default")
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(part in out for part in ("python", "torch", "bfloat16", "espeak-ng", "tiny-tokenizer", "extra eval"))
    write_pipeline(home, "default", acoustic="missing")
    assert run(["doctor", "--json"]) == 1
    assert "did you mean" not in json.loads(capsys.readouterr().out)["espeak-ng"]["text"]


def test_eval_measures_a_pipeline_and_writes_clips_and_reports(here, home, capsys):
    pytest.importorskip("pocketsphinx")
    pytest.importorskip("resemblyzer")
    (here / "lines.txt").write_text("The old clock had stopped.\n")
    command = ["eval", "--pipeline", "tiny", "--sentences", "lines.txt", "--no-opinions", "--out", "report", "--json"]
    command += ["--ref", str(home / "voices" / "buzz.wav")]
    assert run(command) == 0
    assert json.loads(capsys.readouterr().out)["overall"]["n"] == 1
    assert json.loads((here / "report" / "report.json").read_text())["overall"]["rtf"]["p50"] > 0
    assert "WER" in (here / "report" / "report.md").read_text()
    assert len(list((here / "report").glob("buzz/01.wav"))) == 1


def test_eval_follows_a_voice_through_the_stages(here, capsys):
    pytest.importorskip("resemblyzer")
    pytest.importorskip("lhotse")
    folder = here / "voices"
    folder.mkdir()
    for name in ("a1", "a2", "a3", "b1", "b2"):
        write_audio(folder / f"{name}.wav", voice_like(2.0, pitch=100.0 + 40 * (name[0] == "b"), seed=int(name[1])), RATE)
    lines = ["file|speaker|text", "a1.wav|a|", "b1.wav|b|", "a2.wav|a|Hello there.", "b2.wav|b|", "a3.wav|a|"]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    command = ["eval", "--pipeline", "tiny", "--stages", "voices", "--no-opinions"]
    assert run([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["stages"]
    assert {name: row["n"] for name, row in found.items()} == {"natural": 2, "vocoder": 2, "acoustic": 2, "pipeline": 1}
    assert found["natural"]["sim"] > 0.9
    (folder / "metadata.csv").write_text("file|speaker|text\na1.wav|a|\nb1.wav|b|\n")
    assert run(command) == 2 and "two recordings" in capsys.readouterr().err


def test_formats_are_those_that_can_be_written():
    assert tuple(FORMATS) == console.FORMATS


def test_help_is_fast_and_loads_nothing_heavy():
    code = (
        "import sys, io, contextlib; from speechgen.cli.main import run\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out: code = run(['--help'])\n"
        "heavy = [name for name in ('torch', 'numpy', 'pydantic', 'rich', 'lhotse', 'yaml') if name in sys.modules]\n"
        "print(code, heavy, 'synth' in out.getvalue())"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n")[0] == "0 [] True", done.stderr
    assert time.perf_counter() - started < 3.0, "0.3 s on an idle machine"


def test_import_loads_nothing_heavy():
    code = "import sys, speechgen; print([name for name in ('torch', 'numpy', 'pydantic', 'typer') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("verb", ["synth", "vocode", "prepare", "train", "fit-kmeans", "eval", "models", "doctor"])
def test_every_command_has_help(verb, capsys):
    assert run([verb, "--help"]) == 0
    assert f"speechgen {verb}" in capsys.readouterr().out


def test_version_is_printed(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("speechgen 0.")


def test_python_m_speechgen_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "speechgen", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("speechgen 0.")


def test_streamed_sound_goes_to_a_file_or_to_standard_output(here, capsysbinary):
    text = ["--text", "Hello there. This is a longer text of several sentences. It goes on, and on, and then it ends."]
    command = ["synth", "--pipeline", "tiny", "--seed", "3", "--stream", *text]
    assert run([*command, "-o", "a.wav", "--json"]) == 0
    report = json.loads(capsysbinary.readouterr().out)
    samples, rate = soundfile.read(here / "a.wav")
    with soundfile.SoundFile(here / "a.wav") as file:
        assert file.comment == provenance("pipeline tiny", 3)
    whole = (here / "a.wav").read_bytes()
    assert int.from_bytes(whole[4:8], "little") == len(whole) - 8 and len(whole) % 2 == 0
    assert rate == RATE and len(samples) / rate == pytest.approx(report["seconds"], abs=0.001)
    assert 0 < report["first_audio_seconds"] <= report["synthesis_seconds"] and report["seed"] == 3
    assert run([*command, "-o", "-", "-q"]) == 0
    piped = capsysbinary.readouterr().out
    assert piped[:4] == b"RIFF" and piped[44:] == whole[44 : 44 + 2 * len(samples)]
    assert run([*command, "-o", "a.mp3"]) == 2 and run([*command, "--plot", "a.png"]) == 2
