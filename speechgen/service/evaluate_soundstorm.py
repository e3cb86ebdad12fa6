"""How well codes of speech are made from real semantic tokens: words, voice, passes and time, beside what the codec allows.

Every utterance of a prepared folder is spoken again from its own tokens, behind the first seconds of another utterance of its
speaker, or of one reference for all. The codec's copy of its own codes is what no model of codes can exceed.
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from speechgen.audio.io import read_audio, write_audio
from speechgen.core import checkpoint
from speechgen.core.checkpoint import CheckpointInfo
from speechgen.core.config import StrictModel, apply_overrides, validate
from speechgen.core.errors import UserError
from speechgen.core.files import folder_name
from speechgen.core.protocols import AcousticCodesModel, Codec, Progress, SemanticTokenizer
from speechgen.core.random import generator
from speechgen.core.types import CodecTokens, SemanticTokens, Waveform
from speechgen.evaluation.intelligibility import dictionary_words, error_rate_by_speaker, recognisable
from speechgen.evaluation.speaker import SpeakerSimilarity
from speechgen.nn.packed import Precision, hasten
from speechgen.pipeline.codec_stages import decode_behind
from speechgen.pipeline.prompts import prepare_prompt
from speechgen.service import catalog
from speechgen.service.codecs import codec_of
from speechgen.service.prepared import RATE, Clip, features_of, read_clips
from speechgen.service.vocoders import split_name

__all__ = ["SoundStormReport", "SpokenCodes", "measure_soundstorm"]

PROMPT_SECONDS = 3.0
LEAST_SECONDS = 1.0
"""Shorter utterances are passed over."""
LONG_SECONDS = 30.0
PRECISION: Precision = "bfloat16"
"""As in the pipeline that speaks through codes."""
ROUNDS = 3
"""How often the long generation is timed, if it takes few passes."""
FEW_PASSES = 300
RECORDINGS, COPY = "recordings", "codec"


@dataclass(frozen=True)
class SpokenCodes:
    """Figures of one way to have the utterances spoken.

    Attributes:
        wer: word errors over words.
        sim: mean similarity to the whole recording that the prompt is of.
        passes: evaluations of the network for an utterance; None where there is none.
        seconds: to make the codes of LONG_SECONDS in one generation, median.
        cpu_seconds: the same, of the processor.
    """

    wer: float
    sim: float
    passes: int | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None


@dataclass(frozen=True)
class SoundStormReport:
    """Figures by way: the recordings, the codec's copies, and each model."""

    ways: dict[str, SpokenCodes]
    settings: str

    def table(self) -> str:
        """Return a Markdown table with the settings below."""
        rows = [f"| from real tokens | WER | SIM | passes | s for {LONG_SECONDS:g} s | CPU s |", "|---|--:|--:|--:|--:|--:|"]
        for name, one in self.ways.items():
            times = ("–" if value is None else f"{value:.2f}" for value in (one.seconds, one.cpu_seconds))
            passes = "–" if one.passes is None else one.passes
            rows.append(f"| {name} | {one.wer:.4f} | {one.sim:.4f} | {passes} | {' | '.join(times)} |")
        return "\n".join((*rows, "", self.settings))

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)


@dataclass(frozen=True)
class _Spoken:
    """Something spoken as a model sees it."""

    tokens: SemanticTokens
    codes: CodecTokens

    def first(self, seconds: float) -> _Spoken:
        """Its beginning."""
        tokens = self.tokens.ids[:, : round(seconds * self.tokens.rate)]
        codes = self.codes.ids[:, :, : round(seconds * self.codes.rate)]
        return _Spoken(
            replace(self.tokens, ids=tokens, lengths=torch.tensor([tokens.shape[1]])),
            replace(self.codes, ids=codes, lengths=torch.tensor([codes.shape[2]])),
        )


@dataclass(frozen=True)
class _Case:
    """An utterance, what its voice is taken from, and how that voice sounds."""

    clip: Clip
    spoken: _Spoken
    prompt: _Spoken
    voice: Waveform


@dataclass(frozen=True)
class _Model:
    """What makes codes, with its options."""

    speaker: AcousticCodesModel
    options: StrictModel
    codec: Codec
    codebooks: int

    def speak(self, case: _Case, tokens: SemanticTokens, seed: int) -> tuple[CodecTokens, int]:
        """Return the codes of tokens, and how many passes that took."""
        told = [0]

        def count(done: int, of: int) -> None:
            told[0] = of

        prompt, rng = case.prompt, generator(seed, "acoustic", 0)
        made = self.speaker.generate(tokens, prompt.codes, prompt.tokens, options=self.options, rng=rng, progress=count)
        return made, told[0]


