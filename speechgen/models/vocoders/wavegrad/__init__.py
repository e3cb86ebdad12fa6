"""WaveGrad: a mel vocoder that takes noise away step by step; how many steps is decided when it speaks.

config (sizes, presets, options) · model (network) · objective (L1 on the noise) · generate (mel in, waveform out)
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.vocoders.wavegrad.config import WaveGradConfig, WaveGradObjectiveConfig, WaveGradOptions
from speechgen.models.vocoders.wavegrad.generate import WaveGradGenerator
from speechgen.models.vocoders.wavegrad.model import WaveGrad
from speechgen.models.vocoders.wavegrad.objective import WaveGradObjective

SPEC = ModelSpec(
    role="vocoders",
    accepts=("Mel",),
    produces="Waveform",
    config=WaveGradConfig,
    build=WaveGrad,
    objective_config=WaveGradObjectiveConfig,
    objective=WaveGradObjective,
    generator=WaveGradGenerator,
    options=WaveGradOptions,
    paper="Chen et al., WaveGrad: Estimating Gradients for Waveform Generation (ICLR 2021), arXiv:2009.00713",
)
