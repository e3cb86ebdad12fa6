"""`soundstorm-pytorch` in an environment of its own, timed on demand: `python published_soundstorm.py SIZES`.

Runs where that is installed and speechgen is not, so that it imports nothing of speechgen. SIZES is JSON: of the network as in
ours, with frames and steps. It builds the network with random weights and makes all codes once for each line of standard input.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from types import ModuleType
from typing import Any

import torch


def build(sizes: dict[str, int]) -> Any:
    """Return the network, of one residual stream as in the paper, with random weights."""
    # Codecs, text models and training lie beside it; their packages are not needed here.
    for name, classes in {
        "spear_tts_pytorch": ("TextToSemantic",),
        "audiolm_pytorch": ("SoundStream", "HubertWithKmeans", "FairseqVQWav2Vec"),
        "soundstorm_pytorch.trainer": ("SoundStormTrainer",),
    }.items():
        sys.modules[name] = ModuleType(name)
        for each in classes:
            setattr(sys.modules[name], each, type(each, (torch.nn.Module,), {}))
    from soundstorm_pytorch import ConformerWrapper, SoundStorm  # type: ignore[import-not-found]

    torch.manual_seed(0)
    conformer = {
        "dim": sizes["width"],
        "depth": sizes["depth"],
        "heads": sizes["num_heads"],
        "dim_head": sizes["width"] // sizes["num_heads"],
        "ff_mult": sizes["ff_multiple"],
        "conv_kernel_size": sizes["kernel"],
        "conv_expansion_factor": 1,  # as wide as ours; its own is 2
        "num_residual_streams": 1,
    }
    wrapped = ConformerWrapper(codebook_size=sizes["codebook_size"], num_quantizers=sizes["num_codebooks"], conformer=conformer)
    rates = {"target_sample_hz": 24000, "downsample_factor": 512}  # it takes semantic tokens only if it is told theirs
    network = SoundStorm(
        wrapped,
        steps=sizes["steps"],
        num_semantic_token_ids=sizes["num_tokens"],
        **{f"{kind}_{name}": value for kind in ("wav2vec", "codec") for name, value in rates.items()},
    )
    return network.eval()


def _answer(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Say what it is, and answer each line with the seconds of one generation and the evaluations that took."""
    sizes = json.loads(sys.argv[1])
    network = build(sizes)
    passes: list[int] = []
    network.net.register_forward_hook(lambda *_: passes.append(1))
    parameters = sum(value.numel() for value in network.net.conformer.parameters())
    _answer({"version": version("soundstorm-pytorch"), "torch": torch.__version__, "trunk": parameters})
    said = torch.randint(sizes["num_tokens"], (1, sizes["frames"]))
    for line in sys.stdin:
        passes.clear()
        precise = line.strip() == "float32"
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=not precise):
            started, worked = time.perf_counter(), time.process_time()
            network.generate(cond_semantic_token_ids=said)
        _answer({"seconds": time.perf_counter() - started, "cpu": time.process_time() - worked, "passes": len(passes)})


if __name__ == "__main__":
    main()
