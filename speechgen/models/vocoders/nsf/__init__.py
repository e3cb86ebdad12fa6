"""NSF: neural source-filter vocoders. Sines that follow the pitch and noise are shaped by dilated convolutions.

config (sizes, the papers' presets) · model (network) · objective (spectral and adversarial training) · generate (mel in,
waveform out; the pitch can be moved)
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.vocoders.nsf.config import NSFConfig, NSFObjectiveConfig, NSFOptions
from speechgen.models.vocoders.nsf.generate import NSFGenerator
from speechgen.models.vocoders.nsf.model import NSF
from speechgen.models.vocoders.nsf.objective import NSFObjective

SPEC = ModelSpec(
    role="vocoders",
    accepts=("Mel",),
    produces="Waveform",
    config=NSFConfig,
    build=NSF,
    objective_config=NSFObjectiveConfig,
    objective=NSFObjective,
    generator=NSFGenerator,
    options=NSFOptions,
    paper=(
        "Wang, Takaki and Yamagishi, Neural source-filter waveform models for statistical parametric speech synthesis "
        "(2020), arXiv:1904.12088; Wang and Yamagishi, Neural harmonic-plus-noise waveform model with trainable maximum "
        "voice frequency (2019), arXiv:1908.10256"
    ),
)
