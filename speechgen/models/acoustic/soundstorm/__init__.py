"""SoundStorm: semantic tokens and a prompt's codes to codes, codebook by codebook, each in a few parallel passes.

config · model (conformer over summed embeddings) · objective (masked codes of one level) · generate (masked decoding)
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.acoustic.soundstorm.config import SoundStormConfig, SoundStormObjectiveConfig, SoundStormOptions
from speechgen.models.acoustic.soundstorm.generate import SoundStormGenerator
from speechgen.models.acoustic.soundstorm.model import SoundStorm
from speechgen.models.acoustic.soundstorm.objective import SoundStormObjective

SPEC = ModelSpec(
    role="acoustic",
    accepts=("SemanticTokens", "CodecTokens"),
    produces="CodecTokens",
    config=SoundStormConfig,
    build=SoundStorm,
    objective_config=SoundStormObjectiveConfig,
    objective=SoundStormObjective,
    generator=SoundStormGenerator,
    options=SoundStormOptions,
    paper="Borsos et al., SoundStorm: Efficient parallel audio generation (2023), arXiv:2305.09636",
)
