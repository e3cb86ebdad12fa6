"""Voices with a name: stored ones, and what a request's voice is read from.

A stored voice is one file, $SPEECHGEN_HOME/voices/<name>.safetensors:

    audio   int16 [L]      the recording, trimmed and levelled, for pipelines that encode it otherwise
    mel     float32 [T, M]   the prompt as the pipeline saw it that the voice was added with; and what else its models read:
    tokens  int32 [T']       semantic tokens
    codes   int32 [Q, T']    a codec's, with their scales float32 [N] if it has such
    symbols int32 [S]        phonemes of what it says
    match   float32 [M + 2, M]   VoiceMatch: heard, wanted and turn
    metadata "voice"       VoiceInfo as JSON: which pipeline and models these belong to, and what the recording says

Where a pipeline sees a prompt in the same way, it speaks from these without encoding anything again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from speechgen.audio.io import read_audio
from speechgen.core import checkpoint
from speechgen.core.config import StrictModel
from speechgen.core.errors import UserError, unknown
from speechgen.core.files import written_beside
from speechgen.core.types import CodecTokens, Mel, MelSettings, SemanticTokens, Waveform
from speechgen.pipeline.carriers import Reference
from speechgen.pipeline.matching import VoiceMatch
from speechgen.pipeline.pipeline import Pipeline
from speechgen.pipeline.prompts import MAX_SECONDS, prepare_prompt
from speechgen.service import catalog
from speechgen.text.vocabulary import ENGLISH

if TYPE_CHECKING:
    from speechgen.service.engine import Engine

__all__ = ["Source", "StoredVoice", "VoiceInfo", "add", "check_new", "encode", "read_source", "read_stored", "remove", "store"]

FORMAT = 2
LANGUAGE = "en-us"
"""Of what stored voices say."""
TENSORS = {
    "audio": (torch.int16, 1),
    "mel": (torch.float32, 2),
    "tokens": (torch.int32, 1),
    "codes": (torch.int32, 2),
    "scales": (torch.float32, 1),
    "symbols": (torch.int32, 1),
    "match": (torch.float32, 2),
}
"""Type and number of dimensions of what a file may hold."""
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
    made_by: dict[str, str] = Field({}, description="fingerprints of the checkpoints that the prompt was encoded by and for")
    match_strength: float = Field(0.0, ge=0, le=1, description="of the match")
    token_rate: float = Field(1.0, gt=0, description="tokens per second")
    token_size: int = Field(1, gt=0, description="number of different tokens")
    code_rate: float = Field(1.0, gt=0, description="codes of a codebook per second")
    code_size: int = Field(1, gt=0, description="number of different codes")
    codec: str | None = Field(None, description="identity of the codec whose codes there are")
    read_as: str | None = Field(None, description="what the recording says, as the pipeline reads or heard it")
    pace: float | None = Field(None, gt=0, description="phones a second, if that is known")
    transcript: str | None = Field(None, description="what the recording says, if that was told")
    mel: MelSettings = Field(description="definition of the mel")
    prompt_seconds: float = Field(gt=0, description="how much of a recording that pipeline uses")
    holds: frozenset[str] = Field(frozenset({"audio", "mel"}), description="tensors of the file")
    warnings: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _older(cls, told: Any) -> Any:
        """Of a voice of format 1 the recording is used; who made its tokens was told another way."""
        if isinstance(told, dict) and told.get("format") == 1:
            return {name: value for name, value in told.items() if name not in ("tokenizer", "semantic", "acoustic")}
        return told


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


def encode(source: Source, pipeline: Pipeline, transcript: str | None = None, language: str = LANGUAGE) -> Reference:
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
    transcript = source.transcript if transcript is None else transcript
    if stored is not None and _fits(stored.info, pipeline, transcript, language):
        return stored.reference.to(pipeline.stages.device)
    return pipeline.reference(source.audio, source.name, transcript=transcript, language=language)


def _fits(info: VoiceInfo, pipeline: Pipeline, transcript: str | None, language: str) -> bool:
    """Whether the pipeline would make of the recording what is stored."""
    if pipeline.stages.reads_transcripts and (transcript, language) != (info.transcript, LANGUAGE):
        return False
    return info.model_copy(update=_seen_by(pipeline)) == info


def _seen_by(pipeline: Pipeline) -> dict[str, Any]:
    """What a prompt depends on beside the recording, by the fields of VoiceInfo."""
    config = pipeline.config
    # The match is fitted to mels; the vocoder renders what they become.
    slots = {slot: name for slot, name in config.checkpoints.slots.items() if slot != "vocoder"}
    return {
        "made_by": {slot: checkpoint.fingerprint(catalog.find_checkpoint(name)) for slot, name in slots.items()},
        "match_strength": config.match,
        "mel": pipeline.stages.mel,
        "prompt_seconds": config.prompt_seconds,
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
        read_as=reference.transcript,
        pace=reference.pace,
        warnings=reference.warnings,
        **_seen_by(loaded),
    )
    about, tensors = _packed(reference.to("cpu"))
    tensors["audio"] = (audio.samples[0] * 32767).round().to(torch.int16)
    info = info.model_copy(update={**about, "holds": frozenset(tensors)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_beside(path) as beside:
            beside.write_bytes(
                serialize({name: value.contiguous() for name, value in tensors.items()}, {"voice": info.model_dump_json()})
            )
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    return info


def _packed(reference: Reference) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The tensors of a prompt on the CPU, and what VoiceInfo says of them."""
    about: dict[str, Any] = {}
    tensors = {"mel": reference.mel.values[0].float()}
    tokens, codes, match = reference.tokens, reference.codes, reference.match
    if tokens is not None:
        about |= {"token_rate": tokens.rate, "token_size": tokens.size}
        tensors["tokens"] = tokens.ids[0].to(torch.int32)
    if codes is not None:
        about |= {"code_rate": codes.rate, "code_size": codes.size, "codec": codes.codec}
        tensors["codes"] = codes.ids[0].to(torch.int32)
        if codes.scales is not None:
            tensors["scales"] = codes.scales[0].float()
    if reference.symbols is not None:
        tensors["symbols"] = reference.symbols.to(torch.int32)
    if match is not None:
        tensors["match"] = torch.cat((match.heard[None], match.wanted[None], match.turn))
    return about, tensors


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
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
        return _join(info, tensors)
    except (OSError, SafetensorError, ValidationError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} is not a stored voice of this version ({reason}): remove it and add the voice again"
        ) from error


