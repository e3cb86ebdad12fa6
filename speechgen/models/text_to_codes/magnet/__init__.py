"""MAGNeT: a description to codes of music or sound, codebook by codebook, each in a few parallel passes over masked spans.

config · model (decoder that attends to words) · objective (masked spans of a level) · generate (masked decoding, rescoring)
"""

from speechgen.core.spec import ModelSpec
from speechgen.models.text_to_codes.magnet.config import MAGNeTConfig, MAGNeTObjectiveConfig, MAGNeTOptions
from speechgen.models.text_to_codes.magnet.generate import MAGNeTGenerator
from speechgen.models.text_to_codes.magnet.model import MAGNeT
from speechgen.models.text_to_codes.magnet.objective import MAGNeTObjective

SPEC = ModelSpec(
    role="text_to_codes",
    accepts=("Text",),
    produces="CodecTokens",
    config=MAGNeTConfig,
    build=MAGNeT,
    objective_config=MAGNeTObjectiveConfig,
    objective=MAGNeTObjective,
    generator=MAGNeTGenerator,
    options=MAGNeTOptions,
    paper="Ziv et al., Masked audio generation using a single non-autoregressive transformer (2024), arXiv:2401.04577",
)
