"""Vocos: a mel vocoder that predicts the STFT of the waveform frame by frame and inverts it once.

config (sizes) · model (network) · objective (adversarial and spectral training) · generate (mel in, waveform out)
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.vocoders.vocos.config import VocosConfig, VocosObjectiveConfig, VocosOptions
from speechgen.models.vocoders.vocos.generate import VocosGenerator
from speechgen.models.vocoders.vocos.model import Vocos
from speechgen.models.vocoders.vocos.objective import VocosObjective

SPEC = ModelSpec(
    role="vocoders",
    accepts=("Mel",),
    produces="Waveform",
    config=VocosConfig,
    build=Vocos,
    objective_config=VocosObjectiveConfig,
    objective=VocosObjective,
    generator=VocosGenerator,
    options=VocosOptions,
    paper="Siuzdak, Vocos: Closing the gap between time-domain and Fourier-based neural vocoders (2023), arXiv:2306.00814",
)
