"""DiffWave with SaShiMi's backbone: a whole waveform out of noise, in as many steps as are asked for; no likelihood.

config (sizes, presets, options) · model (network) · objective (squared error of the noise) · generate (sampling)
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.waveform.diffwave.config import DiffWaveConfig, DiffWaveObjectiveConfig, DiffWaveOptions
from speechgen.models.waveform.diffwave.generate import DiffWaveGenerator
from speechgen.models.waveform.diffwave.model import DiffWave
from speechgen.models.waveform.diffwave.objective import DiffWaveObjective

SPEC = ModelSpec(
    role="waveform",
    accepts=("Waveform",),
    produces="Waveform",
    config=DiffWaveConfig,
    build=DiffWave,
    objective_config=DiffWaveObjectiveConfig,
    objective=DiffWaveObjective,
    generator=DiffWaveGenerator,
    options=DiffWaveOptions,
    paper="Goel et al., It's Raw! Audio Generation with State-Space Models (ICML 2022), arXiv:2202.09729, section 5.3",
)
