"""Dialogues: a script of turns, each spoken in its speaker's voice, joined with pauses.

# a comment
A: A line begins with its speaker and a colon.
   What follows without one, or is indented, belongs to it.
B: Like this?
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.random import mix
from speechgen.pipeline.alignment import Alignment
from speechgen.pipeline.longform import fade_edges
from speechgen.pipeline.silence import speech_span
from speechgen.service import catalog, voices
from speechgen.service.engine import Engine
from speechgen.service.requests import SynthesisRequest
from speechgen.service.results import SynthesisResult
from speechgen.text.normalize import speakable

__all__ = ["Dialogue", "SpokenTurn", "Turn", "choose_voice", "read_script", "speak_dialogue", "speakers_of"]

GAP_SECONDS = 0.35
MAX_GAP_SECONDS = 10.0
MARGIN_SECONDS = 0.05
"""Silence of its own that a turn keeps at each side, if the gap has room for it."""
_TURN = re.compile(r"([A-Za-z0-9_-]{1,64})[ \t]*:(?:[ \t]+|$)(.*)")


@dataclass(frozen=True)
class Turn:
    """What one speaker says at a time; `line` is where it begins in the script."""

    line: int
    speaker: str
    text: str


@dataclass(frozen=True)
class SpokenTurn:
    """When a turn is heard: seconds of its first and last sound."""

    line: int
    speaker: str
    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Dialogue:
    """The sound of a dialogue and its turns."""

    result: SynthesisResult
    turns: tuple[SpokenTurn, ...]


def choose_voice(given: str) -> dict[str, Any]:
    """Tell whether a speaker's voice is a name or a recording: fields of SynthesisRequest."""
    return {"voice": given} if re.fullmatch(catalog.VOICE_NAME, given) else {"ref": Path(given)}


def speakers_of(content: str) -> list[str]:
    """Return who speaks in a script, in the order of their first turns."""
    lines = (line.rstrip() for line in content.splitlines() if not line.strip().startswith("#"))
    return list(dict.fromkeys(match[1] for match in map(_TURN.fullmatch, lines) if match))


def read_script(content: str, speakers: Sequence[str], source: str = "the script") -> list[Turn]:
    """Return the turns of a script.

    Args:
        content: of the script.
        speakers: who has a voice.
        source: what to call it in messages.

    Raises:
        UserError: a speaker has no voice, text has no speaker, a turn has nothing to speak; names the line.
    """
    turns: list[Turn] = []
    for number, line in enumerate(content.splitlines(), 1):
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        match = _TURN.fullmatch(line.rstrip())
        if match:
            if match[1] not in speakers:
                raise UserError(
                    f"{source}, line {number}: unknown speaker {match[1]!r}: known: {', '.join(sorted(speakers)) or 'none'}; "
                    f"give --voice {match[1]}=voice.wav, or indent the line if it is no new turn"
                )
            turns.append(Turn(number, match[1], match[2].strip()))
        elif turns:
            last = turns[-1]
            turns[-1] = Turn(last.line, last.speaker, f"{last.text} {words}".strip())
        else:
            raise UserError(f"{source}, line {number}: nobody speaks it: begin with a speaker and a colon, such as A: Hello.")
    for turn in turns:
        if not speakable(turn.text):
            raise UserError(f"{source}, line {turn.line}: {turn.speaker} has nothing to say: give at least one letter or digit")
    if not turns:
        raise UserError(f"{source} holds no turns: write lines such as A: Hello.")
    return turns


