"""Token transducer: phonemes and a reference to semantic tokens with hard monotonic alignment (RNN-T).

config · model (text encoder, predictor, reference encoder, joint) · objective (RNN-T loss) · generate (decoding)
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.semantic.token_transducer.config import (
    TransducerConfig,
    TransducerObjectiveConfig,
    TransducerOptions,
)
from speechgen.models.semantic.token_transducer.generate import TransducerGenerator
from speechgen.models.semantic.token_transducer.model import TokenTransducer
from speechgen.models.semantic.token_transducer.objective import TransducerObjective

SPEC = ModelSpec(
    role="semantic",
    accepts=("Text", "Mel"),
    produces="SemanticTokens",
    config=TransducerConfig,
    build=TokenTransducer,
    objective_config=TransducerObjectiveConfig,
    objective=TransducerObjective,
    generator=TransducerGenerator,
    options=TransducerOptions,
    paper="Kim et al., Transduce and Speak (2023), arXiv:2311.02898; Kim et al. (2024), arXiv:2401.01498",
)
