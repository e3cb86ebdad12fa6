"""Prepares a corpus once: decodes, checks and stores its audio, then computes features from what is stored.

Running it again on a prepared folder only adds the features that are missing; a feature counts as present if its
producer (settings, vocabulary, tokenizer) is the same. Every step is written beside and renamed when complete.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from lhotse import AudioSource, CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.supervision import AlignmentItem

from speechgen.core.errors import UserError, unknown
from speechgen.core.protocols import Progress
from speechgen.data import compute
from speechgen.data.captions import described
from speechgen.data.compute import Coder, Encoder, Tokenizer
from speechgen.data.corpora import SPLITS, EmptySplitError, Making, read_folder, read_lhotse
from speechgen.data.decode import AUDIO_PRODUCER, RATE, Decoded, Utterance, decode
from speechgen.data.digits import DIGIT_CORPORA, read_digits
from speechgen.data.features import FeatureStore, FeatureWriter, producer_hash
from speechgen.data.flite import generate_flite
from speechgen.data.midi import generate_midi
from speechgen.data.report import Report, text_outliers

__all__ = ["FEATURES", "SPLIT", "Steps", "add_features", "load_cuts", "prepare_corpus", "prepare_splits"]

FEATURES = ("audio", "mel", "phonemes", "characters", "alignment", "tokens", "labels", "pitch", "latents", "codes")
SPLIT = ("midi", "sounds", *DIGIT_CORPORA)
"""Corpora that are divided into train, valid and test."""
LONG_SECONDS = 30.0
CLIPPING_SHARE = 1e-3

Steps = Callable[[str], Progress]
"""Given the name of a step, returns what is called with (done, total)."""


def prepare_corpus(
    source: Path,
    out: Path,
    features: Sequence[str] = ("audio", "mel"),
    *,
    corpus: str = "folder",
    language: str = "en-us",
    tokenizer: Tokenizer | None = None,
    encoder: Encoder | None = None,
    coder: Coder | None = None,
    making: Making | None = None,
    speed: float = 1.0,
    jobs: int = 1,
    progress: Steps | None = None,
) -> Report:
    """Prepare a corpus, or add features to a prepared one.

    Args:
        source: the corpus as downloaded, a folder with metadata (see `corpora`), the sentences for flite, songs for midi.
        out: the prepared folder.
        features: any of FEATURES; audio is always stored.
        corpus: "folder", "flite", "midi", "sounds" (a folder whose texts are labels), "fsdd" or "sc09" (spoken digits),
            or the name of a lhotse recipe.
        language: espeak-ng's code; of utterances whose metadata does not say, and the one that is phonemised.
        tokenizer: needed for "tokens" and "alignment".
        encoder: needed for "latents", which are made of the mels: these are computed too if they are missing.
        coder: needed for "codes".
        making: of what is made or cut into windows: how much, how long, which split.
        speed: what the audio is played at, pitch and formants too: a copy at 0.9 or 1.1 is a corpus of other voices.
        jobs: threads that decode and compute mels and pitch.
        progress: told of each step.

    Raises:
        UserError: unknown corpus or feature, unreadable metadata, not one usable utterance, or `out` holds something else.
    """
    for name in features:
        if name not in FEATURES:
            raise unknown("feature", name, FEATURES)
    if tokenizer is None and (heard := {"tokens", "alignment"}.intersection(features)):
        raise UserError(f"the {heard.pop()} feature needs a tokenizer: give the folder of its checkpoint")
    if "latents" in features and encoder is None:
        raise UserError("the latents feature needs an autoencoder: give the folder of its checkpoint")
    if "codes" in features and coder is None:
        raise UserError("the codes feature needs a codec: give the folder of its checkpoint")
    if (out / "cuts.jsonl.gz").is_file():
        report = Report.load(out)
        if (report.corpus, Path(report.source).resolve()) != (corpus, source.resolve()) or report.speed not in (None, speed):
            played = "" if report.speed in (None, 1.0) else f" at speed {report.speed:g}"
            wanted = f"{corpus} of {source}" + ("" if speed == 1 else f" at speed {speed:g}")
            raise UserError(
                f"{out} holds {report.corpus} of {report.source}{played}, not {wanted}: choose another folder to prepare into"
            )
    else:
        utterances = _utterances(corpus, source, out, language, making or Making(), jobs, progress)
        utterances = [replace(utterance, speed=speed) for utterance in utterances]
        report = store_audio(utterances, out, Report(corpus, str(source), speed), jobs=jobs, progress=progress)
    add_features(
        out, features, language=language, tokenizer=tokenizer, encoder=encoder, coder=coder, jobs=jobs, progress=progress
    )
    return report


def prepare_splits(
    source: Path,
    out: Path,
    features: Sequence[str] = ("audio", "characters"),
    *,
    corpus: str,
    making: Making | None = None,
    language: str = "en-us",
    tokenizer: Tokenizer | None = None,
    encoder: Encoder | None = None,
    coder: Coder | None = None,
    speed: float = 1.0,
    jobs: int = 1,
    progress: Steps | None = None,
) -> dict[Path, Report]:
    """Prepare a corpus as three: out/train, out/valid and out/test. What there is too little of for a split has none.

    The arguments are those of `prepare_corpus`; `making.split` is not used.

    Raises:
        UserError: as `prepare_corpus`, or every split is empty.
    """
    made: dict[Path, Report] = {}
    for split in SPLITS:
        try:
            made[out / split] = prepare_corpus(
                source,
                out / split,
                features,
                corpus=corpus,
                making=replace(making or Making(), split=split),
                language=language,
                tokenizer=tokenizer,
                encoder=encoder,
                coder=coder,
                speed=speed,
                jobs=jobs,
                progress=progress,
            )
        except EmptySplitError as error:
            if split == SPLITS[-1] and not made:
                raise UserError(f"{source} is too small to be divided: give more of it") from error
    return made


def load_cuts(folder: Path) -> CutSet:
    """Return the cuts of a prepared folder, in memory.

    Raises:
        UserError: the folder is not prepared.
    """
    path = folder / "cuts.jsonl.gz"
    if not path.is_file():
        raise UserError(f"{folder} is not a prepared corpus (no cuts.jsonl.gz): run `speechgen prepare` with --out {folder}")
    return CutSet.from_file(path).to_eager()


def add_features(
    out: Path,
    features: Iterable[str],
    *,
    language: str = "en-us",
    tokenizer: Tokenizer | None = None,
    encoder: Encoder | None = None,
    coder: Coder | None = None,
    jobs: int = 1,
    progress: Steps | None = None,
) -> None:
    """Compute those of `features` that a prepared folder lacks."""
    cuts = load_cuts(out)
    audio = FeatureStore(out / "features" / f"audio-{producer_hash(AUDIO_PRODUCER)}")
    makers: dict[str, Callable[[], compute.Entries]] = {
        "mel": lambda: compute.mel(audio, jobs),
        "phonemes": lambda: compute.phonemes(cuts, language),
        "characters": lambda: compute.characters(cuts),
        "labels": lambda: compute.labels(cuts, audio),
        "pitch": lambda: compute.pitch(audio, jobs),
    }
    if tokenizer is not None:
        makers["tokens"] = lambda: compute.tokens(audio, tokenizer)
        makers["alignment"] = lambda: compute.alignment(cuts, audio, tokenizer, jobs, language)
    if coder is not None:
        makers["codes"] = lambda: compute.codes(audio, coder, jobs)
    if encoder is not None:
        mels = out / "features" / f"mel-{producer_hash(compute.mel(audio, jobs).producer)}"
        makers["latents"] = lambda: compute.latents(FeatureStore(mels), encoder)
        features = ("mel", *(name for name in features if name != "mel"))
    for name in features:
        if name in makers:
            compute.write(out, name, makers[name](), progress(name) if progress else None)


def store_audio(
    utterances: Sequence[Utterance], out: Path, report: Report, *, jobs: int = 1, progress: Steps | None = None
) -> Report:
    """Decode all utterances into the `audio` feature; write the report and, as the last thing, the cuts.

    Raises:
        UserError: not one utterance is usable.
    """
    step = progress("audio") if progress else None
    cuts: dict[str, MonoCut] = {}
    digests: set[str] = set()
    with FeatureWriter(out, "audio", AUDIO_PRODUCER) as writer, compute.workers(jobs) as run:
        for done, decoded in enumerate(run(decode, utterances), 1):
            fault = decoded.fault or _fault(decoded, digests)
            if fault or decoded.samples is None:
                report.faults[fault].append(decoded.utterance.id)
            else:
                cut = _cut(decoded, len(decoded.samples) / RATE, _unique(decoded.utterance.id, cuts))
                cuts[cut.id] = cut
                writer.add(cut.id, decoded.samples)
                if decoded.clipping > CLIPPING_SHARE:
                    report.warnings["clipping"].append(cut.id)
            if step:
                step(done, len(utterances))
        if not cuts:
            found = ", ".join(f"{len(ids)} {kind}" for kind, ids in report.faults.items())
            raise UserError(f"no usable utterance in {report.source}: {found}; give a corpus whose audio can be read")
    _warn(list(cuts.values()), report)
    cut_set = CutSet.from_cuts(cuts.values())
    report.count(cut_set)
    report.save(out)
    beside = out / f".{os.getpid()}.cuts.jsonl.gz"
    cut_set.to_file(beside)
    beside.replace(out / "cuts.jsonl.gz")
    return report


def _utterances(
    corpus: str, source: Path, out: Path, language: str, making: Making, jobs: int, progress: Steps | None
) -> list[Utterance]:
    if corpus == "folder":
        return read_folder(source, language)
    if corpus == "sounds":
        return described(read_folder(source, language), making)
    step = progress(corpus) if progress and corpus in ("flite", "midi") else None
    if corpus == "flite":
        return generate_flite(source, out / "recordings", hours=making.hours, jobs=jobs, progress=step)
    if corpus == "midi":
        return generate_midi(source, out / "recordings", making, step)
    if corpus in DIGIT_CORPORA:
        return read_digits(corpus, source, making.split)
    return read_lhotse(corpus, source, language)


def _fault(decoded: Decoded, digests: set[str]) -> str:
    """What makes a readable utterance unusable, or nothing; remembers its digest."""
    if decoded.samples is None or len(decoded.samples) < decoded.utterance.shortest_seconds * RATE:
        return "too_short"
    if decoded.digest in digests:
        return "duplicate"
    digests.add(decoded.digest)
    return ""


def _unique(name: str, taken: dict[str, MonoCut]) -> str:
    """`name`, numbered if another utterance has it."""
    return next(n for n in (name, *(f"{name}-{k}" for k in range(2, len(taken) + 3))) if n not in taken)


def _cut(decoded: Decoded, seconds: float, cut_id: str) -> MonoCut:
    """The utterance as a window of `seconds` into its recording."""
    utterance = decoded.utterance
    recording = Recording(
        id=cut_id,
        sources=[AudioSource("file", [0], str(utterance.path))],
        sampling_rate=decoded.source_rate,
        num_samples=decoded.source_samples,
        duration=decoded.source_samples / decoded.source_rate,
    )
    if utterance.speed != 1:
        recording = recording.perturb_speed(utterance.speed)
    ends = [end / utterance.speed for _, end in utterance.phones]
    phones = [
        AlignmentItem(symbol, start, end - start)
        for (symbol, _), start, end in zip(utterance.phones, (0.0, *ends), ends, strict=False)
    ]
    spoken = SupervisionSegment(
        id=cut_id,
        recording_id=cut_id,
        start=0.0,
        duration=seconds,
        text=utterance.text,
        speaker=utterance.speaker,
        language=utterance.language,
        alignment={"phone": phones} if phones else None,
        custom=dict(utterance.tags) or None,
    )
    return MonoCut(cut_id, decoded.start_seconds / utterance.speed, seconds, 0, supervisions=[spoken], recording=recording)


def _warn(cuts: list[MonoCut], report: Report) -> None:
    """Note what is odd about kept utterances; a text that cannot be right is marked on the cut."""
    outliers = text_outliers(cuts)
    for cut in cuts:
        if cut.duration > LONG_SECONDS:
            report.warnings["too_long"].append(cut.id)
        if not cut.supervisions[0].text:
            report.warnings["no_text"].append(cut.id)
        if cut.id in outliers:
            report.warnings["text_outlier"].append(cut.id)
            cut.custom = {"text_outlier": True}
