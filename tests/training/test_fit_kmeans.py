"""Centroids are fitted on hidden states of real encoders and the finished tokenizer uses them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2Model

from speechgen.core import checkpoint
from speechgen.core.errors import UserError
from speechgen.core.types import Waveform
from speechgen.data.features import FeatureWriter
from speechgen.training.fit_kmeans import fit_kmeans
from tests.tiny import RATE, save_checkpoint, voice_like


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Four recordings as a prepared folder."""
    with FeatureWriter(tmp_path / "prepared", "audio", {"made": "here"}) as writer:
        for index in range(4):
            samples = voice_like(1.0, seed=index, pitch=100.0 + 30 * index)
            writer.add(f"u{index}", (samples * 32767).numpy().astype(np.int16))
    return tmp_path / "prepared"


def tokens_of(folder: Path) -> torch.Tensor:
    return checkpoint.load(folder).generator().encode(Waveform.single(voice_like(1.0), RATE)).ids


def test_fitted_centroids_are_used_and_the_encoder_is_unchanged(tmp_path: Path, prepared: Path):
    encoder = save_checkpoint(tmp_path / "encoder", "wav2vec2_kmeans")
    fit = fit_kmeans(encoder, [prepared], tmp_path / "out", layer=2, clusters=5, frames=150)
    assert fit.frames >= 150
    assert fit.used == 5
    assert 0 < fit.unexplained < 1
    before, after = checkpoint.load(encoder).network.state_dict(), checkpoint.load(tmp_path / "out").network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before if not key.startswith("centroids."))
    ids = tokens_of(tmp_path / "out")
    assert 1 < len(ids.unique()) <= 5
    assert checkpoint.read_info(tmp_path / "out").config["layer"] == 2


def test_the_same_seed_fits_the_same_centroids(tmp_path: Path, prepared: Path):
    encoder = save_checkpoint(tmp_path / "encoder", "wav2vec2_kmeans")
    for name in ("a", "b"):
        fit_kmeans(encoder, [prepared], tmp_path / name, layer=1, clusters=4, seed=3)
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()


def test_a_transformers_folder_becomes_a_tokenizer_of_its_own_rate(tmp_path: Path, prepared: Path):
    config = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=(8, 8, 8),
        conv_kernel=(10, 8, 8), conv_stride=(10, 8, 4), num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    torch.manual_seed(0)
    Wav2Vec2Model(config).save_pretrained(tmp_path / "hub")
    fit_kmeans(tmp_path / "hub", [prepared], tmp_path / "out", layer=1, clusters=4)
    loaded = checkpoint.load(tmp_path / "out").generator()
    assert loaded.rate == pytest.approx(50.0)
    assert tokens_of(tmp_path / "out").shape[1] in (49, 50)


def test_what_cannot_be_fitted_is_refused(tmp_path: Path, prepared: Path):
    encoder = save_checkpoint(tmp_path / "encoder", "wav2vec2_kmeans")
    with pytest.raises(UserError, match="more audio or fewer clusters"):
        fit_kmeans(encoder, [prepared], tmp_path / "out", layer=1, clusters=5000)
    with pytest.raises(UserError, match="no audio feature"):
        fit_kmeans(encoder, [tmp_path], tmp_path / "out", layer=1, clusters=4)
    with pytest.raises(UserError, match="no encoder"):
        fit_kmeans(tmp_path / "nowhere", [prepared], tmp_path / "out", layer=1, clusters=4)
    with pytest.raises(UserError, match="layer 3 is not there, the encoder has 2"):
        fit_kmeans(encoder, [prepared], tmp_path / "out", layer=3, clusters=4)
    assert not (tmp_path / "out").exists()
