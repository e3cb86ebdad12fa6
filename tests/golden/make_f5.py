"""Made f5.safetensors: E2 TTS, F5-TTS and F5-TTS v1 as published, small and with random weights.

pip install --no-deps f5-tts==1.1.22
pip install torch torchaudio x-transformers ema-pytorch torchdiffeq einops librosa rjieba pypinyin safetensors
python make_f5.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import save_file

# The trainer and its data sets are imported beside the models, but not used here.
for name in ("f5_tts.model.trainer", "f5_tts.model.dataset"):
    sys.modules[name] = ModuleType(name)
sys.modules["f5_tts.model.trainer"].Trainer = None

from f5_tts.model.backbones.dit import DiT  # noqa: E402
from f5_tts.model.backbones.unett import UNetT  # noqa: E402
from f5_tts.model.cfm import CFM  # noqa: E402
from f5_tts.model.modules import MelSpec  # noqa: E402

BINS, WIDTH, HEADS, DEPTH, SYMBOLS = 20, 32, 2, 2, 11
SIZES = {"dim": WIDTH, "depth": DEPTH, "heads": HEADS, "dim_head": WIDTH // HEADS, "text_num_embeds": SYMBOLS, "mel_dim": BINS}
FAMILIES = {
    "e2": lambda: UNetT(**SIZES, ff_mult=4, text_mask_padding=False, pe_attn_head=1),
    "f5": lambda: DiT(**SIZES, ff_mult=2, text_dim=8, conv_layers=2, text_mask_padding=False, pe_attn_head=1),
    "f5_v1": lambda: DiT(**SIZES, ff_mult=2, text_dim=8, conv_layers=2),
}


@torch.no_grad()
def main() -> None:
    """Write the file beside this script."""
    torch.manual_seed(0)
    frames, prompt = 23, 9
    signal = 0.3 * torch.sin(torch.arange(4000) * 0.05)[None] + 0.01 * torch.randn(1, 4000)
    made = {
        "signal": signal,
        "mel": MelSpec()(signal).transpose(1, 2),
        "noisy": torch.randn(1, frames, BINS),
        "visible": torch.cat((torch.randn(1, prompt, BINS), torch.zeros(1, frames - prompt, BINS)), dim=1),
        "text": torch.tensor([[3, 0, 10, 4, 4, 9, 1]]),
        "t": torch.tensor([0.3]),
    }
    for family, build in FAMILIES.items():
        model = CFM(build().eval(), mel_spec_module=MelSpec(n_mel_channels=BINS))
        for parameter in model.parameters():  # what starts at zero or one must be told apart as well
            parameter.add_(0.05 * torch.randn_like(parameter))
        asked = {"x": made["noisy"], "cond": made["visible"], "text": made["text"], "time": made["t"]}
        for dropped in (False, True):
            velocity = model.transformer(**asked, drop_audio_cond=dropped, drop_text=dropped)
            made[f"{family}.{'unconditional' if dropped else 'conditional'}"] = velocity
        wanted = {"steps": 4, "cfg_strength": 2.0, "sway_sampling_coef": -1.0, "seed": 5}
        made[f"{family}.sample"] = model.sample(made["visible"][:, :prompt], made["text"], frames, **wanted)[0]
        made |= {f"{family}.state.{key}": value for key, value in model.state_dict().items()}
    save_file({key: value.contiguous() for key, value in made.items()}, Path(__file__).with_name("f5.safetensors"))


if __name__ == "__main__":
    main()
