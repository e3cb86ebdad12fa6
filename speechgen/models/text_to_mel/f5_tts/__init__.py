"""E2 TTS and F5-TTS: flow matching fills in a masked span of mel, given the rest and all of the text as characters.

config · model (U-Net transformer or DiT, a velocity field) · objective (masked flow matching) · generate (prompt infilling)
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.text_to_mel.f5_tts.config import F5Config, F5ObjectiveConfig, F5Options
from speechgen.models.text_to_mel.f5_tts.generate import F5Generator
from speechgen.models.text_to_mel.f5_tts.model import F5TTS
from speechgen.models.text_to_mel.f5_tts.objective import F5Objective

SPEC = ModelSpec(
    role="text_to_mel",
    accepts=("Text", "Mel"),
    produces="Mel",
    config=F5Config,
    build=F5TTS,
    objective_config=F5ObjectiveConfig,
    objective=F5Objective,
    generator=F5Generator,
    options=F5Options,
    paper="Chen et al., F5-TTS (2024), arXiv:2410.06885; Eskimez et al., E2 TTS (2024), arXiv:2406.18009",
)
