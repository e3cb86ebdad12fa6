"""The published E2 TTS or F5-TTS in an environment of its own, timed on demand: `python published_e2.py FAMILY FRAMES FOLDER`.

Runs where `f5_tts` is installed and speechgen is not, so that it imports nothing of speechgen. It builds the network at its
published size with random weights, writes these, the inputs and what comes out to FOLDER, and then evaluates once, both
branches of guidance in one batch as the published sampler does, for each line of standard input that names a precision.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save_file

SYMBOLS, BINS = 2545, 100
SIZES: dict[str, dict[str, Any]] = {
    "e2tts-base": {"depth": 24, "ff_mult": 4, "text_mask_padding": False, "pe_attn_head": 1},
    "f5tts-base": {
        "depth": 22, "ff_mult": 2, "text_dim": 512, "conv_layers": 4, "text_mask_padding": False, "pe_attn_head": 1
    },
    "f5tts-v1-base": {"depth": 22, "ff_mult": 2, "text_dim": 512, "conv_layers": 4},
}  # fmt: skip


def build(family: str) -> torch.nn.Module:
    """Return the network with random weights, none of them zero."""
    # Beside the models lie the trainer and its data sets, whose packages are not needed here.
    for name in ("f5_tts.model.trainer", "f5_tts.model.dataset"):
        sys.modules[name] = ModuleType(name)
    sys.modules["f5_tts.model.trainer"].Trainer = None  # type: ignore[attr-defined]
    from f5_tts.model.backbones.dit import DiT  # type: ignore[import-not-found]
    from f5_tts.model.backbones.unett import UNetT  # type: ignore[import-not-found]

    kind = UNetT if family.startswith("e2") else DiT
    torch.manual_seed(0)
    network: torch.nn.Module = kind(
        dim=1024, heads=16, dim_head=64, text_num_embeds=SYMBOLS, mel_dim=BINS, **SIZES[family]
    ).eval()
    for parameter in network.parameters():
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    return network


def _answer(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Write weights and inputs, say so, and answer each precision with the seconds of one evaluation."""
    family, frames, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    network = build(family)
    state = {f"ema_model.transformer.{key}": value.contiguous() for key, value in network.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    inputs = {
        "x": torch.randn(1, frames, BINS),
        "cond": torch.randn(1, frames, BINS) * (torch.arange(frames) < frames // 3)[None, :, None],
        "text": torch.randint(0, SYMBOLS, (1, max(1, frames // 6))),
        "time": torch.tensor([0.3]),
    }
    save_file({name: value.contiguous() for name, value in inputs.items()}, folder / "inputs.safetensors")
    _answer({"version": version("f5-tts"), "torch": torch.__version__})
    networks = {"float32": network}
    for line in sys.stdin:
        precision = line.strip()
        if precision not in networks:
            networks[precision] = build(family).to(getattr(torch, precision))
        chosen, dtype = networks[precision], getattr(torch, precision)
        given = {name: value if name == "text" else value.to(dtype) for name, value in inputs.items()}
        with torch.inference_mode():
            started = time.perf_counter()
            made = chosen(**given, cfg_infer=True, cache=True)
            seconds = time.perf_counter() - started
        save_file({"made": made.float().contiguous()}, folder / f"{precision}.safetensors")
        _answer({"seconds": seconds})


if __name__ == "__main__":
    main()
