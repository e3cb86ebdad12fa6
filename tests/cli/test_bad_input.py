"""Everything that can be wrong ends in one line on stderr, exit code 2 and no file, or works."""

import errno
import resource
import signal

import numpy as np
import pytest
import soundfile
import torch

from speechgen.audio.io import write_audio
from speechgen.cli.main import run
from speechgen.models.semantic.token_transducer.generate import TransducerGenerator
from speechgen.service import engine
from speechgen.service.results import SynthesisResult
from tests.tiny import RATE, voice_like, write_pipeline

TINY = ["synth", "--pipeline", "tiny", "--seed", "1"]


@pytest.fixture
def here(home, tmp_path, monkeypatch):
    """An empty working folder, with the tiny pipeline installed."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def refused(here, capsys):
    """Runs a command that must fail with one line and leave nothing behind; returns the line."""

    def check(arguments, code=2):
        before = sorted(here.iterdir())
        assert run(arguments) == code
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("speechgen: ") and captured.err.count("\n") == 1
        assert sorted(here.iterdir()) == before
        return captured.err

    return check


@pytest.fixture
def nothing_loads(monkeypatch):
    """Loading any checkpoint is an error."""

    def refuse(*arguments, **options):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(engine, "load_stages", refuse)


@pytest.mark.parametrize(
    "text", ["", "   \n\t", "😀🎉", "\x00\x07", "...!"], ids=["empty", "space", "emoji", "control", "marks"]
)
def test_text_with_nothing_to_speak_is_refused(refused, nothing_loads, text):
    assert "give at least one" in refused([*TINY, "--text", text])


def test_text_in_another_script_is_refused_with_advice(refused):
    assert "choose the language" in refused([*TINY, "--text", "Привет, мир"])


@pytest.mark.parametrize(
    "text",
    ["no punctuation " * 20, "Hi \U0001f600 there.", "Hi\x00 \x1b[31mthere.", "A B"],
    ids=["no_punctuation", "emoji", "control", "letters"],
)
def test_odd_text_that_can_be_spoken_is_spoken(here, text):
    assert run([*TINY, "--text", text, "-q"]) == 0
    assert soundfile.info(here / "out.wav").frames > 0


def test_text_from_two_places_or_none_is_refused(refused, monkeypatch, here):
    (here / "text.txt").write_text("Hi.")
    assert "choose one" in refused([*TINY, "--text", "Hi.", "--file", "text.txt"])
    assert "cannot read missing.txt" in refused([*TINY, "--file", "missing.txt"])
    (here / "text.txt").write_bytes(b"caf\xe9")
    assert "not UTF-8" in refused([*TINY, "--file", "text.txt"])
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    assert "give --text, --file" in refused(TINY)


def write(path, samples, rate=RATE):
    soundfile.write(path, np.asarray(samples), rate, subtype="FLOAT")


REFERENCES = {
    "silent": (lambda path: write(path, torch.zeros(3 * RATE)), "is silent"),
    "short": (lambda path: write(path, voice_like(0.2)), "lasts 0.20 s"),
    "nan": (lambda path: write(path, torch.full((RATE * 2,), float("nan"))), "NaN"),
    "text": (lambda path: path.write_text("not audio"), "not readable audio"),
    "empty": (lambda path: path.write_bytes(b""), "not readable audio"),
    "missing": (lambda path: None, "no such audio file"),
    "folder": (lambda path: path.mkdir(), "no such audio file"),
}


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_reference_that_cannot_be_used_is_refused(here, refused, kind):
    make, message = REFERENCES[kind]
    make(here / "ref.wav")
    assert message in refused([*TINY, "--text", "Hi.", "--ref", "ref.wav"])


@pytest.mark.parametrize(
    ("samples", "rate", "warning"),
    [
        (voice_like(2.0, 8000), 8000, "8000 samples per second"),
        (torch.stack([voice_like(2.0), voice_like(2.0)], dim=1), RATE, ""),
        (voice_like(600.0, 16000), 16000, "only its first 30 s"),
    ],
    ids=["8_kHz", "stereo", "10_minutes"],
)
def test_an_unusual_reference_works_and_the_user_is_told(here, capsys, samples, rate, warning):
    write(here / "ref.wav", samples, rate)
    assert run([*TINY, "--text", "Hi.", "--ref", "ref.wav"]) == 0
    assert warning in capsys.readouterr().err


@pytest.mark.parametrize("out", ["no/such/folder/out.wav", "folder.wav", "out.xyz"], ids=["no_folder", "is_folder", "format"])
def test_an_output_that_cannot_be_written_is_refused_before_loading(here, refused, nothing_loads, out):
    (here / "folder.wav").mkdir()
    assert "cannot write" in refused([*TINY, "--text", "Hi.", "-o", out])


def test_a_folder_without_permission_and_a_bad_plot_path_are_refused_before_loading(refused, nothing_loads, monkeypatch):
    assert "there is no folder" in refused([*TINY, "--text", "Hi.", "--plot", "none/mel.png"])

    def deny(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", deny)
    assert "Permission denied" in refused([*TINY, "--text", "Hi."])


def test_a_format_that_contradicts_the_suffix_is_refused(refused, nothing_loads):
    assert "contradicts out.wav" in refused([*TINY, "--text", "Hi.", "-o", "out.wav", "--format", "mp3"])
    assert "unknown format" in refused([*TINY, "--text", "Hi.", "--format", "aiff"])


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_a_full_disk_is_reported_and_leaves_nothing(here, refused, suffix, monkeypatch):
    save = SynthesisResult.save

    def save_on_a_small_disk(result, path):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            return save(result, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(SynthesisResult, "save", save_on_a_small_disk)
    assert f"cannot write out.{suffix}" in refused([*TINY, "--text", "A somewhat longer text.", "-o", f"out.{suffix}"])


def test_ctrl_c_ends_with_130_and_leaves_no_file(refused, monkeypatch):
    def interrupt(*arguments, **options):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(TransducerGenerator, "generate", interrupt)
    assert refused([*TINY, "--text", "Hi."], code=130) == "speechgen: interrupted\n"


def test_a_checkpoint_cut_in_half_is_named(home, refused):
    path = home / "checkpoints" / "tiny-acoustic" / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    message = refused([*TINY, "--text", "Hi."])
    assert "tiny-acoustic" in message and "damaged" in message
    path.unlink()
    assert "missing or damaged" in refused([*TINY, "--text", "Hi."])
    path.write_bytes(whole)
    config = path.with_name("config.json")
    config.write_bytes(config.read_bytes()[:50])
    assert "config.json is damaged" in refused([*TINY, "--text", "Hi."])


def test_an_unknown_key_in_a_pipeline_names_the_nearest(home, refused):
    path = write_pipeline(home, "odd")
    path.write_text(path.read_text().replace("max_characters", "max_character"))
    assert "did you mean 'max_characters'" in refused(["synth", "--text", "Hi.", "--pipeline", "odd"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--speed", "5"], "less than or equal to 2"),
        (["--speed", "fast"], "valid number"),
        (["--steps", "0"], "greater than or equal to 1"),
        (["--seed", "-1"], "greater than or equal to 0"),
        (["--device", "cuda:9"], "no device 'cuda:9' here: allowed: auto, cpu"),
        (["--pipeline", "tyni"], "did you mean 'tiny'"),
        (["--voice", "bzz"], "did you mean 'buzz'"),
        (["--voice", "buzz", "--ref", "a.wav"], "choose one"),
        (["--lang", "klingon"], "unknown language"),
        (["--sede", "1"], "No such option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_flag_out_of_range_is_refused_in_one_line(refused, arguments, message):
    assert message in refused([*TINY, "--text", "Hi.", *arguments])


def test_commands_that_contradict_themselves_are_refused(refused, here):
    assert "belong together" in refused(["eval", "--vocoder", "tiny-vocoder"])
    assert "belong together" in refused(["eval", "vocoders"])
    assert "behind its name" in refused(["eval", "vocoders", "--audio", ".", "--set", "steps=25"])
    assert "behind its name" in refused(["eval", "vocoders", "--audio", ".", "--vary", "steps=25,50"])
    assert "of a pipeline" in refused(["eval", "--stages", ".", "--vary", "acoustic.steps=2,4"])
    assert "belong together" in refused(["eval", "drift", "--pipeline", "tiny"])
    assert "holds no audio" in refused(["eval", "vocoders", "--audio", "."])
    assert "belong together" in refused(["eval", "--tokenizer", "tiny-tokenizer"])
    assert "no such folder" in refused(["eval", "--vocoder", "tiny-vocoder", "--audio", "none"])
    assert "with one voice" in refused(["eval", "long", "--audio", "book.flac"])
    assert "No such command" in refused(["sing"])
    write_audio(here / "a.wav", voice_like(1.0), RATE)
    assert "makes no latents" in refused(["eval", "drift", "--pipeline", "tiny", "--audio", "."])
    assert "not a vocoder" in refused(["vocode", "a.wav", "--vocoder", "tiny-acoustic"])
    assert "unknown key" in refused(["vocode", "a.wav", "--vocoder", "tiny-vocoder", "--set", "steps=6"])
    assert "unknown model" in refused(["models", "show", "nothing"])
