"""Made vocos.safetensors: a small published Vocos with random weights, its features of a signal and its audio of a mel.

pip install --no-deps vocos==0.1.0     (beside torch, torchaudio, pyyaml and huggingface_hub)
python make_vocos.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import save_file

# Vocos imports EnCodec for features that are not used here.
sys.modules["encodec"] = ModuleType("encodec")
sys.modules["encodec"].EncodecModel = None

from vocos.feature_extractors import MelSpectrogramFeatures  # noqa: E402
from vocos.heads import ISTFTHead  # noqa: E402
from vocos.models import VocosBackbone  # noqa: E402
from vocos.pretrained import Vocos  # noqa: E402

BINS, WIDTH, N_FFT, HOP = 40, 16, 512, 128


def main() -> None:
    """Write the file beside this script."""
    torch.manual_seed(0)
    model = Vocos(
        MelSpectrogramFeatures(24000, N_FFT, HOP, BINS, padding="center"),
        VocosBackbone(BINS, WIDTH, 32, num_layers=2),
        ISTFTHead(WIDTH, N_FFT, HOP, padding="center"),
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # what starts at zero or one must be told apart as well
            parameter.add_(0.05 * torch.randn_like(parameter))
        signal = 0.3 * torch.sin(torch.arange(2000) * 0.05)[None] + 0.01 * torch.randn(1, 2000)
        features = model.feature_extractor(signal)
        mel = -4 + 2 * torch.randn(2, BINS, 9)
        audio = model.decode(mel)
    state = {f"state.{key}": value.contiguous() for key, value in model.state_dict().items()}
    made = {"signal": signal, "features": features, "mel": mel, "audio": audio}
    save_file(state | {key: value.contiguous() for key, value in made.items()}, Path(__file__).with_name("vocos.safetensors"))


if __name__ == "__main__":
    main()
