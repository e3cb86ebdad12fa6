"""Voices with a name: stored ones, and what a request's voice is read from.

A stored voice is one file, $SPEECHGEN_HOME/voices/<name>.safetensors:

    audio   int16 [L]      the recording, trimmed and levelled, for pipelines that encode it otherwise
    mel     float32 [T, M] and
    tokens  int32 [T']     the prompt as the pipeline saw it that the voice was added with; no tokens if it has none
    match   float32 [M + 2, M]   the VoiceMatch of that pipeline: heard, wanted and turn; none if it has none
    metadata "voice"       VoiceInfo as JSON: which pipeline, tokenizer and mel these belong to, and what the recording says

Where a pipeline sees a prompt in the same way, it speaks from mel and tokens without encoding anything again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from speechgen.audio.io import read_audio
from speechgen.core import checkpoint
from speechgen.core.config import StrictModel
from speechgen.core.errors import UserError, unknown
from speechgen.core.files import written_beside
from speechgen.core.types import Mel, MelSettings, SemanticTokens, Waveform
from speechgen.pipeline.carriers import Reference
from speechgen.pipeline.matching import VoiceMatch
from speechgen.pipeline.pipeline import Pipeline
from speechgen.pipeline.prompts import MAX_SECONDS, prepare_prompt
from speechgen.service import catalog

if TYPE_CHECKING:
    from speechgen.service.engine import Engine

__all__ = ["Source", "StoredVoice", "VoiceInfo", "add", "check_new", "encode", "read_source", "read_stored", "remove", "store"]

FORMAT = 1
LONGEST_SECONDS = 3600.0
"""Longer recordings are refused before they are decoded."""
LARGEST_BYTES = 32 * 2**20
"""Half a minute of audio, mel and tokens take a tenth of it."""


class VoiceInfo(StrictModel):
    """What a stored voice says of itself."""

    format: int = Field(FORMAT, ge=1, le=FORMAT, description="of the file")
    source: str = Field(description="name of the recording it was made from")
    seconds: float = Field(gt=0, description="length of the prompt")
    audio_seconds: float = Field(gt=0, description="length of the stored audio")
    rate: int = Field(ge=8000, le=192000, description="samples per second of the stored audio")
    pipeline: str = Field(description="what the prompt was encoded for")
    tokenizer: str | None = Field(None, description="fingerprint of the checkpoint that made the tokens")
    semantic: str | None = Field(None, description="fingerprint of the checkpoint whose tokens the match was fitted for")
    acoustic: str | None = Field(None, description="fingerprint of the checkpoint whose mel the match was fitted for")
    match_strength: float = Field(0.0, ge=0, le=1, description="of the match")
    token_rate: float = Field(1.0, gt=0, description="tokens per second")
    token_size: int = Field(1, gt=0, description="number of different tokens")
    transcript: str | None = Field(None, description="what the recording says, if that was told")
    mel: MelSettings = Field(description="definition of the mel")
    prompt_seconds: float = Field(gt=0, description="how much of a recording that pipeline uses")
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class StoredVoice:
    """A stored voice in memory."""

    info: VoiceInfo
    audio: Waveform
    reference: Reference


@dataclass(frozen=True)
class Source:
    """The voice of a request, read but not encoded.

    Attributes:
        label: what results call it.
        name: what messages call it.
        audio: the recording.
        stored: the stored voice, if it is one.
        transcript: what the recording says, if that is known of the voice.
        key: differs if the file does.
    """

    label: str
    name: str
    audio: Waveform
    stored: StoredVoice | None
    transcript: str | None
    key: tuple[str, int, int]


def read_source(ref: Path | None, voice_name: str | None) -> Source:
    """Read a recording, or the voice of that name, or the default voice.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    told = None
    if ref is not None:
        label, name, path = str(ref), str(ref), ref
    else:
        voice = catalog.find_voice(voice_name) if voice_name else catalog.default_voice()
        label, name, path, told = voice.name, f"voice {voice.name}", voice.path, voice.transcript
    stored = read_stored(path) if ref is None and path.suffix == catalog.STORED_SUFFIX else None
    audio = stored.audio if stored else read_audio(path, max_seconds=LONGEST_SECONDS)
    state = path.stat()
    told = stored.info.transcript if stored else told
    return Source(label, name, audio, stored, told, (str(path), state.st_mtime_ns, state.st_size))


