"""SampleRNN: recurrent tiers at several rates above a perceptron that draws each sample; its likelihood is exact.

config (sizes, presets) · model (network) · objective (truncated backpropagation) · generate (sampling, likelihood)
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.waveform.samplernn.config import SampleRnnConfig, SampleRnnObjectiveConfig
from speechgen.models.waveform.samplernn.generate import samplernn_generator
from speechgen.models.waveform.samplernn.model import SampleRnn
from speechgen.models.waveform.samplernn.objective import SampleRnnObjective
from speechgen.sampling.levels import SamplingOptions

SPEC = ModelSpec(
    role="waveform",
    accepts=("Waveform",),
    produces="Waveform",
    config=SampleRnnConfig,
    build=SampleRnn,
    objective_config=SampleRnnObjectiveConfig,
    objective=SampleRnnObjective,
    generator=samplernn_generator,
    options=SamplingOptions,
    paper="Mehri et al., SampleRNN: An Unconditional End-to-End Neural Audio Generation Model (ICLR 2017), arXiv:1612.07837",
)
