"""DiffWave with SaShiMi's backbone as a mel vocoder: it takes noise away step by step, told by the mel's frames at every rate.

config (sizes, presets, options) · model (network) · objective (squared error of the noise) · generate (mel in, waveform out)
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.vocoders.diffwave_mel.config import DiffWaveMelConfig, DiffWaveMelObjectiveConfig, DiffWaveMelOptions
from speechgen.models.vocoders.diffwave_mel.generate import DiffWaveMelGenerator
from speechgen.models.vocoders.diffwave_mel.model import DiffWaveMel
from speechgen.models.vocoders.diffwave_mel.objective import DiffWaveMelObjective

SPEC = ModelSpec(
    role="vocoders",
    accepts=("Mel",),
    produces="Waveform",
    config=DiffWaveMelConfig,
    build=DiffWaveMel,
    objective_config=DiffWaveMelObjectiveConfig,
    objective=DiffWaveMelObjective,
    generator=DiffWaveMelGenerator,
    options=DiffWaveMelOptions,
    paper="Kong et al., DiffWave (ICLR 2021), arXiv:2009.09761, with the backbone of Goel et al. (ICML 2022), arXiv:2202.09729",
)
