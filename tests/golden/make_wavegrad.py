"""Made wavegrad.safetensors: both public implementations, small and with random weights, their mels and what they predict.

    git clone https://github.com/lmnt-com/wavegrad lmnt; git -C lmnt checkout c3d54c8
    git clone https://github.com/ivanvovk/WaveGrad ivanvovk; git -C ivanvovk checkout 721c37c
    python make_wavegrad.py lmnt/src ivanvovk

Channels are cut to a few so that the file is small; ivanvovk's FiLM has 32 input channels written into its code.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torchaudio
from safetensors.torch import save_file
from torch import nn

FRAMES = 9
IVANVOVK = {
    "factors": [5, 2, 3],
    "upsampling_preconv_out_channels": 8,
    "upsampling_out_channels": [6, 6, 4],
    "upsampling_dilations": [[1, 2, 1, 2], [1, 2, 4, 8], [1, 2, 4, 8]],
    "downsampling_preconv_out_channels": 32,
    "downsampling_out_channels": [4, 6],
    "downsampling_dilations": [[1, 2, 4], [1, 2, 4]],
}
IVANVOVK_DATA = {
    "sample_rate": 22050,
    "n_fft": 256,
    "win_length": 200,
    "hop_length": 30,
    "f_min": 80.0,
    "f_max": 8000,
    "n_mels": 12,
}


def lmnt(signal: torch.Tensor) -> dict[str, torch.Tensor]:
    """Its network with narrow blocks; the factors and dilations are its own."""
    from wavegrad.model import DBlock, FiLM, UBlock, WaveGrad

    network = WaveGrad({})
    network.downsample = nn.ModuleList(
        [nn.Conv1d(1, 8, 5, padding=2), DBlock(8, 6, 2), DBlock(6, 6, 2), DBlock(6, 8, 3), DBlock(8, 10, 5)]
    )
    network.film = nn.ModuleList([FiLM(8, 4), FiLM(6, 4), FiLM(6, 8), FiLM(8, 10), FiLM(10, 10)])
    network.upsample = nn.ModuleList(
        [
            UBlock(12, 10, 5, [1, 2, 1, 2]),
            UBlock(10, 10, 5, [1, 2, 1, 2]),
            UBlock(10, 8, 3, [1, 2, 4, 8]),
            UBlock(8, 4, 2, [1, 2, 4, 8]),
            UBlock(4, 4, 2, [1, 2, 4, 8]),
        ]
    )
    network.first_conv, network.last_conv = nn.Conv1d(16, 12, 3, padding=1), nn.Conv1d(4, 1, 3, padding=1)
    mel = torchaudio.transforms.MelSpectrogram(
        sample_rate=24000,
        n_fft=2048,
        win_length=1200,
        hop_length=300,
        f_min=20.0,
        f_max=12000.0,
        power=1.0,
        normalized=True,
        n_mels=16,
    )(signal)
    mel = torch.clamp((20 * torch.log10(torch.clamp(mel, min=1e-5)) - 20 + 100) / 100, 0.0, 1.0)[..., :FRAMES]
    noisy, level = torch.randn(2, 300 * FRAMES), torch.tensor([0.9, 0.3])
    with torch.no_grad():
        awaken(network)
        noise = network(noisy, mel.repeat(2, 1, 1), level)[:, 0]
    return named("lmnt", network, {"mel": mel, "noisy": noisy, "level": level, "noise": noise})


def ivanvovk(signal: torch.Tensor) -> dict[str, torch.Tensor]:
    """Its network from a small configuration, and its mel."""
    from data import MelSpectrogramFixed
    from model.diffusion_process import WaveGrad

    process = WaveGrad(Settings({"model_config": IVANVOVK, "data_config": IVANVOVK_DATA}))
    process.set_new_noise_schedule()
    mel = MelSpectrogramFixed(**IVANVOVK_DATA)(signal)[..., :FRAMES]
    noisy, level = torch.randn(2, 30 * FRAMES), torch.tensor([0.99, 0.4])
    with torch.no_grad():
        awaken(process)
        noise = process.nn(mel.repeat(2, 1, 1), noisy, level[:, None])
    return named("ivanvovk", process, {"mel": mel, "noisy": noisy, "level": level, "noise": noise})


class Settings(dict):
    """Nested mapping with attributes, as both repositories want it."""

    def __getattr__(self, name: str) -> Any:
        value = self[name]
        return Settings(value) if isinstance(value, dict) else value


def awaken(network: nn.Module) -> None:
    """Give every parameter values that can be told apart."""
    for parameter in network.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))


def named(family: str, network: nn.Module, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """All tensors under the family's name."""
    state = {f"{family}.state.{key}": value.float().contiguous() for key, value in network.state_dict().items()}
    return state | {f"{family}.{key}": value.contiguous() for key, value in tensors.items()}


def main() -> None:
    """Write the files beside this script."""
    np.product = np.prod  # gone from newer versions
    sys.modules["matplotlib.pyplot"] = ModuleType("matplotlib.pyplot")
    sys.path[:0] = sys.argv[1:3]
    torch.manual_seed(0)
    signal = 0.3 * torch.sin(torch.arange(300 * FRAMES + 900) * 0.05)[None] + 0.02 * torch.randn(1, 300 * FRAMES + 900)
    made = {"signal": signal} | lmnt(signal) | ivanvovk(signal)
    metadata = {"ivanvovk": json.dumps({"model_config": IVANVOVK, "data_config": IVANVOVK_DATA})}
    save_file(made, Path(__file__).with_name("wavegrad.safetensors"), metadata)


if __name__ == "__main__":
    main()
