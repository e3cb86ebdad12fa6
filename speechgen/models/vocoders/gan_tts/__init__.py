"""GAN-TTS: a feed-forward generator trained by an ensemble of random window discriminators.

config (sizes) · model (generator) · objective (adversarial training) · generate (mel or linguistic features in, waveform out)
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.vocoders.gan_tts.config import GanTtsConfig, GanTtsObjectiveConfig, GanTtsOptions
from speechgen.models.vocoders.gan_tts.generate import GanTtsGenerator
from speechgen.models.vocoders.gan_tts.model import GanTts
from speechgen.models.vocoders.gan_tts.objective import GanTtsObjective

SPEC = ModelSpec(
    role="vocoders",
    accepts=("Mel",),
    produces="Waveform",
    config=GanTtsConfig,
    build=GanTts,
    objective_config=GanTtsObjectiveConfig,
    objective=GanTtsObjective,
    generator=GanTtsGenerator,
    options=GanTtsOptions,
    paper="Bińkowski et al., High fidelity speech synthesis with adversarial networks (ICLR 2020), arXiv:1909.11646",
)
