"""What requests and answers look like. Names and meaning are OpenAI's; what is ours says so."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from speechgen.service.requests import LONGEST_MUSIC, MusicRequest, SynthesisRequest

__all__ = [
    "BODIES", "CHARACTERS", "ErrorEnvelope", "Health", "Model", "ModelList", "MusicBody", "Removed", "SpeechRequest",
    "Voice", "VoiceList", "VoiceName",
]  # fmt: skip

CHARACTERS = 4096
"""As in OpenAI's interface."""


Format = Literal["mp3", "opus", "flac", "wav", "pcm"]


def _described(name: str, request: type[BaseModel] = SynthesisRequest) -> str:
    return request.model_fields[name].description or ""


class Strict(BaseModel):
    """No unknown keys, no numbers as text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class VoiceName(Strict):
    """A voice as an object, as OpenAI has it for stored voices."""

    id: str = Field(max_length=200, description="name of a voice")


class SpeechRequest(Strict):
    """POST /v1/audio/speech."""

    input: str = Field(min_length=1, max_length=CHARACTERS, description="what to say")
    model: str = Field("", max_length=200, description="name of a pipeline, from /v1/models; the server's default if empty")
    voice: Annotated[str, Field(max_length=200)] | VoiceName | None = Field(
        None, description="name of a voice, from /v1/audio/voices; otherwise the default voice"
    )
    response_format: Format = Field("mp3", description="pcm: 16 bits, mono, little-endian, at the rate that a header tells")
    speed: float | None = Field(None, ge=0.5, le=2.0, description=_described("speed"))
    duration: float | None = Field(None, gt=0, le=3600, description="ours: " + _described("duration"))
    stream_format: Literal["audio", "sse"] = Field("audio", description="sse: events that carry the sound in base64")
    instructions: str | None = Field(
        None, max_length=CHARACTERS, description="accepted, but no pipeline follows it: a warning in the answer says so"
    )
    stream: bool = Field(
        True, description="ours: send sound while it is made; false: the whole, checked and with its length in the header"
    )
    seed: int | None = Field(None, ge=0, lt=2**63, description="ours: " + _described("seed"))
    language: str = Field("en-us", min_length=2, max_length=40, description="ours: " + _described("language"))
    temperature: float | None = Field(None, ge=0.0, le=2.0, description="ours: " + _described("temperature"))
    pitch: float | None = Field(None, ge=-12.0, le=12.0, description="ours: " + _described("pitch"))
    steps: int | None = Field(None, ge=1, le=128, description="ours: " + _described("steps"))
    guidance: float | None = Field(None, ge=0.0, le=10.0, description="ours: " + _described("guidance"))
    candidates: int = Field(1, ge=1, le=16, description="ours: " + _described("candidates"))

    def to_service(self, pipeline: str) -> dict[str, Any]:
        """The same as content of a SynthesisRequest."""
        same = {"speed", "duration", "seed", "language", "temperature", "pitch", "steps", "guidance", "candidates"}
        voice = self.voice.id if isinstance(self.voice, VoiceName) else self.voice
        return {"text": self.input, "voice": voice, "pipeline": pipeline, **self.model_dump(include=same)}


class MusicBody(Strict):
    """POST /v1/audio/music; ours, in the manner of the other. What is empty or too long is refused by the service."""

    prompt: str = Field(max_length=CHARACTERS, description=_described("prompt", MusicRequest))
    duration: float = Field(10.0, gt=0, le=LONGEST_MUSIC, description=_described("duration", MusicRequest))
    model: str | None = Field(None, max_length=200, description="name of a model of music; the first one that is installed")
    response_format: Format = Field("mp3", description=SpeechRequest.model_fields["response_format"].description)
    overlap: float | None = Field(None, gt=0, le=LONGEST_MUSIC, description=_described("overlap", MusicRequest))
    steps: int | None = Field(None, ge=1, le=200, description=_described("steps", MusicRequest))
    guidance: float | None = Field(None, ge=0.0, le=30.0, description=_described("guidance", MusicRequest))
    temperature: float | None = Field(None, ge=0.0, le=10.0, description=_described("temperature", MusicRequest))
    seed: int | None = Field(None, ge=0, lt=2**63, description=_described("seed", MusicRequest))


BODIES: dict[str, type[Strict]] = {"/v1/audio/speech": SpeechRequest, "/v1/audio/music": MusicBody}
"""What each path is sent as JSON."""


class Fault(BaseModel):
    """One refusal."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorEnvelope(BaseModel):
    """What every refusal looks like."""

    error: Fault


class Model(BaseModel):
    """A pipeline."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "speechgen"


class ModelList(BaseModel):
    """GET /v1/models."""

    object: Literal["list"] = "list"
    data: list[Model]


class Voice(BaseModel):
    """A voice."""

    id: str
    object: Literal["audio.voice"] = "audio.voice"
    name: str
    created_at: int
    kind: Literal["stored", "recording"] = Field(description="only stored voices can be removed or replaced")
    seconds: float | None = Field(None, description="length of the prompt, of a voice that was stored now")
    warnings: list[str] = []


class VoiceList(BaseModel):
    """GET /v1/audio/voices."""

    object: Literal["list"] = "list"
    data: list[Voice]
    has_more: bool = False


class Removed(BaseModel):
    """DELETE /v1/audio/voices/{name}."""

    id: str
    object: Literal["audio.voice.deleted"] = "audio.voice.deleted"
    deleted: bool = True


class Health(BaseModel):
    """GET /health."""

    status: Literal["ok"] = "ok"
    version: str
    device: str
    running: int = Field(description="jobs that are being done")
    waiting: int = Field(description="jobs that wait")
    capacity: int = Field(description="jobs that may wait")
