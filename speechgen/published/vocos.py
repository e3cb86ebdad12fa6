"""Vocos as its authors publish it (`charactr/vocos-mel-24khz`): the same parameter names, and constants that we compute."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from speechgen.core.errors import UserError
from speechgen.core.types import MelSettings
from speechgen.core.weights import find_file, read_weights, tensors
from speechgen.models.vocoders.vocos.config import VocosConfig
from speechgen.published import About, Imported, foreign

__all__ = ["ABOUT", "convert", "infer_config", "read"]

ABOUT = About(
    model="vocos",
    origin="huggingface.co/charactr/vocos-mel-24khz",
    licence="MIT",
    files=("model.safetensors", "pytorch_model.bin"),
    pulls={"vocos-mel-24khz": "charactr/vocos-mel-24khz"},
)
_CONSTANTS = ("feature_extractor.", "head.istft.window")


def read(source: Path) -> Imported:
    """Read the published file, or the folder it lies in.

    Raises:
        UserError: it cannot be read, or is no mel-conditioned Vocos.
    """
    path = find_file(source, ABOUT.files)
    with foreign(path, "Vocos"):
        published = tensors(read_weights(path), path)
        return Imported(infer_config(published), convert(published))


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters of a published state dict; they load into our Vocos strictly."""
    return {key: value for key, value in state.items() if not key.startswith(_CONSTANTS)}


def infer_config(state: Mapping[str, Tensor], sample_rate: int = 24000) -> VocosConfig:
    """Read the sizes off the shapes of a published state dict; the hop is a quarter of the window, as in every release.

    The authors clamp magnitudes at 1e-7 before the logarithm. We keep our floor, so that the weights render the mels of our
    models: what differs is digital silence.

    Raises:
        UserError: it is not a mel-conditioned Vocos.
    """
    try:
        width, num_bins, _ = state["backbone.embed.weight"].shape
        hidden_width = state["backbone.convnext.0.pwconv1.weight"].shape[0]
        n_fft = state["head.out.weight"].shape[0] - 2
    except (KeyError, ValueError) as error:
        raise UserError(f"this is no published mel Vocos ({error!r}): give the state dict of vocos-mel-24khz") from error
    depth = sum(key.startswith("backbone.convnext.") and key.endswith(".gamma") for key in state)
    mel = MelSettings(sample_rate=sample_rate, n_fft=n_fft, hop_samples=n_fft // 4, num_bins=num_bins)
    return VocosConfig(mel=mel, width=width, hidden_width=hidden_width, depth=depth)
