"""Made sashimi.safetensors: a small published SaShiMi with random weights, plain and as a U-Net, and its logits.

git clone https://github.com/state-spaces/s4 && git -C s4 checkout e757cef
pip install einops scipy                (beside torch and safetensors)
python make_sashimi.py s4
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import save_file

# Imported for a decorator of the log alone.
for name in ("pytorch_lightning", "pytorch_lightning.utilities"):
    sys.modules[name] = ModuleType(name)
sys.modules["pytorch_lightning.utilities"].rank_zero_only = lambda function: function
sys.path.insert(0, sys.argv[1])

from models.sashimi.sashimi import Sashimi  # noqa: E402

WIDTH, LENGTH = 8, 64
VARIANTS = {"plain": {"unet": False, "final_act": "glu"}, "unet": {"unet": True, "final_act": "glu"}}


def main() -> None:
    """Write the file beside this script."""
    torch.manual_seed(0)
    levels = torch.randint(256, (2, LENGTH))
    made = {"levels": levels}
    for name, options in VARIANTS.items():
        backbone = Sashimi(d_model=WIDTH, n_layers=1, pool=[4, 2], n_ssm=1, **options).eval()
        encoder, decoder = torch.nn.Embedding(256, WIDTH), torch.nn.Linear(WIDTH, 256)
        with torch.no_grad():
            for key, parameter in backbone.named_parameters():  # what starts at zero or one must be told apart as well
                parameter.add_((0.02 if "kernel" in key else 0.1) * torch.randn_like(parameter))
            before = torch.nn.functional.pad(levels[:, :-1], (1, 0), value=128)
            made[f"{name}.logits"] = decoder(backbone(encoder(before))[0])
        # The first pass has replaced C by its truncated form and written its length: as in a trained model.
        state = {f"model.{key}": value for key, value in backbone.state_dict().items()}
        state |= {f"encoder.0.{key}": value for key, value in encoder.state_dict().items()}
        state |= {f"decoder.0.output_transform.{key}": value for key, value in decoder.state_dict().items()}
        made |= {f"{name}.state.{key}": value.contiguous() for key, value in state.items()}
    save_file({key: value.contiguous() for key, value in made.items()}, Path(__file__).with_name("sashimi.safetensors"))


if __name__ == "__main__":
    main()
