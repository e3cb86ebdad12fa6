"""SaShiMi: sample by sample with state spaces, trained in parallel; its likelihood is exact and its memory has no end.

config (sizes, presets) · model (network) · objective (bits per sample) · generate (sampling, likelihood)
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.waveform.sashimi.config import SashimiConfig, SashimiObjectiveConfig
from speechgen.models.waveform.sashimi.generate import sashimi_generator
from speechgen.models.waveform.sashimi.model import Sashimi
from speechgen.models.waveform.sashimi.objective import SashimiObjective
from speechgen.sampling.levels import SamplingOptions

SPEC = ModelSpec(
    role="waveform",
    accepts=("Waveform",),
    produces="Waveform",
    config=SashimiConfig,
    build=Sashimi,
    objective_config=SashimiObjectiveConfig,
    objective=SashimiObjective,
    generator=sashimi_generator,
    options=SamplingOptions,
    paper="Goel et al., It's Raw! Audio Generation with State-Space Models (ICML 2022), arXiv:2202.09729",
)
