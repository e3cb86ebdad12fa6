"""ARDiT: one diffusion transformer that makes latents block by block, of exactly the length that is asked for.

config · model (packed sequence, block mask) · objective (flow matching, distillation to one step) · generate (speak, fill in)
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.text_to_latents.ardit.config import ARDiTConfig, ARDiTObjectiveConfig, ARDiTOptions
from speechgen.models.text_to_latents.ardit.generate import ARDiTGenerator
from speechgen.models.text_to_latents.ardit.model import ARDiT
from speechgen.models.text_to_latents.ardit.objective import build_objective

SPEC = ModelSpec(
    role="text_to_latents",
    accepts=("Text", "Latents"),
    produces="Latents",
    config=ARDiTConfig,
    build=ARDiT,
    objective_config=ARDiTObjectiveConfig,
    objective=build_objective,
    generator=ARDiTGenerator,
    options=ARDiTOptions,
    paper="Liu et al., Autoregressive diffusion transformer for text-to-speech synthesis (2024), arXiv:2406.05551",
)