def speak_dialogue(
    engine: Engine,
    turns: Sequence[Turn],
    speakers: Mapping[str, str],
    *,
    options: Mapping[str, Any],
    gap: float = GAP_SECONDS,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Dialogue:
    """Speak all turns, together where the pipeline can; each voice is encoded once.

    Args:
        engine: speaks.
        turns: from `read_script`.
        speakers: name of a voice, or path of a recording, by speaker.
        options: further fields of SynthesisRequest.
        gap: seconds of silence between two turns.
        seed: same seed, same samples; every turn draws its own randomness from it.
        progress: called with parts of 100 for every turn.

    Raises:
        UserError: something that was given cannot be used.
    """
    if not 0 <= gap <= MAX_GAP_SECONDS:
        raise UserError(f"a gap of {gap:g} s between turns is out of range: allowed: 0 to {MAX_GAP_SECONDS:g} s")
    seed = secrets.randbelow(2**31) if seed is None else seed
    requests = [
        SynthesisRequest.checked(
            {**options, "text": turn.text, "seed": mix(seed, "turn", index), **choose_voice(speakers[turn.speaker])}
        )
        for index, turn in enumerate(turns)
    ]
    for speaker in dict.fromkeys(turn.speaker for turn in turns):
        chosen = choose_voice(speakers[speaker])
        voices.read_source(chosen.get("ref"), chosen.get("voice"))  # refused before anything is loaded

    loading = time.perf_counter()
    pipeline = engine.load(requests[0].pipeline)
    loaded = time.perf_counter()
    results = engine.converse(requests, progress)
    apart = [f"there are too many voices for one generation of {requests[0].pipeline}: they are spoken turn by turn"]
    if results is not None or not pipeline.converses:
        apart = []
    results = results or _one_by_one(engine, requests, progress)
    joined, first = _join(turns, results, gap), results[0]
    result = SynthesisResult(
        samples=joined.samples,
        rate=first.rate,
        seed=seed,
        pipeline=first.pipeline,
        voice=", ".join(f"{name}={speakers[name]}" for name in dict.fromkeys(turn.speaker for turn in turns)),
        device=first.device,
        threads=first.threads,
        load_seconds=loaded - loading,
        synthesis_seconds=time.perf_counter() - loaded,
        pieces=tuple(piece for part in results for piece in part.pieces),
        warnings=tuple(dict.fromkeys(apart + [line for part in results for line in part.warnings])),
        provenance=re.sub(r"seed \d+$", f"seed {seed}", first.provenance),
        alignment=joined.alignment,
    )
    return Dialogue(result, joined.turns)


def _one_by_one(engine: Engine, requests: Sequence[SynthesisRequest], progress: Progress | None) -> list[SynthesisResult]:
    results = []
    for index, request in enumerate(requests):

        def report(done: int, total: int, base: int = 100 * index) -> None:
            if progress:
                progress(base + 100 * done // max(1, total), 100 * len(requests))

        results.append(engine.synthesize(request, report))
    return results


@dataclass(frozen=True)
class _Joined:
    """Samples [L] of all turns, when each is heard, and where its phones lie."""

    samples: Tensor
    turns: tuple[SpokenTurn, ...]
    alignment: tuple[Alignment, ...]


def _join(turns: Sequence[Turn], results: Sequence[SynthesisResult], gap: float) -> _Joined:
    """Trim every turn, so that `gap` seconds lie between the sound of two."""
    rate = results[0].rate
    margin = int(min(MARGIN_SECONDS, gap / 2) * rate)
    parts: list[Tensor] = []
    spoken: list[SpokenTurn] = []
    alignment: list[Alignment] = []
    place = 0
    for turn, result in zip(turns, results, strict=True):
        if parts:
            parts.append(torch.zeros(int(gap * rate) - 2 * margin))
            place += len(parts[-1])
        span = speech_span(result.samples, rate)
        start, stop = (span.start, span.stop) if span.stop else (0, len(result.samples))
        low = max(0, start - margin)
        part = fade_edges(result.samples[low : stop + margin], rate)
        part = functional.pad(part, (margin - (start - low), stop + margin - low - len(part)))
        begin = place + margin
        spoken.append(SpokenTurn(turn.line, turn.speaker, turn.text, begin / rate, (begin + stop - start) / rate))
        alignment += [replace(piece, start=piece.start + (begin - start) / rate) for piece in result.alignment]
        parts.append(part)
        place += len(part)
    return _Joined(torch.cat(parts), tuple(spoken), tuple(alignment))
