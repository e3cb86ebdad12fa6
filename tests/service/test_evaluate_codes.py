"""Figures of models of codes: speech made again from its tokens, and sounds made of their descriptions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from speechgen.audio.io import write_audio
from speechgen.cli.main import run
from speechgen.core import checkpoint
from speechgen.core.types import CodecTokens, SemanticTokens, Waveform
from speechgen.models.text_to_codes.magnet.config import MAGNeTOptions
from speechgen.pipeline.music import MusicStages
from speechgen.service import evaluate_magnet, evaluate_soundstorm
from speechgen.service.evaluate_magnet import WAYS, measure_magnet
from speechgen.service.evaluate_soundstorm import measure_soundstorm
from speechgen.service.music import MusicMaker
from tests.sounds import KINDS, corpus, sound
from tests.tiny import RATE, make_music, save_checkpoint, voice_like

for package in ("lhotse", "sklearn", "pocketsphinx", "resemblyzer", "jiwer"):
    pytest.importorskip(package)
TEXTS = ("open the door", "close the window", "a quiet garden", "the kitchen")


@pytest.fixture
def spoken(home: Path, tmp_path: Path) -> Path:
    """Two voices with two utterances each, prepared with the tokens and codes of the tiny checkpoints."""
    source = tmp_path / "source"
    source.mkdir()
    lines = ["file|speaker|text"]
    for n, text in enumerate(TEXTS):
        write_audio(source / f"{n}.wav", voice_like(1.5 + 0.1 * n, pitch=100 + 80 * (n // 2), seed=n), RATE)
        lines.append(f"{n}.wav|{'ab'[n // 2]}|{text}")
    (source / "metadata.csv").write_text("\n".join(lines))
    made = ["--tokenizer", str(home / "checkpoints" / "tiny-tokenizer"), "--codec", str(home / "checkpoints" / "tiny-codec")]
    command = ["prepare", "folder", "--source", str(source), "--out", str(tmp_path / "spoken"), "--features", "tokens,codes"]
    assert run([*command, *made]) == 0
    return tmp_path / "spoken"


def test_speech_is_made_from_tokens_by_each_model_and_measured_beside_the_codec(spoken, tmp_path, capsys):
    capsys.readouterr()
    models = ["--model", "tiny-speaker:steps=3", "--model", "tiny-speaker:steps=1"]
    command = ["eval", "soundstorm", "--data", str(spoken), *models, "--out", str(tmp_path / "out"), "--json"]
    assert run(command) == 0
    ways = json.loads(capsys.readouterr().out)["ways"]
    assert list(ways) == ["recordings", "codec", "tiny-speaker:steps=3", "tiny-speaker:steps=1"]
    assert [one["passes"] for one in ways.values()] == [None, None, 5, 3]  # three codebooks, one pass for each behind the first
    assert all(one["seconds"] > 0 for one in list(ways.values())[2:])
    assert ways["recordings"]["sim"] > max(ways["tiny-speaker:steps=3"]["sim"], ways["codec"]["sim"])
    assert len(list((tmp_path / "out" / "codec").glob("*.wav"))) == 4


class Oracle:
    """Knows the codes of every utterance by its tokens."""

    def __init__(self, cases: Sequence[Any]) -> None:
        self.known = {tuple(case.spoken.tokens.ids[0].tolist()): case.spoken.codes for case in cases}

    def generate(self, tokens: SemanticTokens, prompt: CodecTokens, *given: Any, **options: Any) -> CodecTokens:
        assert prompt.ids.shape[2] <= 3 * prompt.rate
        return self.known.get(tuple(tokens.ids[0].tolist()), replace(prompt, ids=prompt.ids[:, :, :10]))


def test_a_model_that_knows_the_codes_is_as_good_as_the_codec(spoken, monkeypatch):
    loaded = evaluate_soundstorm._load("tiny-speaker", None)
    oracle = Oracle(evaluate_soundstorm._cases(spoken, "tiny-speaker", loaded.codec, None))
    monkeypatch.setattr(evaluate_soundstorm, "_load", lambda name, codec: replace(loaded, speaker=oracle))
    ways = measure_soundstorm(["tiny-speaker"], spoken).ways
    assert ways["tiny-speaker"].wer == pytest.approx(ways["codec"].wer, abs=0.15)
    assert ways["tiny-speaker"].sim == pytest.approx(ways["codec"].sim, abs=0.05)


def test_a_reference_speaks_everything(spoken, home):
    report = measure_soundstorm(["tiny-speaker"], spoken, reference=home / "voices" / "buzz.wav", limit=1)
    assert "1 utterances" in report.settings and "buzz.wav" in report.table()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--model", "tiny-acoustic"], "makes no codes of semantic tokens"),
        (["--model", "tiny-speaker:speed=4"], "unknown key 'speed'"),
        (["--codec", "tiny-vocoder"], "choose a codec"),
        (["--ref", "a.wav", "--ref", "b.wav"], "one voice at most"),
    ],
)
def test_what_does_not_fit_is_one_line(given, message, spoken, capsys):
    capsys.readouterr()
    assert run(["eval", "soundstorm", "--data", str(spoken), *given]) == 2
    printed = capsys.readouterr().err
    assert message in printed and len(printed.splitlines()) == 1


def test_codes_of_another_codec_are_refused_by_identity(spoken, home, capsys):
    store = next((spoken / "features").glob("codes-*")) / "index.json"
    content = json.loads(store.read_text())
    content["producer"]["codec"] = "encodec-00000000"
    store.write_text(json.dumps(content))
    capsys.readouterr()
    assert run(["eval", "soundstorm", "--data", str(spoken), "--model", "tiny-speaker"]) == 2
    assert "holds no codes of the codec encodec-" in capsys.readouterr().err


def test_models_of_different_codes_are_not_compared(spoken, home, capsys):
    codes = checkpoint.read_info(home / "checkpoints" / "tiny-speaker").uses["codes"]
    save_checkpoint(home / "checkpoints" / "other", "soundstorm", uses={"tokens": "0" * 16, "codes": codes})
    capsys.readouterr()
    assert run(["eval", "soundstorm", "--data", str(spoken), "--model", "tiny-speaker", "--model", "other"]) == 2
    assert "different tokens or codes: measure them one at a time" in capsys.readouterr().err


class Sounds:
    """A codec that gives back what it was given, or for code n the n-th kind of sound."""

    identity, sample_rate, rate, size, num_codebooks = "sounds", RATE, 50.0, 8, 1

    def encode(self, audio: Waveform, codebooks: int | None = None) -> CodecTokens:
        self.heard = audio
        return CodecTokens(torch.zeros(1, 1, 1, dtype=torch.long), torch.tensor([1]), self.rate, self.size, self.identity)

    def decode(self, tokens: CodecTokens) -> Waveform:
        kind = int(tokens.ids[0, 0, -1])
        if kind == 0:
            return self.heard
        made = sound(list(KINDS.values())[kind - 1], 500 + tokens.ids.shape[2], tokens.ids.shape[2] / self.rate)
        return Waveform.single(torch.tensor(0.5 * made, dtype=torch.float32), RATE)


class Maker:
    """Makes the sound that is described; the next kind if it is to make one code after another."""

    rate, size, num_codebooks, max_frames = 50.0, 8, 1, 500

    def generate(self, descriptions: Sequence[str], frames: int, prompt: CodecTokens, *, options: Any, **_: Any) -> CodecTokens:
        kind = next(n for n, word in enumerate(("barking", "rain", "clock", "")) if word in descriptions[0])
        ids = torch.full((1, 1, frames), 1 + (kind + options.causal) % 3)
        return replace(prompt, ids=ids, lengths=torch.tensor([frames]))


@pytest.fixture
def described(tmp_path: Path) -> tuple[Path, Path]:
    """Prepared clips with descriptions, and labelled recordings."""
    prompts = dict(zip(("a dog barking", "rain falling", "a clock ticking", "a piano"), (*KINDS.values(), "tone"), strict=True))
    source, out = corpus(tmp_path / "held-out", 2, 100, prompts), tmp_path / "test"
    assert run(["prepare", "folder", "--source", str(source), "--out", str(out), "--features", "audio"]) == 0
    return out, corpus(tmp_path / "real", 6, 0, KINDS)


def test_sounds_are_made_in_every_way_and_recognised(described, monkeypatch, tmp_path, capsys):
    maker = MusicMaker("maker", MusicStages(Maker(), Sounds()), MAGNeTOptions)  # type: ignore[arg-type]
    monkeypatch.setattr(evaluate_magnet, "load_maker", lambda name, device, codec: maker)
    data, real = described
    report = measure_magnet(["m", "m:rescoring=0.5"], data, [real], save_to=tmp_path)
    assert list(report.ways) == ["codec", *(f"m, {way}" for way in WAYS), "m:rescoring=0.5"]
    assert (report.clips, report.labelled) == (8, 6) and report.accuracy > 0.9
    assert {name: one.recognised for name, one in report.ways.items()} == {
        "codec": 1.0,
        "m, parallel": 1.0,
        "m, causal": 0.0,
        "m, hybrid": 1.0,
        "m, rescoring": 1.0,
        "m:rescoring=0.5": 1.0,
    }
    assert report.ways["codec"].frechet == pytest.approx(0, abs=1e-6) and report.ways["m, parallel"].frechet > 1
    assert len(list((tmp_path / "m-causal").glob("*.wav"))) == 8


def test_magnet_is_measured_by_the_command(described, home, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPEECHGEN_HOME", str(make_music(tmp_path / "music")))
    data, real = described
    capsys.readouterr()
    command = ["eval", "magnet", "--data", str(data), "--real", str(real), "--limit", "2", "--model", "tiny-music:steps=2"]
    assert run(command) == 0
    assert "| tiny-music:steps=2 |" in capsys.readouterr().out
    assert run(["eval", "magnet", "--data", str(data)]) == 2
    assert "--real RECORDINGS" in capsys.readouterr().err
