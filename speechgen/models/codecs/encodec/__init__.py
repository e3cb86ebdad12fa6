"""EnCodec: a convolutional encoder, a residual quantiser and a decoder that are trained together. Causal, so that it streams.

config (sizes, the published presets) · model (network) · objective (balanced spectral and adversarial training) ·
generate (audio to codes and back, whole or in chunks)
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.codecs.encodec.config import EncodecConfig, EncodecObjectiveConfig, EncodecOptions
from speechgen.models.codecs.encodec.generate import EncodecGenerator
from speechgen.models.codecs.encodec.model import Encodec
from speechgen.models.codecs.encodec.objective import EncodecObjective

SPEC = ModelSpec(
    role="codecs",
    accepts=("Waveform", "CodecTokens"),
    produces="Waveform",
    config=EncodecConfig,
    build=Encodec,
    objective_config=EncodecObjectiveConfig,
    objective=EncodecObjective,
    generator=EncodecGenerator,
    options=EncodecOptions,
    paper="Défossez, Copet, Synnaeve and Adi, High fidelity neural audio compression (2022), arXiv:2210.13438",
)