def encode(source: Source, pipeline: Pipeline, transcript: str | None = None, language: str = "en-us") -> Reference:
    """Return the prompt of a voice, as stored if this pipeline would make it in the same way.

    Args:
        source: from `read_source`.
        pipeline: that will speak.
        transcript: what the recording says; otherwise what is known of the voice.
        language: of the transcript.

    Raises:
        UserError: the recording is silent or too short, or its text is needed and cannot be had.
    """
    stored = source.stored
    if stored is not None and _fits(stored, pipeline):
        known, device = stored.reference, pipeline.stages.device
        mel = Mel(known.mel.values.to(device), known.mel.lengths.to(device), known.mel.settings)
        match = None if known.match is None else known.match.to(device)
        return Reference(mel, known.seconds, known.warnings, tokens=known.needed_tokens.to(device), match=match)
    transcript = source.transcript if transcript is None else transcript
    return pipeline.reference(source.audio, source.name, transcript=transcript, language=language)


def _fits(voice: StoredVoice, pipeline: Pipeline) -> bool:
    """Whether the pipeline speaks from tokens, and would make the same."""
    info = voice.info
    same = (info.mel, info.prompt_seconds) == (pipeline.stages.mel, pipeline.config.prompt_seconds)
    names = pipeline.config.checkpoints
    speaks_from_tokens = names.semantic is not None and names.codec is None  # codes are not stored with a voice
    return same and speaks_from_tokens and all(getattr(info, key) == value for key, value in _made_by(pipeline).items())


def _made_by(pipeline: Pipeline) -> dict[str, str | float | None]:
    """What tokens and match of a voice depend on, by the fields of VoiceInfo."""
    names, strength = pipeline.config.checkpoints, pipeline.config.match

    def fingerprint(name: str | None) -> str | None:
        return None if name is None else checkpoint.fingerprint(catalog.find_checkpoint(name))

    return {
        "tokenizer": fingerprint(names.tokenizer),
        "semantic": fingerprint(names.semantic) if strength else None,
        "acoustic": fingerprint(names.acoustic) if strength else None,
        "match_strength": strength,
    }


def check_new(name: str, *, replace: bool = False) -> Path:
    """Return the file that a new voice will be stored in.

    Raises:
        UserError: the name is not allowed, or taken.
    """
    if not re.fullmatch(catalog.VOICE_NAME, name):
        raise UserError(f"{name!r} cannot be a voice's name: use 1 to 64 of the characters A-Z a-z 0-9 _ -")
    folder = catalog.home() / "voices"
    taken = catalog.voices().get(name)
    if taken is not None and not (replace and taken.stored):
        advice = "give --replace or another name" if taken.stored else "choose another name"
        raise UserError(f"there is a voice {name} already, {taken.path}: {advice}")
    path = folder / f"{name}{catalog.STORED_SUFFIX}"
    if path.is_symlink():
        raise UserError(f"{path} is a link: remove it, or choose another name")
    return path


def add(
    engine: Engine,
    name: str,
    ref: Path,
    pipeline: str = "default",
    *,
    transcript: str | None = None,
    replace: bool = False,
) -> VoiceInfo:
    """Encode a recording for a pipeline and store it under a name; the file appears whole or not at all.

    Args:
        engine: loads the pipeline.
        name: of the voice.
        ref: 1 to 30 seconds of one speaker.
        pipeline: name, or path of its YAML.
        transcript: what the recording says, if that is known: some pipelines read it.
        replace: a stored voice of this name may be overwritten.

    Raises:
        UserError: the name or the recording cannot be used, or the disk refuses.
    """
    check_new(name, replace=replace)
    recording = read_audio(ref, max_seconds=LONGEST_SECONDS)
    return store(engine, name, recording, str(ref), pipeline, transcript=transcript, replace=replace)


