"""Semantic tokens: k-means on a middle layer of a self-supervised or phoneme-supervised encoder.

config · model (encoder, CTC head, centroids) · objective (frame labels or CTC) · generate (waveform in, tokens out)
The bundled encoder is a small conformer trained here; any wav2vec 2.0 / HuBERT / WavLM of `transformers` takes its place.
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.tokenizers.wav2vec2_kmeans.config import TokenizerConfig, TokenizerObjectiveConfig, TokenizerOptions
from speechgen.models.tokenizers.wav2vec2_kmeans.generate import KMeansTokenizer
from speechgen.models.tokenizers.wav2vec2_kmeans.model import build
from speechgen.models.tokenizers.wav2vec2_kmeans.objective import TokenizerObjective

SPEC = ModelSpec(
    role="tokenizers",
    accepts=("Waveform",),
    produces="SemanticTokens",
    config=TokenizerConfig,
    build=build,
    objective_config=TokenizerObjectiveConfig,
    objective=TokenizerObjective,
    generator=KMeansTokenizer,
    options=TokenizerOptions,
    paper="Baevski et al., wav2vec 2.0 (2020); Lakhotia et al., Generative spoken language modeling (2021), section 3.1",
)
