"""Evaluation joined to what is installed: a pipeline over voices, a tokenizer over a prepared corpus."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from speechgen.core import checkpoint
from speechgen.core.errors import UserError
from speechgen.core.protocols import Progress
from speechgen.core.types import Waveform
from speechgen.evaluation.repetition import heard_twice
from speechgen.evaluation.report import PipelineReport, Sentence, Spoken, evaluate_pipeline
from speechgen.evaluation.tokens import PhonePurity, SpeakerLeakage, phone_purity, speaker_leakage, token_histograms
from speechgen.pipeline.latent_stages import LatentStages
from speechgen.pipeline.pieces import cut
from speechgen.pipeline.pipeline import Pipeline
from speechgen.service import catalog
from speechgen.service.engine import Engine
from speechgen.service.evaluate_lengths import measure_lengths
from speechgen.service.prepared import features_of
from speechgen.service.requests import SynthesisRequest
from speechgen.text.vocabulary import ENGLISH

__all__ = ["PipelineReport", "TokenizerReport", "measure_pipeline", "measure_tokenizer", "read_sentences"]

SENTENCES = Path(__file__).with_name("sentences.txt")
USUAL_SECONDS = 0.06
"""What a phoneme symbol takes, without the pauses between sentences: 0.058 in the default pipeline, median over SENTENCES in
three voices."""
SILENT_MARKS = str.maketrans("—…", "  ")
"""Those of a spoken text that are not ASCII."""
LEAKAGE_PARTS = 4


def read_sentences(path: Path | None) -> list[str]:
    """Return the lines of a file that are not blank; by default the sentences that come with this package.

    Raises:
        UserError: the file is missing, not UTF-8, or holds nothing.
    """
    path = path or SENTENCES
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read sentences from {path}: {error}") from error
    sentences = [line for line in lines if line]
    if not sentences:
        raise UserError(f"{path} holds no sentences: write one per line")
    return sentences


def measure_pipeline(
    engine: Engine,
    pipeline: str,
    sentences: Sequence[str],
    references: Sequence[Path],
    transcripts: Sequence[str] = (),
    *,
    seed: int = 0,
    opinions: bool = True,
    save_to: Path | None = None,
    progress: Progress | None = None,
) -> PipelineReport:
    """Speak every sentence in every voice and measure; loading is not part of the real-time factor.

    Args:
        engine: speaks.
        pipeline: name, or path of its YAML.
        sentences: what to speak, in English; anything that the pipeline reads.
        references: recordings; the example voices if there are none.
        transcripts: what each recording says, for pipelines that read it; what is missing is heard.
        seed: of every clip.
        opinions: predict opinion scores too.
        save_to: keep the clips in this folder.
        progress: told after each clip.

    Raises:
        UserError: something that was given cannot be used, or an optional package is missing.
    """

    def speak(sentence: Sentence, reference: Path, seed: int) -> Spoken:
        told = said.get(reference) if loaded.stages.reads_transcripts else None
        content = {"text": sentence.text, "ref": reference, "pipeline": pipeline, "seed": seed, "ref_text": told}
        try:
            result = engine.synthesize(SynthesisRequest.checked(content))
        except UserError as error:  # this text has no sound, or no text has one: that is told when all were tried
            return Spoken(torch.zeros(0), loaded.stages.rate, 0.0, (str(error),))
        twice = _heard_twice(loaded, Waveform.single(result.samples, result.rate), sentence)
        return Spoken(result.samples, result.rate, result.synthesis_seconds, result.warnings, twice)

    examples = {voice.path: voice.transcript for voice in catalog.voices().values() if not voice.stored}
    chosen = list(references) or list(examples)
    said = dict(zip(references, transcripts, strict=False)) if references else examples
    if not chosen:
        raise UserError("no reference is given and no example voice is installed: give --ref")
    loaded = engine.load(pipeline)
    read = [_sentence(text, loaded) for text in sentences]
    report = evaluate_pipeline(speak, read, chosen, seed=seed, opinions=opinions, save_to=save_to, progress=progress)
    if not isinstance(loaded.stages, LatentStages):
        return report
    readable = [sentence.text for sentence in read if sentence.symbols]
    return replace(report, ended=measure_lengths(engine, pipeline, readable, chosen, seed=seed).proper)


def _sentence(text: str, pipeline: Pipeline) -> Sentence:
    """What a text says and needs, as the pipeline reads it; no symbols if it cannot."""
    phonemizer = pipeline.prepare(SynthesisRequest.model_fields["language"].default)
    pieces, symbols = list(cut(text, pipeline.config.max_characters, phonemizer.spoken)), list[int]()
    for piece in pieces:
        with suppress(UserError):
            symbols += phonemizer.ids(piece.text)
    needs = USUAL_SECONDS * len(symbols) + sum(piece.lead + piece.pause for piece in pieces)
    said = " ".join(piece.text for piece in pieces).translate(SILENT_MARKS)
    return Sentence(text, said, tuple(symbols), needs)


def _heard_twice(pipeline: Pipeline, audio: Waveform, sentence: Sentence) -> str | None:
    """Phones that the pipeline's own recogniser hears twice in what was spoken; None if it has none."""
    tokenizer = pipeline.stages.tokenizer
    scores = None if tokenizer is None else tokenizer.phone_scores(audio.to(pipeline.stages.device))
    phones = [index for index in sentence.symbols if index in ENGLISH.phone_ids]
    if scores is None or not phones:
        return None
    places = heard_twice(scores.float().cpu(), phones)
    return "".join(ENGLISH.decode(phones[places.start : places.stop]))