@torch.inference_mode()
def measure_soundstorm(
    names: Sequence[str],
    data: Path,
    *,
    codec: str | None = None,
    reference: Path | None = None,
    limit: int = 0,
    seed: int = 0,
    save_to: Path | None = None,
    progress: Progress | None = None,
) -> SoundStormReport:
    """Speak the utterances of a prepared folder from their tokens by each model, and measure.

    Args:
        names: checkpoints, options behind a colon (`service.vocoders.split_name`), such as NAME:steps=4; without any, all that
            are installed.
        data: prepared with the tokens and codes that the models were trained on; its texts are to be English.
        codec: name of the codec, where it is not installed.
        reference: recording whose voice speaks everything.
        limit: utterances at most, one of each speaker before a second; 0: all.
        seed: of everything that is drawn.
        save_to: keep the clips as `<way>/<utterance>.wav` in this folder.
        progress: told after each utterance and after each timed generation.

    Raises:
        UserError: something is not installed, does not fit together, or no speaker has two utterances.
    """
    chosen = list(dict.fromkeys(names)) or [name for name in catalog.of_role("acoustic") if _makes_codes(name)]
    if not chosen:
        raise UserError("no model of codes is installed: name a checkpoint's folder by --model")
    models = {name: _load(name, codec) for name in chosen}
    if len({tuple(sorted(_info(name).uses.items())) for name in chosen}) > 1:
        raise UserError(f"{', '.join(chosen)} were trained with different tokens or codes: measure them one at a time")
    cases = _cases(data, chosen[0], models[chosen[0]].codec, reference)[: limit or None]
    listener = _Listener(cases, save_to)
    total, done = len(chosen) * (len(cases) + 1), itertools.count(1)
    books = max(model.codebooks for model in models.values())
    ways = {
        RECORDINGS: listener(RECORDINGS, [case.clip.audio for case in cases]),
        COPY: listener(COPY, [_copied(case, models[chosen[0]].codec, books) for case in cases]),
    }
    for name, model in models.items():
        heard, passes = [], 0
        for case in cases:
            made, passes = model.speak(case, case.spoken.tokens, seed)
            heard.append(Waveform.single(decode_behind(model.codec, case.prompt.codes, made), model.codec.sample_rate))
            if progress:
                progress(next(done), total)
        seconds, cpu = _timed(model, cases, seed, passes)
        ways[name] = replace(listener(name, heard), passes=passes, seconds=seconds, cpu_seconds=cpu)
        if progress:
            progress(next(done), total)
    voice = f"{PROMPT_SECONDS:g} s of " + (reference.name if reference else "another utterance of the speaker")
    return SoundStormReport(
        ways,
        f"{len(cases)} utterances of {data.name}, prompts: {voice}, seed {seed}; codec {models[chosen[0]].codec.identity}, "
        f"{books} codebooks; {PRECISION}, {torch.get_num_threads()} threads; WER: trigram over the {len(cases)} texts",
    )


def _makes_codes(name: str) -> bool:
    return _info(name).produces == "CodecTokens"


def _info(name: str) -> CheckpointInfo:
    """Of a checkpoint, whatever options are behind its name."""
    return checkpoint.read_info(catalog.find_checkpoint(split_name(name)[0]))


def _load(name: str, codec: str | None) -> _Model:
    base, changes = split_name(name)
    info = _info(name)
    if info.accepts != ("SemanticTokens", "CodecTokens"):
        raise UserError(f"{base} holds {info.model}, which makes no codes of semantic tokens: give a SoundStorm's checkpoint")
    loaded = checkpoint.load(catalog.find_checkpoint(base))
    hasten(loaded.network, PRECISION, torch.device("cpu"))
    options = validate(loaded.spec.options, apply_overrides({}, changes), f"options of {name}")
    return _Model(loaded.generator(), options, codec_of(info, base, name=codec), loaded.config.num_codebooks)


