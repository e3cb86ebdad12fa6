"""E2 TTS, token-conditioned: flow matching fills in a masked span of mel, given the rest and frame-aligned tokens.

config · model (U-Net transformer, a velocity field) · objective (masked flow matching) · generate (prompt infilling)
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.acoustic.e2_tts.config import E2Config, E2ObjectiveConfig, E2Options
from speechgen.models.acoustic.e2_tts.generate import E2Generator
from speechgen.models.acoustic.e2_tts.model import E2TTS
from speechgen.models.acoustic.e2_tts.objective import E2Objective

SPEC = ModelSpec(
    role="acoustic",
    accepts=("SemanticTokens", "Mel"),
    produces="Mel",
    config=E2Config,
    build=E2TTS,
    objective_config=E2ObjectiveConfig,
    objective=E2Objective,
    generator=E2Generator,
    options=E2Options,
    paper="Eskimez et al., E2 TTS: Embarrassingly easy fully non-autoregressive zero-shot TTS (2024), arXiv:2406.18009",
)
