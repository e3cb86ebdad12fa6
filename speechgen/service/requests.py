"""What can be asked of the engine. Out of range is refused here, before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from speechgen.core.config import StrictModel, validate
from speechgen.core.errors import UserError

__all__ = ["LONGEST_MUSIC", "LONGEST_PROMPT", "MusicRequest", "SynthesisRequest"]

LONGEST_PROMPT = 1000
"""Characters of a description of music. A model may read less of it (text/captions): then the result has a warning."""
LONGEST_MUSIC = 600.0
"""Seconds."""


class SynthesisRequest(StrictModel):
    """One text to speak. What is None is left to the pipeline."""

    text: str = Field(description="what to say, of any length")
    ref: Path | None = Field(None, description="recording of the voice, 1 to 30 seconds")
    ref_text: str | None = Field(None, description="what the recording says, for pipelines that read it")
    voice: str | None = Field(None, description="name of an example or a stored voice, unless there is a recording")
    tempo_ref: Path | None = Field(None, description="another recording, to take pace and manner from")
    pipeline: str = Field("default", description="name of the pipeline that speaks")
    language: str = Field("en-us", min_length=2, description="espeak-ng's code of the text's language, such as en-us")
    speed: float | None = Field(None, ge=0.5, le=2.0, description="tempo; 1 is the reference's own")
    duration: float | None = Field(
        None, gt=0, le=3600, description="seconds that all of it shall last, with the pauses written in it"
    )
    steps: int | None = Field(None, ge=1, le=128, description="integration steps: more is slower and cleaner")
    guidance: float | None = Field(None, ge=0.0, le=10.0, description="how strongly tokens and voice are followed")
    temperature: float | None = Field(None, ge=0.0, le=2.0, description="0: the likeliest reading; 1: as varied as people")
    pitch: float | None = Field(
        None,
        ge=-12.0,
        le=12.0,
        description="semitones to move the voice by; formants stay where NSF renders, as in the default, else they move",
    )
    candidates: int = Field(1, ge=1, le=16, description="how often to speak each piece; the clearest is kept")
    seed: int | None = Field(None, ge=0, lt=2**63, description="same seed, same bytes; chosen at random if not given")

    @classmethod
    def checked(cls, content: dict[str, Any]) -> SynthesisRequest:
        """Validate plain values.

        Raises:
            UserError: a value is out of range, both ref and voice are given, or there is no text.
        """
        request = validate(cls, content, "request")
        if request.ref is not None and request.voice is not None:
            raise UserError("both a reference and a voice are given: choose one")
        if not request.text.strip():
            raise UserError("the text is empty: give at least one word")
        return request

    def model_options(self) -> dict[str, Any]:
        """What the request asks of the models, by the names of their options."""
        names = ("speed", "temperature", "steps", "guidance")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class MusicRequest(StrictModel):
    """Something to be heard that is not speech. What is None is left to the model."""

    prompt: str = Field(description="what is to be heard, in a sentence")
    duration: float = Field(10.0, gt=0, le=LONGEST_MUSIC, description="seconds of it")
    model: str | None = Field(None, description="checkpoint that makes it; the first one that is installed if not given")
    overlap: float | None = Field(
        None, gt=0, le=LONGEST_MUSIC, description="seconds that each window of a long piece takes over from the one before"
    )
    steps: int | None = Field(None, ge=1, le=200, description="refinement steps of the first codebook")
    guidance: float | None = Field(None, ge=0.0, le=30.0, description="how strongly the description is followed")
    temperature: float | None = Field(None, ge=0.0, le=10.0, description="how far the likeliest sound may be left")
    options: dict[str, Any] = Field({}, description="other options of the model, by name")
    seed: int | None = Field(None, ge=0, lt=2**63, description="same seed, same bytes; chosen at random if not given")

    @classmethod
    def checked(cls, content: dict[str, Any]) -> MusicRequest:
        """Validate plain values.

        Raises:
            UserError: a value is out of range, or the prompt is empty or too long.
        """
        request = validate(cls, content, "request")
        if not any(letter.isalnum() for letter in request.prompt):
            raise UserError("the prompt is empty: say what is to be heard, such as 'a slow piano melody in D minor'")
        if len(request.prompt) > LONGEST_PROMPT:
            raise UserError(f"the prompt has {len(request.prompt)} characters: give {LONGEST_PROMPT} at most")
        return request

    def model_options(self) -> dict[str, Any]:
        """What the request asks of the model, by the names of its options."""
        names = ("temperature", "steps", "guidance")
        return self.options | {name: value for name in names if (value := getattr(self, name)) is not None}