def _cases(data: Path, name: str, codec: Codec, reference: Path | None) -> list[_Case]:
    """Utterances whose words the recogniser knows, one of each speaker before a second.

    Raises:
        UserError: the folder lacks a feature, or there is no such utterance.
    """
    info = _info(name)
    wanted = info.uses.get("tokens", "")
    tokens = features_of(data, "tokens", "tokenizer", wanted)
    codes = features_of(data, "codes", "codec", codec.identity)
    rate, size = float(info.config["token_rate"]), int(info.config["num_tokens"])

    def spoken(clip: Clip) -> _Spoken:
        said = torch.from_numpy(tokens.get(clip.id).astype("int64"))[None]  # [1, T]
        ids = torch.from_numpy(codes.get(clip.id).astype("int64")).T[None]  # [1, Q, T]
        counts = torch.tensor([said.shape[1]]), torch.tensor([ids.shape[2]])
        return _Spoken(
            SemanticTokens(said, counts[0], rate, size), CodecTokens(ids, counts[1], codec.rate, codec.size, codec.identity)
        )

    def another(clips: Sequence[Clip], turn: int) -> tuple[_Spoken, Waveform] | None:
        behind = [*clips[turn + 1 :], *clips[:turn]]
        long = [clip for clip in behind if len(clip.samples) >= PROMPT_SECONDS * RATE] or behind
        return (spoken(long[0]).first(PROMPT_SECONDS), long[0].audio) if long else None

    words = dictionary_words()
    by_speaker: dict[str, list[Clip]] = defaultdict(list)
    for clip in read_clips(data):
        if clip.id in tokens and clip.id in codes and len(clip.samples) >= LEAST_SECONDS * RATE:
            by_speaker[clip.speaker or clip.id].append(clip)
    given = None if reference is None else _from_recording(reference, wanted, codec)
    ranked: list[tuple[int, _Case]] = []
    for clips in by_speaker.values():
        for turn, clip in enumerate(clips):
            prompt = given or another(clips, turn)
            if prompt and not clip.doubtful and recognisable(clip.text, words):
                ranked.append((turn, _Case(clip, spoken(clip), *prompt)))
    if not ranked:
        raise UserError(f"no speaker of {data} has two utterances with English words: give another folder, or --ref")
    return [case for _, case in sorted(ranked, key=lambda entry: entry[0])]


def _from_recording(path: Path, wanted: str, codec: Codec) -> tuple[_Spoken, Waveform]:
    """A reference, tokenised by the tokenizer with this fingerprint."""
    audio = read_audio(path)
    prompt = prepare_prompt(audio, rate=codec.sample_rate, prompt_seconds=PROMPT_SECONDS, name=path.name).audio
    folders = [catalog.find_checkpoint(name) for name in catalog.of_role("tokenizers")]
    fitting = [folder for folder in folders if checkpoint.fingerprint(folder) == wanted]
    if not fitting:
        raise UserError(f"the tokenizer {wanted} that the model was trained with is not installed: leave --ref out")
    tokenizer: SemanticTokenizer = checkpoint.load(fitting[0]).generator()
    return _Spoken(tokenizer.encode(prompt), codec.encode(prompt)), audio


def _copied(case: _Case, codec: Codec, codebooks: int) -> Waveform:
    codes = replace(case.spoken.codes, ids=case.spoken.codes.ids[:, :codebooks])
    return Waveform.single(codec.decode(codes).samples[0], codec.sample_rate)


def _timed(model: _Model, cases: Sequence[_Case], seed: int, passes: int) -> tuple[float, float]:
    """Median seconds, by the clock and of the processor, to speak the utterances one after another for LONG_SECONDS."""
    first = cases[0].spoken.tokens
    size = round(LONG_SECONDS * first.rate)
    endless: Iterator[int] = (token for case in itertools.cycle(cases) for token in case.spoken.tokens.ids[0].tolist())
    ids = torch.tensor([list(itertools.islice(endless, size))])
    tokens = replace(first, ids=ids, lengths=torch.tensor([size]))
    clock, worked = [], []
    for _ in range(ROUNDS if passes < FEW_PASSES else 1):
        started, before = time.perf_counter(), time.process_time()
        model.speak(cases[0], tokens, seed)
        clock.append(time.perf_counter() - started)
        worked.append(time.process_time() - before)
    return statistics.median(clock), statistics.median(worked)


class _Listener:
    """Measures and keeps what was heard of all cases."""

    def __init__(self, cases: Sequence[_Case], save_to: Path | None) -> None:
        self._cases, self._save_to, self._similarity = cases, save_to, SpeakerSimilarity()
        self._voices = [self._similarity.embed(case.voice) for case in cases]

    def __call__(self, name: str, heard: Sequence[Waveform]) -> SpokenCodes:
        clips = [case.clip for case in self._cases]
        if self._save_to is not None:
            folder = self._save_to / folder_name(name)
            folder.mkdir(exist_ok=True)
            for clip, audio in zip(clips, heard, strict=True):
                write_audio(folder / f"{clip.id}.wav", audio.samples[0], audio.rate)
        sims = [float(self._similarity.embed(audio) @ voice) for audio, voice in zip(heard, self._voices, strict=True)]
        wer = error_rate_by_speaker([clip.text for clip in clips], [clip.speaker for clip in clips], heard)
        return SpokenCodes(wer, statistics.fmean(sims))
