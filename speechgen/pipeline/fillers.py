"""Which filler of gaps a pipeline has."""

from __future__ import annotations

from speechgen.core import registry
from speechgen.core.errors import UserError
from speechgen.pipeline.carriers import Options
from speechgen.pipeline.gaps import GapFiller, TokenFiller
from speechgen.pipeline.latent_gaps import LatentFiller
from speechgen.pipeline.latent_stages import LatentStages
from speechgen.pipeline.pipeline import Pipeline
from speechgen.pipeline.stages import Plan
from speechgen.pipeline.token_stages import TokenStages

__all__ = ["can_fill", "filler_for", "usual_options"]

LIKELY = 0.3
"""Temperature of the tokens of new words: there is less room for variety in a sentence that is there already."""


def filler_for(pipeline: Pipeline, options: Options, language: str) -> GapFiller:
    """Return what fills gaps with the models of a pipeline.

    Raises:
        UserError: they cannot.
    """
    stages, phonemizer = pipeline.stages, pipeline.prepare(language)
    if isinstance(stages, TokenStages) and hasattr(stages.acoustic, "infill"):
        return TokenFiller(stages, options, phonemizer)
    if isinstance(stages, LatentStages) and hasattr(stages.text_to_latents, "infill"):
        return LatentFiller(stages, options, phonemizer)
    raise UserError("the models of this pipeline cannot fill a gap: choose another for editing")


def usual_options(pipeline: Pipeline) -> dict[str, float]:
    """What editing asks of the models of a pipeline, if neither its YAML nor the request says otherwise."""
    chosen = isinstance(pipeline.stages, TokenStages) and "temperature" not in pipeline.config.semantic
    return {"temperature": LIKELY} if chosen else {}


def can_fill(plan: Plan) -> bool:
    """Whether the models of a pipeline, which need not be loaded, can fill gaps and find words."""
    makers = [plan.infos[slot].model for slot in ("acoustic", "text_to_latents") if slot in plan.infos]
    return "tokenizer" in plan.infos and any(hasattr(registry.get(model).generator, "infill") for model in makers)