@dataclass(frozen=True)
class TokenizerReport:
    """What a tokenizer's tokens know; a part is None if the corpus cannot tell it."""

    purity: PhonePurity | None
    leakage: SpeakerLeakage | None

    def table(self) -> str:
        """Return a Markdown table."""
        rows = []
        if self.purity:
            rows.append(f"| phone purity | {self.purity.phone_purity:.4f} |")
            rows.append(f"| cluster purity | {self.purity.cluster_purity:.4f} |")
            rows.append(f"| PNMI | {self.purity.pnmi:.4f} |")
        if self.leakage:
            known = self.leakage
            rows.append(f"| speaker probe, accuracy | {known.accuracy:.4f} |")
            rows.append(
                f"| speaker probe, chance ({known.speakers} speakers, {known.utterances} utterances) | {known.chance:.4f} |"
            )
        return "\n".join(["| figure | value |", "| --- | --- |", *rows])

    def to_json(self) -> str:
        """Return all figures as one JSON object."""
        return json.dumps(asdict(self), indent=1)


def measure_tokenizer(tokenizer: str, prepared: Path) -> TokenizerReport:
    """Compare the tokens in a prepared corpus with its phone labels and its speakers, where it has them.

    Args:
        tokenizer: name or folder of the checkpoint that made the tokens.
        prepared: a folder that `speechgen prepare` wrote with the feature `tokens`.

    Raises:
        UserError: it holds no tokens of this tokenizer, or neither labels nor enough speakers.
    """
    # Imported here: only this measurement needs the train extra.
    from speechgen.data.features import FeatureStore, find
    from speechgen.data.prepare import load_cuts

    wanted = checkpoint.fingerprint(catalog.find_checkpoint(tokenizer))
    cuts = load_cuts(prepared)
    tokens = features_of(prepared, "tokens", "tokenizer", wanted)
    labels = [FeatureStore(path) for path in find(prepared, "labels").values()]
    purity = None
    if labels:
        shared = [cut.id for cut in cuts if cut.id in tokens and cut.id in labels[0]]
        pairs = [(tokens.get(name), labels[0].get(name)) for name in shared]
        if pairs:
            sizes = [min(len(a), len(b)) for a, b in pairs]
            purity = phone_purity(
                torch.cat([torch.from_numpy(a[:n].copy()) for (a, _), n in zip(pairs, sizes, strict=True)]).numpy(),
                torch.cat([torch.from_numpy(b[:n].copy()) for (_, b), n in zip(pairs, sizes, strict=True)]).numpy(),
            )
    spoken = [(str(cut.supervisions[0].speaker), tokens.get(cut.id)) for cut in cuts if cut.id in tokens]
    counts = Counter(speaker for speaker, _ in spoken)
    spoken = [(speaker, ids) for speaker, ids in spoken if counts[speaker] >= LEAKAGE_PARTS]
    leakage = None
    if len({speaker for speaker, _ in spoken}) > 1:
        size = 1 + max(int(ids.max()) for _, ids in spoken)
        leakage = speaker_leakage(token_histograms([ids for _, ids in spoken], size), [speaker for speaker, _ in spoken])
    if purity is None and leakage is None:
        raise UserError(f"{prepared} has neither phone labels nor two speakers with {LEAKAGE_PARTS} utterances: take another")
    return TokenizerReport(purity, leakage)
