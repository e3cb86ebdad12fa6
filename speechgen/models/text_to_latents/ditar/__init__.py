"""DiTAR: a causal language model over patches of latents, and a small diffusion transformer that makes the next patch.

config · model (patch encoder, language model, LocDiT) · objective (velocity, stop, tokens) · generate (patch by patch)
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.text_to_latents.ditar.config import DiTARConfig, DiTARObjectiveConfig, DiTAROptions
from speechgen.models.text_to_latents.ditar.generate import DiTARGenerator
from speechgen.models.text_to_latents.ditar.model import DiTAR
from speechgen.models.text_to_latents.ditar.objective import DiTARObjective

SPEC = ModelSpec(
    role="text_to_latents",
    accepts=("Text", "Latents"),
    produces="Latents",
    config=DiTARConfig,
    build=DiTAR,
    objective_config=DiTARObjectiveConfig,
    objective=DiTARObjective,
    generator=DiTARGenerator,
    options=DiTAROptions,
    paper="Jia et al., DiTAR: Diffusion transformer autoregressive modeling for speech generation (2025), arXiv:2502.03930",
)