def store(
    engine: Engine,
    name: str,
    recording: Waveform,
    source: str,
    pipeline: str = "default",
    *,
    transcript: str | None = None,
    replace: bool = False,
) -> VoiceInfo:
    """Store a recording that is in memory; as `add`.

    Args:
        engine: loads the pipeline.
        name: of the voice.
        recording: 1 to 30 seconds of one speaker.
        source: name or path of the recording; the voice remembers its last part.
        pipeline: name, or path of its YAML.
        transcript: what the recording says, if that is known: some pipelines read it.
        replace: a stored voice of this name may be overwritten.

    Raises:
        UserError: the name or the recording cannot be used, or the disk refuses.
    """
    path = check_new(name, replace=replace)
    loaded = engine.load(pipeline)
    reference = loaded.reference(recording, source, transcript=transcript)
    mel = loaded.stages.mel
    audio = prepare_prompt(recording, rate=mel.sample_rate, prompt_seconds=MAX_SECONDS, name=source).audio
    info = VoiceInfo(
        source=Path(source).name,
        seconds=reference.seconds,
        audio_seconds=audio.seconds,
        rate=audio.rate,
        pipeline=pipeline,
        transcript=transcript,
        mel=mel,
        prompt_seconds=loaded.config.prompt_seconds,
        warnings=reference.warnings,
    )
    tensors = {
        "audio": (audio.samples[0] * 32767).round().to(torch.int16),
        "mel": reference.mel.values[0].float().cpu().contiguous(),
    }
    tokens = reference.tokens
    if tokens is not None:
        info = info.model_copy(update={**_made_by(loaded), "token_rate": tokens.rate, "token_size": tokens.size})
        tensors["tokens"] = tokens.ids[0].to(torch.int32).cpu().contiguous()
    if reference.match is not None:
        match = reference.match.to("cpu")
        tensors["match"] = torch.cat((match.heard[None], match.wanted[None], match.turn))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_beside(path) as beside:
            beside.write_bytes(serialize(tensors, {"voice": info.model_dump_json()}))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    return info


def remove(name: str) -> Path:
    """Delete a stored voice and return where it was.

    Raises:
        UserError: there is none of this name, or it is a recording and not a stored voice.
    """
    known = catalog.voices()
    stored = [voice for voice, found in known.items() if found.stored]
    if name not in known:
        raise unknown("stored voice", name, stored)
    path = known[name].path
    if not known[name].stored:
        raise UserError(
            f"voice {name} is the recording {path}, not a stored voice: stored voices are {', '.join(stored) or 'none'}"
        )
    try:
        path.unlink()
    except OSError as error:
        raise UserError(f"cannot remove {path}: {error.strerror}") from error
    return path


def read_stored(path: Path) -> StoredVoice:
    """Read a stored voice and check all that it holds.

    Raises:
        UserError: it is missing, damaged, or of a newer version.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise UserError(f"{path} is larger than any stored voice: remove it and add the voice again")
        with safe_open(path, framework="pt") as file:
            info = VoiceInfo.model_validate_json((file.metadata() or {}).get("voice", ""))
            needed = ("audio", "mel", *(["tokens"] if info.tokenizer else []))
            tensors = {name: file.get_tensor(name) for name in (*needed, *({"match"} & set(file.keys())))}
        return _join(info, tensors)
    except (OSError, SafetensorError, ValidationError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} is not a stored voice of this version ({reason}): remove it and add the voice again"
        ) from error


def _join(info: VoiceInfo, tensors: dict[str, Tensor]) -> StoredVoice:
    wanted = {"audio": (torch.int16, 1), "mel": (torch.float32, 2), "tokens": (torch.int32, 1), "match": (torch.float32, 2)}
    for name, tensor in tensors.items():
        dtype, dims = wanted[name]
        if tensor.dtype != dtype or tensor.dim() != dims or not tensor.numel():
            raise ValueError(f"{name} is {tensor.dtype} {list(tensor.shape)}")
    audio, mel, tokens = tensors["audio"], tensors["mel"], tensors.get("tokens")
    if mel.shape[1] != info.mel.num_bins or not bool(mel.isfinite().all()):
        raise ValueError("the mel has other bins than it says, or values that are not finite")
    said = None
    if tokens is not None:
        if int(tokens.min()) < 0 or int(tokens.max()) >= info.token_size:
            raise ValueError("tokens are out of range")
        said = SemanticTokens(tokens[None].long(), torch.tensor([len(tokens)]), info.token_rate, info.token_size)
    match = tensors.get("match")
    if match is not None and (match.shape != (info.mel.num_bins + 2, info.mel.num_bins) or not bool(match.isfinite().all())):
        raise ValueError("the match has other bins than the mel, or values that are not finite")
    seen = Mel(mel[None], torch.tensor([len(mel)]), info.mel)
    moved = None if match is None else VoiceMatch(match[0], match[1], match[2:])
    reference = Reference(seen, info.seconds, info.warnings, tokens=said, match=moved)
    return StoredVoice(info, Waveform.single(audio.float() / 32767, info.rate), reference)
