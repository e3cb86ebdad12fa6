"""Tiny checkpoints with random weights, joined to a pipeline: what the tests of pipeline, service and cli speak with.

The folder has the layout of $SPEECHGEN_HOME: checkpoints/, pipelines/, voices/.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from speechgen.audio.io import write_audio
from speechgen.core import checkpoint, registry
from speechgen.core.types import MelSettings
from speechgen.text.vocabulary import ENGLISH

RATE = 24000
MODELS = {
    "tokenizer": "wav2vec2_kmeans",
    "semantic": "token_transducer",
    "acoustic": "e2_tts",
    "vocoder": "vocos",
}
SPEAKER, CODEC = "soundstorm", "encodec"
"""What speaks through codes, in the pipeline `tiny-codes`."""
READER = "f5_tts"
"""What speaks from characters, in the pipeline `tiny-reader`."""
OPTIONS = {"semantic": {"blank_bias": 1.0, "max_tokens_per_symbol": 6}, "acoustic": {"steps": 2}}


def save_checkpoint(
    folder: Path,
    model: str,
    *,
    uses: Mapping[str, str] | None = None,
    mel: MelSettings | None = None,
    changes: Mapping[str, object] | None = None,
) -> Path:
    """Save the tiny configuration of a model, with some `changes`, and random weights."""
    spec = registry.get(model)
    config = spec.config.tiny().model_copy(update=dict(changes or {}))
    torch.manual_seed(0)
    info = checkpoint.CheckpointInfo(
        format=checkpoint.FORMAT,
        model=model,
        config=config.model_dump(mode="json"),
        accepts=spec.accepts,
        produces=spec.produces,
        mel=mel or MelSettings(),
        vocabulary=ENGLISH.symbols if spec.role == "semantic" else None,
        uses=dict(uses or {}),
    )
    # Noise on every weight, so that layers which begin as zeros pass their input on.
    state = {
        key: v + 0.02 * torch.randn_like(v) if v.is_floating_point() else v
        for key, v in spec.build(config).state_dict().items()
    }
    checkpoint.save(folder, info, state)
    return folder


def voice_like(seconds: float, rate: int = RATE, *, pitch: float = 120.0, seed: int = 0) -> Tensor:
    """Syllables of a buzzing tone with pauses between them: sound and silence as in speech, [L]."""
    rng = torch.Generator().manual_seed(seed)
    time = torch.arange(int(seconds * rate)) / rate
    tone = sum((torch.sin(2 * math.pi * pitch * k * time) / k for k in range(1, 9)), torch.zeros_like(time))
    syllables = (torch.sin(2 * math.pi * 2.0 * time) > -0.6).float()
    return 0.1 * tone * syllables + 1e-4 * torch.randn(time.shape, generator=rng)


def make_home(home: Path) -> Path:
    """Write four checkpoints, the pipeline `tiny` and the voice `buzz`."""
    folders = home / "checkpoints"
    tokenizer = save_checkpoint(folders / "tiny-tokenizer", MODELS["tokenizer"])
    uses = {"tokens": checkpoint.fingerprint(tokenizer)}
    save_checkpoint(folders / "tiny-semantic", MODELS["semantic"], uses=uses)
    save_checkpoint(folders / "tiny-acoustic", MODELS["acoustic"], uses=uses)
    save_checkpoint(folders / "tiny-vocoder", MODELS["vocoder"])
    write_pipeline(home, "tiny")
    save_checkpoint(folders / "tiny-text_to_mel", READER)
    write_reader(home, "tiny-reader")
    codec = save_checkpoint(folders / "tiny-codec", CODEC)
    identity = checkpoint.load(codec).generator().identity
    save_checkpoint(folders / "tiny-speaker", SPEAKER, uses={**uses, "codes": identity})
    write_codes(home, "tiny-codes")
    (home / "voices").mkdir()
    write_audio(home / "voices" / "buzz.wav", voice_like(3.0), RATE)
    return home


def make_music(home: Path) -> Path:
    """Write a codec and a model that makes its codes of descriptions, `tiny-codec` and `tiny-music`."""
    codec = save_checkpoint(home / "checkpoints" / "tiny-codec", "encodec")
    uses = {"codes": checkpoint.load(codec).generator().identity}
    save_checkpoint(home / "checkpoints" / "tiny-music", "magnet", uses=uses)
    return home


def write_pipeline(home: Path, name: str, **checkpoints: str) -> Path:
    """Write a pipeline of the tiny checkpoints, some of them replaced."""
    content = {"checkpoints": {slot: f"tiny-{slot}" for slot in MODELS} | checkpoints, **OPTIONS}
    content |= {"max_characters": 80, "max_tries": 1}
    path = home / "pipelines" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def write_codes(home: Path, name: str, **checkpoints: str) -> Path:
    """Write a pipeline that speaks through codes, some of its checkpoints replaced."""
    names = {slot: f"tiny-{slot}" for slot in ("tokenizer", "semantic", "codec")} | {"acoustic": "tiny-speaker"} | checkpoints
    content = {
        "checkpoints": names,
        "semantic": OPTIONS["semantic"],
        "acoustic": {"steps": 3},
        "max_characters": 80,
        "max_tries": 1,
    }
    path = home / "pipelines" / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def write_reader(home: Path, name: str, **checkpoints: str) -> Path:
    """Write a pipeline that speaks from characters, some of its checkpoints replaced."""
    names = {slot: f"tiny-{slot}" for slot in ("tokenizer", "text_to_mel", "vocoder")} | checkpoints
    content = {"checkpoints": names, "text_to_mel": {"steps": 2}, "prompt_seconds": 12, "max_characters": 80, "max_tries": 1}
    path = home / "pipelines" / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, made once; tests must not change it."""
    return make_home(tmp_path_factory.mktemp("home"))


@pytest.fixture
def home(tiny_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder that a test may damage, set as $SPEECHGEN_HOME."""
    copy = tmp_path / "home"
    shutil.copytree(tiny_home, copy)
    monkeypatch.setenv("SPEECHGEN_HOME", str(copy))
    return copy
