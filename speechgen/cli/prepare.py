"""`speechgen prepare`: a corpus to a prepared folder that `train` reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from speechgen.data.compute import Coder, Encoder, Tokenizer
    from speechgen.data.report import Report

__all__ = ["prepare"]


def prepare(
    corpus: Annotated[
        str,
        typer.Argument(
            help="folder: metadata.csv, .tsv or .jsonl beside audio; sounds: the same, its texts being labels; midi: songs, "
            "rendered; fsdd, sc09: spoken digits; flite: synthesised; or what lhotse knows: ljspeech, libritts, vctk ..."
        ),
    ],
    source: Annotated[
        Path, typer.Option(help="Folder of the corpus; for midi also a file or an archive, for flite a sentence a line.")
    ],
    out: Annotated[
        Path, typer.Option(help="Prepared folder (midi, sounds, digits: train/, valid/, test/); what it lacks is added.")
    ],
    features: Annotated[
        str,
        typer.Option(
            help="audio, mel, pitch, phonemes, characters, alignment, tokens, latents, codes, labels. "
            "Default: audio,mel or characters."
        ),
    ] = "",
    tokenizer: Annotated[
        Path | None, typer.Option(help="Checkpoint folder that computes the tokens and finds the words.")
    ] = None,
    autoencoder: Annotated[Path | None, typer.Option(help="Checkpoint folder that computes the latents.")] = None,
    codec: Annotated[Path | None, typer.Option(help="Checkpoint folder that computes the codes.")] = None,
    language: Annotated[str, typer.Option(help="Language of texts that do not say, as espeak-ng's code.")] = "en-us",
    hours: Annotated[float, typer.Option(min=0.001, help="How much flite reads, or is rendered.")] = 2.0,
    seconds: Annotated[float, typer.Option(min=1, max=60, help="Of a rendered stretch, or a window of a long sound.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Of what is rendered.")] = 0,
    instruments: Annotated[str, typer.Option(help="Only these may play: piano,violin ... Default: all 24.")] = "",
    soundfont: Annotated[Path | None, typer.Option(help="An .sf2 file to render with. Default: a small one (GPL-2).")] = None,
    speed: Annotated[
        float, typer.Option(min=0.5, max=2.0, help="Play everything at this speed, pitch too: a corpus of other voices.")
    ] = 1.0,
    jobs: Annotated[int, typer.Option(min=1, help="Threads that decode and compute mels.")] = 2,
) -> None:
    """Decode, check and store a corpus once, with what training reads; prints and writes a report of its faults."""
    from speechgen.data.corpora import Making
    from speechgen.data.prepare import SPLIT, prepare_corpus, prepare_splits

    making = Making(hours, seconds, seed, "train", tuple(_names(instruments)), soundfont)
    split = corpus in SPLIT
    names = _names(features) or ["audio", "characters" if split else "mel"]
    with _steps() as steps:
        made = (prepare_splits if split else prepare_corpus)(
            source,
            out,
            names,
            corpus=corpus,
            language=language,
            tokenizer=_load_tokenizer(tokenizer, language) if tokenizer and {"tokens", "alignment"} & set(names) else None,
            making=making,
            encoder=_load_encoder(autoencoder) if autoencoder and "latents" in names else None,
            coder=_load_coder(codec) if codec and "codes" in names else None,
            speed=speed,
            jobs=jobs,
            progress=steps,
        )
    for folder, report in made.items() if isinstance(made, dict) else [(out, made)]:
        _show(report, folder)


def _names(given: str) -> list[str]:
    return [name.strip() for name in given.split(",") if name.strip()]


def _load_tokenizer(folder: Path, language: str) -> Tokenizer:
    from speechgen.core import checkpoint
    from speechgen.core.errors import UserError
    from speechgen.core.types import Waveform
    from speechgen.data.compute import Tokenizer
    from speechgen.pipeline.transcript import align
    from speechgen.text.phonemes import Phonemizer
    from speechgen.text.vocabulary import ENGLISH

    loaded = checkpoint.load(folder)
    if loaded.spec.role != "tokenizers":
        raise UserError(f"{folder} holds {loaded.info.model}, of {loaded.spec.role}: give the folder of a tokenizer")
    model = loaded.generator()

    @cache  # espeak-ng is for those who ask for words
    def phonemizer() -> Phonemizer:
        return Phonemizer(language, ENGLISH)

    def words(text: str, audio: Waveform) -> list[tuple[str, float, float]]:
        return [(word.text, word.start, word.stop) for word in align(text, audio, model, phonemizer()).words]

    return Tokenizer(model.encode, words, checkpoint.fingerprint(folder))


def _load_encoder(folder: Path) -> Encoder:
    from speechgen.core import checkpoint
    from speechgen.core.errors import UserError
    from speechgen.data.compute import Encoder

    loaded = checkpoint.load(folder)
    if loaded.spec.role != "autoencoders":
        raise UserError(f"{folder} holds {loaded.info.model}, of {loaded.spec.role}: give the folder of an autoencoder")
    autoencoder = loaded.generator()
    return Encoder(autoencoder.encode, autoencoder.rate, checkpoint.fingerprint(folder))


def _load_coder(folder: Path) -> Coder:
    from speechgen.core import checkpoint
    from speechgen.core.errors import UserError
    from speechgen.data.compute import Coder

    loaded = checkpoint.load(folder)
    if loaded.spec.role != "codecs":
        raise UserError(f"{folder} holds {loaded.info.model}, of {loaded.spec.role}: give the folder of a codec")
    codec = loaded.generator()
    if codec.segmented:
        raise UserError(f"{folder} codes segments, each at a level that no feature keeps: take a codec without")
    return Coder(codec.encode, codec.identity, codec.rate)


@contextmanager
def _steps() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """A bar for each step on stderr, nothing if it is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bars:

        def step(name: str) -> Callable[[int, int], None]:
            task = bars.add_task(name, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield step


def _show(report: Report, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from speechgen.data.report import FAULTS, WARNINGS

    console = Console(soft_wrap=True, highlight=False)
    console.print(f"{out}: {report.utterances} utterances, {report.hours:.2f} hours, {report.speakers} speakers", markup=False)
    table = Table("", "utterances", "meaning", "such as", box=None, pad_edge=False)
    for action, kinds, found in (("left out", FAULTS, report.faults), ("noted", WARNINGS, report.warnings)):
        for kind, ids in found.items():
            table.add_row(f"{action}: {kind}", str(len(ids)), kinds[kind], ", ".join(ids[:3]))
    if table.row_count:
        console.print(table)
