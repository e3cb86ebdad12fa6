"""Tiny checkpoints that speak through latents: an autoencoder, DiTAR and ARDiT, the latter also as told what a prompt says.

Pipelines: `ditar`, `ardit`; `ditar-told`, `ardit-told`; and `ditar-narrow`, `ardit-narrow`, which read few positions.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from speechgen.core import checkpoint
from tests.tiny import save_checkpoint

KINDS = {"": {}, "-told": {"untold_prompt": False}, "-narrow": {"max_positions": 120}}


def write_latents(path: Path, name: str, **options: object) -> None:
    """Write a pipeline with the tiny checkpoint of a name, `options` being those of its model of latents."""
    names = {"text_to_latents": f"tiny-{name}", "autoencoder": "tiny-vae", "vocoder": "tiny-vocoder"}
    content = {"checkpoints": names | {"tokenizer": "tiny-tokenizer"}, "text_to_latents": {"steps": 2, **options}}
    path.write_text(yaml.safe_dump({**content, "max_tries": 1, "prompt_seconds": 3}), encoding="utf-8")


@pytest.fixture(scope="session")
def tiny_latents(tiny_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoints and pipelines, and those of latents, made once; not to be changed."""
    home = tmp_path_factory.mktemp("latents")
    shutil.copytree(tiny_home, home, dirs_exist_ok=True)
    folders = home / "checkpoints"
    uses = {"latents": checkpoint.fingerprint(save_checkpoint(folders / "tiny-vae", "vae"))}
    for name in ("ditar", "ardit"):
        for kind, changes in KINDS.items():
            save_checkpoint(folders / f"tiny-{name}{kind}", name, uses=uses, changes=changes)
            write_latents(home / "pipelines" / f"{name}{kind}.yaml", f"{name}{kind}")
    return home


@pytest.fixture
def latent_home(tiny_latents: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as the only place where anything is found."""
    monkeypatch.setenv("SPEECHGEN_HOME", str(tiny_latents))
    return tiny_latents