def _join(info: VoiceInfo, tensors: dict[str, Tensor]) -> StoredVoice:
    """Build the voice from what its file holds.

    Raises:
        ValueError: a tensor is missing, of another type or shape than it should be, out of range or not finite.
    """
    if strange := (info.holds - tensors.keys()) | (tensors.keys() - TENSORS.keys()):
        raise ValueError(f"{', '.join(sorted(strange))} is missing or unknown")
    for name, tensor in tensors.items():
        dtype, dims = TENSORS[name]
        if tensor.dtype != dtype or tensor.dim() != dims or not tensor.numel():
            raise ValueError(f"{name} is {tensor.dtype} {list(tensor.shape)}")
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} has values that are not finite")
    mel, bins = tensors["mel"], info.mel.num_bins
    if mel.shape[1] != bins or ("match" in tensors and tensors["match"].shape != (bins + 2, bins)):
        raise ValueError("mel or match have other bins than the mel's settings")
    for name, size in (("tokens", info.token_size), ("codes", info.code_size), ("symbols", len(ENGLISH))):
        if name in tensors and not 0 <= int(tensors[name].min()) <= int(tensors[name].max()) < size:
            raise ValueError(f"{name} are out of range")
    reference = Reference(
        Mel(mel[None], torch.tensor([len(mel)]), info.mel),
        info.seconds,
        info.warnings,
        tokens=_tokens(info, tensors),
        transcript=info.read_as,
        match=VoiceMatch(match[0], match[1], match[2:]) if (match := tensors.get("match")) is not None else None,
        symbols=tensors["symbols"].long() if "symbols" in tensors else None,
        pace=info.pace,
        codes=_codes(info, tensors),
    )
    return StoredVoice(info, Waveform.single(tensors["audio"].float() / 32767, info.rate), reference)


def _tokens(info: VoiceInfo, tensors: dict[str, Tensor]) -> SemanticTokens | None:
    if "tokens" not in tensors:
        return None
    ids = tensors["tokens"][None].long()
    return SemanticTokens(ids, torch.tensor([ids.shape[1]]), info.token_rate, info.token_size)


def _codes(info: VoiceInfo, tensors: dict[str, Tensor]) -> CodecTokens | None:
    if "codes" not in tensors or info.codec is None:
        return None
    ids, scales = tensors["codes"][None].long(), tensors.get("scales")
    scales = None if scales is None else scales[None]
    return CodecTokens(ids, torch.tensor([ids.shape[2]]), info.code_rate, info.code_size, info.codec, scales)
