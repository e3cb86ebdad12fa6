"""Which filler of gaps a pipeline has."""

from __future__ import annotations

from speechgen.core.errors import UserError
from speechgen.pipeline.carriers import Options
from speechgen.pipeline.gaps import GapFiller, TokenFiller
from speechgen.pipeline.latent_gaps import LatentFiller
from speechgen.pipeline.latent_stages import LatentStages
from speechgen.pipeline.pipeline import Pipeline
from speechgen.pipeline.token_stages import TokenStages

__all__ = ["filler_for", "filling_stages"]


def filler_for(pipeline: Pipeline, options: Options, language: str) -> GapFiller:
    """Return what fills gaps with the models of a pipeline.

    Raises:
        UserError: they cannot.
    """
    stages, phonemizer = filling_stages(pipeline), pipeline.prepare(language)
    if isinstance(stages, TokenStages):
        return TokenFiller(stages, options, phonemizer)
    return LatentFiller(stages, options, phonemizer)


def filling_stages(pipeline: Pipeline) -> TokenStages | LatentStages:
    """Return the stages of a pipeline that can fill gaps.

    Raises:
        UserError: they cannot.
    """
    stages = pipeline.stages
    if isinstance(stages, TokenStages) and hasattr(stages.acoustic, "infill"):
        return stages
    if isinstance(stages, LatentStages) and hasattr(stages.text_to_latents, "infill"):
        return stages
    raise UserError("the models of this pipeline cannot fill a gap: choose another --pipeline for editing")
