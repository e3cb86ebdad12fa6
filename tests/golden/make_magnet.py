"""Made magnet.safetensors: MAGNeT as published, small and with random weights; its logits, and codes chosen without sampling.

git clone https://github.com/facebookresearch/audiocraft
pip install torch einops numpy transformers safetensors
PYTHONPATH=audiocraft python make_magnet.py

What the model does not compute with (training, audio, other conditioners) is replaced by empty modules: audiocraft's own
requirements do not install any more.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import torch
import transformers.models.t5.modeling_t5  # noqa: F401  looks at what is installed: before that is replaced
from safetensors.torch import save_file
from torch import nn
from transformers import RobertaTokenizer, T5EncoderModel, T5Tokenizer  # noqa: F401  likewise

ROOT = Path(next(path for path in sys.path if (Path(path) / "audiocraft" / "models" / "lm_magnet.py").is_file())) / "audiocraft"
for package in ("", ".models", ".modules", ".utils", ".data"):
    sys.modules[f"audiocraft{package}"] = ModuleType(f"audiocraft{package}")
    sys.modules[f"audiocraft{package}"].__path__ = [str(ROOT / package.strip("."))]
UNUSED = ("flashy", "flashy.distrib", "num2words", "spacy", "omegaconf", "xformers", "xformers.ops", "xformers.profiler")
INSIDE = (
    "modules.chroma",
    "data.audio",
    "data.audio_dataset",
    "data.audio_utils",
    "environment",
    "quantization",
    "utils.cache",
)
for name in (*UNUSED, *(f"audiocraft.{inside}" for inside in INSIDE)):
    sys.modules[name] = MagicMock()
sys.modules["xformers"].ops.unbind = torch.unbind
sys.modules["xformers.profiler"].profiler._Profiler._CURRENT_PROFILER = None

from audiocraft.models.lm_magnet import MagnetLMModel  # noqa: E402
from audiocraft.modules.conditioners import ConditioningAttributes  # noqa: E402

BOOKS, SIZE, WIDTH, HEADS, DEPTH, FRAMES, WORDS, T5 = 3, 12, 32, 2, 2, 24, 5, 20
STEPS = [5, 3, 2]


class Provider(nn.Module):
    """The description's hidden vectors, projected; padding and the empty description become zeros."""

    def __init__(self, hidden: torch.Tensor, mask: torch.Tensor) -> None:
        super().__init__()
        self.conditioners = nn.ModuleDict({"description": nn.ModuleDict({"output_proj": nn.Linear(T5, WIDTH)})})
        self.hidden, self.mask = hidden, mask

    def tokenize(self, conditions: object) -> None:
        """Nothing."""

    def forward(self, tokenized: object) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """The condition and the empty one."""
        embedded = self.conditioners["description"]["output_proj"](self.hidden) * self.mask[..., None]
        return {"description": (embedded, self.mask)}


class Fuser:
    """Descriptions are attended to; as in audiocraft, their mask is not."""

    fuse2cond = {"prepend": []}

    def __call__(self, x: torch.Tensor, conditions: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, ...]:
        """The input and what it attends to."""
        return x, conditions["description"][0]


@torch.no_grad()
def main() -> None:
    """Write the file beside this script."""
    torch.manual_seed(0)
    hidden = torch.randn(2, WORDS, T5)
    mask = torch.tensor([[1, 1, 1, 1, 0], [0, 0, 0, 0, 0]])
    model = MagnetLMModel(
        subcodes_context=5, compression_model_framerate=FRAMES, segment_duration=1, span_len=3,
        pattern_provider=None, condition_provider=Provider(hidden, mask), fuser=Fuser(), n_q=BOOKS, card=SIZE, dim=WIDTH,
        num_heads=HEADS, hidden_scale=4, norm="layer_norm", norm_first=True, bias_proj=False, causal=False, custom=True,
        num_layers=DEPTH, dropout=0.0, activation="gelu", bias_ff=False, bias_attn=False, cross_attention=True,
        device=torch.device("cpu"), dtype=torch.float32,
    ).eval()  # fmt: skip
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    codes = torch.randint(SIZE + 1, (2, BOOKS, FRAMES))
    made = {"hidden": hidden, "mask": mask, "codes": codes}
    conditions = model.condition_provider(None)
    for stage in range(BOOKS):
        made[f"logits.{stage}"] = model(codes, [], conditions, stage=stage)[:, stage]
    asked = {"conditions": [ConditioningAttributes(text={"description": "a"})], "max_gen_len": FRAMES, "decoding_steps": STEPS}
    for scoring in ("max", "prod"):
        for arrangement in ("nonoverlap", "stride1"):
            chosen = model.generate(
                **asked, use_sampling=False, top_k=0, top_p=0.0, temp=3.0, max_cfg_coef=10.0, min_cfg_coef=1.0,
                span_scoring=scoring, span_arrangement=arrangement,
            )  # fmt: skip
            made[f"chosen.{scoring}.{arrangement}"] = chosen
    made |= {f"state.{key}": value for key, value in model.state_dict().items()}
    save_file({key: value.contiguous() for key, value in made.items()}, Path(__file__).with_name("magnet.safetensors"))


if __name__ == "__main__":
    main()
